// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors
#include "pins.h"

#include "forked.h"
#include "thread_memory.h"

#include <algorithm>
#include <cstdlib>
#include <new>

namespace waybill {

static constexpr std::uint32_t first_chunk_pins = 63;
/// So many pins in a row that are taken raise the question whether there are enough.
static constexpr std::uint32_t suspicious_run = 128;

static constexpr unsigned generation_bits = 16;

/// A state that no other lookup in this pin has: who waits for the lookup's end must not take the
/// next one for it. The generation tells those that ended with the parent's threads.
static std::uintptr_t lookup_state(std::uint64_t number, std::uint64_t generation) {
    constexpr std::uint64_t mask = (std::uint64_t{1} << generation_bits) - 1;
    return static_cast<std::uintptr_t>((number << generation_bits | (generation & mask)) << 1 | 1);
}

static bool is_lookup(std::uintptr_t state) { return (state & 1) != 0; }

Pins &Pins::of_process() {
    static constinit union Forever { // Images are freed when destructors have run already.
        constexpr Forever() : pins() {}
        ~Forever() {}
        Pins pins;
    } forever;
    return forever.pins;
}

bool Pins::claim(Pin &pin, std::uintptr_t lookup) noexcept {
    std::uintptr_t free = 0;
    return pin.state_.load(std::memory_order_relaxed) == 0 &&
           pin.state_.compare_exchange_strong(free, lookup);
}

Pin *Pins::begin_lookup() noexcept {
    Stripe &stripe = stripes_[own_stripe()];
    const std::uint64_t number = stripe.lookups.load(std::memory_order_relaxed) + 1;
    stripe.lookups.store(number, std::memory_order_relaxed);
    const std::uintptr_t lookup = lookup_state(number, forked::generation());
    if (Pin *last = stripe.last.load(std::memory_order_acquire); last && claim(*last, lookup))
        return last;
    Pin *found = search(stripe, lookup);
    stripe.last.store(found, std::memory_order_release);
    return found;
}

/// Round and round through all chunks, so that each pin that is free comes up before one that was
/// looked at. Where half of them are taken as many are added: a long way is seldom gone.
Pin *Pins::search(Stripe &stripe, std::uintptr_t lookup) noexcept {
    Chunk *chunk = stripe.chunk.load(std::memory_order_acquire);
    std::uint32_t index = stripe.index.load(std::memory_order_relaxed);
    for (std::uint32_t run = 0; chunk; ++run) {
        if (++index >= chunk->size) {
            chunk = chunk->next ? chunk->next : stripe.first.load(std::memory_order_acquire);
            index = 0;
        }
        if (claim(chunk->pins()[index], lookup)) {
            stripe.index.store(index, std::memory_order_relaxed);
            stripe.chunk.store(chunk, std::memory_order_release);
            return &chunk->pins()[index];
        }
        if (run % suspicious_run == suspicious_run - 1 && is_half_full(stripe))
            break;
    }
    return add_chunk(stripe, lookup);
}

bool Pins::is_half_full(const Stripe &stripe) noexcept {
    std::size_t taken = 0, all = 0;
    for (Chunk *chunk = stripe.first.load(std::memory_order_acquire); chunk; chunk = chunk->next) {
        all += chunk->size;
        for (std::uint32_t i = 0; i < chunk->size; ++i)
            taken += chunk->pins()[i].state_.load(std::memory_order_relaxed) != 0;
    }
    return 2 * taken >= all;
}

Pin *Pins::add_chunk(Stripe &stripe, std::uintptr_t lookup) noexcept {
    std::uint32_t size = first_chunk_pins;
    for (const Chunk *chunk = stripe.first.load(std::memory_order_acquire); chunk;
         chunk = chunk->next)
        size += chunk->size;
    auto *chunk = static_cast<Chunk *>(std::malloc(sizeof(Chunk) + size * sizeof(Pin)));
    if (!chunk)
        return nullptr;
    chunk->size = size;
    for (std::uint32_t i = 0; i < size; ++i)
        new (&chunk->pins()[i]) Pin;
    chunk->pins()[0].state_.store(lookup);
    chunk->next = stripe.first.load(std::memory_order_acquire);
    // Published before the lookup reads anything, as a claim would be.
    while (!stripe.first.compare_exchange_weak(chunk->next, chunk)) {
    }
    capacity_.fetch_add(size);
    stripe.index.store(0, std::memory_order_relaxed);
    stripe.chunk.store(chunk, std::memory_order_release);
    return &chunk->pins()[0];
}

void Pins::keep(Pin &pin, const Frame &frame) noexcept {
    pin.state_.store(reinterpret_cast<std::uintptr_t>(&frame), std::memory_order_release);
}

void Pins::release(const Pin *pin) noexcept {
    if (!pin)
        return;
    Pin &held = const_cast<Pin &>(*pin);
    // Sequentially consistent, both this store and the load: adopt() writes what is read here and
    // then reads what is written here. In any weaker order each could miss what the other wrote,
    // and neither would free.
    held.state_.store(0);
    stripes_[own_stripe()].last.store(&held, std::memory_order_release);
    if (has_remains_.load())
        sweep();
}

template <typename Visit> void Pins::for_each(Visit visit) {
    for (Stripe &stripe : stripes_)
        for (Chunk *chunk = stripe.first.load(); chunk; chunk = chunk->next)
            for (std::uint32_t i = 0; i < chunk->size; ++i)
                visit(chunk->pins()[i]);
}

std::vector<Pins::Lookup> Pins::lookups_under_way() {
    std::vector<Lookup> found;
    const std::uintptr_t ours = lookup_state(0, forked::generation());
    const std::uintptr_t mask = lookup_state(0, ~std::uint64_t{0});
    for_each([&](const Pin &pin) {
        const std::uintptr_t state = pin.state_.load();
        if (is_lookup(state) && (state & mask) == ours)
            found.push_back({&pin, state});
    });
    return found;
}

std::vector<const Frame *> Pins::pinned() {
    std::vector<const Frame *> found;
    for_each([&](const Pin &pin) {
        const std::uintptr_t state = pin.state_.load();
        if (state != 0 && !is_lookup(state))
            found.push_back(reinterpret_cast<const Frame *>(state));
    });
    std::ranges::sort(found);
    return found;
}

bool holds_pinned(const std::vector<const Frame *> &pinned, const void *begin, const void *end) {
    const auto first = std::ranges::lower_bound(pinned, static_cast<const Frame *>(begin));
    return first != pinned.end() && *first < static_cast<const Frame *>(end);
}

/// A child may have been forked off while a thread of the parent was at the remains. That thread
/// is not here: what it was at is in no known state, and is kept for ever.
void Pins::begin_sweep() noexcept {
    const auto ours = static_cast<std::uint32_t>(forked::generation());
    std::uint32_t sweeper = 0;
    while (!sweeper_.compare_exchange_strong(sweeper, ours)) {
        if (sweeper != ours)
            continue; // Next it is taken from the parent's thread.
        sweeper_.wait(ours);
        sweeper = 0;
    }
    if (sweeper != 0)
        new (&remains_) std::vector<Remains>;
}

void Pins::end_sweep() noexcept {
    sweeper_.store(0);
    sweeper_.notify_one();
}

void Pins::adopt(std::vector<Remains> remains) noexcept {
    if (remains.empty())
        return;
    begin_sweep();
    try {
        remains_.insert(remains_.end(), remains.begin(), remains.end());
        has_remains_.store(true); // Before the pins are looked at: see release().
    } catch (const std::bad_alloc &) {
        // Kept for ever rather than freed under a host's hands.
    }
    end_sweep();
    sweep(); // What was released meanwhile was not swept.
}

void Pins::sweep() noexcept {
    if (!has_thread_memory())
        return; // As below, but the exception would end the process.
    begin_sweep();
    try {
        const std::vector<const Frame *> still = pinned();
        std::erase_if(remains_, [&](const Remains &each) {
            const bool free = !holds_pinned(still, each.begin, each.end);
            if (free)
                each.free(const_cast<void *>(each.begin));
            return free;
        });
        has_remains_.store(!remains_.empty());
    } catch (const std::bad_alloc &) {
        // The next release tries again.
    }
    end_sweep();
}

} // namespace waybill
