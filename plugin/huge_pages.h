// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors
//
// Memory for what lookups read at random. Large pieces start at a huge page: with 4 KiB pages the
// faults cost as much as the reading, and a lookup mostly waits for the translation of an address.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory_resource>
#include <vector>

namespace waybill {

/// Freed by std::free. Throws std::bad_alloc.
std::uint8_t *allocate_block(std::size_t size_bytes);

class HugePages final : public std::pmr::memory_resource {
    void *do_allocate(std::size_t bytes, std::size_t alignment) override;
    void do_deallocate(void *memory, std::size_t bytes, std::size_t alignment) override;
    bool do_is_equal(const std::pmr::memory_resource &other) const noexcept override;
};

/// As HugePages, and no address has a tag: where those of the host's allocator have one, the memory
/// is from mmap. All of it is not, since a mapping is made and faulted in for every index then.
class UntaggedPages final : public std::pmr::memory_resource {
    void *do_allocate(std::size_t bytes, std::size_t alignment) override;
    void do_deallocate(void *memory, std::size_t bytes, std::size_t alignment) override;
    bool do_is_equal(const std::pmr::memory_resource &other) const noexcept override;

    static void *map(std::size_t bytes);

    std::vector<void *> mapped_; ///< not from the host's allocator
};

} // namespace waybill
