// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors
#include "index.h"

#include <algorithm>

namespace waybill {

static constexpr std::size_t table_size_min = 64;

Index::Index() : table_(new Table(table_size_min)) {}

Index::~Index() { free_all(); }

void Index::clear() {
    auto *fresh = new Table(table_size_min);
    free_all();
    table_.store(fresh);
    retired_.clear();
    retired_done_ = 0;
    blocks_.clear();
    free_numbers_.clear();
    used_slots_ = 0;
    image_count_ = live_bytes_ = removal_bytes_ = 0;
}

/// Blocks free their frames; the others are freed one by one.
void Index::free_all() {
    for_each_frame([](Frame &frame) {
        if (frame.block == 0)
            std::free(&frame);
    });
    for (std::size_t i = retired_done_; i < retired_.size(); ++i) {
        if (retired_[i].frame && retired_[i].frame->block == 0)
            std::free(retired_[i].frame);
        delete retired_[i].table;
    }
    delete table_.load();
}

Index::Slot *Index::find_slot(const Table &table, std::uint64_t hash, std::string_view name_space,
                              std::string_view reference) {
    for (std::size_t i = hash & table.mask;; i = (i + 1) & table.mask) {
        Slot &slot = table.entries[i];
        const Frame *frame = slot.frame.load(std::memory_order_acquire);
        if (!frame)
            return nullptr;
        if (slot.hash.load(std::memory_order_relaxed) == hash && is_frame(frame) &&
            reference_of(*frame) == reference && namespace_of(*frame) == name_space)
            return &slot;
    }
}

/// A record is seldom in the cache: its lines are asked for all at once rather than one by one.
static void prefetch(const Frame *frame) {
    constexpr std::size_t typical_bytes = 1280;
    constexpr std::size_t line_bytes = 64;
    const auto *bytes = reinterpret_cast<const std::uint8_t *>(frame);
    for (std::size_t at = 0; at < typical_bytes; at += line_bytes)
        __builtin_prefetch(bytes + at);
}

FramePtr Index::find_copy(std::string_view name_space, std::string_view reference,
                          bool *out_of_memory) const {
    *out_of_memory = false;
    const std::uint64_t hash = key_hash(name_space, reference);
    const Epoch::Reader reader(epoch_);
    const Table *table = table_.load(std::memory_order_acquire);
    for (std::size_t i = hash & table->mask;; i = (i + 1) & table->mask) {
        const Slot &slot = table->entries[i];
        const Frame *frame = slot.frame.load(std::memory_order_acquire);
        if (!frame)
            return nullptr;
        if (slot.hash.load(std::memory_order_relaxed) != hash || !is_frame(frame))
            continue;
        // Copied first and compared there: names of one hash are almost always the same.
        prefetch(frame);
        FramePtr copy = copy_frame(*frame);
        *out_of_memory = !copy;
        if (!copy || (reference_of(*copy) == reference && namespace_of(*copy) == name_space))
            return copy;
    }
}

Frame *Index::find(std::string_view name_space, std::string_view reference) const {
    const Slot *slot =
        find_slot(*table_.load(), key_hash(name_space, reference), name_space, reference);
    return slot ? slot->frame.load() : nullptr;
}

Frame *Index::find_hash(std::uint64_t hash) const {
    const Table *table = table_.load();
    for (std::size_t i = hash & table->mask;; i = (i + 1) & table->mask) {
        Frame *frame = table->entries[i].frame.load();
        if (!frame)
            return nullptr;
        if (is_frame(frame) && table->entries[i].hash.load() == hash)
            return frame;
    }
}

std::uint8_t *Index::add_block(std::size_t size_bytes, std::uint32_t *number) {
    Block block{std::unique_ptr<std::uint8_t[]>(new std::uint8_t[size_bytes]), 0};
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
    for (std::size_t i = 0; i <= table->mask; ++i) {
        Frame *frame = table->entries[i].frame.load(std::memory_order_relaxed);
        if (!is_frame(frame))
            continue;
        std::size_t to = frame->key_hash & grown->mask;
        while (grown->entries[to].frame.load(std::memory_order_relaxed))
            to = (to + 1) & grown->mask;
        grown->entries[to].hash.store(frame->key_hash, std::memory_order_relaxed);
        grown->entries[to].frame.store(frame, std::memory_order_relaxed);
    }
    used_slots_ = image_count();
    table_.store(grown, std::memory_order_release);
    retired_.push_back({epoch_.current(), nullptr, table});
}

void Index::put(Frame *frame) {
    reserve_retired(1); // Before anything is changed.
    const std::string_view name_space = namespace_of(*frame);
    const std::string_view reference = reference_of(*frame);
    if (Slot *slot = find_slot(*table_.load(), frame->key_hash, name_space, reference)) {
        Frame *replaced = slot->frame.load(std::memory_order_relaxed);
        account(*frame, true);
        slot->frame.store(frame, std::memory_order_release);
        account(*replaced, false);
        retire(replaced);
        return;
    }
    grow(1);
    Table *table = table_.load();
    std::size_t i = frame->key_hash & table->mask;
    while (table->entries[i].frame.load(std::memory_order_relaxed))
        i = (i + 1) & table->mask;
    // Tombstones are not reused: a reader that pauses between a slot's hash and its frame would
    // otherwise have to tell a stranger from its own. Growing sweeps them.
    table->entries[i].hash.store(frame->key_hash, std::memory_order_relaxed);
    table->entries[i].frame.store(frame, std::memory_order_release);
    ++used_slots_;
    account(*frame, true);
}

bool Index::erase(std::string_view name_space, std::string_view reference) {
    Slot *slot = find_slot(*table_.load(), key_hash(name_space, reference), name_space, reference);
    if (!slot)
        return false;
    reserve_retired(1);
    Frame *frame = slot->frame.load(std::memory_order_relaxed);
    account(*frame, false);
    slot->frame.store(tombstone(), std::memory_order_release);
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

void Index::reclaim() {
    if (retired_.empty())
        return;
    epoch_.try_advance();
    while (retired_done_ < retired_.size() &&
           retired_[retired_done_].epoch + 2 <= epoch_.current()) {
        const Retired &gone = retired_[retired_done_++];
        if (gone.frame)
            release(gone.frame);
        delete gone.table;
    }
    // What is freed is moved over seldom enough to cost next to nothing each.
    if (2 * retired_done_ >= retired_.size()) {
        retired_.erase(retired_.begin(),
                       retired_.begin() + static_cast<std::ptrdiff_t>(retired_done_));
        retired_done_ = 0;
    }
}

} // namespace waybill
