// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors
//
// Something that happens once and that threads wait for. A futex and not a condition variable: to
// announce takes no system call unless somebody sleeps, and who wakes up takes no lock.
#pragma once

#include <atomic>
#include <cerrno>
#include <climits>
#include <cstdint>
#include <ctime>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace waybill {

class Announcement final {
  public:
    bool is_announced() const { return state_.load(std::memory_order_acquire) == happened; }

    void announce() noexcept {
        if (state_.exchange(happened, std::memory_order_acq_rel) == awaited)
            ::syscall(SYS_futex, address(), FUTEX_WAKE_PRIVATE, INT_MAX, nullptr, nullptr, 0);
    }

    /// Negative: without limit. False if the time ran out.
    bool wait(std::int64_t timeout_ms) noexcept {
        timespec until{};
        const timespec *deadline = nullptr;
        // Beyond a century the arithmetic would overflow.
        constexpr std::int64_t longest_ms = 100LL * 366 * 24 * 3600 * 1000;
        if (timeout_ms >= 0 && timeout_ms <= longest_ms) {
            ::clock_gettime(CLOCK_MONOTONIC, &until);
            const std::int64_t ns = until.tv_nsec + timeout_ms % 1000 * 1'000'000;
            until.tv_sec += timeout_ms / 1000 + ns / 1'000'000'000;
            until.tv_nsec = ns % 1'000'000'000;
            deadline = &until;
        }
        while (!is_announced()) {
            std::uint32_t expected = pending;
            state_.compare_exchange_strong(expected, awaited);
            if (expected == happened)
                return true;
            const long slept = ::syscall(SYS_futex, address(), FUTEX_WAIT_BITSET_PRIVATE, awaited,
                                         deadline, nullptr, FUTEX_BITSET_MATCH_ANY);
            if (slept != 0 && errno == ETIMEDOUT)
                return is_announced();
        }
        return true;
    }

  private:
    static constexpr std::uint32_t pending = 0, awaited = 1, happened = 2;

    std::uint32_t *address() { return reinterpret_cast<std::uint32_t *>(&state_); }

    std::atomic<std::uint32_t> state_{pending};
    static_assert(sizeof state_ == sizeof(std::uint32_t));
};

} // namespace waybill
