// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors
#include "log_mutation.h"

#include "buffer.h"
#include "sealed_log.h"

#include <algorithm>
#include <random>

extern "C" std::size_t LLVMFuzzerMutate(std::uint8_t *data, std::size_t size, std::size_t size_max);

namespace waybill::fuzz {

namespace {

// --- taking a description apart ----------------------------------------------------------------

struct Piece {
    Buffer head; ///< of a batch; empty: the bytes are no batch
    std::vector<Buffer> frames;
    Buffer bytes;
};

struct Description {
    Buffer header;
    std::vector<Piece> pieces;
};

bool take_batch(Bytes log, std::size_t at, Piece &piece) {
    if (!has(log, at, sizeof(BatchHeader)) || read_at<std::uint32_t>(log, at) != batch_magic)
        return false;
    const std::uint64_t body_bytes = read_at<BatchHeader>(log, at).body_bytes;
    const std::size_t body_at = at + sizeof(BatchHeader);
    if (!has(log, body_at, body_bytes) || body_bytes > log.size())
        return false;
    const Bytes body = log.subspan(body_at, body_bytes);
    std::vector<Buffer> frames;
    for (std::size_t frame = 0; frame < body.size();) {
        if (!has(body, frame, sizeof(Frame)))
            return false;
        const std::size_t size = frame_bytes(read_at<Frame>(body, frame).payload_bytes);
        if (!has(body, frame, size))
            return false;
        const Bytes bytes = body.subspan(frame, size);
        frames.emplace_back(bytes.begin(), bytes.end());
        frame += size;
    }
    const Bytes head = log.subspan(at, sizeof(BatchHeader));
    piece.head.assign(head.begin(), head.end());
    piece.frames = std::move(frames);
    return true;
}

Description take_apart(Bytes input) {
    Description description;
    const Bytes header = input.first(std::min(input.size(), described_header_bytes));
    description.header.assign(header.begin(), header.end());
    const Bytes log = input.subspan(header.size());
    for (std::size_t at = 0; at < log.size();) {
        Piece piece;
        if (take_batch(log, at, piece)) {
            at += sizeof(BatchHeader) + read_at<BatchHeader>(log, at).body_bytes;
            description.pieces.push_back(std::move(piece));
            continue;
        }
        if (description.pieces.empty() || !description.pieces.back().head.empty())
            description.pieces.emplace_back();
        const Bytes bytes = log.subspan(at, std::min<std::size_t>(8, log.size() - at));
        append(description.pieces.back().bytes, bytes);
        at += bytes.size();
    }
    return description;
}

Buffer put_together(const Description &description) {
    Buffer input = description.header;
    for (const Piece &piece : description.pieces) {
        if (piece.head.empty()) {
            append(input, piece.bytes);
            continue;
        }
        auto head = read_at<BatchHeader>(piece.head, 0);
        head.frame_count = static_cast<std::uint32_t>(piece.frames.size());
        head.body_bytes = 0;
        for (const Buffer &frame : piece.frames)
            head.body_bytes += frame.size();
        append(input, {reinterpret_cast<const std::uint8_t *>(&head), sizeof head});
        for (const Buffer &frame : piece.frames)
            append(input, frame);
    }
    return input;
}

// --- changing it -------------------------------------------------------------------------------

class LogMutation final {
  public:
    LogMutation(Description &description, unsigned seed)
        : pieces_(description.pieces), random_(seed) {
        for (Piece &piece : pieces_)
            if (!piece.head.empty())
                batches_.push_back(&piece);
    }

    /// False if there is nothing to change in that way.
    bool apply() {
        if (batches_.empty())
            return false;
        switch (below(10)) {
        case 0:
            return change_batches();
        case 1:
        case 2:
            return change_frames();
        case 3:
            return change_field();
        case 4:
            return change_checksum();
        case 5:
            return renumber();
        default:
            return change_payload();
        }
    }

  private:
    std::size_t below(std::size_t bound) { return random_() % bound; }
    Piece &batch() { return *batches_[below(batches_.size())]; }

    bool change_batches() {
        const std::size_t from = below(pieces_.size());
        const std::size_t to = below(pieces_.size());
        switch (below(3)) {
        case 0: {
            Piece copy = pieces_[from];
            pieces_.insert(pieces_.begin() + static_cast<std::ptrdiff_t>(to), std::move(copy));
            break;
        }
        case 1:
            std::swap(pieces_[from], pieces_[to]);
            break;
        default:
            pieces_.erase(pieces_.begin() + static_cast<std::ptrdiff_t>(from));
        }
        return true;
    }

    bool change_frames() {
        Piece &from = batch();
        Piece &to = batch();
        if (from.frames.empty())
            return false;
        const std::size_t taken = below(from.frames.size());
        if (below(3) == 0) {
            from.frames.erase(from.frames.begin() + static_cast<std::ptrdiff_t>(taken));
            return true;
        }
        Buffer copy = from.frames[taken];
        to.frames.insert(to.frames.begin() +
                             static_cast<std::ptrdiff_t>(below(to.frames.size() + 1)),
                         std::move(copy));
        return true;
    }

    bool change_field() {
        Piece &piece = batch();
        if (piece.frames.empty())
            return false;
        Buffer &bytes = piece.frames[below(piece.frames.size())];
        auto frame = read_at<Frame>(bytes, 0);
        static constexpr std::uint64_t numbers[] = {
            0, 1, 2, 0xffff, 1ull << 32, (1ull << 63) - 1, ~0ull - 1, ~0ull};
        switch (below(4)) {
        case 0:
            frame.kind = static_cast<std::uint16_t>(below(8));
            break;
        case 1:
            frame.flags = static_cast<std::uint16_t>(below(8));
            break;
        case 2:
            frame.key_hash = below(2) ? seal_here : numbers[below(std::size(numbers))];
            break;
        default:
            frame.revision =
                below(2) ? frame.revision + below(3) - 1 : numbers[below(std::size(numbers))];
        }
        write_at(bytes, 0, frame);
        return true;
    }

    /// Breaks one of a frame's or a batch's, or makes it hold again.
    bool change_checksum() {
        Piece &piece = batch();
        const std::size_t places[] = {
            offsetof(BatchHeader, body_checksum), offsetof(BatchHeader, header_checksum),
            offsetof(Frame, payload_checksum), offsetof(Frame, header_checksum)};
        const std::size_t place = below(4);
        if (place >= 2 && piece.frames.empty())
            return false;
        Buffer &bytes = place < 2 ? piece.head : piece.frames[below(piece.frames.size())];
        const bool sealed = read_at<std::uint64_t>(bytes, places[place]) == seal_here;
        write_at(bytes, places[place], sealed ? std::uint64_t{1} : seal_here);
        return true;
    }

    /// As a writer would have numbered them.
    bool renumber() {
        std::uint64_t revision = 0;
        bool first = true;
        for (Piece *piece : batches_) {
            auto head = read_at<BatchHeader>(piece->head, 0);
            for (Buffer &bytes : piece->frames) {
                auto frame = read_at<Frame>(bytes, 0);
                revision = first ? frame.revision
                                 : revision + (frame.frame_kind() == FrameKind::Close ? 0 : 1);
                first = false;
                frame.revision = revision;
                write_at(bytes, 0, frame);
            }
            if (!piece->frames.empty()) {
                head.first_revision = read_at<Frame>(piece->frames.front(), 0).revision;
                head.last_revision = revision;
            }
            write_at(piece->head, 0, head);
        }
        return true;
    }

    bool change_payload() {
        Piece &piece = batch();
        if (piece.frames.empty())
            return false;
        Buffer &bytes = piece.frames[below(piece.frames.size())];
        auto frame = read_at<Frame>(bytes, 0);
        if (below(8) == 0) { // As another record has it.
            const Piece &other = batch();
            if (other.frames.empty())
                return false;
            const Buffer &taken = other.frames[below(other.frames.size())];
            const Buffer head(bytes.begin(), bytes.begin() + sizeof(Frame));
            bytes = taken;
            std::copy(head.begin(), head.end(), bytes.begin());
            frame.payload_bytes = read_at<Frame>(taken, 0).payload_bytes;
        } else {
            const std::size_t size = frame.payload_bytes;
            bytes.resize(sizeof(Frame) + size + 64);
            frame.payload_bytes = static_cast<std::uint32_t>(
                LLVMFuzzerMutate(bytes.data() + sizeof(Frame), size, size + 64));
            bytes.resize(sizeof(Frame) + frame.payload_bytes);
            bytes.resize(frame_bytes(frame.payload_bytes), 0);
        }
        write_at(bytes, 0, frame);
        return true;
    }

    std::vector<Piece> &pieces_;
    std::vector<Piece *> batches_;
    std::minstd_rand random_;
};

} // namespace

std::size_t mutate_log(std::uint8_t *data, std::size_t size, std::size_t size_max, unsigned seed) {
    if (size < selector_bytes || size_max <= selector_bytes)
        return 0;
    if (seed % 64 == 0)
        data[0] = static_cast<std::uint8_t>(seed / 64);
    size_max -= selector_bytes;
    const Bytes input(data + selector_bytes, size - selector_bytes);
    Description description = take_apart(input);
    if (seed % 8 == 0 || !LogMutation(description, seed / 8).apply())
        return selector_bytes + LLVMFuzzerMutate(data + selector_bytes, input.size(), size_max);
    const Buffer changed = put_together(description);
    const std::size_t taken = std::min(changed.size(), size_max);
    std::copy_n(changed.begin(), taken, data + selector_bytes);
    return selector_bytes + taken;
}

} // namespace waybill::fuzz
