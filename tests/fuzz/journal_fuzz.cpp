// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors
//
// A journal that somebody else has written, in any place of a store whose other files are sound.
// Input: a byte that says where (see `surround`), then a description as in sealed_log.h.
#include "hostile_store.h"
#include "log_mutation.h"
#include "sealed_log.h"

using namespace waybill;
using namespace waybill::fuzz;

namespace {

/// Puts the journal where bits 0 and 1 say: alone, the newest of two, between two, or the first of
/// two. Bit 2: LOCK bears its mark.
Files surround(std::uint8_t selector, std::vector<std::uint8_t> journal) {
    Files files;
    files[lock_name] = selector & 4 ? sound_lock() : std::vector<std::uint8_t>();
    switch (selector & 3) {
    case 0:
        files["journal.1"] = std::move(journal);
        break;
    case 1:
        files[snapshot_name] = sound_snapshot(1);
        files["journal.1"] = sound_journal(1, 2);
        files["journal.2"] = std::move(journal);
        break;
    case 2:
        files[snapshot_name] = sound_snapshot(1);
        files["journal.1"] = sound_journal(1, 2);
        files["journal.2"] = std::move(journal);
        files["journal.3"] = sound_journal(3, 8);
        break;
    default:
        files[snapshot_name] = sound_snapshot(1);
        files["journal.1"] = std::move(journal);
        files["journal.2"] = sound_journal(2, 5);
    }
    return files;
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t *data, std::size_t size) {
    if (size < selector_bytes)
        return 0;
    const std::uint8_t selector = data[0];
    const Files files = surround(selector, seal({data + selector_bytes, size - selector_bytes}));
    RecoveryOptions options;
    if (selector & 8)
        options.references = ReferenceMode::Opaque;
    const Opened opened = open_hostile(files, options, (selector & 16) != 0);
    require_no_invention(opened.images, files);
    return 0;
}

extern "C" std::size_t LLVMFuzzerCustomMutator(std::uint8_t *data, std::size_t size,
                                               std::size_t size_max, unsigned seed) {
    return mutate_log(data, size, size_max, seed);
}
