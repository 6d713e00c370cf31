// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors
#include "oci_document.h"

#include "digest.h"
#include "json_keys.h"
#include "rfc3339.h"

#include <QJsonArray>
#include <QJsonDocument>
#include <QJsonObject>
#include <QJsonParseError>
#include <QJsonValue>
#include <QString>

#include <algorithm>

namespace waybill {

namespace {

constexpr std::string_view index_types[] = {
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
};
constexpr std::string_view manifest_types[] = {
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
};
constexpr std::string_view config_types[] = {
    "application/vnd.oci.image.config.v1+json",
    "application/vnd.docker.container.image.v1+json",
};

Status bad(const std::string &where, const std::string &what) {
    return failure(Code::BadBlob, where + ": " + what);
}

/// How many objects lie in one another where something is read.
constexpr std::size_t layout_version_depth = 1, config_depth = 1;
constexpr std::size_t document_depth = 3; // the document, a descriptor, its annotations

Result<QJsonObject> parse_object(const QByteArray &bytes, const std::string &name,
                                 std::size_t depth) {
    QJsonParseError error;
    const QJsonDocument document = QJsonDocument::fromJson(bytes, &error);
    if (error.error != QJsonParseError::NoError)
        return bad(name, "broken JSON at byte " + std::to_string(error.offset) + ": " +
                             error.errorString().toStdString());
    if (!document.isObject())
        return bad(name, "expected a JSON object, found an array");
    if (const auto repeated = repeated_key(bytes, depth))
        return bad(name, "key '" + repeated->key.left(64).toStdString() +
                             "' stands twice, again at byte " + std::to_string(repeated->position));
    return document.object();
}

/// A text that survives as UTF-8 with a NUL behind it; an absent one is empty.
Result<std::string> text_at(const QJsonObject &object, const QString &key,
                            const std::string &where) {
    const QJsonValue value = object.value(key);
    if (value.isUndefined() || value.isNull())
        return std::string();
    const QString text = value.toString();
    if (!value.isString() || !text.isValidUtf16() || text.contains(QChar(u'\0')))
        return bad(where, "'" + key.left(64).toStdString() +
                              "' is no text, or holds a NUL or half a surrogate pair");
    return text.toStdString();
}

Result<QJsonObject> object_at(const QJsonObject &object, const QString &key,
                              const std::string &where) {
    const QJsonValue value = object.value(key);
    if (value.isUndefined() || value.isNull())
        return QJsonObject();
    if (!value.isObject())
        return bad(where, "'" + key.toStdString() + "' is no object");
    return value.toObject();
}

Result<std::vector<std::pair<std::string, std::string>>> annotations_of(const QJsonObject &object,
                                                                        const std::string &where) {
    const Result<QJsonObject> found = object_at(object, QStringLiteral("annotations"), where);
    if (!found.ok())
        return found.status();
    std::vector<std::pair<std::string, std::string>> annotations;
    for (const QString &key : found.value().keys()) {
        if (!key.isValidUtf16() || key.contains(QChar(u'\0')))
            return bad(where, "an annotation's key holds a NUL or half a surrogate pair");
        Result<std::string> value = text_at(found.value(), key, where + ": annotations");
        if (!value.ok())
            return value.status();
        annotations.emplace_back(key.toStdString(), std::move(*value));
    }
    std::sort(annotations.begin(), annotations.end());
    return annotations;
}

Result<OciPlatform> platform_of(const QJsonObject &object, const std::string &where) {
    OciPlatform platform;
    const std::pair<QString, std::string *> members[] = {
        {QStringLiteral("os"), &platform.os},
        {QStringLiteral("architecture"), &platform.architecture},
        {QStringLiteral("variant"), &platform.variant},
        {QStringLiteral("os.version"), &platform.os_version},
    };
    for (const auto &[key, member] : members) {
        Result<std::string> text = text_at(object, key, where);
        if (!text.ok())
            return text.status();
        *member = std::move(*text);
    }
    return platform;
}

Result<OciDescriptor> descriptor_of(const QJsonValue &value, const std::string &where) {
    if (!value.isObject())
        return bad(where, "is no descriptor");
    const QJsonObject object = value.toObject();
    OciDescriptor descriptor;
    Result<std::string> media_type = text_at(object, QStringLiteral("mediaType"), where);
    if (!media_type.ok())
        return media_type.status();
    Result<std::string> digest = text_at(object, QStringLiteral("digest"), where);
    if (!digest.ok())
        return digest.status();
    if (const auto packed = parse_digest(digest.value()); !packed.ok())
        return bad(where, "'digest' is malformed: " + packed.status().message);
    const QJsonValue size = object.value(QStringLiteral("size"));
    const qint64 size_bytes = size.isDouble() ? size.toInteger(-1) : -1;
    if (size_bytes < 0)
        return bad(where, "'size' is no byte count");
    auto annotations = annotations_of(object, where);
    if (!annotations.ok())
        return annotations.status();
    const auto platform_object = object_at(object, QStringLiteral("platform"), where);
    if (!platform_object.ok())
        return platform_object.status();
    Result<OciPlatform> platform = platform_of(platform_object.value(), where + ": platform");
    if (!platform.ok())
        return platform.status();
    descriptor.media_type = std::move(*media_type);
    descriptor.digest = std::move(*digest);
    descriptor.size_bytes = static_cast<std::uint64_t>(size_bytes);
    descriptor.annotations = std::move(*annotations);
    descriptor.platform = std::move(*platform);
    descriptor.has_urls = !object.value(QStringLiteral("urls")).toArray().isEmpty();
    return descriptor;
}

Result<std::vector<OciDescriptor>> descriptors_of(const QJsonObject &object, const QString &key,
                                                  const std::string &name) {
    const QJsonValue value = object.value(key);
    // An empty slice, as Go writes it.
    if (value.isNull())
        return std::vector<OciDescriptor>();
    if (!value.isArray())
        return bad(name, "'" + key.toStdString() + "' is no array");
    std::vector<OciDescriptor> descriptors;
    const QJsonArray array = value.toArray();
    for (qsizetype i = 0; i < array.size(); ++i) {
        Result<OciDescriptor> descriptor = descriptor_of(
            array.at(i), name + ": " + key.toStdString() + "[" + std::to_string(i) + "]");
        if (!descriptor.ok())
            return descriptor.status();
        descriptors.push_back(std::move(*descriptor));
    }
    return descriptors;
}

/// Settles what the document is, from the descriptor's promise, its own word and its shape, which
/// must not contradict each other: a registry and we could otherwise read different images out of
/// the same bytes.
Result<OciKind> settle_kind(const QJsonObject &object, const std::string &name,
                            std::string_view promised, std::string_view own) {
    if (object.value(QStringLiteral("schemaVersion")).toInteger(-1) != 2)
        return bad(name, "schemaVersion is not 2");
    if (!promised.empty() && !own.empty() && promised != own)
        return bad(name, "mediaType is not that of its descriptor, " + std::string(promised));
    const bool index_shape = object.contains(QStringLiteral("manifests"));
    const bool manifest_shape =
        object.contains(QStringLiteral("layers")) || object.contains(QStringLiteral("config"));
    if (index_shape && manifest_shape)
        return bad(name, "is both an index and a manifest");
    const std::string_view media_type = promised.empty() ? own : promised;
    const OciKind shape = index_shape      ? OciKind::Index
                          : manifest_shape ? OciKind::Manifest
                                           : OciKind::Other;
    if (shape == OciKind::Other || (!media_type.empty() && oci_kind(media_type) != shape))
        return bad(name, media_type.empty() ? "is neither an index nor a manifest"
                                            : "is no " + std::string(media_type));
    return shape;
}

} // namespace

const std::string *OciDescriptor::annotation(std::string_view key) const {
    for (const auto &[name, value] : annotations) {
        if (name == key)
            return &value;
    }
    return nullptr;
}

OciKind oci_kind(std::string_view media_type) {
    if (std::find(std::begin(index_types), std::end(index_types), media_type) !=
        std::end(index_types))
        return OciKind::Index;
    if (std::find(std::begin(manifest_types), std::end(manifest_types), media_type) !=
        std::end(manifest_types))
        return OciKind::Manifest;
    return OciKind::Other;
}

bool is_image_config(std::string_view media_type) {
    return std::find(std::begin(config_types), std::end(config_types), media_type) !=
           std::end(config_types);
}

Status check_layout_version(const QByteArray &bytes, const std::string &name) {
    const Result<QJsonObject> object = parse_object(bytes, name, layout_version_depth);
    if (!object.ok())
        return object.status();
    const Result<std::string> version =
        text_at(object.value(), QStringLiteral("imageLayoutVersion"), name);
    if (!version.ok())
        return version.status();
    const std::string_view text = version.value();
    constexpr std::string_view known = "1.0.";
    if (!text.starts_with(known) || text.size() == known.size() ||
        text.find_first_not_of("0123456789", known.size()) != std::string_view::npos)
        return failure(Code::Format, name + ": imageLayoutVersion '" +
                                         std::string(text.substr(0, 40)) + "' is not 1.0.x");
    return {};
}

Result<OciDocument> parse_oci_document(const QByteArray &bytes, const std::string &name,
                                       std::string_view media_type) {
    const Result<QJsonObject> object = parse_object(bytes, name, document_depth);
    if (!object.ok())
        return object.status();
    const Result<std::string> own = text_at(object.value(), QStringLiteral("mediaType"), name);
    if (!own.ok())
        return own.status();
    const Result<OciKind> kind = settle_kind(object.value(), name, media_type, own.value());
    if (!kind.ok())
        return kind.status();
    OciDocument document;
    document.kind = kind.value();
    document.media_type = media_type.empty() ? own.value() : std::string(media_type);
    auto annotations = annotations_of(object.value(), name);
    if (!annotations.ok())
        return annotations.status();
    document.annotations = std::move(*annotations);
    const bool is_index = document.kind == OciKind::Index;
    auto entries = descriptors_of(
        object.value(), is_index ? QStringLiteral("manifests") : QStringLiteral("layers"), name);
    if (!entries.ok())
        return entries.status();
    document.entries = std::move(*entries);
    if (is_index)
        return document;
    Result<OciDescriptor> config =
        descriptor_of(object.value().value(QStringLiteral("config")), name + ": config");
    if (!config.ok())
        return config.status();
    document.config = std::move(*config);
    return document;
}

Result<OciConfig> parse_oci_config(const QByteArray &bytes, const std::string &name) {
    const Result<QJsonObject> object = parse_object(bytes, name, config_depth);
    if (!object.ok())
        return object.status();
    const Result<OciPlatform> platform = platform_of(object.value(), name);
    if (!platform.ok())
        return platform.status();
    const Result<std::string> created = text_at(object.value(), QStringLiteral("created"), name);
    if (!created.ok())
        return created.status();
    OciConfig config{platform.value(), 0};
    if (created.value().empty())
        return config;
    const auto created_ns = parse_rfc3339(created.value());
    if (!created_ns)
        return bad(name, "created '" + created.value().substr(0, 40) + "' is no RFC 3339 time");
    config.created_ns = *created_ns;
    return config;
}

} // namespace waybill
