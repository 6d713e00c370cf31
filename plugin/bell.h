// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors
//
// What threads sleep at until something has happened, and what is rung when it has. Operations that
// end together have one bell. To ring wakes as many threads as there are processors, and each that
// finds what it waited for wakes one more: if all 64 writers of a batch woke at once, the committer
// would wait for a processor until they had done what they do between two puts. A futex: to ring
// takes no call unless somebody sleeps, and who wakes up takes no lock.
// Invariants: who sleeps is woken by a ring, by another who was, or, should that one be stopped or
// out of processor time, by wake_all().
#pragma once

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <climits>
#include <cstdint>
#include <ctime>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <sys/sysinfo.h>
#include <unistd.h>

namespace waybill {

class Bell final {
  public:
    /// What is waited for happened before.
    void ring() noexcept {
        rings_.fetch_add(1);
        static const int processors = std::max(1, ::get_nprocs());
        wake(processors);
    }

    /// Wakes whoever still sleeps.
    void wake_all() noexcept {
        rings_.fetch_add(1);
        wake(INT_MAX);
    }

    bool anybody_sleeps() const { return sleepers_.load() != 0; }

    /// Sleeps until a bell finds that `happened()`. Negative: without limit. False if the time ran
    /// out.
    template <typename Happened>
    bool wait(std::int64_t timeout_ms, const Happened &happened) noexcept {
        KernelTime until{};
        const KernelTime *deadline = nullptr;
        // Beyond a century the arithmetic would overflow.
        constexpr std::int64_t longest_ms = 100LL * 366 * 24 * 3600 * 1000;
        if (timeout_ms >= 0 && timeout_ms <= longest_ms) {
            timespec now{};
            ::clock_gettime(CLOCK_MONOTONIC, &now);
            const std::int64_t ns = now.tv_nsec + timeout_ms % 1000 * 1'000'000;
            until = {now.tv_sec + timeout_ms / 1000 + ns / 1'000'000'000, ns % 1'000'000'000};
            deadline = &until;
        }
        for (;;) {
            // Before the question: who rings after it changes what the kernel compares.
            const std::uint32_t heard = rings_.load();
            if (happened())
                return true;
            sleepers_.fetch_add(1);
            const long slept = sleep(heard, deadline);
            const bool timed_out = slept != 0 && errno == ETIMEDOUT;
            sleepers_.fetch_sub(1);
            const bool is_over = happened();
            if (is_over)
                wake(1);
            if (is_over || timed_out)
                return is_over;
        }
    }

  private:
    /// What the kernel reads, whichever time the C library was told to have.
    struct KernelTime {
        std::int64_t sec, nsec;
    };
#ifdef SYS_futex_time64 // 32-bit, where SYS_futex has 32-bit times or is not there.
    static constexpr long sleep_call = SYS_futex_time64;
#else
    static constexpr long sleep_call = SYS_futex;
#endif
#ifdef SYS_futex
    static constexpr long wake_call = SYS_futex;
#else
    static constexpr long wake_call = sleep_call;
#endif

    void wake(int threads) noexcept {
        if (anybody_sleeps())
            ::syscall(wake_call, address(), FUTEX_WAKE_PRIVATE, threads, nullptr, nullptr, 0);
    }

    long sleep(std::uint32_t heard, const KernelTime *deadline) noexcept {
        const long slept = ::syscall(sleep_call, address(), FUTEX_WAIT_BITSET_PRIVATE, heard,
                                     deadline, nullptr, FUTEX_BITSET_MATCH_ANY);
#if defined(SYS_futex_time64) && defined(SYS_futex)
        // Before Linux 5.1. What is later than a long can say is later than the machine lives.
        if (slept != 0 && errno == ENOSYS) {
            struct {
                long sec, nsec;
            } until{};
            if (deadline)
                until = {static_cast<long>(std::min<std::int64_t>(deadline->sec, LONG_MAX)),
                         static_cast<long>(deadline->nsec)};
            return ::syscall(SYS_futex, address(), FUTEX_WAIT_BITSET_PRIVATE, heard,
                             deadline ? &until : nullptr, nullptr, FUTEX_BITSET_MATCH_ANY);
        }
#endif
        return slept;
    }

    std::uint32_t *address() { return reinterpret_cast<std::uint32_t *>(&rings_); }

    std::atomic<std::uint32_t> rings_{0};
    static_assert(sizeof rings_ == sizeof(std::uint32_t));
    std::atomic<std::uint32_t> sleepers_{0};
};

} // namespace waybill
