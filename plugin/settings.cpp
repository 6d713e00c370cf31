// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors
//
// Invariant: nothing in the text is ignored. A key that is not read is refused, so a misspelt one
// never means "the default"; and so is one that stands twice.
#include "settings.h"

#include "json_keys.h"

#include <QByteArray>
#include <QJsonDocument>
#include <QJsonObject>
#include <QJsonParseError>
#include <QJsonValue>
#include <QString>

#include <algorithm>
#include <numeric>
#include <span>
#include <vector>

namespace waybill {

namespace {

/// An index entry is some 100 bytes: beyond this the host's memory is the limit, not the setting.
constexpr std::uint64_t images_ceiling = 1'000'000'000;
/// The smallest record worth the name: one layer, a name and two digests.
constexpr std::uint64_t record_bytes_floor = 1024;
/// A journal starts with one step of allocated space.
constexpr std::uint64_t journal_bytes_floor = limits::journal_step_bytes_min;
/// Messages are one line of bounded length.
constexpr qsizetype quoted_characters_max = 40;

constexpr std::string_view root_keys[] = {"root",   "create",  "readOnly", "references",
                                          "layers", "threads", "limits"};
constexpr std::string_view layers_keys[] = {"root", "layout"};
constexpr std::string_view limits_keys[] = {"images", "recordBytes", "journalBytes"};

/// The host's own text, safe to repeat in a one-line message.
std::string printable(const QString &text) {
    QString shown = text.left(quoted_characters_max);
    for (QChar &character : shown) {
        if (!character.isPrint())
            character = QChar(u'?');
    }
    if (text.size() > quoted_characters_max)
        shown += QStringLiteral("…");
    return shown.toStdString();
}

std::size_t edit_distance(std::string_view left, std::string_view right) {
    std::vector<std::size_t> row(right.size() + 1);
    std::iota(row.begin(), row.end(), std::size_t{0});
    for (std::size_t i = 1; i <= left.size(); ++i) {
        std::size_t diagonal = row[0];
        row[0] = i;
        for (std::size_t j = 1; j <= right.size(); ++j) {
            const std::size_t replaced = diagonal + (left[i - 1] == right[j - 1] ? 0 : 1);
            diagonal = row[j];
            row[j] = std::min({row[j] + 1, row[j - 1] + 1, replaced});
        }
    }
    return row.back();
}

std::string_view nearest(std::string_view key, std::span<const std::string_view> known) {
    return *std::min_element(known.begin(), known.end(), [key](auto left, auto right) {
        return edit_distance(key, left) < edit_distance(key, right);
    });
}

const char *type_name(const QJsonValue &value) {
    switch (value.type()) {
    case QJsonValue::Null:
        return "null";
    case QJsonValue::Bool:
        return "a boolean";
    case QJsonValue::Double:
        return "a number";
    case QJsonValue::String:
        return "a string";
    case QJsonValue::Array:
        return "an array";
    case QJsonValue::Object:
        return "an object";
    case QJsonValue::Undefined:
        break;
    }
    return "nothing";
}

/// One object of the configuration and where it stands.
class Section final {
  public:
    Section(QJsonObject object, std::string path)
        : object_(std::move(object)), path_(std::move(path)) {}

    bool has(std::string_view key) const { return object_.contains(latin1(key)); }
    std::string path_of(std::string_view key) const { return path_ + "." + std::string(key); }

    Status refuse_unknown(std::span<const std::string_view> known) const {
        for (const QString &key : object_.keys()) {
            const std::string text = key.toStdString();
            if (std::find(known.begin(), known.end(), text) != known.end())
                continue;
            return invalid(path_of(printable(key)), "unknown key '" + printable(key) +
                                                        "'; did you mean '" +
                                                        std::string(nearest(text, known)) + "'?");
        }
        return {};
    }

    Result<bool> flag(std::string_view key, bool fallback) const {
        const QJsonValue value = object_.value(latin1(key));
        if (value.isUndefined())
            return fallback;
        if (!value.isBool())
            return wrong_type(key, "a boolean", value);
        return value.toBool();
    }

    Result<std::uint64_t> number(std::string_view key, std::uint64_t fallback, std::uint64_t least,
                                 std::uint64_t most) const {
        const QJsonValue value = object_.value(latin1(key));
        if (value.isUndefined())
            return fallback;
        if (!value.isDouble())
            return wrong_type(key, "an integer", value);
        // Fractions and what does not fit 64 bits come back as -1.
        const qint64 found = value.toInteger(-1);
        if (found < 0 || static_cast<std::uint64_t>(found) < least ||
            static_cast<std::uint64_t>(found) > most)
            return invalid(path_of(key), "expected an integer from " + std::to_string(least) +
                                             " to " + std::to_string(most));
        return static_cast<std::uint64_t>(found);
    }

    Result<QString> text(std::string_view key) const {
        const QJsonValue value = object_.value(latin1(key));
        if (value.isUndefined())
            return invalid(path_of(key), "is required");
        if (!value.isString())
            return wrong_type(key, "a string", value);
        return value.toString();
    }

    Result<Section> section(std::string_view key) const {
        const QJsonValue value = object_.value(latin1(key));
        if (!value.isObject())
            return wrong_type(key, "an object", value);
        return Section(value.toObject(), path_of(key));
    }

  private:
    static QLatin1String latin1(std::string_view text) {
        return QLatin1String(text.data(), static_cast<qsizetype>(text.size()));
    }

    Status wrong_type(std::string_view key, const char *expected, const QJsonValue &found) const {
        return invalid(path_of(key),
                       std::string("expected ") + expected + ", found " + type_name(found));
    }

    QJsonObject object_;
    std::string path_;
};

Result<std::string> read_directory(const Section &section, std::string_view key) {
    const Result<QString> text = section.text(key);
    if (!text.ok())
        return text.status();
    const std::string field = section.path_of(key);
    // A lone surrogate has no UTF-8 form; a NUL would end the path early.
    if (!text.value().isValidUtf16() || text.value().contains(QChar(u'\0')))
        return invalid(field, "holds a NUL or half a surrogate pair");
    std::string path = text.value().toStdString();
    if (path.size() > limits::root_path_bytes_max)
        return over_limit(field, "is longer than " + std::to_string(limits::root_path_bytes_max) +
                                     " bytes");
    if (!path.starts_with('/'))
        return invalid(field, "'" + printable(text.value()) + "' is not an absolute path", 0);
    for (std::size_t begin = 1; begin < path.size();) {
        const std::size_t end = std::min(path.find('/', begin), path.size());
        const std::string_view component = std::string_view(path).substr(begin, end - begin);
        if (component == "." || component == "..")
            return invalid(field, "holds a '" + std::string(component) + "' component",
                           static_cast<std::int64_t>(begin));
        begin = end + 1;
    }
    return path;
}

Result<std::optional<ReferenceMode>> read_references(const Section &root) {
    if (!root.has("references"))
        return std::optional<ReferenceMode>();
    const Result<QString> text = root.text("references");
    if (!text.ok())
        return text.status();
    if (text.value() == u"canonical")
        return std::optional(ReferenceMode::Canonical);
    if (text.value() == u"opaque")
        return std::optional(ReferenceMode::Opaque);
    if (text.value() == u"mesos")
        return std::optional(ReferenceMode::Mesos);
    return invalid(root.path_of("references"),
                   "expected 'canonical', 'opaque' or 'mesos', found '" + printable(text.value()) +
                       "'");
}

Result<LayerLayout> read_layout(const Section &layers) {
    if (!layers.has("layout"))
        return LayerLayout::Oci;
    const Result<QString> text = layers.text("layout");
    if (!text.ok())
        return text.status();
    if (text.value() == u"mesos")
        return LayerLayout::Mesos;
    if (text.value() == u"oci")
        return LayerLayout::Oci;
    return invalid(layers.path_of("layout"),
                   "expected 'mesos' or 'oci', found '" + printable(text.value()) + "'");
}

Result<std::optional<LayerSettings>> read_layers(const Section &root) {
    if (!root.has("layers"))
        return std::optional<LayerSettings>();
    const Result<Section> section = root.section("layers");
    if (!section.ok())
        return section.status();
    if (Status status = section.value().refuse_unknown(layers_keys); !status.ok())
        return status;
    const Result<std::string> directory = read_directory(section.value(), "root");
    if (!directory.ok())
        return directory.status();
    const Result<LayerLayout> layout = read_layout(section.value());
    if (!layout.ok())
        return layout.status();
    return std::optional(LayerSettings{directory.value(), layout.value()});
}

Result<Settings> read_limits(const Section &root, Settings settings) {
    if (!root.has("limits"))
        return settings;
    const Result<Section> section = root.section("limits");
    if (!section.ok())
        return section.status();
    if (Status status = section.value().refuse_unknown(limits_keys); !status.ok())
        return status;
    const auto images = section.value().number("images", settings.images_max, 1, images_ceiling);
    if (!images.ok())
        return images.status();
    const auto record_bytes =
        section.value().number("recordBytes", settings.record_bytes_max, record_bytes_floor,
                               limits::transaction_bytes_max);
    if (!record_bytes.ok())
        return record_bytes.status();
    const auto journal_bytes = section.value().number(
        "journalBytes", settings.journal_bytes, journal_bytes_floor, limits::journal_bytes_max);
    if (!journal_bytes.ok())
        return journal_bytes.status();
    settings.images_max = images.value();
    settings.record_bytes_max = record_bytes.value();
    settings.journal_bytes = journal_bytes.value();
    return settings;
}

Result<Settings> read_root(const Section &root) {
    if (Status status = root.refuse_unknown(root_keys); !status.ok())
        return status;
    Settings settings;
    const Result<std::string> directory = read_directory(root, "root");
    if (!directory.ok())
        return directory.status();
    const Result<bool> create = root.flag("create", settings.create);
    if (!create.ok())
        return create.status();
    const Result<bool> read_only = root.flag("readOnly", settings.read_only);
    if (!read_only.ok())
        return read_only.status();
    const auto threads = root.number("threads", limits::threads_default, 1, limits::threads_max);
    if (!threads.ok())
        return threads.status();
    const auto references = read_references(root);
    if (!references.ok())
        return references.status();
    const auto layers = read_layers(root);
    if (!layers.ok())
        return layers.status();
    settings.root = directory.value();
    settings.create = create.value();
    settings.read_only = read_only.value();
    settings.threads = static_cast<int>(threads.value());
    settings.references = references.value();
    settings.layers = layers.value();
    return read_limits(root, std::move(settings));
}

} // namespace

Result<Settings> parse_settings(std::string_view json) {
    if (json.size() > limits::configuration_bytes_max)
        return over_limit("config", "is longer than " +
                                        std::to_string(limits::configuration_bytes_max) + " bytes");
    std::int64_t position = -1;
    if (!is_utf8(json, &position))
        return invalid("config", "is not UTF-8 at byte " + std::to_string(position), position);
    QJsonParseError error;
    const auto bytes = QByteArray::fromRawData(json.data(), static_cast<qsizetype>(json.size()));
    const QJsonDocument document = QJsonDocument::fromJson(bytes, &error);
    if (error.error != QJsonParseError::NoError) {
        // Qt counts one too many when a text ends within a string.
        const auto at =
            std::min(std::int64_t{error.offset}, static_cast<std::int64_t>(json.size()));
        return invalid("config",
                       "broken JSON at byte " + std::to_string(at) + ": " +
                           error.errorString().toStdString(),
                       at);
    }
    if (!document.isObject())
        return invalid("config", "expected an object, found an array", 0);
    constexpr std::size_t any_depth = SIZE_MAX;
    if (const auto repeated = repeated_key(bytes, any_depth))
        return invalid("config", "key '" + printable(repeated->key) + "' stands twice",
                       repeated->position);
    return read_root(Section(document.object(), "config"));
}

} // namespace waybill
