// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors
//
// When may memory that readers could still be looking at be freed?
// Readers enter and leave; one writer retires. What was retired in epoch e is freed once the epoch
// is e + 2, which it becomes only when every reader of epoch e has left.
// Invariants: readers never wait for anybody; two readers share a counter only if more than
// `stripe_count` threads read at once, and then it costs time, not correctness.
#pragma once

#include "stripe.h"

#include <array>
#include <atomic>
#include <cstdint>

namespace waybill {

class Epoch final {
  public:
    /// Held while a reader looks at shared memory.
    class Reader final {
      public:
        explicit Reader(Epoch &epoch) {
            const unsigned stripe = own_stripe();
            for (;;) {
                const std::uint64_t now = epoch.current_.load();
                counter_ = &epoch.readers_[stripe].count[now & 1];
                counter_->fetch_add(1);
                // Without the second look the writer could have moved on twice in between, and
                // would take this reader for one of a younger epoch.
                if (epoch.current_.load() == now)
                    return;
                counter_->fetch_sub(1);
            }
        }
        ~Reader() { counter_->fetch_sub(1, std::memory_order_release); }
        Reader(const Reader &) = delete;
        Reader &operator=(const Reader &) = delete;

      private:
        std::atomic<std::uint32_t> *counter_;
    };

    /// Writer only: what is retired from now on belongs to this epoch.
    std::uint64_t current() const { return current_.load(); }

    /// Writer only: moves on if no reader of the previous epoch is left.
    void try_advance() {
        const std::uint64_t now = current_.load();
        for (const Stripe &stripe : readers_)
            if (stripe.count[(now + 1) & 1].load() != 0)
                return;
        current_.store(now + 1);
    }

  private:
    struct alignas(64) Stripe {
        std::atomic<std::uint32_t> count[2] = {0, 0};
    };

    std::atomic<std::uint64_t> current_{2};
    std::array<Stripe, stripe_count> readers_;
};

} // namespace waybill
