// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors
//
// Invariant: one id has one packed form, so that packed bytes compare as their texts do. Text that
// reads as a digest is therefore never accepted as text.
#include "digest.h"

#include "limits.h"
#include "reference.h"

#include <algorithm>
#include <array>
#include <cstring>

namespace waybill {

namespace {

struct Algorithm {
    std::string_view prefix;
    std::uint8_t id;
    std::size_t raw_bytes;
};

constexpr Algorithm algorithms[] = {
    {"sha256:", id_is_sha256, 32},
    {"sha384:", id_is_sha384, 48},
    {"sha512:", id_is_sha512, 64},
};

constexpr std::uint8_t not_hex = 0xff;

constexpr std::array<std::uint8_t, 256> hex_values = [] {
    std::array<std::uint8_t, 256> values{};
    values.fill(not_hex);
    for (unsigned digit = 0; digit < 16; ++digit)
        values[static_cast<std::uint8_t>("0123456789abcdef"[digit])] =
            static_cast<std::uint8_t>(digit);
    return values;
}();

constexpr std::array<std::array<char, 2>, 256> hex_pairs = [] {
    std::array<std::array<char, 2>, 256> pairs{};
    for (unsigned byte = 0; byte < 256; ++byte)
        pairs[byte] = {"0123456789abcdef"[byte >> 4], "0123456789abcdef"[byte & 15]};
    return pairs;
}();

std::uint8_t hex_value(char character) { return hex_values[static_cast<std::uint8_t>(character)]; }

const Algorithm *algorithm_of_text(std::string_view text) {
    for (const Algorithm &algorithm : algorithms)
        if (text.starts_with(algorithm.prefix))
            return &algorithm;
    return nullptr;
}

const Algorithm *algorithm_of_id(std::uint8_t id) {
    return id >= id_is_sha256 && id <= id_is_sha512 ? &algorithms[id - id_is_sha256] : nullptr;
}

/// Whether `hex` has just the digits of such a digest, whose bytes then stand in `raw`.
bool decode_hex(const Algorithm &algorithm, std::string_view hex, std::uint8_t *raw) {
    if (hex.size() != 2 * algorithm.raw_bytes)
        return false;
    std::uint8_t seen = 0;
    for (std::size_t at = 0; at < algorithm.raw_bytes; ++at) {
        const std::uint8_t high = hex_value(hex[2 * at]);
        const std::uint8_t low = hex_value(hex[2 * at + 1]);
        seen |= high | low;
        raw[at] = static_cast<std::uint8_t>(high << 4 | low);
    }
    return seen <= 15;
}

bool pack_digest(std::string_view text, PackedId &packed) {
    const Algorithm *algorithm = algorithm_of_text(text);
    if (!algorithm ||
        !decode_hex(*algorithm, text.substr(algorithm->prefix.size()), packed.bytes + 1))
        return false;
    packed.bytes[0] = algorithm->id;
    packed.size = 1 + algorithm->raw_bytes;
    return true;
}

bool reads_as_digest(std::string_view text) {
    PackedId packed;
    return pack_digest(text, packed);
}

Status digest_fault(std::string message, std::size_t position) {
    return invalid({}, std::move(message), static_cast<std::int64_t>(position));
}

Status hex_fault(const Algorithm &algorithm, std::string_view hex) {
    const std::size_t digits = 2 * algorithm.raw_bytes;
    const std::string_view expected = hex.substr(0, digits);
    const auto wrong = std::find_if(expected.begin(), expected.end(),
                                    [](char c) { return hex_value(c) == not_hex; });
    const std::size_t position =
        algorithm.prefix.size() + static_cast<std::size_t>(wrong - expected.begin());
    if (wrong != expected.end())
        return digest_fault("the digest had a character other than 0-9 and a-f", position);
    return digest_fault("the digest had " + std::to_string(hex.size()) + " digits instead of " +
                            std::to_string(digits),
                        position);
}

bool is_control(char character) {
    const auto byte = static_cast<unsigned char>(character);
    return byte < 0x20 || byte == 0x7f;
}

/// Ok where `text` can name one directory and is not too long for it.
Status check_path_component(std::string_view text) {
    if (text.empty())
        return invalid({}, "the layer id was empty", 0);
    if (text.size() > limits::layer_id_bytes_max)
        return over_limit({}, "the layer id was longer than " +
                                  std::to_string(limits::layer_id_bytes_max) + " bytes");
    if (text == "." || text == "..")
        return invalid({}, "the layer id was not the name of a directory entry of its own", 0);
    for (std::size_t at = 0; at < text.size(); ++at)
        if (text[at] == '/' || is_control(text[at]))
            return invalid({}, "the layer id had a \"/\" or a control character",
                           static_cast<std::int64_t>(at));
    std::int64_t position = 0;
    if (!is_utf8(text, &position))
        return invalid({}, "the layer id was not UTF-8", position);
    return {};
}

} // namespace

Status parse_digest(std::string_view text, PackedId &packed) {
    if (pack_digest(text, packed))
        return {};
    const Algorithm *algorithm = algorithm_of_text(text);
    if (!algorithm)
        return digest_fault("the digest did not start with sha256:, sha384: or sha512:", 0);
    return hex_fault(*algorithm, text.substr(algorithm->prefix.size()));
}

Result<PackedId> parse_digest(std::string_view text) {
    PackedId packed;
    Status status = parse_digest(text, packed);
    return status.ok() ? Result<PackedId>(packed) : Result<PackedId>(std::move(status));
}

Status parse_layer_id(std::string_view text, PackedId &packed) {
    if (pack_digest(text, packed))
        return {};
    if (Status fault = check_path_component(text); !fault.ok())
        return fault;
    packed.bytes[0] = id_is_text;
    std::memcpy(packed.bytes + 1, text.data(), text.size());
    packed.size = 1 + text.size();
    return {};
}

Result<PackedId> parse_layer_id(std::string_view text) {
    PackedId packed;
    Status status = parse_layer_id(text, packed);
    return status.ok() ? Result<PackedId>(packed) : Result<PackedId>(std::move(status));
}

bool is_packed_digest(std::span<const std::uint8_t> packed) {
    if (packed.empty())
        return false;
    const Algorithm *algorithm = algorithm_of_id(packed[0]);
    return algorithm && packed.size() == 1 + algorithm->raw_bytes;
}

bool is_packed_id(std::span<const std::uint8_t> packed) {
    if (packed.empty() || packed[0] != id_is_text)
        return is_packed_digest(packed);
    const std::string_view text(reinterpret_cast<const char *>(packed.data()) + 1,
                                packed.size() - 1);
    return !reads_as_digest(text) && check_path_component(text).ok();
}

std::size_t write_id_text(std::span<const std::uint8_t> packed, char *out) {
    char *end = out;
    if (is_packed_digest(packed)) {
        const std::string_view prefix = algorithm_of_id(packed[0])->prefix;
        std::memcpy(end, prefix.data(), prefix.size());
        end += prefix.size();
        for (const std::uint8_t byte : packed.subspan(1)) {
            std::memcpy(end, hex_pairs[byte].data(), 2);
            end += 2;
        }
    } else if (packed.size() > 1 && packed[0] == id_is_text) {
        const std::size_t size = std::min(packed.size() - 1, limits::layer_id_bytes_max);
        std::memcpy(end, packed.data() + 1, size);
        end += size;
    }
    *end = '\0';
    return static_cast<std::size_t>(end - out);
}

std::string id_text(std::span<const std::uint8_t> packed) {
    char text[sizeof(PackedId::bytes)];
    const std::size_t size = write_id_text(packed, text);
    return std::string(text, size);
}

} // namespace waybill
