// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors
//
// Appends batches to the newest journal and makes each durable.
// Invariants: a batch is written only after the one before it is durable; a failed write never
// moves the offset; after a failed sync nothing is written or synced ever again. A part of the
// space is kept back from puts, so that removing works on a full disk. Small batches go where zeros
// have been written: into space that is merely reserved a sync takes the file system a transaction.
#pragma once

#include "disk.h"
#include "format.h"

#include <cstdint>
#include <memory>

namespace waybill {

class JournalWriter final {
  public:
    /// Makes journal.<header.generation>, durable in the directory too. After a failure
    /// `*left_behind` tells that it could not be taken back: the journal before it must take
    /// nothing more then, since recovery would take its end for one that was whole.
    static Result<std::unique_ptr<JournalWriter>>
    start(Disk &disk, const FileHeader &header, std::uint64_t reserve_bytes, bool *left_behind);
    /// Takes back, durably, a journal that holds nothing yet.
    static Status take_back(Disk &disk, std::uint64_t generation);
    /// Goes on with a journal that recovery has read up to `offset`, and synced.
    JournalWriter(std::unique_ptr<File> file, const FileHeader &header, std::uint64_t offset,
                  std::uint64_t allocated_bytes);

    /// Writes and syncs. `reserve_bytes` must stay free behind the batch, unless
    /// `may_use_reserve`. NoSpace, Limit: nothing has changed. Io: what reached the disk is
    /// unknown, and this journal takes nothing more.
    Status append(Batch &batch, std::uint64_t reserve_bytes, bool may_use_reserve);

    const FileHeader &header() const { return header_; }
    std::uint64_t offset() const { return offset_; }
    bool failed() const { return failed_; }

  private:
    std::uint64_t space_for(std::uint64_t bytes, std::uint64_t reserve_bytes,
                            bool may_use_reserve) const;
    Status extend(std::uint64_t end);
    bool may_lose_the_end(std::uint64_t batch_end) const;
    Status sync();
    Status write_zeros_behind(std::uint64_t end);
    Status take_back_bytes(std::uint64_t bytes);
    Status ensure_space(std::uint64_t bytes, std::uint64_t reserve_bytes, bool may_use_reserve);

    std::unique_ptr<File> file_;
    FileHeader header_;
    std::uint64_t offset_;
    std::uint64_t allocated_bytes_;
    std::uint64_t durable_bytes_; ///< the length that no power cut takes
    std::uint64_t zeroed_bytes_;  ///< up to here every block has been written
    bool failed_ = false;
    bool can_reserve_ = true;
};

/// Whether append refused the batch before a byte of it could reach the disk.
inline bool wrote_nothing(const Status &appended) {
    return appended.code == Code::NoSpace || appended.code == Code::Limit;
}

/// Appends the mark that everything before it was durable. With it a damaged last record is told
/// from one that was being written when the power went. NoSpace, Limit: it does not use the
/// reserve, which a full store that is opened and closed again and again would lose to marks.
Status append_close(JournalWriter &journal, std::uint64_t revision, std::uint64_t reserve_bytes);

} // namespace waybill
