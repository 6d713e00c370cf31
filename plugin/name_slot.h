// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors
//
// What a slot of the index holds: where a name stands, which takes 48 bits, and above that as many
// of the name's hash, so that a lookup that passes a slot by looks at nothing else.
// An address fits if nothing stands above those bits. Linux gives no other to whom did not ask for
// one, on five-level x86 and 52-bit arm64 neither; but an allocator may put a tag there, which the
// processor then wants to see (memory tagging on arm64) or ignores (its top-byte-ignore, linear
// address masking on x86). Where that is so names stand in memory from mmap, whose addresses have
// no tag.
#pragma once

#include <cstdint>

namespace waybill::name_slot {

/// 0: free.
using Slot = std::uint64_t;

inline constexpr unsigned address_bits = 48;

/// Whether a name can stand there. Wider than a pointer: its bits are counted on 32-bit, too.
constexpr bool fits(std::uint64_t address) { return address >> address_bits == 0; }

constexpr Slot of(std::uint64_t address, std::uint64_t hash) {
    return (hash >> address_bits << address_bits) | address;
}
constexpr std::uint64_t address_in(Slot slot) { return slot & ((Slot{1} << address_bits) - 1); }
constexpr bool may_lead_to(Slot slot, std::uint64_t hash) {
    return (slot ^ hash) >> address_bits == 0;
}

static_assert(fits(0x7fff'ffff'f000) && fits(0xffff'ffff'f000) && fits(0xffff'f000));
static_assert(!fits(0x0700'7fff'ffff'f000), "a tag of arm64's memory tagging");
static_assert(!fits(0x7e00'7fff'ffff'f000), "a tag of linear address masking");
static_assert(!fits(0x00ff'ffff'ffff'f000), "an address of five-level page tables");
static_assert(address_in(of(0xffff'ffff'f000, ~std::uint64_t{0})) == 0xffff'ffff'f000);
static_assert(may_lead_to(of(0xffff'f000, 0x1234'0000'0000'0000), 0x1234'ffff'ffff'ffff));
static_assert(!may_lead_to(of(0xffff'f000, 0x1234'0000'0000'0000), 0x1235'0000'0000'0000));

} // namespace waybill::name_slot
