// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors
#include "huge_pages.h"

#include "name_slot.h"

#include <cstddef>
#include <cstdlib>
#include <new>
#include <sys/mman.h>
#include <unistd.h>
#include <vector>

namespace waybill {

/// The pools of names ask for as much as the largest of their pieces.
static constexpr std::size_t small_alignment = 4096;

static constexpr std::size_t huge_page_bytes = 2u << 20;

static std::size_t rounded_up(std::size_t bytes, std::size_t to) {
    return (bytes + to - 1) & ~(to - 1);
}

std::uint8_t *allocate_block(std::size_t size_bytes) {
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

/// What is mapped of a piece: whole pages, or whole huge ones.
static std::size_t mapped_bytes(std::size_t bytes) {
    static const auto page_bytes = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
    return rounded_up(bytes, bytes < huge_page_bytes ? page_bytes : huge_page_bytes);
}

void *UntaggedPages::do_allocate(std::size_t bytes, std::size_t alignment) {
    if (alignment > small_alignment)
        throw std::bad_alloc();
    std::uint8_t *const block = allocate_block(bytes);
    if (name_slot::fits(reinterpret_cast<std::uintptr_t>(block)))
        return block;
    std::free(block);
    mapped_.push_back(nullptr); // What is mapped must find its place.
    return mapped_.back() = map(bytes);
}

void *UntaggedPages::map(std::size_t bytes) {
    const std::size_t size = mapped_bytes(bytes);
    const bool is_large = bytes >= huge_page_bytes;
    const std::size_t spare = is_large ? huge_page_bytes : 0;
    void *mapped =
        ::mmap(nullptr, size + spare, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (mapped == MAP_FAILED)
        throw std::bad_alloc();
    if (!is_large)
        return mapped;
    // What stands before the first huge page, and behind the last.
    auto *const begin = static_cast<std::uint8_t *>(mapped);
    const std::size_t before = (0 - reinterpret_cast<std::uintptr_t>(begin)) % huge_page_bytes;
    if (before > 0)
        ::munmap(begin, before);
    if (before < spare)
        ::munmap(begin + before + size, spare - before);
    (void)::madvise(begin + before, size, MADV_HUGEPAGE);
    return begin + before;
}

void UntaggedPages::do_deallocate(void *memory, std::size_t bytes, std::size_t) {
    if (std::erase(mapped_, memory) == 0)
        std::free(memory);
    else
        ::munmap(memory, mapped_bytes(bytes));
}

bool UntaggedPages::do_is_equal(const std::pmr::memory_resource &other) const noexcept {
    return this == &other;
}

} // namespace waybill
