// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors
//
// Applies what log_reader finds to the index: records as they are, and for each damaged one the
// marks that keep the older state from passing for truth.
// Invariants: a damaged put makes its name uncertain; a damaged remove or prune marks what it may
// have left alive; when not even the name can be read, every image older than the damage is marked.
#pragma once

#include "index.h"
#include "log_reader.h"

#include <cstdint>
#include <string>
#include <vector>

namespace waybill {

/// A number that stands for a set of losses: the sum of this over all of them. An acceptance
/// carries the one of the losses that it accepts, so that it does not cover damage that came later.
std::uint64_t loss_mark_of(const Damage &damage);

class Replay final : public LogReceiver {
  public:
    /// `loss_mark` is that of the files read before.
    Replay(Index &index, std::string file, FileKind kind, std::uint64_t salt,
           std::uint64_t revision, std::uint64_t loss_mark)
        : index_(index), file_(std::move(file)), kind_(kind), salt_(salt), revision_(revision),
          loss_mark_(loss_mark) {}
    ~Replay() override { seal(); }
    Replay(const Replay &) = delete;
    Replay &operator=(const Replay &) = delete;

    void file_bytes(std::uint64_t size_bytes) override;
    std::uint8_t *batch_memory(std::size_t size_bytes) override;
    void coming(const Frame &frame) override { index_.expect(frame.key_hash); }
    void frame(Frame &frame, std::uint64_t offset) override;
    void damaged_frame(const Frame &head, Bytes payload, std::uint64_t offset) override;
    void damaged_bytes(std::uint64_t offset, Bytes remains) override;
    void damaged_batch(std::uint64_t offset, std::uint64_t bytes) override;
    void batch_end(std::uint64_t last_revision) override;

    std::vector<Damage> &damage() { return damage_; }
    std::uint64_t revision() const { return revision_; }
    /// Of a snapshot: its last frame was there and counts as many records as were found.
    bool is_complete() const { return ended_ && records_ >= records_expected_; }
    bool closed() const { return closed_; } ///< the last record says that all before is durable
    bool loss_accepted() const { return accepted_; } ///< and no damage came after it
    std::uint64_t loss_mark() const { return loss_mark_; }

    void add_damage(std::uint64_t offset, std::uint64_t bytes, std::string what, bool loses = true);
    void mark_all(std::uint16_t flags);

  private:
    void seal();
    void apply_removal(const Frame &frame, std::uint64_t offset);
    void check_revision(std::uint64_t revision, std::uint64_t offset);

    Index &index_;
    std::string file_;
    FileKind kind_;
    std::uint64_t salt_;
    std::uint64_t revision_;
    std::uint64_t bytes_left_ = 0; ///< at most, of the file
    std::uint32_t block_ = 0;
    std::uint32_t block_frames_ = 0;
    std::uint8_t *room_ = nullptr; ///< in the block, for more batches
    std::size_t room_bytes_ = 0;
    std::uint64_t records_ = 0;          ///< of a snapshot: read, or known to be lost
    std::uint64_t records_expected_ = 0; ///< of a snapshot: as its last frame counts them
    std::uint64_t gap_explained_ = 0;    ///< so many lost records may have had the next revisions
    bool ended_ = false;
    bool closed_ = false;
    bool accepted_ = false;
    std::uint64_t loss_mark_;
    std::vector<Damage> damage_;
};

} // namespace waybill
