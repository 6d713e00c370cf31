// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors
//
// The bytes of journal and snapshot, as FORMAT.md explains them. Both are a header block followed
// by batches of frames, so that one reader and one set of checksums serve both.
// Invariants: behind the header block every checksum is XXH3 seeded with the file's random salt
// (and, but for payloads, the offset), so bytes copied from elsewhere or planted in a label never
// pass for ours. All numbers are little-endian; frames start at multiples of 8.
#pragma once

#include "reference.h"
#include "status.h"

#include <array>
#include <atomic>
#include <bit>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace waybill {

static_assert(std::endian::native == std::endian::little,
              "FORMAT.md: files are little-endian and are read in place");

using Bytes = std::span<const std::uint8_t>;
using StoreId = std::array<std::uint8_t, 16>;

inline constexpr std::uint32_t format_version = 1;

// --- file header -------------------------------------------------------------------------------

inline constexpr std::uint32_t header_flag_degraded = 1u;
inline constexpr std::uint32_t header_mode_shift = 8; ///< bits 8–9: ReferenceMode

struct FileHeader {
    char magic[8];
    std::uint32_t version;
    std::uint32_t flags;
    StoreId store_id;
    std::uint64_t generation;
    std::uint64_t salt;
    std::uint64_t first_revision; ///< the revision of the state that this file starts from
    std::uint64_t checksum;

    ReferenceMode mode() const {
        return static_cast<ReferenceMode>((flags >> header_mode_shift) & 3u);
    }
};
static_assert(sizeof(FileHeader) == 64);

/// What a disk writes at once, at least: every block of a file system is a multiple of it.
inline constexpr std::size_t sector_bytes = 512;
/// The header stands twice, in two sectors, since without its salt nothing behind it can be read.
inline constexpr std::size_t header_copy_offset = sector_bytes;
inline constexpr std::size_t header_block_bytes = 1024;

enum class FileKind { Journal, Snapshot };

std::vector<std::uint8_t> encode_header(FileKind kind, FileHeader header);

/// Fails with Corrupt if neither copy is whole, Format if the file is of a newer version.
/// `*copy_damaged` tells that one copy was bad.
Result<FileHeader> decode_header(FileKind kind, Bytes block, const std::string &file,
                                 bool *copy_damaged);

// --- frames ------------------------------------------------------------------------------------

enum class FrameKind : std::uint16_t {
    Put = 1,        ///< payload: record::Image
    Remove = 2,     ///< payload: record::Removal of one image
    Prune = 3,      ///< payload: record::Removal of all that went
    AcceptLoss = 4, ///< no payload; key_hash is the mark of the losses accepted, see replay.h
    End = 5,        ///< last frame of a snapshot; key_hash counts its records
    Close = 6,      ///< no payload: all before it was durable when it was written
};

inline constexpr std::uint16_t frame_flag_uncertain = 1u;
inline constexpr std::uint16_t frame_flag_resurrected = 2u;
/// In memory only: derived from the layer check, never written.
inline constexpr std::uint16_t frame_flag_incomplete = 4u;
inline constexpr std::uint16_t frame_flags_stored = frame_flag_uncertain | frame_flag_resurrected;

/// One record: this head, then the payload. In memory the index points at the same bytes.
struct Frame {
    std::uint32_t magic;
    std::uint16_t kind;
    std::uint16_t flags;
    std::uint32_t payload_bytes;
    std::uint32_t block; ///< 0 on disk; in memory the number of the block that owns the frame
    std::uint64_t key_hash;
    std::uint64_t revision;
    std::uint64_t payload_checksum;
    std::uint64_t header_checksum;

    FrameKind frame_kind() const { return static_cast<FrameKind>(kind); }
    const std::uint8_t *payload() const { return reinterpret_cast<const std::uint8_t *>(this + 1); }
    std::uint8_t *payload() { return reinterpret_cast<std::uint8_t *>(this + 1); }
    Bytes payload_span() const { return {payload(), payload_bytes}; }
    /// While the layer check of another thread may be changing them.
    std::uint16_t flags_now() const {
        return std::atomic_ref(const_cast<Frame *>(this)->flags).load(std::memory_order_relaxed);
    }
};
static_assert(sizeof(Frame) == 48);

/// So many zeros, at least, always stand behind the last batch of a journal: one that ends without
/// them was cut off.
inline constexpr std::size_t journal_end_bytes = 8;

inline constexpr std::uint32_t frame_magic = 0x31464257; // "WBF1"
inline constexpr std::uint32_t batch_magic = 0x31424257; // "WBB1"

constexpr std::size_t padded(std::size_t bytes) { return (bytes + 7) & ~std::size_t{7}; }
constexpr std::size_t frame_bytes(std::size_t payload_bytes) {
    return sizeof(Frame) + padded(payload_bytes);
}

struct BatchHeader {
    std::uint32_t magic;
    std::uint32_t frame_count;
    std::uint64_t body_bytes;
    std::uint64_t first_revision;
    std::uint64_t last_revision;
    std::uint64_t body_checksum;
    std::uint64_t header_checksum;
};
static_assert(sizeof(BatchHeader) == 48);

std::uint64_t checksum(Bytes bytes, std::uint64_t seed);

/// Hash of a key (namespace, reference); the same on disk and in the index.
std::uint64_t key_hash(std::string_view name_space, std::string_view reference);

bool frame_header_is_whole(const Frame &frame, std::uint64_t salt, std::uint64_t offset);
bool batch_header_is_whole(const BatchHeader &header, std::uint64_t salt, std::uint64_t offset);

/// Gathers frames and, once its place in the file is known, becomes the bytes of one batch.
class Batch final {
  public:
    void clear();
    void add(const Frame &head, Bytes payload);
    bool empty() const { return count_ == 0; }
    std::size_t size_bytes() const { return bytes_.size(); }
    std::uint64_t last_revision() const { return last_revision_; }

    /// Fills in all checksums for a batch at `offset` of a file with `salt`.
    Bytes seal(std::uint64_t salt, std::uint64_t offset);

  private:
    std::vector<std::uint8_t> bytes_;
    std::vector<std::size_t> frames_; ///< where each frame starts in bytes_
    std::uint32_t count_ = 0;
    std::uint64_t first_revision_ = 0;
    std::uint64_t last_revision_ = 0;
};

std::uint64_t random_u64();
StoreId random_store_id();
std::string hex(Bytes bytes);

/// "journal.<generation>" and back.
std::string journal_name(std::uint64_t generation);
bool parse_journal_name(std::string_view name, std::uint64_t *generation);
inline constexpr const char *snapshot_name = "snapshot";

} // namespace waybill
