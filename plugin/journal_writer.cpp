// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors
#include "journal_writer.h"

#include "limits.h"

#include <algorithm>

namespace waybill {

JournalWriter::JournalWriter(std::unique_ptr<File> file, const FileHeader &header,
                             std::uint64_t offset, std::uint64_t allocated_bytes)
    : file_(std::move(file)), header_(header), offset_(offset), allocated_bytes_(allocated_bytes),
      durable_bytes_(allocated_bytes), zeroed_bytes_(offset) {}

Result<std::unique_ptr<JournalWriter>> JournalWriter::start(Disk &disk, const FileHeader &header,
                                                            std::uint64_t reserve_bytes,
                                                            bool *left_behind) {
    *left_behind = false;
    const std::string name = journal_name(header.generation);
    Result<std::unique_ptr<File>> file = disk.open(name, OpenMode::Create);
    if (!file.ok())
        return file.status();
    std::unique_ptr<JournalWriter> writer;
    bool directory_synced = true;
    Status status;
    try {
        writer = std::make_unique<JournalWriter>(std::move(*file), header, header_block_bytes, 0);
        status = writer->ensure_space(0, reserve_bytes, false);
        // Behind a header that is there without them the journal would look cut off.
        if (status.ok() && writer->may_lose_the_end(header_block_bytes))
            status = writer->sync();
        if (status.ok())
            status = writer->file_->write(0, encode_header(FileKind::Journal, header));
        if (status.ok())
            status = writer->sync();
        if (status.ok()) {
            status = disk.sync_directory();
            directory_synced = status.ok();
        }
    } catch (...) {
        status = thrown_failure();
    }
    if (status.ok())
        return writer;
    writer.reset();
    // A directory whose sync has failed is not synced again for that.
    const Status gone = take_back(disk, header.generation);
    *left_behind = !gone.ok() || !directory_synced;
    return status;
}

Status JournalWriter::take_back(Disk &disk, std::uint64_t generation) {
    if (Status gone = disk.unlink(journal_name(generation)); !gone.ok())
        return gone;
    return disk.sync_directory();
}

std::uint64_t JournalWriter::space_for(std::uint64_t bytes, std::uint64_t reserve_bytes,
                                       bool may_use_reserve) const {
    return offset_ + bytes + (may_use_reserve ? 0 : reserve_bytes) + journal_end_bytes;
}

Status JournalWriter::ensure_space(std::uint64_t bytes, std::uint64_t reserve_bytes,
                                   bool may_use_reserve) {
    const std::uint64_t needed = space_for(bytes, reserve_bytes, may_use_reserve);
    if (needed <= allocated_bytes_)
        return {};
    if (!can_reserve_)
        return extend(offset_ + bytes + journal_end_bytes);
    // Steps grow with the journal: a store on a small disk must not take it all at once.
    const std::uint64_t step =
        std::clamp(allocated_bytes_ / limits::journal_step_share, limits::journal_step_bytes_min,
                   limits::journal_step_bytes_max);
    Status status;
    for (const std::uint64_t target : {std::min(needed + step, limits::file_bytes_max), needed}) {
        status = file_->allocate(allocated_bytes_, target - allocated_bytes_);
        if (status.ok()) {
            allocated_bytes_ = target;
            return {};
        }
        if (status.code == Code::Invalid) { // This file system has no such thing: just grow.
            can_reserve_ = false;
            return extend(offset_ + bytes + journal_end_bytes);
        }
        if (status.code != Code::NoSpace)
            return status;
    }
    return status;
}

/// Where no space can be reserved: the zeros that end a journal, behind where the batch will stand.
Status JournalWriter::extend(std::uint64_t end) {
    static constexpr std::uint8_t zeros[journal_end_bytes] = {};
    if (end <= allocated_bytes_)
        return {}; // A writer that was killed left a longer file.
    if (Status written = file_->write(end - journal_end_bytes, zeros); !written.ok())
        return written;
    allocated_bytes_ = end;
    return {};
}

/// Whether a power cut could leave the batch that ends there without the zeros behind it, so that
/// it looked cut off: it fills the file to the end that is durable; or, where no space is reserved
/// and a file grows as its blocks are written, they stand in a sector of their own.
bool JournalWriter::may_lose_the_end(std::uint64_t batch_end) const {
    if (batch_end + journal_end_bytes <= durable_bytes_)
        return false;
    return batch_end <= durable_bytes_ || (!can_reserve_ && batch_end % sector_bytes == 0);
}

Status JournalWriter::sync() {
    Status synced = file_->sync();
    if (synced.ok())
        durable_bytes_ = allocated_bytes_;
    return synced;
}

/// The batch ends at `end`. Zeros that find no room are left out: only time is lost.
Status JournalWriter::write_zeros_behind(std::uint64_t end) {
    static constexpr std::uint8_t zeros[limits::journal_zeros_bytes] = {};
    if (end <= zeroed_bytes_)
        return {};
    zeroed_bytes_ = end;
    if (!can_reserve_ || end - offset_ >= sizeof zeros)
        return {}; // Writing a large batch twice would take longer than the transaction.
    const std::uint64_t ahead = std::min<std::uint64_t>(sizeof zeros, allocated_bytes_ - end);
    Status written = file_->write(end, Bytes(zeros).first(ahead));
    if (written.ok())
        zeroed_bytes_ += ahead;
    return written.code == Code::NoSpace ? Status{} : written;
}

Status JournalWriter::append(Batch &batch, std::uint64_t reserve_bytes, bool may_use_reserve) {
    if (failed_)
        return failure(Code::ReadOnly,
                       journal_name(header_.generation) + ": closed after a failed write");
    if (space_for(batch.size_bytes(), reserve_bytes, may_use_reserve) > limits::file_bytes_max)
        return failure(Code::Limit, journal_name(header_.generation) + ": would take more than " +
                                        std::to_string(limits::file_bytes_max) +
                                        " bytes, and no snapshot has replaced it");
    if (Status space = ensure_space(batch.size_bytes(), reserve_bytes, may_use_reserve);
        !space.ok()) {
        failed_ = space.code != Code::NoSpace;
        if (failed_)
            space.code = Code::Io;
        return space;
    }
    const Bytes bytes = batch.seal(header_.salt, offset_);
    failed_ = true; // Until it has gone well: even what follows a failure may fail.
    if (may_lose_the_end(offset_ + bytes.size()))
        if (Status synced = sync(); !synced.ok()) {
            synced.code = Code::Io;
            return synced;
        }
    Status written = file_->write(offset_, bytes);
    if (written.ok())
        written = write_zeros_behind(offset_ + bytes.size());
    if (!written.ok()) {
        if (written.code == Code::NoSpace && take_back_bytes(bytes.size()).ok()) {
            failed_ = false;
            return written;
        }
        written.code = Code::Io;
        return written;
    }
    if (Status synced = sync(); !synced.ok()) {
        synced.code = Code::Io;
        synced.message += " (whether the operation is stored is unknown)";
        return synced;
    }
    failed_ = false;
    offset_ += bytes.size();
    return {};
}

/// Some of a batch may stand in the file after a full disk. Zeros in its place keep the journal
/// usable, once they are durable: behind the last batch of a journal that has a successor nothing
/// else may stand.
Status JournalWriter::take_back_bytes(std::uint64_t bytes) {
    Result<std::uint64_t> size = file_->size();
    if (!size.ok())
        return size.status();
    const std::uint64_t end = std::min(offset_ + bytes, *size);
    if (end <= offset_)
        return {};
    std::vector<std::uint8_t> place(end - offset_);
    Result<std::size_t> got = file_->read(offset_, place);
    if (!got.ok())
        return got.status();
    // Under a quota or a limit zeros may be refused as well, and mostly none are needed.
    if (std::ranges::all_of(place, [](std::uint8_t byte) { return byte == 0; }))
        return {};
    std::ranges::fill(place, std::uint8_t{0});
    if (Status written = file_->write(offset_, place); !written.ok())
        return written;
    return file_->sync();
}

Status append_close(JournalWriter &journal, std::uint64_t revision, std::uint64_t reserve_bytes) {
    Batch batch;
    Frame mark{};
    mark.kind = static_cast<std::uint16_t>(FrameKind::Close);
    mark.revision = revision;
    batch.add(mark, {});
    return journal.append(batch, reserve_bytes, false);
}

} // namespace waybill
