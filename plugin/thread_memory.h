// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors
//
// What the C++ runtime keeps for each thread. In a library that was loaded later it is allocated at
// first use, which is the first exception; glibc ends the process when there is no memory for it,
// and the first exception is std::bad_alloc just then.
#pragma once

#include <cstddef>
#include <cstdlib>
#include <exception>

namespace waybill {

/// Has the calling thread take it now. False if there is no memory: then it must not throw.
inline bool has_thread_memory() {
    [[gnu::tls_model("initial-exec")]] thread_local bool taken = false;
    if (taken)
        return true;
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
    taken = true;
    return true;
}

} // namespace waybill
