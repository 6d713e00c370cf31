// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors
//
// Reads the batches of a journal or a snapshot, whole or damaged.
// Invariants: nothing is delivered whose checksum does not hold; one damaged record costs one
// record; the reader knows no files' order and no index, it only says what it found where.
#pragma once

#include "disk.h"
#include "format.h"

#include <cstdint>
#include <string>
#include <vector>

namespace waybill {

/// A stretch of a file that could not be read as what it was.
struct Damage {
    std::string file;
    std::uint64_t offset = 0;
    std::uint64_t bytes = 0;
    std::string what;       ///< one line
    bool loses = true;      ///< whether a record was, or may have been, lost
    std::uint64_t salt = 0; ///< the file's; where it is not known, the oldest generation
    std::vector<std::string> lost_names; ///< "namespace reference", where still readable
};

/// What a log is made of, delivered in order. Frames are in `memory` that the receiver gave.
class LogReceiver {
  public:
    virtual ~LogReceiver() = default;
    /// Before anything else: how much there is at most.
    virtual void file_bytes(std::uint64_t size_bytes) = 0;
    /// Room for the frames of one batch; they are delivered in it.
    virtual std::uint8_t *batch_memory(std::size_t size_bytes) = 0;
    /// What may be the next record, and will be looked at before it is delivered.
    virtual void coming(const Frame &) {}
    /// A record whose checksums hold. The payload is not verified yet.
    virtual void frame(Frame &frame, std::uint64_t offset) = 0;
    /// A record whose head holds and whose payload does not.
    virtual void damaged_frame(const Frame &head, Bytes payload, std::uint64_t offset) = 0;
    /// Bytes of which not even the head could be read; `payload` may hold a record's remains.
    virtual void damaged_bytes(std::uint64_t offset, Bytes remains) = 0;
    /// A batch whose head or body does not hold; its frames are delivered as found.
    virtual void damaged_batch(std::uint64_t offset, std::uint64_t bytes) = 0;
    /// After the frames of each batch; last_revision is 0 where its head did not hold. The memory
    /// stays the receiver's.
    virtual void batch_end(std::uint64_t last_revision) = 0;
};

struct LogEnd {
    std::uint64_t end_offset = header_block_bytes; ///< behind the last good batch
    std::uint64_t last_batch_offset = 0;           ///< of the last good batch; 0: none
    std::uint64_t tail_bytes = 0;        ///< bytes behind it up to the last one that is not zero
    bool is_cut_off = false;             ///< nothing stands behind end_offset, not even zeros
    std::uint64_t tail_whole_frames = 0; ///< frames in the tail whose heads were whole
};

/// Whether the end may have been cut while it was being written: only that of the newest journal.
enum class LogTail { MayBeTorn, IsWhole };

/// Reads from behind the header block to the end of the file. A torn tail is only measured; bytes
/// at the end of a file that was whole once are salvaged like any others.
Result<LogEnd> read_log(File &file, std::uint64_t salt, LogTail tail, LogReceiver &receiver);

} // namespace waybill
