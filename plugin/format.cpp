// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors
#include "format.h"

#include "limits.h"

#include <QtCore/QRandomGenerator>

#include <charconv>
// Inline: a lookup hashes some 50 bytes, which a call into the shared library would double.
#define XXH_INLINE_ALL
#include <xxhash.h>

namespace waybill {

static const char *magic_of(FileKind kind) {
    return kind == FileKind::Journal ? "WAYBILLJ" : "WAYBILLS";
}

std::uint64_t checksum(Bytes bytes, std::uint64_t seed) {
    return XXH3_64bits_withSeed(bytes.data(), bytes.size(), seed);
}

std::uint64_t key_hash(std::string_view name_space, std::string_view reference) {
    // A name over the limits cannot have been stored; hashing it might take long.
    if (name_space.size() > limits::namespace_bytes_max ||
        reference.size() > limits::reference_bytes_max)
        return 0;
    const std::uint64_t seed = XXH3_64bits(name_space.data(), name_space.size());
    return XXH3_64bits_withSeed(reference.data(), reference.size(), seed);
}

std::vector<std::uint8_t> encode_header(FileKind kind, FileHeader header) {
    std::memcpy(header.magic, magic_of(kind), sizeof header.magic);
    header.version = format_version;
    header.checksum = XXH3_64bits(&header, offsetof(FileHeader, checksum));
    std::vector<std::uint8_t> block(header_block_bytes, 0);
    std::memcpy(block.data(), &header, sizeof header);
    std::memcpy(block.data() + header_copy_offset, &header, sizeof header);
    return block;
}

Result<FileHeader> decode_header(FileKind kind, Bytes block, const std::string &file,
                                 bool *copy_damaged) {
    FileHeader found[2];
    bool whole[2] = {false, false};
    for (int copy = 0; copy < 2; ++copy) {
        const std::size_t offset = copy * header_copy_offset;
        if (block.size() < offset + sizeof(FileHeader))
            continue;
        std::memcpy(&found[copy], block.data() + offset, sizeof(FileHeader));
        whole[copy] =
            std::memcmp(found[copy].magic, magic_of(kind), sizeof found[copy].magic) == 0 &&
            found[copy].checksum == XXH3_64bits(&found[copy], offsetof(FileHeader, checksum)) &&
            found[copy].generation <= limits::generation_max &&
            found[copy].first_revision <= limits::revision_max;
    }
    if (!whole[0] && !whole[1])
        return failure(Code::Corrupt, file + ": neither copy of the header was whole");
    *copy_damaged = !whole[0] || !whole[1];
    const FileHeader &header = whole[0] ? found[0] : found[1];
    if (header.version > format_version)
        return failure(Code::Format, file + ": written by format " +
                                         std::to_string(header.version) + ", this library reads " +
                                         std::to_string(format_version));
    return header;
}

bool frame_header_is_whole(const Frame &frame, std::uint64_t salt, std::uint64_t offset) {
    return frame.magic == frame_magic && frame.block == 0 &&
           frame.revision <= limits::revision_max &&
           frame.header_checksum ==
               XXH3_64bits_withSeed(&frame, offsetof(Frame, header_checksum), salt ^ offset);
}

bool batch_header_is_whole(const BatchHeader &header, std::uint64_t salt, std::uint64_t offset) {
    return header.magic == batch_magic && header.last_revision <= limits::revision_max &&
           header.header_checksum ==
               XXH3_64bits_withSeed(&header, offsetof(BatchHeader, header_checksum), salt ^ offset);
}

void Batch::clear() {
    bytes_.clear();
    frames_.clear();
    count_ = 0;
    first_revision_ = last_revision_ = 0;
}

void Batch::add(const Frame &head, Bytes payload) {
    if (bytes_.empty())
        bytes_.resize(sizeof(BatchHeader));
    const std::size_t at = bytes_.size();
    bytes_.resize(at + frame_bytes(payload.size())); // Padding is zero.
    Frame stored = head;
    stored.magic = frame_magic;
    stored.block = 0;
    stored.flags &= frame_flags_stored;
    stored.payload_bytes = static_cast<std::uint32_t>(payload.size());
    std::memcpy(bytes_.data() + at, &stored, sizeof stored);
    if (!payload.empty())
        std::memcpy(bytes_.data() + at + sizeof stored, payload.data(), payload.size());
    if (count_++ == 0)
        first_revision_ = head.revision;
    last_revision_ = head.revision;
    frames_.push_back(at);
}

Bytes Batch::seal(std::uint64_t salt, std::uint64_t offset) {
    for (const std::size_t at : frames_) {
        auto *frame = reinterpret_cast<Frame *>(bytes_.data() + at);
        frame->payload_checksum = checksum(frame->payload_span(), salt);
        frame->header_checksum =
            XXH3_64bits_withSeed(frame, offsetof(Frame, header_checksum), salt ^ (offset + at));
    }
    BatchHeader header{};
    header.magic = batch_magic;
    header.frame_count = count_;
    header.body_bytes = bytes_.size() - sizeof header;
    header.first_revision = first_revision_;
    header.last_revision = last_revision_;
    header.body_checksum = checksum(Bytes(bytes_).subspan(sizeof header), salt ^ offset);
    header.header_checksum =
        XXH3_64bits_withSeed(&header, offsetof(BatchHeader, header_checksum), salt ^ offset);
    std::memcpy(bytes_.data(), &header, sizeof header);
    return bytes_;
}

std::uint64_t random_u64() { return QRandomGenerator::system()->generate64(); }

StoreId random_store_id() {
    StoreId id;
    const std::uint64_t halves[2] = {random_u64(), random_u64()};
    std::memcpy(id.data(), halves, sizeof halves);
    return id;
}

std::string hex(Bytes bytes) {
    static constexpr char digits[] = "0123456789abcdef";
    std::string text;
    text.reserve(bytes.size() * 2);
    for (const std::uint8_t byte : bytes) {
        text += digits[byte >> 4];
        text += digits[byte & 15];
    }
    return text;
}

std::string journal_name(std::uint64_t generation) {
    return "journal." + std::to_string(generation);
}

bool parse_journal_name(std::string_view name, std::uint64_t *generation) {
    constexpr std::string_view prefix = "journal.";
    if (!name.starts_with(prefix) || name.size() == prefix.size() || name[prefix.size()] == '0')
        return false;
    const char *end = name.data() + name.size();
    const auto parsed = std::from_chars(name.data() + prefix.size(), end, *generation);
    return parsed.ec == std::errc{} && parsed.ptr == end && *generation <= limits::generation_max;
}

} // namespace waybill
