// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors
//
// What a recovery must do with files that somebody else has written, whatever is in them.
#pragma once

#include "tests/unit/memory_disk.h"

#include "plugin/index.h"
#include "plugin/recovery.h"
#include "plugin/store_mark.h"

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace waybill::fuzz {

using Files = std::map<std::string, std::vector<std::uint8_t>>;

/// One image, as far as a recovery says anything about it.
struct Seen {
    std::uint64_t revision = 0;
    std::uint16_t flags = 0;
    std::vector<std::uint8_t> payload;
    bool operator==(const Seen &) const = default;
};
using Images = std::map<Key, Seen>;

Images images_in(const Index &index);

struct Opened {
    Status status;        ///< of the first recovery for writing
    bool created = false; ///< there was nothing that counts as a store
    Images images;
    std::vector<Damage> damage;
    std::uint64_t dropped_tail_bytes = 0;
};

/// Recovers read-only, then for writing, then once more, puts an image and recovers a last time.
/// Requires: reading changes nothing and sees what writing sees; a refusal changes no file; damage
/// is kept aside; the second time all is as it was the first; the put is there and nothing went.
Opened open_hostile(const Files &files, const RecoveryOptions &options, bool can_allocate);

/// Requires each record to stand, byte for byte, in one of the files.
void require_no_invention(const Images &images, const Files &files);

// --- sound files to stand beside a hostile one -------------------------------------------------

inline constexpr StoreId store_id = {'f', 'u', 'z', 'z', 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12};
inline constexpr std::uint64_t sound_salt = 0x9d3f'60c1'7be2'a845;

/// An image with every field, or with few; `value` makes its content.
FramePtr sample_image(std::string_view reference, std::string_view value, bool is_full,
                      std::uint64_t revision);
void add_image(Batch &batch, std::string_view reference, std::string_view value, bool is_full,
               std::uint64_t revision);
void add_removal(Batch &batch, FrameKind kind, const std::vector<std::string> &references,
                 std::uint64_t revision);
void add_mark(Batch &batch, FrameKind kind, std::uint64_t revision, std::uint64_t count = 0);

/// A file as the store would have written it, batch after batch.
class LogFile final {
  public:
    LogFile(FileKind kind, std::uint64_t generation, std::uint64_t first_revision,
            std::uint32_t flags = 0);
    void append(Batch &batch);
    const std::vector<std::uint8_t> &bytes() const { return bytes_; }

  private:
    std::uint64_t salt_;
    std::vector<std::uint8_t> bytes_;
};

/// LOCK, marked as this store's.
std::vector<std::uint8_t> sound_lock();
/// Images a and b, of revisions 1 and 2.
std::vector<std::uint8_t> sound_snapshot(std::uint64_t generation);
/// From `first_revision`: puts c, overwrites a, removes b, closes; 3 revisions.
std::vector<std::uint8_t> sound_journal(std::uint64_t generation, std::uint64_t first_revision);

} // namespace waybill::fuzz
