// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors
//
// Sample images, and a store of them in a directory that goes with the test.
#pragma once

#include "plugin/record.h"
#include "plugin/store.h"

#include "image_generated.h"

#include <QDir>
#include <QFile>
#include <QJsonArray>
#include <QJsonDocument>
#include <QJsonObject>
#include <QTemporaryDir>
#include <QtTest>

#include <cstdio>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace waybill {

inline std::string numbered_digest(std::uint64_t number) {
    char text[80];
    std::snprintf(text, sizeof text, "sha256:%064llx", static_cast<unsigned long long>(number));
    return text;
}

/// An image whose content is one text, which tests compare.
struct SampleImage {
    std::string name;
    std::string value;
    std::string name_space = "default";
    std::string layer = numbered_digest(7);
    std::string target = numbered_digest(1);

    ImageSpec spec() const {
        ImageSpec spec;
        spec.name_space = name_space;
        spec.reference = name;
        spec.target_digest = target;
        spec.layers = {LayerSpec{{}, layer, {}, 7}};
        spec.labels = {PairSpec{"value", value}};
        return spec;
    }
    PutRequest request() const { return {spec(), PutCondition::Any, 0}; }
    FramePtr frame(std::uint64_t revision) const {
        Result<FramePtr> frame =
            encode_image(spec(), ReferenceMode::Opaque, limits::record_bytes_max_default);
        if (!frame.ok())
            qFatal("%s", frame.status().message.c_str());
        set_times(**frame, 1, 1);
        (*frame)->revision = revision;
        return std::move(*frame);
    }
};

inline std::string value_of(const Frame &frame) {
    const PairList labels = labels_of(*image_of(frame));
    for (std::uint32_t i = 0; i < labels.size(); ++i)
        if (labels.key(i) == "value")
            return std::string(labels.value(i));
    return {};
}

using Images = std::map<std::string, std::string>; ///< name → value

inline Images images_in(const Index &index) {
    Images images;
    index.scan(
        [&](const Frame &frame) { images[std::string(reference_of(frame))] = value_of(frame); });
    return images;
}

/// Names of the images that carry any of `flags`.
inline std::vector<std::string> marked_in(const Index &index, std::uint16_t flags) {
    std::vector<std::string> names;
    index.scan([&](const Frame &frame) {
        if (frame.flags & flags)
            names.emplace_back(reference_of(frame));
    });
    std::sort(names.begin(), names.end());
    return names;
}

inline QByteArray file_bytes(const QString &path) {
    QFile file(path);
    return file.open(QIODevice::ReadOnly) ? file.readAll() : QByteArray();
}

inline bool write_file(const QString &path, const QByteArray &bytes) {
    QFile file(path);
    return file.open(QIODevice::WriteOnly) && file.write(bytes) == bytes.size();
}

inline Host quiet_host() {
    return {[](Severity, const std::string &) {}, {}, [] { return std::int64_t{1'000}; }};
}

/// A store in a directory of its own, which may be closed, changed and opened again.
class ScratchStore final {
  public:
    ScratchStore() {
        settings.root = root().toStdString();
        settings.references = ReferenceMode::Opaque;
    }

    QString root() const { return directory_.path() + "/store"; }
    QString path(const QString &name) const { return root() + "/" + name; }

    /// Opens and recovers.
    Status open() {
        close();
        Result<std::unique_ptr<Store>> opened = Store::open(settings, quiet_host());
        if (!opened.ok())
            return opened.status();
        store_ = std::move(*opened);
        const OutcomePtr outcome = ended(store_->recover());
        report = QJsonDocument::fromJson(QByteArray::fromStdString(outcome->report_json)).object();
        return outcome->status;
    }
    void close() { store_.reset(); }
    Store *operator->() { return store_.get(); }
    Store &operator*() { return *store_; }

    using OutcomePtr = std::shared_ptr<const Outcome>;

    /// Waits; a refusal at submission looks like one that came later.
    static OutcomePtr ended(const Result<OperationPtr> &operation) {
        if (!operation.ok()) {
            auto outcome = std::make_shared<Outcome>();
            outcome->status = operation.status();
            return outcome;
        }
        operation.value()->wait(-1);
        return {operation.value(), &operation.value()->outcome()};
    }

    OutcomePtr put(const SampleImage &image) { return put_all({image}); }
    OutcomePtr put_all(const std::vector<SampleImage> &images) {
        std::vector<PutRequest> requests;
        for (const SampleImage &image : images)
            requests.push_back(image.request());
        return ended(store_->put(requests));
    }
    OutcomePtr remove(const std::string &name) { return ended(store_->remove({}, name)); }
    OutcomePtr prune(const std::vector<std::string_view> &keep = {}) {
        return ended(store_->prune(std::nullopt, keep));
    }
    OutcomePtr accept_loss() { return ended(store_->accept_loss()); }

    Images images() const {
        Images found;
        Result<std::vector<ImagePin>> listed = store_->list({});
        if (!listed.ok())
            qFatal("%s", listed.status().message.c_str());
        for (const ImagePin &pin : *listed)
            found[std::string(reference_of(pin->frame()))] = value_of(pin->frame());
        return found;
    }
    QJsonObject stats() const {
        Result<std::string> text = store_->report("stats");
        return QJsonDocument::fromJson(QByteArray::fromStdString(text.ok() ? *text : "")).object();
    }

    /// Every file below the root with its bytes.
    std::map<QString, QByteArray> files() const {
        std::map<QString, QByteArray> files;
        const QDir top(root());
        QStringList folders{QString(), QStringLiteral("damaged/")};
        for (const QString &folder : folders)
            for (const QString &name :
                 QDir(root() + "/" + folder).entryList(QDir::Files | QDir::Hidden))
                files[folder + name] = file_bytes(path(folder + name));
        return files;
    }
    QString newest_journal() const {
        QString newest;
        quint64 highest = 0;
        for (const auto &[name, bytes] : files())
            if (std::uint64_t found = 0;
                parse_journal_name(name.toStdString(), &found) && found > highest) {
                highest = found;
                newest = name;
            }
        return newest;
    }
    bool flip(const QString &name, qsizetype offset) const {
        QByteArray bytes = file_bytes(path(name));
        if (offset >= bytes.size())
            return false;
        bytes[offset] = static_cast<char>(bytes[offset] ^ 0x40);
        return write_file(path(name), bytes);
    }

    Settings settings;
    QJsonObject report; ///< of the last recovery

  private:
    QTemporaryDir directory_;
    std::unique_ptr<Store> store_;
};

} // namespace waybill
