// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors
//
// Which images a prune removes, and which layers that leaves unused.
// Invariants: a layer that any surviving image of any namespace uses is never called unused; a
// pinned image survives; the answer is a pure function of the index.
#pragma once

#include "index.h"
#include "record.h"

#include <atomic>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace waybill {

/// Packed ids with what each is, in the order of their bytes. They are sorted, and text is made,
/// when somebody looks: the committer's thread has puts to go on with.
class BlobSet final {
  public:
    void reserve(std::size_t count);
    void add(Bytes packed_id, bool is_config);
    std::size_t size() const { return entries_.size(); }
    Bytes id(std::size_t index) const;
    bool is_config(std::size_t index) const { return sorted()[index].is_config; }

  private:
    struct Entry {
        std::uint64_t prefix; ///< the id's first bytes, as a number
        std::uint64_t offset;
        std::uint16_t size;
        bool is_config;
    };
    /// Set once, by whoever looks first.
    struct Flag {
        std::atomic<bool> set{true};
        Flag() = default;
        Flag(Flag &&other) noexcept : set(other.set.load()) {}
        Flag &operator=(Flag &&other) noexcept {
            set.store(other.set.load());
            return *this;
        }
    };

    const std::vector<Entry> &sorted() const;

    std::vector<std::uint8_t> bytes_;
    mutable std::vector<Entry> entries_;
    mutable Flag sorted_;
};

struct Retained {
    std::vector<Key> removed; ///< sorted
    BlobSet unused;
    BlobSet used;
};

struct KeepList {
    std::optional<std::string> name_space; ///< which images may go; absent: of every namespace
    std::vector<std::string> references;   ///< canonical
};

Retained apply_keep_list(const Index &index, const KeepList &keep);

} // namespace waybill
