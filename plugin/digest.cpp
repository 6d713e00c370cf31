// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors
//
// Invariant: one id has one packed form, so that packed bytes compare as their texts do. Text that
// reads as a digest is therefore never accepted as text.
#include "digest.h"

#include "limits.h"
#include "reference.h"

#include <algorithm>
#include <cstring>

namespace waybill {

namespace {

struct Algorithm {
    std::string_view prefix;
    std::uint8_t id;
    std::size_t raw_bytes; ///< a multiple of 16
};

constexpr Algorithm algorithms[] = {
    {"sha256:", id_is_sha256, 32},
    {"sha384:", id_is_sha384, 48},
    {"sha512:", id_is_sha512, 64},
};

/// Sixteen at a time: an image has a dozen digests, and nearly all that reading one as text takes
/// would be its digits. The compiler makes of this what the processor has.
using Octets = std::uint8_t __attribute__((vector_size(16)));

Octets load(const void *bytes) {
    Octets octets;
    std::memcpy(&octets, bytes, sizeof octets);
    return octets;
}

bool is_hex(char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); }

Octets digits_of(Octets nibbles) {
    constexpr std::uint8_t behind_nine = 'a' - '9' - 1;
    return nibbles + '0' + (Octets(nibbles > 9) & behind_nine);
}

/// 16 bytes as 32 digits.
struct Hex {
    Octets pairs[2];

    void store(char *out) const { std::memcpy(out, pairs, sizeof pairs); }
};

Hex encode_hex(const std::uint8_t *raw) {
    const Octets octets = load(raw);
    const Octets high = digits_of(octets >> 4), low = digits_of(octets & 15);
    return {
        __builtin_shufflevector(high, low, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23),
        __builtin_shufflevector(high, low, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15,
                                31)};
}

/// `*bad` is not zero where a character was no digit.
Octets nibbles_of(Octets digits, Octets *bad) {
    const Octets number = digits - '0', letter = digits - 'a';
    const Octets is_number = Octets(number <= 9), is_letter = Octets(letter <= 5);
    *bad |= ~(is_number | is_letter);
    return (number & is_number) | ((letter + 10) & is_letter);
}

/// 32 digits to 16 bytes.
void decode_hex(const char *hex, std::uint8_t *raw, Octets *bad) {
    const Octets first = nibbles_of(load(hex), bad), second = nibbles_of(load(hex + 16), bad);
    const Octets high = __builtin_shufflevector(first, second, 0, 2, 4, 6, 8, 10, 12, 14, 16, 18,
                                                20, 22, 24, 26, 28, 30);
    const Octets low = __builtin_shufflevector(first, second, 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21,
                                               23, 25, 27, 29, 31);
    const Octets octets = high << 4 | low;
    std::memcpy(raw, &octets, sizeof octets);
}

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
bool decode_digits(const Algorithm &algorithm, std::string_view hex, std::uint8_t *raw) {
    if (hex.size() != 2 * algorithm.raw_bytes)
        return false;
    Octets bad = {};
    for (std::size_t at = 0; at < algorithm.raw_bytes; at += sizeof(Octets))
        decode_hex(hex.data() + 2 * at, raw + at, &bad);
    std::uint64_t halves[2];
    std::memcpy(halves, &bad, sizeof halves);
    return (halves[0] | halves[1]) == 0;
}

bool pack_digest(std::string_view text, PackedId &packed) {
    const Algorithm *algorithm = algorithm_of_text(text);
    if (!algorithm ||
        !decode_digits(*algorithm, text.substr(algorithm->prefix.size()), packed.bytes + 1))
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
    const auto wrong =
        std::find_if(expected.begin(), expected.end(), [](char c) { return !is_hex(c); });
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
        for (std::size_t at = 1; at < packed.size(); at += sizeof(Octets)) {
            encode_hex(packed.data() + at).store(end);
            end += 2 * sizeof(Octets);
        }
    } else if (packed.size() > 1 && packed[0] == id_is_text) {
        const std::size_t size = std::min(packed.size() - 1, limits::layer_id_bytes_max);
        std::memcpy(end, packed.data() + 1, size);
        end += size;
    }
    *end = '\0';
    return static_cast<std::size_t>(end - out);
}

void write_id_texts(std::span<const std::uint8_t> packed, char *out, char *twin) {
    const Algorithm &usual = algorithms[0];
    if (packed.size() != 1 + usual.raw_bytes || packed[0] != usual.id) {
        // Written anew: copying text that has just been written stalls.
        write_id_text(packed, out);
        write_id_text(packed, twin);
        return;
    }
    const Hex first = encode_hex(packed.data() + 1);
    const Hex second = encode_hex(packed.data() + 1 + sizeof(Octets));
    for (char *text : {out, twin}) {
        std::memcpy(text, usual.prefix.data(), usual.prefix.size());
        first.store(text + usual.prefix.size());
        second.store(text + usual.prefix.size() + sizeof(Hex));
        text[usual.prefix.size() + 2 * sizeof(Hex)] = '\0';
    }
}

std::string id_text(std::span<const std::uint8_t> packed) {
    char text[sizeof(PackedId::bytes)];
    const std::size_t size = write_id_text(packed, text);
    return std::string(text, size);
}

} // namespace waybill
