// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors
//
// What is done to a store before and while the power is cut. A number stands for a whole workload:
// the small ones first, each sequence of up to three verbs once with the snapshot written at once
// and once with the snapshot put off until after the next verb; then longer ones at random.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace waybill::crash {

enum class Verb {
    Put,       ///< one more image
    PutBatch,  ///< three images in one transaction
    Overwrite, ///< an image that is there
    Remove,
    Prune,
    Pin,
    Rotate,
    Reopen,
    // From here on not in every sequence, see families() in workload.cpp.
    Group, ///< several transactions in one batch
    Kill,  ///< the process, not the power
    Rot,   ///< a byte of a durable record changes
    AcceptLoss,
    RotUnmended,   ///< and the recovery that finds it cannot write it away
    FailSnapshot,  ///< the next snapshot that is begun
    PutToPieceEnd, ///< an image whose batch ends where a piece of the disk does
    SparseCopy,    ///< the files are copied with holes where zeros stand
    Fill,          ///< the disk has no more space
    Backup,        ///< of the closed store
    Restore,       ///< the backup's files in place of the store's
};

const char *name_of(Verb verb);

enum class SnapshotTime { AtOnce, AfterNextVerb, Interleaved };

struct Workload {
    std::uint64_t number = 0;
    std::vector<Verb> verbs;
    SnapshotTime snapshots = SnapshotTime::AtOnce;
    std::uint64_t fault_call = 0; ///< the disk call that fails; 0: none
    bool fault_is_full_disk = false;
    bool can_allocate = true; ///< the file system has fallocate

    std::string text() const;
};

std::uint64_t small_workloads();
Workload workload(std::uint64_t number);

} // namespace waybill::crash
