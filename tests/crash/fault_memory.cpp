// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors
//
// Allocations that can be made to fail: operator new of the whole program and, where no sanitizer
// owns them, malloc and its kin for calls that the library, Qt and the C library make.
// What Qt allocates for itself is counted apart: Qt's documentation promises no safety there
// ("classes might still leak or even crash"), and parsing JSON or making a thread's first QObject
// does end the process.
#include "fault_plan.h"

#include <cerrno>
#include <cstddef>
#include <cstdlib>
#include <link.h>
#include <new>
#include <string_view>

namespace {

enum class Owner { Other, Ours, Qt };

struct Code {
    std::size_t begin, end;
    Owner owner;
};
Code watched[64];
int watched_count = 0;

/// The C library is part of what is ours: it allocates for those that call it. The C++ runtime is
/// not: it falls back on memory of its own for exceptions, and its operator new is the one below.
Owner owner_of(std::string_view path) {
    if (path.find("/libQt6Core.so") != std::string_view::npos)
        return Owner::Qt;
    const bool is_ours = path.find("/libwaybill.so") != std::string_view::npos ||
                         path.find("/libc.so") != std::string_view::npos;
    return is_ours ? Owner::Ours : Owner::Other;
}

int note_code(dl_phdr_info *object, std::size_t, void *) {
    const Owner owner = owner_of(object->dlpi_name);
    for (int i = 0; owner != Owner::Other && i < object->dlpi_phnum; ++i) {
        const auto &header = object->dlpi_phdr[i];
        if (header.p_type != PT_LOAD || !(header.p_flags & PF_X) || watched_count == 64)
            continue;
        const std::size_t begin = object->dlpi_addr + header.p_vaddr;
        watched[watched_count++] = {begin, begin + header.p_memsz, owner};
    }
    return 0;
}

Owner owner_of_code(const void *caller) {
    const auto address = reinterpret_cast<std::size_t>(caller);
    for (int i = 0; i < watched_count; ++i)
        if (address >= watched[i].begin && address < watched[i].end)
            return watched[i].owner;
    return Owner::Other;
}

bool new_fails(const void *caller) {
    return fault_due(owner_of_code(caller) == Owner::Qt ? CALL_QT_MEMORY : CALL_NEW) != 0;
}

} // namespace

extern "C" void fault_watch_loaded_code() { dl_iterate_phdr(note_code, nullptr); }

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define __SANITIZE_ADDRESS__ 1
#endif
#endif
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define OWNS_MALLOC 1
#endif

#ifdef OWNS_MALLOC
extern "C" {
void *__libc_malloc(std::size_t);
void *__libc_calloc(std::size_t, std::size_t);
void *__libc_realloc(void *, std::size_t);
}
static void *memory(std::size_t size) { return __libc_malloc(size); }
#else
static void *memory(std::size_t size) { return std::malloc(size); }
#endif

static void *allocate(std::size_t size, const void *caller) {
    return new_fails(caller) ? nullptr : memory(size ? size : 1);
}

static void *allocate(std::size_t size, std::align_val_t alignment, const void *caller) {
    const auto step = static_cast<std::size_t>(alignment);
    return new_fails(caller) ? nullptr : std::aligned_alloc(step, (size + step - 1) / step * step);
}

static void *or_throw(void *allocated) {
    if (!allocated)
        throw std::bad_alloc();
    return allocated;
}

void *operator new(std::size_t size) {
    return or_throw(allocate(size, __builtin_return_address(0)));
}
void *operator new[](std::size_t size) {
    return or_throw(allocate(size, __builtin_return_address(0)));
}
void *operator new(std::size_t size, const std::nothrow_t &) noexcept {
    return allocate(size, __builtin_return_address(0));
}
void *operator new[](std::size_t size, const std::nothrow_t &) noexcept {
    return allocate(size, __builtin_return_address(0));
}
void *operator new(std::size_t size, std::align_val_t alignment) {
    return or_throw(allocate(size, alignment, __builtin_return_address(0)));
}
void *operator new[](std::size_t size, std::align_val_t alignment) {
    return or_throw(allocate(size, alignment, __builtin_return_address(0)));
}
void operator delete(void *given) noexcept { std::free(given); }
void operator delete[](void *given) noexcept { std::free(given); }
void operator delete(void *given, std::size_t) noexcept { std::free(given); }
void operator delete[](void *given, std::size_t) noexcept { std::free(given); }
void operator delete(void *given, std::align_val_t) noexcept { std::free(given); }
void operator delete[](void *given, std::align_val_t) noexcept { std::free(given); }
void operator delete(void *given, std::size_t, std::align_val_t) noexcept { std::free(given); }
void operator delete[](void *given, std::size_t, std::align_val_t) noexcept { std::free(given); }

#ifdef OWNS_MALLOC

static bool malloc_fails(const void *caller) {
    const Owner owner = owner_of_code(caller);
    const bool fails =
        owner != Owner::Other && fault_due(owner == Owner::Qt ? CALL_QT_MEMORY : CALL_MALLOC) != 0;
    if (fails)
        errno = ENOMEM;
    return fails;
}

extern "C" void *malloc(std::size_t size) {
    return malloc_fails(__builtin_return_address(0)) ? nullptr : __libc_malloc(size);
}

extern "C" void *calloc(std::size_t count, std::size_t size) {
    return malloc_fails(__builtin_return_address(0)) ? nullptr : __libc_calloc(count, size);
}

extern "C" void *realloc(void *given, std::size_t size) {
    return malloc_fails(__builtin_return_address(0)) ? nullptr : __libc_realloc(given, size);
}

#endif
