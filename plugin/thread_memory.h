// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors
//
// What the C++ runtime keeps for each thread. In a library that was loaded later it is allocated at
// first use, which is the first exception; glibc ends the process when there is no memory for it,
// and the first exception is std::bad_alloc just then.
// That a thread has it is noted under a key of POSIX. A thread_local variable of our own would be
// allocated in the same way, or be static, and of that a process that has loaded other libraries
// may have none left for one that it loads late.
#pragma once

#include <cstddef>
#include <cstdlib>
#include <exception>
#include <pthread.h>

namespace waybill {

/// Made when the library is loaded. Nobody needs to hear that a thread ends.
struct ThreadMemoryKey {
    pthread_key_t number{};
    bool made = ::pthread_key_create(&number, nullptr) == 0;
};
inline const ThreadMemoryKey thread_memory_key;

/// Has the calling thread take it, which is done once. False if there is no memory.
[[gnu::noinline]] inline bool take_thread_memory() {
    // Many, since each may be a mapping of its own in a thread for which there is no arena.
    constexpr std::size_t block_bytes = 4096;
    void *volatile blocks[8]; // Volatile: a block that is only freed need not be had.
    bool plenty = true;
    for (void *volatile &block : blocks) {
        block = std::malloc(block_bytes);
        plenty = plenty && block;
    }
    for (void *volatile &block : blocks)
        std::free(block);
    if (!plenty)
        return false;
    // Volatile: a function that only answers need not be called if nobody reads what it says.
    [[maybe_unused]] volatile int under_way = std::uncaught_exceptions();
    // A host that has left no key has this done at each call. Noting takes memory if it has left
    // none of the first 32.
    return !thread_memory_key.made ||
           ::pthread_setspecific(thread_memory_key.number, &thread_memory_key) == 0;
}

/// Whether the calling thread has it, and takes it now if it has not. False if there is no memory:
/// then it must not throw.
inline bool has_thread_memory() {
    return (thread_memory_key.made && ::pthread_getspecific(thread_memory_key.number)) ||
           take_thread_memory();
}

} // namespace waybill
