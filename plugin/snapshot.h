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

/// Whether to leave half of the disk's time to others.
enum class Pace { Full, BesidePuts };

/// Writes the frames as snapshot header.generation. The frames must stay alive meanwhile. After a
/// failure `*named` tells whether the file may have its name all the same.
Status write_snapshot(Disk &disk, const FileHeader &header,
                      const std::vector<const Frame *> &frames, bool *named,
                      Pace pace = Pace::Full);

/// Removes the journals older than `generation`.
Status drop_older_journals(Disk &disk, std::uint64_t generation);

/// Links files into damaged/, each under a name that no other file will get, before what takes
/// their place is written. A name that leads nowhere is passed over: a missing file is damage too.
Status keep_damaged_files(Disk &disk, const std::vector<std::string> &names);

} // namespace waybill
