// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors
#include "huge_pages.h"

#include <cstddef>
#include <cstdlib>
#include <new>
#include <sys/mman.h>

namespace waybill {

/// The pools of names ask for as much as the largest of their pieces.
static constexpr std::size_t small_alignment = 4096;

static std::size_t rounded_up(std::size_t bytes, std::size_t to) {
    return (bytes + to - 1) & ~(to - 1);
}

std::uint8_t *allocate_block(std::size_t size_bytes) {
    constexpr std::size_t huge_page_bytes = 2u << 20;
    void *memory = nullptr;
    if (size_bytes < huge_page_bytes)
        memory = std::aligned_alloc(small_alignment, rounded_up(size_bytes, small_alignment));
    else
        memory = std::aligned_alloc(huge_page_bytes, rounded_up(size_bytes, huge_page_bytes));
    if (!memory)
        throw std::bad_alloc();
    if (size_bytes >= huge_page_bytes)
        (void)::madvise(memory, size_bytes & ~(huge_page_bytes - 1), MADV_HUGEPAGE);
    return static_cast<std::uint8_t *>(memory);
}

void *HugePages::do_allocate(std::size_t bytes, std::size_t alignment) {
    if (alignment > small_alignment)
        throw std::bad_alloc();
    return allocate_block(bytes);
}

void HugePages::do_deallocate(void *memory, std::size_t, std::size_t) { std::free(memory); }

bool HugePages::do_is_equal(const std::pmr::memory_resource &other) const noexcept {
    return this == &other;
}

} // namespace waybill
