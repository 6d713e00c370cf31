// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors
//
// Numbers short byte strings that differ: layer ids, names. Built once by one thread, for a moment,
// and therefore in few pieces of memory that come in huge pages: what it costs is waiting for
// memory, not computing.
#pragma once

#include "format.h"
#include "huge_pages.h"

#include <cstdint>
#include <memory_resource>
#include <optional>
#include <span>
#include <vector>

namespace waybill {

class IdTable final {
  public:
    struct Entry {
        std::uint64_t prefix; ///< the first bytes, as a number: most comparisons end there
        std::uint64_t offset;
        std::uint16_t size;
        std::uint16_t marks; ///< the owner's
    };

    /// Room for `expected` ids, which may be more, of about `id_bytes` each.
    IdTable(std::size_t expected, std::size_t id_bytes);
    IdTable(const IdTable &) = delete;
    IdTable &operator=(const IdTable &) = delete;

    /// Has the memory come that find() and add() will look at. What it returns is for them.
    std::uint64_t expect(Bytes id) const {
        const std::uint64_t hash = checksum(id, seed_);
        __builtin_prefetch(&slots_[hash & mask_]);
        return hash;
    }
    Entry *find(Bytes id, std::uint64_t hash);
    /// The entry of `id`, which is made with `marks` if there is none.
    Entry &add(Bytes id, std::uint64_t hash, std::uint16_t marks);

    std::span<Entry> entries() { return entries_; }
    Bytes id(const Entry &entry) const { return Bytes(bytes_).subspan(entry.offset, entry.size); }

  private:
    struct Slot {
        std::uint32_t tag;    ///< the hash's upper half
        std::uint32_t number; ///< of the entry, + 1; 0: free
    };

    Slot *slot_of(Bytes id, std::uint64_t hash);
    void grow();

    HugePages huge_pages_;
    std::pmr::monotonic_buffer_resource memory_;
    std::pmr::vector<std::uint8_t> bytes_;
    std::pmr::vector<Entry> entries_;
    std::pmr::vector<Slot> slots_;
    std::size_t mask_ = 0;
    const std::uint64_t seed_; ///< whoever chooses the ids must not choose where they collide
};

} // namespace waybill
