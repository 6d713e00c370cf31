// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors
//
// Which images a prune removes, and which layers that leaves unused.
// Invariants: a layer that any surviving image of any namespace uses is never called unused; a
// pinned image survives; the answer is a pure function of the index.
#pragma once

#include "id_table.h"
#include "index.h"
#include "record.h"

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace waybill {

/// Lists are sorted, and their texts made, when somebody looks: the committer's thread has puts to
/// go on with.
class SortedOnce final {
  public:
    SortedOnce() = default;
    SortedOnce(SortedOnce &&other) noexcept : done_(other.done_.load()) {}
    SortedOnce &operator=(SortedOnce &&other) noexcept {
        done_.store(other.done_.load());
        return *this;
    }
    /// Any thread; the first that comes sorts.
    template <typename Sort> void ensure(Sort sort) {
        if (done_.load(std::memory_order_acquire))
            return;
        const std::lock_guard lock(sorting());
        if (!done_.load(std::memory_order_relaxed))
            sort();
        done_.store(true, std::memory_order_release);
    }

  private:
    /// Of all lists: two are seldom looked at for the first time at once.
    static std::mutex &sorting();

    std::atomic<bool> done_{false};
};

/// Packed ids with what each is, in the order of their bytes.
class BlobSet final {
  public:
    BlobSet() = default;
    /// Some of the table's ids, which nobody else changes.
    BlobSet(std::shared_ptr<IdTable> table, std::span<IdTable::Entry> entries)
        : table_(std::move(table)), entries_(entries) {}

    std::size_t size() const { return entries_.size(); }
    Bytes id(std::size_t index) const { return table_->id(sorted()[index]); }
    bool is_config(std::size_t index) const { return (sorted()[index].marks & mark_config) != 0; }

    /// Of a table's entries, here.
    static constexpr std::uint16_t mark_config = 1, mark_survives = 2;

  private:
    std::span<const IdTable::Entry> sorted() const;

    std::shared_ptr<IdTable> table_;
    std::span<IdTable::Entry> entries_;
    mutable SortedOnce order_;
};

/// Keys, in order.
class KeyList final {
  public:
    void add(Key key) { keys_.push_back(std::move(key)); }
    std::size_t size() const { return keys_.size(); }
    bool empty() const { return keys_.empty(); }
    const std::vector<Key> &in_any_order() const { return keys_; }
    const std::vector<Key> &sorted() const;

  private:
    mutable std::vector<Key> keys_;
    mutable SortedOnce order_;
};

struct Retained {
    KeyList removed;
    BlobSet unused;
    BlobSet used;
};

struct KeepList {
    std::optional<std::string> name_space; ///< which images may go; absent: of every namespace
    std::vector<std::string> references;   ///< canonical
};

Retained apply_keep_list(const Index &index, const KeepList &keep);

} // namespace waybill
