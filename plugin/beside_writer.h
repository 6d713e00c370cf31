// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors
//
// Recovery for who holds no lock: the writer goes on meanwhile, and what looks damaged may just
// have been replaced or half written.
// Invariant: what is returned stood in files that no rotation replaced while they were read.
#pragma once

#include "recovery.h"

namespace waybill {

/// Fills `index`, which is empty. Expected: those of recover_store, and Again if each of ten
/// readings was overtaken by a rotation.
Result<Recovered> read_beside_writer(Disk &disk, const RecoveryOptions &options, Index &index);

/// Makes `held` equal to `fresh`, in one step for those who scan. Nobody else changes either of
/// them. NoMemory: nothing has changed.
Status follow_writer(Index &held, const Index &fresh);

} // namespace waybill
