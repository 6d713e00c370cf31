// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors
#include "hostile_store.h"

#include "property.h"

#include <algorithm>

namespace waybill::fuzz {

namespace {

std::string describe(const Images &images) {
    std::string text;
    for (const auto &[key, seen] : images)
        text += "\n     " + key.name_space + " " + key.reference + " revision " +
                std::to_string(seen.revision) + " flags " + std::to_string(seen.flags) + ", " +
                std::to_string(seen.payload.size()) + " bytes";
    return text;
}

std::string describe_both(const Images &before, const Images &after) {
    return "first:" + describe(before) + "\n   then:" + describe(after);
}

/// Without LOCK: a recovery that fails may have mended its mark.
Files logs_on(const MemoryDisk &disk) {
    Files files = disk.copy();
    files.erase(lock_name);
    return files;
}

void require_reading_is_harmless(const Files &files, RecoveryOptions options, const Status &status,
                                 const Images &images) {
    MemoryDisk disk(files);
    options.read_only = true;
    Index index;
    const Result<Recovered> read = recover_store(disk, options, index);
    require(disk.changes == 0 && disk.copy() == files, "a read-only recovery changed the disk");
    if (!status.ok() || (!read.ok() && read.status().code == Code::NotFound))
        return;
    require(read.ok(), "what can be opened for writing can be read",
            read.ok() ? "" : read.status().message);
    require(images_in(index) == images, "reading and writing see the same images",
            describe_both(images, images_in(index)));
}

void require_damage_is_kept(const MemoryDisk &disk, const Files &files,
                            const Recovered &recovered) {
    for (const Damage &damage : recovered.damage)
        require(!files.contains(damage.file) ||
                    std::ranges::any_of(disk.kept,
                                        [&](const auto &kept) {
                                            return kept.first.starts_with(damage.file + "-");
                                        }),
                "a damaged file is kept", damage.file);
}

/// The store is one to work with: a put goes through and outlives the next recovery.
void require_put_works(MemoryDisk &disk, const RecoveryOptions &options, Recovered &recovered,
                       Images images) {
    const std::uint64_t revision = recovered.revision + 1;
    require(revision > recovered.revision, "revisions can go on");
    Batch batch;
    const Key key{"default", "put-after-recovery"};
    const FramePtr frame = sample_image(key.reference, "after", false, revision);
    batch.add(*frame, frame->payload_span());
    const Status appended = recovered.journal->append(batch, 0, false);
    require(appended.ok(), "a put after recovery goes through", appended.message);
    recovered.journal.reset();
    const Bytes payload = frame->payload_span();
    images[key] = {revision, 0, {payload.begin(), payload.end()}};
    Index index;
    const Result<Recovered> again = recover_store(disk, options, index);
    require(again.ok(), "a recovery after a put succeeds",
            again.ok() ? "" : again.status().message);
    require(again.value().damage.empty(), "the put did no damage",
            again.value().damage.empty() ? "" : again.value().damage[0].what);
    require(images_in(index) == images, "the put is there, and all else",
            describe_both(images, images_in(index)));
}

} // namespace

Images images_in(const Index &index) {
    Images images;
    index.scan([&](const Frame &frame) {
        const Bytes payload = frame.payload_span();
        images[key_of(frame)] = {frame.revision, frame.flags, {payload.begin(), payload.end()}};
    });
    require(images.size() == index.image_count(), "each image is counted once");
    return images;
}

Opened open_hostile(const Files &files, const RecoveryOptions &options, bool can_allocate) {
    MemoryDisk disk(files);
    disk.can_allocate = can_allocate;
    const Files logs = logs_on(disk);
    Opened opened;
    Index index;
    Result<Recovered> first = recover_store(disk, options, index);
    if (!first.ok()) {
        opened.status = first.status();
        require(opened.status.code == Code::Corrupt || opened.status.code == Code::Format ||
                    opened.status.code == Code::Mode,
                "a refusal says why", opened.status.message);
        require(logs_on(disk) == logs, "a refusal leaves the files as they were");
        require_reading_is_harmless(files, options, opened.status, {});
        return opened;
    }
    opened.images = images_in(index);
    opened.created = first->created;
    opened.damage = first->damage;
    opened.dropped_tail_bytes = first->dropped_tail_bytes;
    require(first->not_mended.empty(), "damage is mended on a disk that works", first->not_mended);
    require(first->journal != nullptr, "there is a journal to go on with");
    require_reading_is_harmless(files, options, opened.status, opened.images);
    require_damage_is_kept(disk, files, *first);
    first->journal.reset();

    Index index_again;
    Result<Recovered> second = recover_store(disk, options, index_again);
    require(second.ok(), "a second recovery succeeds", second.ok() ? "" : second.status().message);
    require(second->damage.empty() && second->dropped_tail_bytes == 0,
            "nothing is left to mend the second time",
            second->damage.empty() ? "a tail" : second->damage[0].what);
    require(images_in(index_again) == opened.images, "a second recovery gives the same images",
            describe_both(opened.images, images_in(index_again)));
    require(second->degraded == first->degraded, "a degraded store stays so");
    require(second->revision == first->revision, "the revision stays");
    require_put_works(disk, options, *second, opened.images);
    return opened;
}

static std::string_view text_of(const std::vector<std::uint8_t> &bytes) {
    return {reinterpret_cast<const char *>(bytes.data()), bytes.size()};
}

void require_no_invention(const Images &images, const Files &files) {
    for (const auto &image : images) {
        const std::string_view payload = text_of(image.second.payload);
        const bool stands = std::ranges::any_of(files, [&](const auto &file) {
            return text_of(file.second).find(payload) != std::string_view::npos;
        });
        require(stands, "no record is invented", image.first.reference);
    }
}

// --- sound files -------------------------------------------------------------------------------

FramePtr sample_image(std::string_view reference, std::string_view value, bool is_full,
                      std::uint64_t revision) {
    const std::string layer = "sha256:" + std::string(63, '0') + "a";
    const std::string target = "sha512:" + std::string(127, '0') + "b";
    ImageSpec spec;
    spec.reference = reference;
    spec.target_digest = is_full ? target : layer;
    spec.layers = {LayerSpec{{}, layer, {}, 7}};
    spec.labels = {PairSpec{"value", value}};
    if (is_full) {
        spec.layers.push_back({"a-name-of-the-host", target, "application/x-layer", 8});
        spec.target_media_type = "application/x-image";
        spec.target_size_bytes = 9;
        spec.config_digest = layer;
        spec.annotations = {PairSpec{"note", "to \xc3\xa4ll"}};
        spec.os = "linux";
        spec.architecture = "arm64";
        spec.variant = "v8";
        spec.os_version = "6";
        spec.last_used_ns = 3;
        spec.pinned = true;
    }
    Result<FramePtr> frame =
        encode_image(spec, ReferenceMode::Opaque, limits::record_bytes_max_default);
    require(frame.ok(), "a sample image is sound");
    set_times(**frame, 1, 2);
    (*frame)->revision = revision;
    return std::move(*frame);
}

void add_image(Batch &batch, std::string_view reference, std::string_view value, bool is_full,
               std::uint64_t revision) {
    const FramePtr frame = sample_image(reference, value, is_full, revision);
    batch.add(*frame, frame->payload_span());
}

void add_removal(Batch &batch, FrameKind kind, const std::vector<std::string> &references,
                 std::uint64_t revision) {
    std::vector<Key> keys;
    for (const std::string &reference : references)
        keys.push_back({"default", reference});
    Frame head{};
    head.kind = static_cast<std::uint16_t>(kind);
    head.key_hash = kind == FrameKind::Remove ? key_hash("default", references.front()) : 0;
    head.revision = revision;
    batch.add(head, encode_removal(keys));
}

void add_mark(Batch &batch, FrameKind kind, std::uint64_t revision, std::uint64_t count) {
    Frame head{};
    head.kind = static_cast<std::uint16_t>(kind);
    head.key_hash = count;
    head.revision = revision;
    batch.add(head, {});
}

LogFile::LogFile(FileKind kind, std::uint64_t generation, std::uint64_t first_revision,
                 std::uint32_t flags)
    : salt_(sound_salt + 2 * generation + (kind == FileKind::Snapshot ? 1 : 0)) {
    FileHeader header{};
    header.flags = flags | static_cast<std::uint32_t>(ReferenceMode::Opaque) << header_mode_shift;
    header.store_id = store_id;
    header.generation = generation;
    header.salt = salt_;
    header.first_revision = first_revision;
    bytes_ = encode_header(kind, header);
}

void LogFile::append(Batch &batch) {
    const Bytes sealed = batch.seal(salt_, bytes_.size());
    bytes_.insert(bytes_.end(), sealed.begin(), sealed.end());
    batch.clear();
}

std::vector<std::uint8_t> sound_lock() {
    const std::uint64_t sum = checksum(store_id, 0);
    const std::string text = "waybill store " + hex(store_id) + " " +
                             hex(Bytes(reinterpret_cast<const std::uint8_t *>(&sum), sizeof sum)) +
                             "\n";
    std::vector<std::uint8_t> lock(text.begin(), text.end());
    lock.resize(256, 0);
    return lock;
}

std::vector<std::uint8_t> sound_snapshot(std::uint64_t generation) {
    LogFile snapshot(FileKind::Snapshot, generation, 2);
    Batch batch;
    add_image(batch, "a", "in the snapshot", true, 1);
    add_image(batch, "b", "in the snapshot", false, 2);
    add_mark(batch, FrameKind::End, 2, 2);
    snapshot.append(batch);
    return snapshot.bytes();
}

std::vector<std::uint8_t> sound_journal(std::uint64_t generation, std::uint64_t first_revision) {
    LogFile journal(FileKind::Journal, generation, first_revision);
    const std::string value = "of journal " + std::to_string(generation);
    Batch batch;
    add_image(batch, "c", value, false, first_revision + 1);
    journal.append(batch);
    add_image(batch, "a", value, true, first_revision + 2);
    add_removal(batch, FrameKind::Remove, {"b"}, first_revision + 3);
    journal.append(batch);
    add_mark(batch, FrameKind::Close, first_revision + 3);
    journal.append(batch);
    return journal.bytes();
}

} // namespace waybill::fuzz
