// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors
#include "index.h"

#include "limits.h"

#include <algorithm>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <new>

namespace waybill {

static constexpr std::size_t table_size_min = 64;

/// Most nodes hold a few hundred images.
static constexpr std::size_t first_names_bytes = 64u << 10;
/// Larger ones would not be used again before the store is closed.
static constexpr std::size_t name_bytes_max = 2048;

Index::Index()
    : table_(new Table(table_size_min)), name_pages_(first_names_bytes, &untagged_pages_),
      names_({0, name_bytes_max}, &name_pages_) {}

Index::Table::Table(std::size_t size)
    : mask(size - 1),
      entries(reinterpret_cast<std::atomic<Slot> *>(allocate_block(size * sizeof(Slot)))) {
    std::uninitialized_value_construct_n(entries.get(), size);
}

std::size_t Index::Name::size_bytes() const {
    static_assert(sizeof(Name) + limits::namespace_bytes_max + limits::reference_bytes_max + 2 <=
                  name_bytes_max);
    return offsetof(Name, key) + key.padded_bytes();
}

Index::~Index() { free_all(); }

void Index::clear() {
    auto *fresh = new Table(table_size_min);
    free_all();
    table_.store(fresh);
    retired_.clear();
    kept_.clear();
    lookups_.clear();
    watched_ = held_ = 0;
    blocks_.clear();
    free_numbers_.clear();
    names_.release();
    name_pages_.release();
    name_count_ = 0;
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
    for (const auto *list : {&retired_, &kept_})
        for (const Retired &gone : *list) {
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

Index::Name *Index::find_name(const Table &table, std::uint64_t hash, std::string_view name_space,
                              std::string_view reference) {
    for (std::size_t i = hash & table.mask;; i = (i + 1) & table.mask) {
        const Slot slot = table.entries[i].load();
        if (slot == 0)
            return nullptr;
        if (name_slot::may_lead_to(slot, hash) && name_in(slot)->is(name_space, reference))
            return name_in(slot);
    }
}

void Index::fill_free_slot(Table &table, Name *name) {
    std::size_t i = name->key_hash & table.mask;
    while (table.entries[i].load(std::memory_order_relaxed) != 0)
        i = (i + 1) & table.mask;
    table.entries[i].store(name_slot::of(reinterpret_cast<std::uintptr_t>(name), name->key_hash));
}

ImagePin Index::pin(std::string_view name_space, std::string_view reference,
                    bool *out_of_memory) const {
    const std::uint64_t hash = key_hash(name_space, reference);
    Pin *pin = Pins::of_process().begin_lookup();
    *out_of_memory = !pin;
    if (!pin)
        return nullptr;
    const Table *table = table_.load();
    const Name *name = find_name(*table, hash, name_space, reference);
    const Frame *frame = name ? name->frame.load() : nullptr;
    if (!frame) {
        Pins::drop(*pin);
        return nullptr;
    }
    Pins::keep(*pin, *frame);
    return ImagePin(pin);
}

Frame *Index::find(std::string_view name_space, std::string_view reference,
                   std::uint64_t hash) const {
    const Name *name = find_name(*table_.load(), hash, name_space, reference);
    return name ? name->frame.load() : nullptr;
}

Frame *Index::find_hash(std::uint64_t hash) const {
    const Table *table = table_.load();
    for (std::size_t i = hash & table->mask;; i = (i + 1) & table->mask) {
        const Slot slot = table->entries[i].load();
        if (slot == 0)
            return nullptr;
        if (!name_slot::may_lead_to(slot, hash))
            continue;
        Frame *frame = name_in(slot)->frame.load();
        if (name_in(slot)->key_hash == hash && frame)
            return frame;
    }
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
    for (auto *list : {&retired_, &kept_})
        if (const std::size_t needed = list->size() + more; needed > list->capacity())
            list->reserve(std::max(needed, 2 * list->capacity()));
}

void Index::reserve(std::size_t puts, std::size_t removals) {
    grow(puts);
    reserve_retired(puts + removals);
}

/// Makes room for more names, if there is none. Those without an image stay behind.
void Index::grow(std::size_t more) {
    Table *table = table_.load();
    if ((name_count_ + more) * 2 <= table->mask + 1)
        return;
    std::size_t size = table_size_min;
    while (size < (image_count() + more) * 3)
        size *= 2;
    const std::size_t left_behind = name_count_ - image_count();
    reserve_retired(left_behind + 1);
    auto grown = std::make_unique<Table>(size);
    for (std::size_t i = 0; i <= table->mask; ++i) {
        Name *name = name_in(table->entries[i].load(std::memory_order_relaxed));
        if (!name)
            continue;
        if (name->frame.load(std::memory_order_relaxed))
            fill_free_slot(*grown, name);
        else
            retired_.push_back({epoch_.current(), nullptr, nullptr, name});
    }
    name_count_ = image_count();
    table_.store(grown.release());
    retired_.push_back({epoch_.current(), nullptr, table, nullptr});
}

Index::Name &Index::name_for(const Frame &frame) {
    const KeyHead &key = key_head_of(frame.payload_span());
    if (Name *known =
            find_name(*table_.load(), frame.key_hash, namespace_of(frame), reference_of(frame)))
        return *known;
    grow(1);
    const std::size_t bytes = offsetof(Name, key) + key.padded_bytes();
    auto *name = static_cast<Name *>(names_.allocate(bytes, alignof(Name)));
    if (!name_slot::fits(reinterpret_cast<std::uintptr_t>(name)))
        throw std::bad_alloc();
    new (&name->frame) std::atomic<Frame *>(nullptr);
    name->key_hash = frame.key_hash;
    std::memcpy(static_cast<void *>(&name->key), &key, key.padded_bytes());
    fill_free_slot(*table_.load(), name);
    ++name_count_;
    return *name;
}

void Index::put(Frame *frame) {
    Name &name = name_for(*frame);
    reserve_retired(1); // Before an image is changed.
    Frame *replaced = name.frame.load(std::memory_order_relaxed);
    account(*frame, true);
    name.frame.store(frame);
    if (!replaced)
        return;
    account(*replaced, false);
    retire(replaced);
}

bool Index::erase(std::string_view name_space, std::string_view reference) {
    Name *name = find_name(*table_.load(), key_hash(name_space, reference), name_space, reference);
    Frame *frame = name ? name->frame.load(std::memory_order_relaxed) : nullptr;
    if (!frame)
        return false;
    reserve_retired(1);
    account(*frame, false);
    name->frame.store(nullptr);
    retire(frame);
    return true;
}

void Index::set_flags(Frame &frame, std::uint16_t set, std::uint16_t clear) {
    // The layer check and the committer may both be at it.
    const std::atomic_ref flags(frame.flags);
    flags.fetch_and(static_cast<std::uint16_t>(~clear), std::memory_order_relaxed);
    flags.fetch_or(set, std::memory_order_relaxed);
}

void Index::retire(Frame *frame) {
    (frame->revision < kept_end_.load() ? kept_ : retired_)
        .push_back({epoch_.current(), frame, nullptr, nullptr});
}

void Index::take_back_kept() {
    if (kept_.empty() || kept_end_.load() != 0)
        return;
    retired_.reserve(retired_.size() + kept_.size());
    for (const Retired &gone : kept_)
        retired_.push_back({epoch_.current(), gone.frame, nullptr, nullptr});
    kept_.clear();
}

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
    try {
        take_back_kept();
    } catch (const std::bad_alloc &) {
        return; // It is tried again after the next batch.
    }
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
        if (each->name)
            names_.deallocate(each->name, each->name->size_bytes(), alignof(Name));
        delete each->table;
    }
    held_ = static_cast<std::size_t>(held - retired_.begin());
    retired_.erase(held, end);
    watched_ = 0;
}

} // namespace waybill
