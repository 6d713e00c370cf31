// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors
//
// What happens to our descriptors when the host forks. The child closes them, so that it can
// neither write the parent's files nor hold its lock, and never unlocks: an unlock would free the
// parent's lock too, which belongs to the open file and not to the process. A descriptor that the
// host has closed, and whose number leads to another file by now, is the host's: it is kept.
#pragma once

#include "disk.h"

#include <cstdint>

namespace waybill::forked {

/// Counts the forks that led to this process. An object made under another count belongs to a
/// parent. Hears of every fork, those too of which no handler is told: a bare clone, and a fork
/// through the C library of another linker namespace.
std::uint64_t generation();
/// Of the process that loaded the library.
inline constexpr std::uint64_t first_generation = 1;

/// Registers the fork handler, once in a process.
void install();

/// Has `fd` closed in a forked child, if it leads to that file still. If the table of descriptors
/// is full the child keeps it.
void watch(int fd, const FileIdentity &identity);
void unwatch(int fd);

} // namespace waybill::forked
