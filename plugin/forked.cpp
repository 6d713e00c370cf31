// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors
#include "forked.h"

#include <array>
#include <atomic>
#include <mutex>
#include <new>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

namespace waybill::forked {

// Statics with constant initialisation and trivial destruction: the handler may run in a child
// while another thread of the parent is anywhere, so it may only touch atomics, fstat and close.
static std::atomic<std::uint64_t> current{first_generation};
struct Watched {
    /// Descriptor + 1, so that the table is zero and needs no code to start with.
    std::atomic<int> descriptor{0};
    std::atomic<std::uint64_t> device{0}, inode{0};
};
/// A store has four descriptors open, seldom more; 256 stores in one process are plenty.
static std::array<Watched, 1024> watched;
static constexpr int nothing = 0;
static constexpr int being_filled = -1;

static std::uint64_t next_generation();

/// A number that the kernel wipes in every child; null where it cannot.
static std::atomic<std::uint64_t> *map_mark() {
    constexpr std::size_t bytes = sizeof(std::atomic<std::uint64_t>);
    void *page = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (page == MAP_FAILED)
        return nullptr;
    if (::madvise(page, bytes, MADV_WIPEONFORK) != 0) {
        ::munmap(page, bytes);
        return nullptr;
    }
    return new (page) std::atomic<std::uint64_t>(current.load());
}

/// Set once and then read at every call: without the guard of a static in a function.
static std::atomic<std::atomic<std::uint64_t> *> mark{nullptr};

std::uint64_t generation() {
    const std::atomic<std::uint64_t> *const wiped = mark.load(std::memory_order_acquire);
    if (!wiped)
        return current.load(std::memory_order_relaxed);
    const std::uint64_t marked = wiped->load(std::memory_order_relaxed);
    return marked != 0 ? marked : next_generation();
}

/// In a child of which nobody has told.
static std::uint64_t next_generation() {
    std::uint64_t marked = 0;
    const std::uint64_t next = current.fetch_add(1) + 1;
    return mark.load()->compare_exchange_strong(marked, next) ? next : marked;
}

static void in_child() {
    current.fetch_add(1, std::memory_order_relaxed);
    // Emulators and sandboxes promise to wipe it and do not.
    if (std::atomic<std::uint64_t> *const wiped = mark.load(std::memory_order_acquire))
        wiped->store(0, std::memory_order_relaxed);
    for (Watched &slot : watched) {
        const int held = slot.descriptor.exchange(nothing, std::memory_order_acquire);
        struct stat found;
        if (held > nothing && ::fstat(held - 1, &found) == 0 &&
            found.st_dev == slot.device.load() && found.st_ino == slot.inode.load())
            ::close(held - 1);
    }
}

void install() {
    static std::once_flag once;
    std::call_once(once, [] {
        mark.store(map_mark(), std::memory_order_release);
        ::pthread_atfork(nullptr, nullptr, in_child);
    });
}

void watch(int fd, const FileIdentity &identity) {
    for (Watched &slot : watched) {
        int expected = nothing;
        if (!slot.descriptor.compare_exchange_strong(expected, being_filled))
            continue;
        slot.device.store(identity.device, std::memory_order_relaxed);
        slot.inode.store(identity.inode, std::memory_order_relaxed);
        slot.descriptor.store(fd + 1, std::memory_order_release);
        return;
    }
}

void unwatch(int fd) {
    for (Watched &slot : watched) {
        int expected = fd + 1;
        if (slot.descriptor.compare_exchange_strong(expected, nothing))
            return;
    }
}

} // namespace waybill::forked
