// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors
//
// From the files of a store to the images in memory. A plain synchronous function of the disk; the
// threads are put around it.
// Invariants: what is published is durable first; damage is reported and kept, never swept away;
// a store is made only where nothing has been; nothing is written when opened read-only.
#pragma once

#include "disk.h"
#include "index.h"
#include "journal_writer.h"
#include "log_reader.h"

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace waybill {

struct RecoveryOptions {
    bool read_only = false;
    std::optional<ReferenceMode> references;
};

struct Recovered {
    StoreId store_id{};
    ReferenceMode mode = ReferenceMode::Canonical;
    std::uint64_t revision = 0;
    std::uint64_t generation = 0; ///< of the newest journal
    bool degraded = false;
    bool created = false; ///< there was no store before
    std::vector<Damage> damage;
    std::uint64_t loss_mark = 0; ///< of the losses that the files still show; see replay.h
    std::uint64_t dropped_tail_bytes = 0;
    std::uint64_t possibly_acknowledged = 0; ///< records in the dropped tail whose heads were whole
    std::string not_mended;                  ///< why damage could not be written away yet, or empty
    std::vector<std::string> damaged_files;  ///< still to be kept when their journals are dropped
    bool lacks_reserve = false; ///< the space kept for removals is not there, and the disk is full
    std::unique_ptr<JournalWriter> journal; ///< null when read-only
};

/// Fills `index`, which is empty. Expected: Corrupt, Format, Mode.
Result<Recovered> recover_store(Disk &disk, const RecoveryOptions &options, Index &index);

/// Journal space to be kept free: every image removed one by one, and one prune of all.
std::uint64_t reserve_bytes(const Index &index);

} // namespace waybill
