// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors
#include "index.h"

#include <algorithm>
#include <cstdlib>
#include <new>
#include <sys/mman.h>

namespace waybill {

static constexpr std::size_t table_size_min = 64;

Index::Index() : table_(new Table(table_size_min)) {}

Index::~Index() { free_all(); }

void Index::clear() {
    auto *fresh = new Table(table_size_min);
    free_all();
    table_.store(fresh);
    retired_.clear();
    lookups_.clear();
    watched_ = held_ = 0;
    blocks_.clear();
    free_numbers_.clear();
    used_slots_ = 0;
    image_count_ = live_bytes_ = removal_bytes_ = 0;
}

/// Blocks free their frames; the others are freed one by one. What hosts hold stays.
void Index::free_all() noexcept {
    std::vector<const Frame *> pinned;
    std::vector<Pins::Remains> remains;
    try {
        pinned = Pins::of_process().pinned();
        remains.reserve(pinned.size());
    } catch (const std::bad_alloc &) {
        // Kept for ever rather than freed under a host's hands.
        for (Block &block : blocks_)
            (void)block.bytes.release();
        delete table_.load();
        return;
    }
    const auto free_frame = [&](Frame &frame) {
        if (frame.block != 0)
            return;
        if (holds_pinned(pinned, &frame, &frame + 1))
            remains.push_back({&frame, &frame + 1, std::free});
        else
            std::free(&frame);
    };
    for_each_frame(free_frame);
    for (const Retired &gone : retired_) {
        if (gone.frame)
            free_frame(*gone.frame);
        delete gone.table;
    }
    for (Block &block : blocks_)
        if (block.bytes &&
            holds_pinned(pinned, block.bytes.get(), block.bytes.get() + block.size_bytes)) {
            std::uint8_t *bytes = block.bytes.release();
            remains.push_back({bytes, bytes + block.size_bytes, std::free});
        }
    delete table_.load();
    Pins::of_process().adopt(std::move(remains));
}

std::atomic<Frame *> *Index::find_slot(const Table &table, std::uint64_t hash,
                                       std::string_view name_space, std::string_view reference) {
    for (std::size_t i = hash & table.mask;; i = (i + 1) & table.mask) {
        Frame *frame = table.frames[i].load();
        if (!frame)
            return nullptr;
        if (table.tags[i].load(std::memory_order_relaxed) == tag_of(hash) && is_frame(frame) &&
            is_named(*frame, name_space, reference))
            return &table.frames[i];
    }
}

/// Tombstones are not reused: a reader that pauses between a slot's tag and its frame would
/// otherwise have to tell a stranger from its own. Growing sweeps them.
void Index::fill_free_slot(Table &table, Frame *frame) {
    std::size_t i = frame->key_hash & table.mask;
    while (table.frames[i].load(std::memory_order_relaxed))
        i = (i + 1) & table.mask;
    table.tags[i].store(tag_of(frame->key_hash), std::memory_order_relaxed);
    table.frames[i].store(frame);
}

/// A record is seldom in the cache: what a lookup reads of it, its head and its key, is asked for
/// all at once rather than line by line.
static void prefetch(const Frame *frame) {
    constexpr std::size_t lookup_bytes = 128;
    constexpr std::size_t line_bytes = 64;
    const auto *bytes = reinterpret_cast<const std::uint8_t *>(frame);
    for (std::size_t at = 0; at < lookup_bytes; at += line_bytes)
        __builtin_prefetch(bytes + at);
}

ImagePin Index::pin(std::string_view name_space, std::string_view reference,
                    bool *out_of_memory) const {
    const std::uint64_t hash = key_hash(name_space, reference);
    Pin *pin = Pins::of_process().begin_lookup();
    *out_of_memory = !pin;
    if (!pin)
        return nullptr;
    const Table *table = table_.load();
    __builtin_prefetch(&table->frames[hash & table->mask]);
    for (std::size_t i = hash & table->mask;; i = (i + 1) & table->mask) {
        const std::uint16_t tag = table->tags[i].load(std::memory_order_relaxed);
        const Frame *frame = table->frames[i].load();
        if (!frame)
            break;
        if (tag != tag_of(hash) || !is_frame(frame))
            continue;
        prefetch(frame);
        if (!is_named(*frame, name_space, reference))
            continue;
        Pins::keep(*pin, *frame);
        return ImagePin(pin);
    }
    Pins::drop(*pin);
    return nullptr;
}

Frame *Index::find(std::string_view name_space, std::string_view reference) const {
    const std::atomic<Frame *> *slot =
        find_slot(*table_.load(), key_hash(name_space, reference), name_space, reference);
    return slot ? slot->load() : nullptr;
}

Frame *Index::find_hash(std::uint64_t hash) const {
    const Table *table = table_.load();
    for (std::size_t i = hash & table->mask;; i = (i + 1) & table->mask) {
        Frame *frame = table->frames[i].load();
        if (!frame)
            return nullptr;
        if (is_frame(frame) && frame->key_hash == hash)
            return frame;
    }
}

/// Large blocks start at a huge page: with 4 KiB pages the faults cost as much as the reading, and
/// a lookup mostly waits for the translation of an address.
static std::uint8_t *allocate_block(std::size_t size_bytes) {
    constexpr std::size_t huge_page_bytes = 2u << 20;
    void *memory = nullptr;
    if (size_bytes < huge_page_bytes)
        memory = std::malloc(size_bytes);
    else
        memory = std::aligned_alloc(huge_page_bytes,
                                    (size_bytes + huge_page_bytes - 1) & ~(huge_page_bytes - 1));
    if (!memory)
        throw std::bad_alloc();
    if (size_bytes >= huge_page_bytes)
        (void)::madvise(memory, size_bytes & ~(huge_page_bytes - 1), MADV_HUGEPAGE);
    return static_cast<std::uint8_t *>(memory);
}

std::uint8_t *Index::add_block(std::size_t size_bytes, std::uint32_t *number) {
    Block block{BlockBytes(allocate_block(size_bytes)), size_bytes, 0};
    std::uint8_t *bytes = block.bytes.get();
    if (free_numbers_.empty()) {
        // A number that becomes free must find room, whoever frees it.
        if (free_numbers_.capacity() <= blocks_.size())
            free_numbers_.reserve(2 * blocks_.size() + 1);
        blocks_.push_back(std::move(block));
        *number = static_cast<std::uint32_t>(blocks_.size());
    } else {
        *number = free_numbers_.back();
        free_numbers_.pop_back();
        blocks_[*number - 1] = std::move(block);
    }
    return bytes;
}

void Index::seal_block(std::uint32_t number, std::uint32_t frames) {
    Block &block = blocks_[number - 1];
    block.live += frames;
    if (block.live == 0) {
        block.bytes.reset();
        free_numbers_.push_back(number);
    }
}

void Index::account(const Frame &frame, bool add) {
    const auto change = [add](std::atomic<std::uint64_t> &counter, std::uint64_t by) {
        counter.store(counter.load(std::memory_order_relaxed) + (add ? by : 0 - by),
                      std::memory_order_relaxed);
    };
    change(image_count_, 1);
    change(live_bytes_, frame_bytes(frame.payload_bytes));
    change(removal_bytes_, waybill::removal_bytes(frame));
}

void Index::reserve_retired(std::size_t more) {
    const std::size_t needed = retired_.size() + more;
    if (needed > retired_.capacity())
        retired_.reserve(std::max(needed, 2 * retired_.capacity()));
}

void Index::reserve(std::size_t puts, std::size_t removals) {
    reserve_retired(puts + removals + 1); // And the table that is outgrown.
    grow(puts);
}

/// Makes room for more images, if there is none.
void Index::grow(std::size_t more) {
    Table *table = table_.load();
    if ((used_slots_ + more) * 2 <= table->mask + 1)
        return;
    std::size_t size = table_size_min;
    while (size < (image_count() + more) * 3)
        size *= 2;
    reserve_retired(1);
    auto *grown = new Table(size);
    for_each_frame([&](Frame &frame) { fill_free_slot(*grown, &frame); });
    used_slots_ = image_count();
    table_.store(grown);
    retired_.push_back({epoch_.current(), nullptr, table});
}

void Index::put(Frame *frame) {
    reserve_retired(1); // Before anything is changed.
    const std::string_view name_space = namespace_of(*frame);
    const std::string_view reference = reference_of(*frame);
    if (std::atomic<Frame *> *slot =
            find_slot(*table_.load(), frame->key_hash, name_space, reference)) {
        Frame *replaced = slot->load(std::memory_order_relaxed);
        account(*frame, true);
        slot->store(frame);
        account(*replaced, false);
        retire(replaced);
        return;
    }
    grow(1);
    fill_free_slot(*table_.load(), frame);
    ++used_slots_;
    account(*frame, true);
}

bool Index::erase(std::string_view name_space, std::string_view reference) {
    std::atomic<Frame *> *slot =
        find_slot(*table_.load(), key_hash(name_space, reference), name_space, reference);
    if (!slot)
        return false;
    reserve_retired(1);
    Frame *frame = slot->load(std::memory_order_relaxed);
    account(*frame, false);
    slot->store(tombstone());
    retire(frame);
    return true;
}

void Index::set_flags(Frame &frame, std::uint16_t set, std::uint16_t clear) {
    // The layer check and the committer may both be at it.
    const std::atomic_ref flags(frame.flags);
    flags.fetch_and(static_cast<std::uint16_t>(~clear), std::memory_order_relaxed);
    flags.fetch_or(set, std::memory_order_relaxed);
}

void Index::retire(Frame *frame) { retired_.push_back({epoch_.current(), frame, nullptr}); }

void Index::release(Frame *frame) {
    if (frame->block == 0) {
        std::free(frame);
        return;
    }
    const std::uint32_t number = frame->block;
    Block &block = blocks_[number - 1];
    if (--block.live == 0) {
        block.bytes.reset();
        free_numbers_.push_back(number);
    }
}

/// Whether nothing that is looking at the index now, or was when the watch began, can still pin the
/// first `watched_` of what has left it.
bool Index::lookups_are_over() {
    std::erase_if(lookups_, [](const Pins::Lookup &lookup) { return lookup.is_over(); });
    return lookups_.empty();
}

void Index::reclaim() noexcept {
    // Looking through all pins for each frame would cost more than it gives.
    constexpr std::size_t frames_min = 16, pins_a_frame_max = 64;
    if (watched_ == 0 && retired_.size() - held_ <
                             std::max(frames_min, Pins::of_process().capacity() / pins_a_frame_max))
        return;
    epoch_.try_advance();
    try {
        if (watched_ == 0) {
            lookups_ = Pins::of_process().lookups_under_way();
            watched_ = retired_.size();
        }
        if (lookups_are_over() && retired_[watched_ - 1].epoch + 2 <= epoch_.current())
            free_unseen();
    } catch (const std::bad_alloc &) {
        // It is tried again after the next batch.
    }
}

/// Frees the first `watched_` that nobody holds; the others are looked at again with the next.
void Index::free_unseen() {
    const std::vector<const Frame *> pinned = Pins::of_process().pinned();
    const auto end = retired_.begin() + static_cast<std::ptrdiff_t>(watched_);
    const auto held = std::stable_partition(retired_.begin(), end, [&](const Retired &gone) {
        return gone.frame && std::ranges::binary_search(pinned, gone.frame);
    });
    for (auto each = held; each != end; ++each) {
        if (each->frame)
            release(each->frame);
        delete each->table;
    }
    held_ = static_cast<std::size_t>(held - retired_.begin());
    retired_.erase(held, end);
    watched_ = 0;
}

} // namespace waybill
