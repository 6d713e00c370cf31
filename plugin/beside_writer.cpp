// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors
#include "beside_writer.h"

#include <algorithm>

namespace waybill {

/// Tells a snapshot apart from every other one. An inode's number does not: the one after next may
/// have it again, and the journals between were emptied while they were read.
static std::optional<std::uint64_t> salt_of_snapshot(Disk &disk) {
    Result<std::unique_ptr<File>> file = disk.open(snapshot_name, OpenMode::Read);
    if (!file.ok())
        return {};
    std::vector<std::uint8_t> block(header_block_bytes);
    Result<std::size_t> got = (*file)->read(0, block);
    if (!got.ok())
        return {};
    block.resize(*got);
    bool copy_damaged = false;
    Result<FileHeader> header =
        decode_header(FileKind::Snapshot, block, snapshot_name, &copy_damaged);
    return header.ok() ? std::optional(header->salt) : std::nullopt;
}

Result<Recovered> read_beside_writer(Disk &disk, const RecoveryOptions &options, Index &index) {
    constexpr int attempts_max = 10;
    for (int attempt = 1;; ++attempt) {
        const std::optional<std::uint64_t> before = salt_of_snapshot(disk);
        Result<Recovered> recovered = recover_store(disk, options, index);
        const bool overtaken = before != salt_of_snapshot(disk);
        const bool vanished = !recovered.ok() && recovered.status().code == Code::NotFound;
        const bool sound = recovered.ok() && recovered->damage.empty();
        if (!overtaken && (sound || (!recovered.ok() && !vanished)))
            return recovered;
        if (attempt == attempts_max && !overtaken)
            return recovered;
        index.clear();
        if (attempt == attempts_max)
            return failure(Code::Again, "the writer replaced the snapshot each of the " +
                                            std::to_string(attempts_max) +
                                            " times that it was read");
    }
}

/// The revision alone does not tell: a writer that goes on from a backup uses revisions again.
static bool is_same_record(const Frame &one, const Frame &other) {
    return one.revision == other.revision &&
           std::ranges::equal(one.payload_span(), other.payload_span());
}

Status follow_writer(Index &held, const Index &fresh) {
    struct Marked {
        Frame *frame;
        std::uint16_t flags;
    };
    std::vector<FramePtr> changed;
    std::vector<Marked> marked;
    bool out_of_memory = false;
    fresh.for_each_frame([&](const Frame &frame) {
        Frame *known = held.find(namespace_of(frame), reference_of(frame));
        if (known && is_same_record(*known, frame)) {
            if (known->flags_now() != frame.flags)
                marked.push_back({known, frame.flags});
            return;
        }
        changed.push_back(copy_frame(frame));
        out_of_memory = out_of_memory || !changed.back();
    });
    std::vector<Key> gone;
    held.for_each_frame([&](const Frame &frame) {
        if (!fresh.find(namespace_of(frame), reference_of(frame)))
            gone.push_back(key_of(frame));
    });
    if (out_of_memory)
        return failure(Code::NoMemory, "memory ran out");
    // All of it now: memory that runs out later would leave half of the writer's changes.
    held.reserve(changed.size(), gone.size());
    for (const FramePtr &frame : changed)
        held.add_name(*frame);
    {
        const auto lock = held.publish();
        for (const Marked &each : marked)
            held.set_flags(*each.frame, each.flags, static_cast<std::uint16_t>(~each.flags));
        for (const Key &key : gone)
            held.erase(key.name_space, key.reference);
        for (FramePtr &frame : changed)
            held.put(frame.release());
    }
    held.reclaim();
    return {};
}

} // namespace waybill
