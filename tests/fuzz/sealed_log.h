// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors
//
// Journals and snapshots as fuzz inputs. Checksums would stop a fuzzer at the first one; so an
// input writes "SEALHERE" where one stands, and `seal` puts the right one there, for the file's
// salt and the offset. Any other eight bytes stay as they are: a checksum that does not hold.
//
// An input: the two copies of the header, 64 bytes each, and then the log, from offset 1,024 of the
// file on. The zeros of the header block are left out.
#pragma once

#include "plugin/format.h"

#include <cstdint>
#include <vector>

namespace waybill::fuzz {

inline constexpr std::uint64_t seal_here = 0x455245484c414553; // "SEALHERE"
inline constexpr std::size_t described_header_bytes = 2 * sizeof(FileHeader);

/// The file that `input` describes. A key hash too may be left to be filled in.
std::vector<std::uint8_t> seal(Bytes input);

/// The description of a file: whichever checksum holds becomes "SEALHERE".
std::vector<std::uint8_t> unseal(FileKind kind, Bytes file);

} // namespace waybill::fuzz
