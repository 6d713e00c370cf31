// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors
//
// Readers write to memory of their own thread's stripe, so that two of them share no cache line.
// With more threads than stripes some do, which costs time, not correctness.
#pragma once

#include <atomic>

namespace waybill {

inline constexpr unsigned stripe_count = 64;

inline unsigned own_stripe() {
    static std::atomic<unsigned> next{0};
    // In the thread's own block: one that is allocated at first use aborts without memory.
    [[gnu::tls_model("initial-exec")]] thread_local unsigned own = stripe_count;
    if (own == stripe_count)
        own = next.fetch_add(1, std::memory_order_relaxed) % stripe_count;
    return own;
}

} // namespace waybill
