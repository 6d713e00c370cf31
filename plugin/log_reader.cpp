// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors
#include "log_reader.h"

#include "limits.h"

#include <algorithm>

namespace waybill {

namespace {

/// A window that moves over the file, so that reading takes few calls. It is small where batches
/// are large: those are read where they are wanted, and only their heads by way of the window.
class Window final {
  public:
    Window(File &file, std::uint64_t size) : file_(file), size_(size) {}

    std::uint64_t file_bytes() const { return size_; }

    /// Past zeros that the file system does not even keep: reserved space is mostly that.
    Result<std::uint64_t> past_hole(std::uint64_t offset) {
        Result<std::uint64_t> data = file_.data_from(offset);
        if (!data.ok())
            return data;
        return std::clamp(*data & ~std::uint64_t{7}, offset, std::max(offset, size_));
    }

    Status copy(std::uint64_t offset, std::span<std::uint8_t> out) {
        if (out.size() > window_bytes_max / 4) {
            window_bytes_ = window_bytes_min;
            Result<std::size_t> got = file_.read(offset, out);
            if (!got.ok())
                return got.status();
            std::fill(out.begin() + static_cast<std::ptrdiff_t>(*got), out.end(), std::uint8_t{0});
            return {};
        }
        Result<Bytes> bytes = at(offset, out.size());
        if (!bytes.ok())
            return bytes.status();
        std::fill(std::copy(bytes->begin(), bytes->end(), out.begin()), out.end(), std::uint8_t{0});
        return {};
    }

    /// The bytes [offset, offset + length), fewer at the end of the file.
    Result<Bytes> at(std::uint64_t offset, std::size_t length) {
        if (offset >= size_)
            return Bytes();
        length = static_cast<std::size_t>(std::min<std::uint64_t>(length, size_ - offset));
        if (offset < start_ || offset + length > start_ + held_.size()) {
            const std::size_t wanted = static_cast<std::size_t>(
                std::min<std::uint64_t>(std::max(length, window_bytes_), size_ - offset));
            window_bytes_ = std::min(4 * window_bytes_, window_bytes_max);
            held_.resize(wanted);
            start_ = offset;
            Result<std::size_t> got = file_.read(offset, held_);
            if (!got.ok()) {
                held_.clear();
                return got.status();
            }
            held_.resize(*got);
        }
        const auto skipped = static_cast<std::size_t>(offset - start_);
        return Bytes(held_).subspan(skipped, std::min(length, held_.size() - skipped));
    }

  private:
    /// More would be memory of its own, which is taken from all processors when it is given back.
    static constexpr std::size_t window_bytes_min = 4u << 10, window_bytes_max = 64u << 10;

    File &file_;
    std::uint64_t size_;
    std::uint64_t start_ = 0;
    std::size_t window_bytes_ = window_bytes_min; ///< of the next one
    std::vector<std::uint8_t> held_;
};

class LogScan final {
  public:
    LogScan(File &file, std::uint64_t size, std::uint64_t salt, LogReceiver &receiver)
        : window_(file, size), salt_(salt), receiver_(receiver) {}

    Status run(LogEnd &end, LogTail tail);

  private:
    enum class Found { Head, BadBody, Nothing };

    Result<Found> head_at(std::uint64_t offset, BatchHeader *header);
    Result<std::uint64_t> next_batch(std::uint64_t from);
    Result<bool> deliver(std::uint64_t offset, const BatchHeader &header);
    Status salvage_batch(std::uint64_t offset, std::uint64_t to, Found found,
                         const BatchHeader &header);
    Status salvage(std::uint64_t from, std::uint64_t to, std::uint64_t last_revision);
    Status measure_tail(LogEnd &end);

    Window window_;
    std::uint64_t salt_;
    LogReceiver &receiver_;
    bool found_damage_ = false; ///< in the batch that is being salvaged
};

/// Whether the whole head of a batch stands at `offset`, with or without room for its body.
Result<LogScan::Found> LogScan::head_at(std::uint64_t offset, BatchHeader *header) {
    Result<Bytes> head = window_.at(offset, sizeof *header);
    if (!head.ok())
        return head.status();
    if (head->size() < sizeof *header)
        return Found::Nothing;
    std::memcpy(header, head->data(), sizeof *header);
    if (!batch_header_is_whole(*header, salt_, offset))
        return Found::Nothing;
    if (header->body_bytes > window_.file_bytes() - offset - sizeof *header)
        return Found::BadBody;
    return Found::Head;
}

/// Where the next batch with a whole head starts at or behind `from`, or the end of the file.
Result<std::uint64_t> LogScan::next_batch(std::uint64_t from) {
    constexpr std::size_t stride = 1u << 16;
    for (std::uint64_t offset = padded(from); offset < window_.file_bytes(); offset += stride) {
        Result<std::uint64_t> data = window_.past_hole(offset);
        if (!data.ok())
            return data;
        offset = *data;
        Result<Bytes> bytes = window_.at(offset, stride + sizeof(BatchHeader));
        if (!bytes.ok())
            return bytes.status();
        for (std::size_t i = 0; i < stride && i + sizeof(BatchHeader) <= bytes->size(); i += 8) {
            std::uint32_t magic;
            std::memcpy(&magic, bytes->data() + i, sizeof magic);
            if (magic != batch_magic)
                continue;
            BatchHeader header;
            std::memcpy(&header, bytes->data() + i, sizeof header);
            if (batch_header_is_whole(header, salt_, offset + i))
                return offset + i;
        }
    }
    return window_.file_bytes();
}

/// Delivers a batch if its body holds: the one checksum stands for all frames, so none is checked
/// by itself. False if it does not.
Result<bool> LogScan::deliver(std::uint64_t offset, const BatchHeader &header) {
    const std::size_t size = header.body_bytes;
    std::uint8_t *memory = receiver_.batch_memory(std::max<std::size_t>(size, 1));
    const Status copied = window_.copy(offset + sizeof header, {memory, size});
    if (!copied.ok() || checksum({memory, size}, salt_ ^ offset) != header.body_checksum) {
        receiver_.batch_end(0);
        return copied.ok() ? Result<bool>(false) : Result<bool>(copied);
    }
    std::size_t at = 0;
    while (at + sizeof(Frame) <= size) {
        auto *frame = reinterpret_cast<Frame *>(memory + at);
        const std::size_t length = frame_bytes(frame->payload_bytes);
        if (frame->magic != frame_magic || length > size - at ||
            frame->revision > limits::revision_max)
            break; // Cannot be: the checksum holds. But never trust a length with memory.
        if (length + sizeof(Frame) <= size - at)
            receiver_.coming(*reinterpret_cast<const Frame *>(memory + at + length));
        receiver_.frame(*frame, offset + sizeof header + at);
        at += length;
    }
    receiver_.batch_end(header.last_revision);
    return true;
}

/// Delivers what can be read between two offsets, frame by frame.
Status LogScan::salvage(std::uint64_t from, std::uint64_t to, std::uint64_t last_revision) {
    Result<Bytes> read = window_.at(from, to - from);
    if (!read.ok())
        return read.status();
    const std::size_t size = read->size();
    std::uint8_t *memory = receiver_.batch_memory(std::max<std::size_t>(size, 1));
    std::memcpy(memory, read->data(), size);
    const auto head_at = [&](std::size_t at) {
        return size - at >= sizeof(Frame) &&
               frame_header_is_whole(*reinterpret_cast<Frame *>(memory + at), salt_, from + at) &&
               frame_bytes(reinterpret_cast<Frame *>(memory + at)->payload_bytes) <= size - at;
    };
    std::size_t at = 0;
    while (at < size) {
        if (head_at(at)) {
            auto *frame = reinterpret_cast<Frame *>(memory + at);
            if (checksum(frame->payload_span(), salt_) == frame->payload_checksum) {
                receiver_.frame(*frame, from + at);
            } else {
                found_damage_ = true;
                receiver_.damaged_frame(*frame, frame->payload_span(), from + at);
            }
            at += frame_bytes(frame->payload_bytes);
            continue;
        }
        std::size_t next = at + 8;
        while (next < size && !head_at(next))
            next += 8;
        next = std::min(next, size);
        found_damage_ = true;
        receiver_.damaged_bytes(from + at, Bytes(memory + at, next - at));
        at = next;
    }
    receiver_.batch_end(last_revision);
    return {};
}

Status LogScan::salvage_batch(std::uint64_t offset, std::uint64_t to, Found found,
                              const BatchHeader &header) {
    found_damage_ = false;
    // A batch whose head is bad still has its frames at the usual place.
    if (to - offset > sizeof header)
        if (Status status = salvage(offset + sizeof header, to,
                                    found == Found::BadBody ? header.last_revision : 0);
            !status.ok())
            return status;
    if (found == Found::Nothing || !found_damage_)
        receiver_.damaged_batch(offset, to - offset);
    return {};
}

Status LogScan::measure_tail(LogEnd &end) {
    constexpr std::size_t stride = 1u << 16;
    for (std::uint64_t offset = end.end_offset; offset < window_.file_bytes(); offset += stride) {
        Result<std::uint64_t> data = window_.past_hole(offset);
        if (!data.ok())
            return data.status();
        offset = *data;
        Result<Bytes> bytes = window_.at(offset, stride + sizeof(Frame));
        if (!bytes.ok())
            return bytes.status();
        const std::size_t here = std::min(stride, bytes->size());
        // Most of a tail is space that was reserved: zeros, passed over in one comparison.
        if (here > 0 && (*bytes)[0] == 0 &&
            std::memcmp(bytes->data(), bytes->data() + 1, here - 1) == 0)
            continue;
        for (std::size_t i = 0; i < here; i += 8) {
            std::uint64_t word = 0;
            std::memcpy(&word, bytes->data() + i, std::min<std::size_t>(8, here - i));
            if (word == 0)
                continue;
            end.tail_bytes = std::min(offset + i + 8, window_.file_bytes()) - end.end_offset;
            if (static_cast<std::uint32_t>(word) != frame_magic ||
                i + sizeof(Frame) > bytes->size())
                continue;
            Frame frame;
            std::memcpy(&frame, bytes->data() + i, sizeof frame);
            end.tail_whole_frames += frame.kind != static_cast<std::uint16_t>(FrameKind::Close) &&
                                     frame_header_is_whole(frame, salt_, offset + i);
        }
    }
    return {};
}

Status LogScan::run(LogEnd &end, LogTail tail) {
    std::uint64_t offset = end.end_offset;
    while (offset < window_.file_bytes()) {
        BatchHeader header;
        Result<Found> found = head_at(offset, &header);
        if (!found.ok())
            return found.status();
        if (*found == Found::Head) {
            Result<bool> delivered = deliver(offset, header);
            if (!delivered.ok())
                return delivered.status();
            if (*delivered) {
                end.last_batch_offset = offset;
                offset += sizeof header + header.body_bytes;
                end.end_offset = offset;
                continue;
            }
            *found = Found::BadBody;
        }
        Result<std::uint64_t> next = next_batch(offset + 8);
        if (!next.ok())
            return next.status();
        if (*next >= window_.file_bytes()) { // Nothing follows: the tail.
            if (Status status = measure_tail(end); !status.ok())
                return status;
            if (tail == LogTail::MayBeTorn || end.tail_bytes == 0)
                return {};
            *next = std::min(offset + padded(end.tail_bytes), window_.file_bytes());
            end.tail_bytes = 0;
        }
        if (Status status = salvage_batch(offset, *next, *found, header); !status.ok())
            return status;
        offset = *next;
        end.end_offset = offset;
    }
    return {};
}

} // namespace

Result<LogEnd> read_log(File &file, std::uint64_t salt, LogTail tail, LogReceiver &receiver) {
    Result<std::uint64_t> size = file.size();
    if (!size.ok())
        return size.status();
    if (*size > limits::file_bytes_max)
        return failure(Code::Limit, "a store file of " + std::to_string(*size) +
                                        " bytes, at most " +
                                        std::to_string(limits::file_bytes_max) + " are read");
    LogEnd end;
    receiver.file_bytes(*size);
    LogScan scan(file, *size, salt, receiver);
    if (Status status = scan.run(end, tail); !status.ok())
        return status;
    end.is_cut_off = end.end_offset >= *size;
    return end;
}

} // namespace waybill
