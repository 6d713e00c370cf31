// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors
//
// Writes the whole state at one revision as the file `snapshot`, and takes away what it replaces.
// Invariants: the snapshot has its name only once it is durable; older journals go only after the
// directory is, and only if the name leads to the very file that was synced; damaged files are
// kept, never just removed.
#pragma once

#include "disk.h"
#include "format.h"

#include <cstdint>
#include <string>
#include <vector>

namespace waybill {

/// Writes the frames as snapshot header.generation. The frames must stay alive meanwhile.
Status write_snapshot(Disk &disk, const FileHeader &header,
                      const std::vector<const Frame *> &frames, std::uint64_t *bytes_written);

/// Removes the journals older than `generation`. Those in `damaged` are linked away first.
Status drop_older_journals(Disk &disk, std::uint64_t generation,
                           const std::vector<std::string> &damaged);

/// Links a damaged file into damaged/, under a name that no other file will get.
Status keep_damaged_file(Disk &disk, const std::string &name);

} // namespace waybill
