// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors
//
// What a store tells people and listings: reports as JSON, and sorted pages of images.
#include "store.h"

#include "image_generated.h"
#include "limits.h"

#include <QtCore/QJsonArray>
#include <QtCore/QJsonDocument>

#include <algorithm>

namespace waybill {

static qint64 number(std::uint64_t value) { return static_cast<qint64>(value); }

static QString text(const std::string &value) { return QString::fromStdString(value); }

static const char *mode_name(ReferenceMode mode) {
    switch (mode) {
    case ReferenceMode::Canonical:
        return "canonical";
    case ReferenceMode::Opaque:
        return "opaque";
    case ReferenceMode::Mesos:
        return "mesos";
    }
    return "";
}

static QJsonArray damage_array(const std::vector<Damage> &damage) {
    QJsonArray array;
    for (const Damage &each : damage) {
        QJsonArray lost;
        for (const std::string &name : each.lost_names)
            lost.append(text(name));
        array.append(QJsonObject{{QStringLiteral("file"), text(each.file)},
                                 {QStringLiteral("offset"), number(each.offset)},
                                 {QStringLiteral("bytes"), number(each.bytes)},
                                 {QStringLiteral("what"), text(each.what)},
                                 {QStringLiteral("losesRecords"), each.loses},
                                 {QStringLiteral("lost"), lost}});
    }
    return array;
}

std::string Store::write_report(const Recovered &recovered, const LayerCheck &layers,
                                std::int64_t milliseconds) {
    QJsonObject report{
        {QStringLiteral("images"), number(index_.image_count())},
        {QStringLiteral("revision"), number(recovered.revision)},
        {QStringLiteral("storeId"), text(hex(store_id_))},
        {QStringLiteral("created"), recovered.created},
        {QStringLiteral("references"), QLatin1String(mode_name(mode_))},
        {QStringLiteral("readOnly"), settings_.read_only},
        {QStringLiteral("degraded"), recovered.degraded},
        {QStringLiteral("damage"), damage_array(recovered.damage)},
        {QStringLiteral("droppedTailBytes"), number(recovered.dropped_tail_bytes)},
        {QStringLiteral("possiblyAcknowledged"), number(recovered.possibly_acknowledged)},
        {QStringLiteral("layersChecked"), layers.asked},
        {QStringLiteral("incompleteImages"), number(layers.incomplete_images)},
        {QStringLiteral("distinctLayers"), number(layers.distinct_layers)},
        {QStringLiteral("missingLayers"), number(layers.missing_layers)},
        {QStringLiteral("milliseconds"), static_cast<qint64>(milliseconds)}};
    if (!recovered.not_mended.empty())
        report.insert(QStringLiteral("notMendedYet"), text(recovered.not_mended));
    if (recovered.lacks_reserve)
        report.insert(QStringLiteral("lacksReserve"), true);
    // Images whose record may not be the last word, by name. Without damage there are none, and
    // looking for them would take a thirtieth of the recovery.
    QJsonArray uncertain, resurrected;
    const auto note = [&](const Frame &frame) {
        const std::uint16_t flags = frame.flags_now();
        if ((flags & frame_flags_stored) == 0)
            return;
        const QJsonObject name{
            {QStringLiteral("namespace"), text(std::string(namespace_of(frame)))},
            {QStringLiteral("reference"), text(std::string(reference_of(frame)))}};
        if (flags & frame_flag_uncertain)
            uncertain.append(name);
        if (flags & frame_flag_resurrected)
            resurrected.append(name);
    };
    if (recovered.degraded || !recovered.damage.empty())
        index_.scan(note);
    report.insert(QStringLiteral("uncertain"), uncertain);
    report.insert(QStringLiteral("possiblyResurrected"), resurrected);
    std::string json = QJsonDocument(report).toJson(QJsonDocument::Compact).toStdString();
    const std::lock_guard lock(report_mutex_);
    recovery_report_ = json;
    return json;
}

Result<std::string> Store::report(std::string_view name) const {
    if (Status open = check_open(); !open.ok())
        return open;
    if (name == "recovery") {
        const std::lock_guard lock(report_mutex_);
        return recovery_report_;
    }
    if (name != "stats")
        return failure(Code::NotFound,
                       "no report '" + std::string(name) + "'; there are: recovery, stats");
    std::uint64_t incomplete = 0, pinned = 0;
    index_.scan([&](const Frame &frame) {
        incomplete += (frame.flags_now() & frame_flag_incomplete) != 0;
        pinned += image_of(frame)->pinned();
    });
    QJsonObject stats{{QStringLiteral("storeId"), text(hex(store_id_))},
                      {QStringLiteral("images"), number(index_.image_count())},
                      {QStringLiteral("recordBytes"), number(index_.live_bytes())},
                      {QStringLiteral("incompleteImages"), number(incomplete)},
                      {QStringLiteral("pinnedImages"), number(pinned)},
                      {QStringLiteral("references"), QLatin1String(mode_name(mode_))},
                      {QStringLiteral("readOnly"), settings_.read_only},
                      {QStringLiteral("degraded"), degraded_.load()},
                      {QStringLiteral("revision"), number(revision_read_.load())}};
    if (committer_) {
        const CommitterStats committed = committer_->stats();
        const QJsonObject more{
            {QStringLiteral("readOnly"), committed.read_only},
            {QStringLiteral("degraded"), committed.degraded},
            {QStringLiteral("revision"), number(committed.revision)},
            {QStringLiteral("generation"), number(committed.generation)},
            {QStringLiteral("journalBytes"), number(committed.journal_bytes)},
            {QStringLiteral("batches"), number(committed.batches)},
            {QStringLiteral("transactions"), number(committed.transactions)},
            {QStringLiteral("snapshots"), number(committed.snapshots)},
            {QStringLiteral("snapshotFailures"), number(committed.snapshot_failures)}};
        for (auto it = more.begin(); it != more.end(); ++it)
            stats.insert(it.key(), it.value());
    }
    return QJsonDocument(stats).toJson(QJsonDocument::Compact).toStdString();
}

// --- listing -----------------------------------------------------------------------------------

static bool has_digest(const record::Image &image, Bytes wanted) {
    const auto is_wanted = [&](Bytes packed) { return std::ranges::equal(packed, wanted); };
    if (is_wanted(target_of(image)) || is_wanted(config_of(image)))
        return true;
    const LayerList layers(image);
    for (std::uint32_t i = 0; i < layers.size(); ++i)
        if (is_wanted(layers.id(i)) || is_wanted(layers[i].digest))
            return true;
    return false;
}

static bool has_label(const record::Image &image, const Query &query) {
    const PairList labels = labels_of(image);
    for (std::uint32_t i = 0; i < labels.size(); ++i)
        if (labels.key(i) == query.label_key)
            return !query.label_value || labels.value(i) == *query.label_value;
    return false;
}

static bool matches(const Frame &frame, const Query &query, Bytes digest) {
    const std::uint16_t flags = frame.flags_now();
    const record::Image &image = *image_of(frame);
    const auto name = std::pair(namespace_of(frame), reference_of(frame));
    return (query.name_space.empty() || name.first == query.name_space) &&
           name.second.starts_with(query.prefix) &&
           (!query.after || name > std::pair(std::string_view(query.after->name_space),
                                             std::string_view(query.after->reference))) &&
           (query.state_any == 0 || (flags & query.state_any) != 0) &&
           (digest.empty() || has_digest(image, digest)) &&
           (query.label_key.empty() || has_label(image, query));
}

Result<std::vector<ImagePin>> Store::list(const Query &query) const {
    if (Status open = check_open(); !open.ok())
        return open;
    PackedId digest;
    if (!query.digest.empty()) {
        Result<PackedId> parsed = parse_layer_id(query.digest);
        if (!parsed.ok()) {
            Status status = parsed.status();
            status.field = "query.digest";
            return status;
        }
        digest = *parsed;
    }
    // The scan ends before the sorting; the reader keeps the frames alive until they are pinned.
    const Epoch::Reader reader(index_.epoch());
    std::vector<const Frame *> found;
    index_.scan([&](const Frame &frame) {
        if (matches(frame, query, digest.span()))
            found.push_back(&frame);
    });
    const auto earlier = [](const Frame *a, const Frame *b) {
        return std::pair(namespace_of(*a), reference_of(*a)) <
               std::pair(namespace_of(*b), reference_of(*b));
    };
    const std::size_t wanted =
        query.limit == 0 ? found.size() : std::min<std::size_t>(query.limit, found.size());
    std::partial_sort(found.begin(), found.begin() + static_cast<std::ptrdiff_t>(wanted),
                      found.end(), earlier);
    std::vector<ImagePin> images;
    images.reserve(wanted);
    for (std::size_t i = 0; i < wanted; ++i) {
        Pin *pin = Pins::of_process().begin_lookup();
        if (!pin)
            return failure(Code::NoMemory, "no memory to hold an image");
        Pins::keep(*pin, *found[i]);
        images.emplace_back(pin);
    }
    return images;
}

} // namespace waybill
