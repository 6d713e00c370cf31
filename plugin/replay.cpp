// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors
#include "replay.h"

#include "image_generated.h"
#include "limits.h"

#include <algorithm>

namespace waybill {

static std::string name_in(Bytes payload) {
    return std::string(namespace_in(payload)) + " " + std::string(reference_in(payload));
}

std::uint64_t loss_mark_of(const Damage &damage) {
    if (!damage.loses)
        return 0;
    const std::string text = damage.file + " " + std::to_string(damage.offset);
    // The salt: the file that gets this one's name may be damaged at the same place.
    return checksum({reinterpret_cast<const std::uint8_t *>(text.data()), text.size()},
                    damage.salt ^ damage.bytes);
}

void Replay::file_bytes(std::uint64_t size_bytes) {
    bytes_left_ = size_bytes;
    // A table that grows while it is filled is filled twice. Small records are more than this;
    // and of a journal at least a third is the last word on its image, or it were rotated.
    constexpr std::uint64_t record_bytes = 1024, words_an_image = 3;
    const std::uint64_t records = size_bytes / record_bytes;
    const std::uint64_t images = kind_ == FileKind::Snapshot ? records : records / words_an_image;
    index_.reserve(std::min(images, limits::images_expected_max), 0);
}

/// Batches share a block: one large piece of memory costs far fewer page faults than many.
std::uint8_t *Replay::batch_memory(std::size_t size_bytes) {
    if (room_bytes_ < padded(size_bytes)) {
        seal();
        constexpr std::uint64_t block_bytes = 4u << 20;
        room_bytes_ =
            std::max<std::uint64_t>(padded(size_bytes), std::min(block_bytes, bytes_left_));
        room_ = index_.add_block(room_bytes_, &block_);
    }
    std::uint8_t *memory = room_;
    room_ += padded(size_bytes);
    room_bytes_ -= padded(size_bytes);
    bytes_left_ -= std::min<std::uint64_t>(bytes_left_, size_bytes);
    return memory;
}

void Replay::seal() {
    if (block_ != 0)
        index_.seal_block(block_, block_frames_);
    block_ = block_frames_ = 0;
    room_bytes_ = 0;
}

void Replay::add_damage(std::uint64_t offset, std::uint64_t bytes, std::string what, bool loses) {
    damage_.push_back({file_, offset, bytes, std::move(what), loses, salt_, {}});
    loss_mark_ += loss_mark_of(damage_.back());
    if (loses)
        accepted_ = false;
}

void Replay::mark_all(std::uint16_t flags) {
    index_.for_each_frame([&](Frame &frame) { index_.set_flags(frame, flags, 0); });
}

void Replay::apply_removal(const Frame &frame, std::uint64_t offset) {
    const record::Removal *removal = verified_removal(frame.payload_span());
    if (!removal) {
        damaged_frame(frame, frame.payload_span(), offset);
        return;
    }
    for (const record::Key *key : *removal->images())
        index_.erase({key->name_space()->c_str(), key->name_space()->size()},
                     {key->reference()->c_str(), key->reference()->size()});
}

/// A revision that was jumped over is a record that is gone, whatever it was.
void Replay::check_revision(std::uint64_t revision, std::uint64_t offset) {
    if (kind_ == FileKind::Snapshot)
        return;
    const std::uint64_t next = revision_ + 1 + gap_explained_;
    gap_explained_ = 0;
    if (revision > next) {
        add_damage(offset, 0,
                   "revisions " + std::to_string(revision_ + 1) + " to " +
                       std::to_string(revision - 1) + " are missing");
        mark_all(frame_flag_uncertain | frame_flag_resurrected);
    }
    revision_ = std::max(revision_, revision);
}

void Replay::frame(Frame &frame, std::uint64_t offset) {
    check_revision(frame.revision, offset);
    closed_ = frame.frame_kind() == FrameKind::Close;
    switch (frame.frame_kind()) {
    case FrameKind::Put:
        if (!verified_image(frame.payload_span()) ||
            frame.key_hash != key_hash(namespace_of(frame), reference_of(frame))) {
            damaged_frame(frame, frame.payload_span(), offset);
            return;
        }
        frame.block = block_;
        frame.flags &= frame_flags_stored;
        ++block_frames_;
        ++records_;
        index_.put(&frame);
        return;
    case FrameKind::Remove:
    case FrameKind::Prune:
        apply_removal(frame, offset);
        return;
    case FrameKind::AcceptLoss:
        // Without damage in what has been read, what it accepts is what the snapshot's header,
        // which is older, declares. Damage that it does not name is damage that it did not know.
        if (loss_mark_ != 0 && frame.key_hash != loss_mark_)
            return;
        accepted_ = true;
        index_.for_each_frame(
            [&](Frame &marked) { index_.set_flags(marked, 0, frame_flags_stored); });
        return;
    case FrameKind::End:
        ended_ = true;
        records_expected_ = frame.key_hash;
        return;
    case FrameKind::Close:
        return;
    }
    damaged_frame(frame, frame.payload_span(), offset);
}

void Replay::damaged_frame(const Frame &head, Bytes payload, std::uint64_t offset) {
    const std::uint64_t bytes = frame_bytes(head.payload_bytes);
    check_revision(head.revision, offset);
    ++records_;
    switch (head.frame_kind()) {
    case FrameKind::Put: {
        add_damage(offset, bytes,
                   "put record of revision " + std::to_string(head.revision) +
                       ": checksum mismatch");
        if (verified_image(payload))
            damage_.back().lost_names.push_back(name_in(payload));
        if (Frame *older = index_.find_hash(head.key_hash))
            index_.set_flags(*older, frame_flag_uncertain, 0);
        return;
    }
    case FrameKind::Remove:
    case FrameKind::Prune:
        add_damage(offset, bytes,
                   std::string(head.frame_kind() == FrameKind::Remove ? "remove" : "prune") +
                       " record of revision " + std::to_string(head.revision) +
                       ": checksum mismatch");
        if (head.frame_kind() == FrameKind::Prune)
            mark_all(frame_flag_resurrected);
        else if (Frame *older = index_.find_hash(head.key_hash))
            index_.set_flags(*older, frame_flag_resurrected, 0);
        return;
    case FrameKind::AcceptLoss:
    case FrameKind::End:
    case FrameKind::Close:
        add_damage(offset, bytes, "record without content: checksum mismatch", false);
        return;
    }
    add_damage(offset, bytes, "record of unknown kind " + std::to_string(head.kind));
    mark_all(frame_flag_uncertain | frame_flag_resurrected);
}

/// How many bytes of `payload`, which starts with a record, the record takes, without its padding:
/// the fewest that still verify. Nothing else tells, for its head is not to be believed.
static std::size_t image_bytes(Bytes payload) {
    std::size_t too_few = 0;
    std::size_t enough = payload.size();
    while (enough - too_few > 1) {
        const std::size_t middle = too_few + (enough - too_few) / 2;
        (verified_image(payload.first(middle)) ? enough : too_few) = middle;
    }
    return enough;
}

void Replay::damaged_bytes(std::uint64_t offset, Bytes remains) {
    // The heads of several records in a row may be gone.
    while (!remains.empty()) {
        const Bytes payload = remains.subspan(std::min(remains.size(), sizeof(Frame)));
        if (!verified_image(payload)) {
            add_damage(offset, remains.size(), "record whose head does not hold");
            if (kind_ == FileKind::Journal)
                mark_all(frame_flag_uncertain | frame_flag_resurrected);
            return;
        }
        const std::size_t bytes = std::min(frame_bytes(image_bytes(payload)), remains.size());
        add_damage(offset, bytes, "record whose head does not hold");
        damage_.back().lost_names.push_back(name_in(payload));
        ++records_;
        ++gap_explained_;
        if (Frame *older = index_.find(namespace_in(payload), reference_in(payload)))
            index_.set_flags(*older, frame_flag_uncertain, 0);
        offset += bytes;
        remains = remains.subspan(bytes);
    }
}

void Replay::damaged_batch(std::uint64_t offset, std::uint64_t bytes) {
    // Its records are looked at one by one, and what is lost of them is reported then.
    add_damage(offset, bytes, "batch: checksum mismatch", false);
}

void Replay::batch_end(std::uint64_t last_revision) {
    index_.reclaim();
    if (kind_ == FileKind::Journal)
        revision_ = std::max(revision_, last_revision);
}

} // namespace waybill
