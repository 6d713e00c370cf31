// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors
//
// Readers write to memory of their own thread's stripe, so that two of them share no cache line.
// With more threads than stripes some do, which costs time, not correctness. Which stripe is whose
// stands in a table under the thread's address: no thread_local variable, for the reasons that
// thread_memory.h tells, and no key of POSIX, since asking for that takes 2 ns.
// Invariants: any stripe serves any thread. So an entry that a thread left behind serves the next
// one at that address, and a table that is full, or copied into a forked child, does no harm.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

namespace waybill {

inline constexpr unsigned stripe_count = 64;

class Stripes final {
  public:
    static unsigned own() {
        const std::uintptr_t thread = own_address();
        const std::size_t home = home_of(thread);
        const std::uintptr_t entry = table_[home].load(std::memory_order_relaxed);
        // The address with its lowest bits replaced by the stripe.
        return is_of(entry, thread) ? stripe_in(entry) : look_further(thread, home);
    }

  private:
    static constexpr unsigned address_bits_free = 6;
    static_assert(stripe_count == 1u << address_bits_free);
    static constexpr std::size_t table_size = 512, probes_max = 8;

    /// What the C library keeps for a thread lies there, and is larger than 64 bytes.
    static std::uintptr_t own_address() {
        return reinterpret_cast<std::uintptr_t>(__builtin_thread_pointer()) >>
               address_bits_free << address_bits_free;
    }
    static std::size_t home_of(std::uintptr_t thread) {
        constexpr std::uint64_t golden_ratio = 0x9e3779b97f4a7c15;
        return static_cast<std::size_t>(thread * golden_ratio >> 55);
    }
    static_assert(table_size == std::size_t{1} << (64 - 55));
    static bool is_of(std::uintptr_t entry, std::uintptr_t thread) {
        return (entry ^ thread) < stripe_count;
    }
    static unsigned stripe_in(std::uintptr_t entry) {
        return static_cast<unsigned>(entry % stripe_count);
    }

    /// Enters the thread if it is not there. Stripes are given in turn, so that few threads never
    /// share one.
    [[gnu::noinline]] static unsigned look_further(std::uintptr_t thread, std::size_t home) {
        for (std::size_t i = 0; i < probes_max; ++i) {
            std::atomic<std::uintptr_t> &place = table_[(home + i) % table_size];
            std::uintptr_t entry = place.load(std::memory_order_relaxed);
            if (entry == 0) {
                const unsigned stripe = next_.fetch_add(1, std::memory_order_relaxed);
                if (place.compare_exchange_strong(entry, thread | stripe % stripe_count))
                    return stripe % stripe_count;
            }
            if (is_of(entry, thread))
                return stripe_in(entry);
        }
        return home % stripe_count;
    }

    inline static std::atomic<std::uintptr_t> table_[table_size];
    inline static std::atomic<unsigned> next_{0};
};

inline unsigned own_stripe() { return Stripes::own(); }

} // namespace waybill
