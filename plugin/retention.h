// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors
//
// Which images a prune removes, and which layers that leaves unused.
// Invariants: a layer that any surviving image of any namespace uses is never called unused; a
// pinned image survives; the answer is a pure function of the index.
#pragma once

#include "index.h"
#include "record.h"

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace waybill {

/// Packed ids, sorted, with what each is. Text is made on access.
class BlobSet final {
  public:
    void add(Bytes packed_id, bool is_config);
    void sort();
    std::size_t size() const { return entries_.size(); }
    Bytes id(std::size_t index) const;
    bool is_config(std::size_t index) const { return entries_[index].is_config; }

  private:
    struct Entry {
        std::uint64_t offset;
        std::uint16_t size;
        bool is_config;
    };
    std::vector<std::uint8_t> bytes_;
    std::vector<Entry> entries_;
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
