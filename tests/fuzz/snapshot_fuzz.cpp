// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors
//
// A snapshot that somebody else has written, with sound journals beside it or none.
// Input: a byte that says which (see `surround`), then a description as in sealed_log.h.
#include "hostile_store.h"
#include "log_mutation.h"
#include "sealed_log.h"

using namespace waybill;
using namespace waybill::fuzz;

namespace {

/// Bits 0 and 1 count the journals behind the snapshot. Bit 2: LOCK bears its mark. Bit 5: a
/// journal that the snapshot has replaced is still there.
Files surround(std::uint8_t selector, std::vector<std::uint8_t> snapshot) {
    Files files;
    files[lock_name] = selector & 4 ? sound_lock() : std::vector<std::uint8_t>();
    files[snapshot_name] = std::move(snapshot);
    if (selector & 32)
        files["journal.1"] = sound_journal(1, 0);
    for (std::uint64_t number = 0; number < (selector & 3u); ++number)
        files[journal_name(2 + number)] = sound_journal(2 + number, 2 + 3 * number);
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
