// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors
//
// Content digests as in the OCI image specification ("Digests"): sha256, sha384, sha512.
// Packed form: one algorithm byte, then the raw bytes. Layer ids share it: an id that is not a
// digest is packed as algorithm 0 and its text.
#pragma once

#include "status.h"

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace waybill {

/// An algorithm byte and at most 64 raw bytes, or 0 and up to 255 bytes of text.
struct PackedId {
    std::uint8_t bytes[256];
    std::size_t size = 0;

    std::span<const std::uint8_t> span() const { return {bytes, size}; }
};

inline constexpr std::uint8_t id_is_text = 0;
inline constexpr std::uint8_t id_is_sha256 = 1;
inline constexpr std::uint8_t id_is_sha384 = 2;
inline constexpr std::uint8_t id_is_sha512 = 3;

/// Parses "sha256:<64 lower-case hex>" and its siblings. Fails with Invalid, the position of the
/// offending byte, and an empty field: the caller knows which argument it was.
Status parse_digest(std::string_view text, PackedId &packed);
Result<PackedId> parse_digest(std::string_view text);

/// Packs a layer id: a digest where it parses as one, text otherwise. Refuses what is not one
/// path component: empty, ".", "..", over 255 bytes, "/" or a control character in it.
Status parse_layer_id(std::string_view text, PackedId &packed);
Result<PackedId> parse_layer_id(std::string_view text);

/// Whether packed bytes read from a disk have a form that the functions above produce.
bool is_packed_digest(std::span<const std::uint8_t> packed);
bool is_packed_id(std::span<const std::uint8_t> packed);

/// Writes the text form and a NUL into `out`, which holds at least 256 bytes (136 for a digest);
/// returns its length. Empty input gives an empty text.
std::size_t write_id_text(std::span<const std::uint8_t> packed, char *out);
/// The same text twice, in one go.
void write_id_texts(std::span<const std::uint8_t> packed, char *out, char *twin);
std::string id_text(std::span<const std::uint8_t> packed);

} // namespace waybill
