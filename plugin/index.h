// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors
//
// The images in memory: an open-addressing table of names, each of which leads to its frame. The
// frames are the bytes that were written to the journal or read from the snapshot; there is no
// second form. Names stand apart from frames, close together: a lookup then finds in the cache
// what it compares, and leaves the frame to whoever reads it.
// Invariants: one writer (recovery, then the committer); lookups wait for nobody and take no lock;
// a frame that has been published is never changed except for its flags, and is freed only when
// no lookup and no scan can still see it, no host holds it and no snapshot is being written of it.
// `publishing` is held, by the writer alone, only while memory changes, never during I/O: scans
// share it and so see whole transactions.
#pragma once

#include "epoch.h"
#include "huge_pages.h"
#include "name_slot.h"
#include "pins.h"
#include "record.h"

#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <memory_resource>
#include <mutex>
#include <shared_mutex>
#include <vector>

namespace waybill {

class Index final {
  public:
    Index();
    ~Index();
    Index(const Index &) = delete;
    Index &operator=(const Index &) = delete;

    // --- readers, any thread -------------------------------------------------------------------

    /// Pins the image's frame, or null. `*out_of_memory` tells the two nulls apart.
    ImagePin pin(std::string_view name_space, std::string_view reference,
                 bool *out_of_memory) const;

    /// Calls `visit(const Frame &)` for every image, in no order, while nothing is published.
    /// The frames live until the call returns.
    template <typename Visit> void scan(Visit visit) const {
        const std::shared_lock lock = share();
        const Epoch::Reader reader(epoch_);
        for_each_frame([&](const Frame &frame) { visit(frame); });
    }

    /// Keeps every frame that is visible now alive for as long as the reader lives.
    Epoch &epoch() const { return epoch_; }

    std::uint64_t image_count() const { return image_count_.load(std::memory_order_relaxed); }
    std::uint64_t live_bytes() const { return live_bytes_.load(std::memory_order_relaxed); }
    /// Journal bytes that removing every image one by one would take.
    std::uint64_t removal_bytes() const { return removal_bytes_.load(std::memory_order_relaxed); }

    // --- the writer ----------------------------------------------------------------------------

    /// Held around each transaction that is published.
    std::unique_lock<std::shared_mutex> publish() {
        const std::lock_guard in_turn(turn_);
        return std::unique_lock(publishing_);
    }

    /// For the writer itself, or a caller that knows that there is none.
    template <typename Visit> void for_each_frame(Visit visit) const {
        const Table *table = table_.load(std::memory_order_acquire);
        for (std::size_t i = 0; i <= table->mask; ++i) {
            ask_for_next(*table, i);
            if (const Name *name = name_in(table->entries[i].load(std::memory_order_acquire)))
                if (Frame *frame = name->frame.load(std::memory_order_acquire))
                    visit(*frame);
        }
    }
    Frame *find(std::string_view name_space, std::string_view reference) const {
        return find(name_space, reference, key_hash(name_space, reference));
    }
    Frame *find(std::string_view name_space, std::string_view reference, std::uint64_t hash) const;
    Frame *find_hash(std::uint64_t hash) const;

    /// Takes room for a block of frames, all of which have its number. The block is freed with the
    /// last of them.
    std::uint8_t *add_block(std::size_t size_bytes, std::uint32_t *number);
    /// Tells how many frames of the block were put; none frees it at once.
    void seal_block(std::uint32_t number, std::uint32_t frames);

    /// Back to empty. No reader may be at it.
    void clear();
    /// Takes memory for so many puts and removals. They cannot fail then, if each image's name is
    /// there, too.
    void reserve(std::size_t puts, std::size_t removals);
    void add_name(const Frame &frame) { (void)name_for(frame); }
    /// Has the memory come that a put under this hash will look at first.
    void expect(std::uint64_t hash) const {
        const Table *table = table_.load(std::memory_order_relaxed);
        __builtin_prefetch(&table->entries[hash & table->mask]);
    }
    /// Publishes `frame` under its key; the index owns it from now on.
    void put(Frame *frame);
    /// Whether there was such an image.
    bool erase(std::string_view name_space, std::string_view reference);
    void set_flags(Frame &frame, std::uint16_t set, std::uint16_t clear);
    /// Frees what no reader can see any longer.
    void reclaim() noexcept;
    /// Keeps the frames that the index has now, of this revision at most, until keep_no_longer():
    /// for who reads them for long. What is put meanwhile, and replaced, is freed as ever, which an
    /// Epoch::Reader would not let happen. One at a time.
    void keep_up_to(std::uint64_t revision) { kept_end_.store(revision + 1); }
    /// Any thread.
    void keep_no_longer() { kept_end_.store(0); }

  private:
    /// A name that was ever put since the table grew last; without a frame there is no such image.
    struct Name {
        std::atomic<Frame *> frame;
        std::uint64_t key_hash;
        KeyHead key; ///< the texts stand behind it

        std::string_view name_space() const { return {key.name_space(), key.namespace_bytes}; }
        std::string_view reference() const { return {key.reference(), key.reference_bytes}; }
        bool is(std::string_view a_name_space, std::string_view a_reference) const {
            return reference() == a_reference && name_space() == a_name_space;
        }
        std::size_t size_bytes() const;
    };
    using Slot = name_slot::Slot;
    static Name *name_in(Slot slot) {
        return reinterpret_cast<Name *>(static_cast<std::uintptr_t>(name_slot::address_in(slot)));
    }

    struct FreeBlock {
        void operator()(void *block) const noexcept { std::free(block); }
    };
    struct Table {
        explicit Table(std::size_t size);
        std::size_t mask;
        std::unique_ptr<std::atomic<Slot>[], FreeBlock> entries; ///< "slots" is a word of Qt's
    };
    using BlockBytes = std::unique_ptr<std::uint8_t, FreeBlock>;
    struct Block {
        BlockBytes bytes;
        std::size_t size_bytes = 0;
        std::uint32_t live = 0;
    };
    struct Retired {
        std::uint64_t epoch;
        Frame *frame; ///< one of them
        Table *table;
        Name *name;
    };

    static Name *find_name(const Table &table, std::uint64_t hash, std::string_view name_space,
                           std::string_view reference);
    static void fill_free_slot(Table &table, Name *name);

    /// Images stand in memory in no order: without this a scan would wait for each.
    static void ask_for_next(const Table &table, std::size_t at) {
        constexpr std::size_t names_ahead = 32, frames_ahead = 16;
        const auto name_at = [&](std::size_t i) {
            return name_in(table.entries[i & table.mask].load(std::memory_order_acquire));
        };
        __builtin_prefetch(name_at(at + names_ahead));
        if (const Name *name = name_at(at + frames_ahead))
            if (const Frame *frame = name->frame.load(std::memory_order_acquire))
                __builtin_prefetch(frame);
    }

    Name &name_for(const Frame &frame);
    void free_all() noexcept;
    void reserve_retired(std::size_t more);
    void take_back_kept();
    void grow(std::size_t more);
    void retire(Frame *frame);
    void release(Frame *frame);
    bool lookups_are_over();
    void free_unseen();
    void account(const Frame &frame, bool add);

    mutable Epoch epoch_;
    std::shared_lock<std::shared_mutex> share() const {
        const std::lock_guard in_turn(turn_);
        return std::shared_lock(publishing_);
    }

    /// Scans that overlap without end would keep the writer out for ever: all queue here first.
    mutable std::mutex turn_;
    mutable std::shared_mutex publishing_;
    std::atomic<Table *> table_;
    std::size_t name_count_ = 0;
    std::atomic<std::uint64_t> image_count_{0};
    std::atomic<std::uint64_t> live_bytes_{0};
    std::atomic<std::uint64_t> removal_bytes_{0};
    UntaggedPages untagged_pages_;
    std::pmr::monotonic_buffer_resource name_pages_;
    std::pmr::unsynchronized_pool_resource names_;
    std::vector<Block> blocks_; ///< number n stands at n - 1
    std::vector<std::uint32_t> free_numbers_;
    /// What has left the index, in that order, and has not been freed.
    std::vector<Retired> retired_;
    std::vector<Retired> kept_; ///< retired, but for who keeps them
    std::atomic<std::uint64_t> kept_end_{0};
    /// The lookups that may still see the first `watched_` of them.
    std::vector<Pins::Lookup> lookups_;
    std::size_t watched_ = 0;
    std::size_t held_ = 0; ///< the first of them, which hosts held when looked at last
};

} // namespace waybill
