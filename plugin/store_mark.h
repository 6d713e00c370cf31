// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors
//
// The mark that LOCK gets when a store has been made: a LOCK that has it and no files beside it is
// corrupt, not new.
#pragma once

#include "disk.h"
#include "format.h"
#include "status.h"

#include <optional>

namespace waybill {

/// The file that marks a directory as a store and is locked; see lock.h.
inline constexpr const char *lock_name = "LOCK";

struct StoreMark {
    bool is_there = false;     ///< whole or not
    std::optional<StoreId> id; ///< if it is whole
};

Result<StoreMark> read_mark(Disk &disk);
/// Durably, and in the directory too.
Status write_mark(Disk &disk, const StoreId &id);

} // namespace waybill
