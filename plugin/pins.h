// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors
//
// The frames that hosts hold. A handle is a pin: a slot that names a frame, taken from slots of the
// thread's own, so that holding an image neither copies it nor counts on a shared line. Who wants
// to free a frame looks through all pins first.
// Invariants: a lookup claims its pin before it reads the index, and a frame is freed only when all
// lookups that were under way after it left the index have ended and no pin names it; a pinned
// frame outlives its store.
#pragma once

#include "format.h"
#include "stripe.h"

#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

namespace waybill {

class Pin final {
  public:
    const Frame &frame() const {
        return *reinterpret_cast<const Frame *>(state_.load(std::memory_order_relaxed));
    }

  private:
    friend class Pins;

    std::atomic<std::uintptr_t> state_{0}; ///< 0: free; odd: a lookup; else the frame
};

/// All pins of the process: they outlive the stores.
class Pins final {
  public:
    static Pins &of_process();

    /// Claims a pin for a lookup that begins now. Null without memory.
    Pin *begin_lookup() noexcept;
    /// Ends it: with the frame that it found, or with nothing. Who waits for its end waits until
    /// the pin says so, and no look at anything else has to follow: release is order enough.
    static void keep(Pin &pin, const Frame &frame) noexcept;
    static void drop(Pin &pin) noexcept { pin.state_.store(0, std::memory_order_release); }
    /// Lets go of a frame, and frees what only it kept.
    void release(const Pin *pin) noexcept;

    /// A lookup that was under way at one moment.
    struct Lookup {
        const Pin *pin;
        std::uintptr_t state;
        bool is_over() const { return pin->state_.load() != state; }
    };
    std::vector<Lookup> lookups_under_way();
    /// The frames that are pinned, sorted by address.
    std::vector<const Frame *> pinned();
    std::size_t capacity() const { return capacity_.load(std::memory_order_relaxed); }

    /// Memory that held frames, some of them pinned, when its store went.
    struct Remains {
        const void *begin;
        const void *end;
        void (*free)(void *);
    };
    /// Frees them as soon as none of their frames is pinned.
    void adopt(std::vector<Remains> remains) noexcept;

  private:
    struct Chunk {
        Chunk *next;
        std::uint32_t size;
        Pin *pins() { return reinterpret_cast<Pin *>(this + 1); }
    };
    struct alignas(64) Stripe {
        std::atomic<Chunk *> first{nullptr};
        std::atomic<Pin *> last{nullptr};      ///< released or claimed: likely to be free
        std::atomic<Chunk *> chunk{nullptr};   ///< the last search ended in it,
        std::atomic<std::uint32_t> index{0};   ///< here
        std::atomic<std::uint64_t> lookups{0}; ///< may miss some
    };

    constexpr Pins() = default;
    static bool claim(Pin &pin, std::uintptr_t lookup) noexcept;
    static bool is_half_full(const Stripe &stripe) noexcept;
    Pin *search(Stripe &stripe, std::uintptr_t lookup) noexcept;
    Pin *add_chunk(Stripe &stripe, std::uintptr_t lookup) noexcept;
    void begin_sweep() noexcept;
    void end_sweep() noexcept;
    void sweep() noexcept;
    template <typename Visit> void for_each(Visit visit);

    Stripe stripes_[stripe_count];
    std::atomic<std::size_t> capacity_{0};
    std::atomic<bool> has_remains_{false};
    /// The generation of the thread that is at the remains; 0: nobody is.
    std::atomic<std::uint32_t> sweeper_{0};
    std::vector<Remains> remains_;
};

struct ReleasePin {
    void operator()(const Pin *pin) const noexcept { Pins::of_process().release(pin); }
};
using ImagePin = std::unique_ptr<const Pin, ReleasePin>;

/// Whether any of `pinned`, which is sorted, lies in [begin, end).
bool holds_pinned(const std::vector<const Frame *> &pinned, const void *begin, const void *end);

} // namespace waybill
