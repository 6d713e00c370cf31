// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors
#include "forked.h"

#include <array>
#include <atomic>
#include <mutex>
#include <pthread.h>
#include <unistd.h>

namespace waybill::forked {

// Statics with constant initialisation and trivial destruction: the handler may run in a child
// while another thread of the parent is anywhere, so it may only touch atomics and close().
static std::atomic<std::uint64_t> current{1};
/// Descriptor + 1, so that the table is zero and needs no code to start with. A store has four
/// descriptors open, seldom more; 256 stores in one process are plenty.
static std::array<std::atomic<int>, 1024> watched;
static constexpr int nothing = 0;

std::uint64_t generation() { return current.load(std::memory_order_relaxed); }

static void in_child() {
    current.fetch_add(1, std::memory_order_relaxed);
    for (auto &slot : watched) {
        const int held = slot.exchange(nothing, std::memory_order_relaxed);
        if (held != nothing)
            ::close(held - 1);
    }
}

void install() {
    static std::once_flag once;
    std::call_once(once, [] { ::pthread_atfork(nullptr, nullptr, in_child); });
}

void watch(int fd) {
    for (auto &slot : watched) {
        int expected = nothing;
        if (slot.compare_exchange_strong(expected, fd + 1, std::memory_order_relaxed))
            return;
    }
}

void unwatch(int fd) {
    for (auto &slot : watched) {
        int expected = fd + 1;
        if (slot.compare_exchange_strong(expected, nothing, std::memory_order_relaxed))
            return;
    }
}

} // namespace waybill::forked
