// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors
#include "id_table.h"

#include <bit>
#include <cstring>

namespace waybill {

static std::uint64_t prefix_of(Bytes id) {
    std::uint64_t prefix = 0;
    for (std::size_t i = 0; i < sizeof prefix; ++i)
        prefix = prefix << 8 | (i < id.size() ? id[i] : 0);
    return prefix;
}

static std::size_t slots_for(std::size_t entries) { return std::bit_ceil(2 * entries + 16); }

static std::size_t bytes_for(std::size_t entries, std::size_t id_bytes, std::size_t entry_bytes,
                             std::size_t slot_bytes) {
    constexpr std::size_t alignments = 64;
    return entries * (id_bytes + entry_bytes) + slots_for(entries) * slot_bytes + alignments;
}

IdTable::IdTable(std::size_t expected, std::size_t id_bytes)
    : memory_(bytes_for(expected, id_bytes, sizeof(Entry), sizeof(Slot)), &huge_pages_),
      bytes_(&memory_), entries_(&memory_), slots_(slots_for(expected), &memory_),
      mask_(slots_.size() - 1), seed_(random_u64()) {
    bytes_.reserve(expected * id_bytes);
    entries_.reserve(expected);
}

IdTable::Slot *IdTable::slot_of(Bytes id, std::uint64_t hash) {
    const auto tag = static_cast<std::uint32_t>(hash >> 32);
    for (std::size_t at = hash & mask_;; at = (at + 1) & mask_) {
        Slot &slot = slots_[at];
        if (slot.number == 0)
            return &slot;
        if (slot.tag != tag)
            continue;
        const Entry &entry = entries_[slot.number - 1];
        if (entry.size == id.size() &&
            std::memcmp(bytes_.data() + entry.offset, id.data(), id.size()) == 0)
            return &slot;
    }
}

IdTable::Entry *IdTable::find(Bytes id, std::uint64_t hash) {
    const Slot *slot = slot_of(id, hash);
    return slot->number == 0 ? nullptr : &entries_[slot->number - 1];
}

IdTable::Entry &IdTable::add(Bytes id, std::uint64_t hash, std::uint16_t marks) {
    Slot *slot = slot_of(id, hash);
    if (slot->number != 0)
        return entries_[slot->number - 1];
    if (2 * (entries_.size() + 1) > mask_) {
        grow();
        slot = slot_of(id, hash);
    }
    entries_.push_back(
        {prefix_of(id), bytes_.size(), static_cast<std::uint16_t>(id.size()), marks});
    bytes_.insert(bytes_.end(), id.begin(), id.end());
    *slot = {static_cast<std::uint32_t>(hash >> 32), static_cast<std::uint32_t>(entries_.size())};
    return entries_.back();
}

void IdTable::grow() {
    std::pmr::vector<Slot> larger(2 * slots_.size(), &memory_);
    mask_ = larger.size() - 1;
    for (std::size_t i = 0; i < entries_.size(); ++i) {
        const std::uint64_t hash = checksum(id(entries_[i]), seed_);
        std::size_t at = hash & mask_;
        while (larger[at].number != 0)
            at = (at + 1) & mask_;
        larger[at] = {static_cast<std::uint32_t>(hash >> 32), static_cast<std::uint32_t>(i + 1)};
    }
    slots_ = std::move(larger);
}

} // namespace waybill
