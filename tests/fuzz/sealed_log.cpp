// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors
#include "sealed_log.h"

#include "buffer.h"
#include "plugin/record.h"

#include <algorithm>

namespace waybill::fuzz {

namespace {

std::uint64_t head_checksum(const void *head, std::size_t size, std::uint64_t seed) {
    return checksum({static_cast<const std::uint8_t *>(head), size}, seed);
}

/// Answers where the next frame stands.
std::size_t seal_frame(Buffer &file, std::size_t at, std::uint64_t salt) {
    auto frame = read_at<Frame>(file, at);
    const std::size_t payload_at = at + sizeof frame;
    const std::size_t payload_bytes =
        std::min<std::size_t>(frame.payload_bytes, file.size() - payload_at);
    const Bytes payload = Bytes(file).subspan(payload_at, payload_bytes);
    if (frame.payload_checksum == seal_here)
        frame.payload_checksum = checksum(payload, salt);
    if (frame.key_hash == seal_here) {
        // The verifier wants memory that is aligned as a record's is.
        const Buffer copy(payload.begin(), payload.end());
        const record::Image *image = verified_image(copy);
        const FramePtr aligned = allocate_frame(copy.size());
        frame.key_hash = 0;
        if (image) {
            std::memcpy(aligned->payload(), copy.data(), copy.size());
            frame.key_hash = key_hash(namespace_of(*aligned), reference_of(*aligned));
        }
    }
    if (frame.header_checksum == seal_here)
        frame.header_checksum = head_checksum(&frame, offsetof(Frame, header_checksum), salt ^ at);
    write_at(file, at, frame);
    return payload_bytes == frame.payload_bytes ? at + frame_bytes(payload_bytes) : file.size();
}

std::size_t seal_batch(Buffer &file, std::size_t at, std::uint64_t salt) {
    auto header = read_at<BatchHeader>(file, at);
    const std::size_t body_at = at + sizeof header;
    const std::size_t body_bytes =
        std::min<std::uint64_t>(header.body_bytes, file.size() - body_at);
    for (std::size_t frame = body_at; frame + sizeof(Frame) <= body_at + body_bytes;) {
        if (read_at<std::uint32_t>(file, frame) == frame_magic)
            frame = seal_frame(file, frame, salt);
        else
            frame += 8;
    }
    if (header.body_checksum == seal_here)
        header.body_checksum = checksum(Bytes(file).subspan(body_at, body_bytes), salt ^ at);
    if (header.header_checksum == seal_here)
        header.header_checksum =
            head_checksum(&header, offsetof(BatchHeader, header_checksum), salt ^ at);
    write_at(file, at, header);
    return body_at + padded(body_bytes);
}

void seal_header(Buffer &file, std::size_t at) {
    auto header = read_at<FileHeader>(file, at);
    if (header.checksum == seal_here)
        header.checksum = head_checksum(&header, offsetof(FileHeader, checksum), 0);
    write_at(file, at, header);
}

} // namespace

std::vector<std::uint8_t> seal(Bytes input) {
    Buffer described(input.begin(), input.end());
    described.resize(std::max(described.size(), described_header_bytes), 0);
    Buffer file(header_block_bytes, 0);
    std::copy_n(described.begin(), sizeof(FileHeader), file.begin());
    std::copy_n(described.begin() + sizeof(FileHeader), sizeof(FileHeader),
                file.begin() + header_copy_offset);
    append(file, Bytes(described).subspan(described_header_bytes));
    seal_header(file, 0);
    seal_header(file, header_copy_offset);
    // Behind the salt of the copy that a reader would go by.
    bool copy_damaged = false;
    std::uint64_t salt = read_at<FileHeader>(file, 0).salt;
    for (const FileKind kind : {FileKind::Journal, FileKind::Snapshot})
        if (const auto header =
                decode_header(kind, Bytes(file).first(header_block_bytes), "", &copy_damaged);
            header.ok())
            salt = header.value().salt;
    for (std::size_t at = header_block_bytes; at + sizeof(BatchHeader) <= file.size();) {
        const auto magic = read_at<std::uint32_t>(file, at);
        at = magic == batch_magic   ? seal_batch(file, at, salt)
             : magic == frame_magic ? seal_frame(file, at, salt)
                                    : at + 8;
    }
    return file;
}

std::vector<std::uint8_t> unseal(FileKind kind, Bytes file) {
    bool copy_damaged = false;
    const auto header = decode_header(kind, file.first(header_block_bytes), "", &copy_damaged);
    const std::uint64_t salt = header.ok() ? header.value().salt : 0;
    Buffer input;
    for (const std::size_t at : {std::size_t{0}, header_copy_offset}) {
        auto copy = read_at<FileHeader>(file, at);
        if (copy.checksum == head_checksum(&copy, offsetof(FileHeader, checksum), 0))
            copy.checksum = seal_here;
        append(input, {reinterpret_cast<const std::uint8_t *>(&copy), sizeof copy});
    }
    Buffer log(file.begin(), file.end());
    for (std::size_t at = header_block_bytes; at + sizeof(Frame) <= log.size(); at += 8) {
        auto batch = read_at<BatchHeader>(log, at);
        if (batch_header_is_whole(batch, salt, at)) {
            const bool has_body = has(log, at + sizeof batch, batch.body_bytes);
            if (has_body &&
                batch.body_checksum ==
                    checksum(file.subspan(at + sizeof batch, batch.body_bytes), salt ^ at))
                batch.body_checksum = seal_here;
            batch.header_checksum = seal_here;
            write_at(log, at, batch);
        }
        auto frame = read_at<Frame>(log, at);
        if (frame_header_is_whole(frame, salt, at)) {
            if (has(log, at + sizeof frame, frame.payload_bytes) &&
                frame.payload_checksum ==
                    checksum(file.subspan(at + sizeof frame, frame.payload_bytes), salt))
                frame.payload_checksum = seal_here;
            if (frame.frame_kind() == FrameKind::Put)
                frame.key_hash = seal_here;
            frame.header_checksum = seal_here;
            write_at(log, at, frame);
        }
    }
    append(input, Bytes(log).subspan(header_block_bytes));
    return input;
}

} // namespace waybill::fuzz
