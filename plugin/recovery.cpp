// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors
#include "recovery.h"

#include "limits.h"
#include "replay.h"
#include "snapshot.h"
#include "store_mark.h"

#include <algorithm>

namespace waybill {

std::uint64_t reserve_bytes(const Index &index) {
    // What it takes to remove every image one by one, which is more than a prune takes, and an
    // acceptance of loss before it.
    return index.removal_bytes() + sizeof(BatchHeader) + 2 * sizeof(Frame) + 256;
}

namespace {

/// How far a journal went that cannot be read is unknown, and revisions are never used twice. No
/// journal holds more transactions than this.
constexpr std::uint64_t revisions_of_a_lost_journal = 1ull << 32;

class Recovery final {
  public:
    Recovery(Disk &disk, const RecoveryOptions &options, Index &index)
        : disk_(disk), options_(options), index_(index) {}

    Result<Recovered> run();

  private:
    struct OpenLog {
        std::unique_ptr<File> file;
        FileHeader header{};
        bool copy_damaged = false;
        bool header_lost = false;
    };

    Status look_around();
    Status initialise();
    Result<bool> holds_nothing();
    Result<OpenLog> open_log(const std::string &name, FileKind kind);
    Status read_snapshot();
    Status read_journals();
    Status read_journal(std::uint64_t generation, bool newest);
    Status check_mode(ReferenceMode found);
    Result<std::uint64_t> end_of_space(File &file);
    Status make_newest_durable();
    Status write_anew();
    void add_damage(std::string file, std::string what, bool loses = true,
                    std::uint64_t offset = 0);
    void take_damage(Replay &replay, const std::string &file);
    void lose_everything_before();

    Disk &disk_;
    const RecoveryOptions &options_;
    Index &index_;
    Recovered out_;
    std::vector<std::uint64_t> journals_; ///< generations, ascending
    bool has_snapshot_ = false;
    bool snapshot_read_ = false;
    StoreMark mark_;
    std::uint64_t base_generation_ = 0;
    bool write_anew_ = false;
    OpenLog newest_;
    LogEnd newest_end_;
    bool newest_is_closed_ = false;
    bool newest_was_never_begun_ = false;
    bool lost_journal_ = false; ///< one whose end is unknown, and nothing newer says more
};

void Recovery::add_damage(std::string file, std::string what, bool loses, std::uint64_t offset) {
    // In place of a salt that cannot be read: another file of this name begins a later generation.
    const std::uint64_t oldest = journals_.empty() ? 0 : journals_.front();
    out_.damage.push_back({file, offset, 0, std::move(what), loses, oldest, {}});
    out_.loss_mark += loss_mark_of(out_.damage.back());
    out_.degraded = out_.degraded || loses;
    if (std::ranges::find(out_.damaged_files, file) == out_.damaged_files.end())
        out_.damaged_files.push_back(std::move(file));
    write_anew_ = true;
}

void Recovery::take_damage(Replay &replay, const std::string &file) {
    const bool any = !replay.damage().empty();
    out_.loss_mark = replay.loss_mark();
    for (Damage &damage : replay.damage()) {
        out_.degraded = out_.degraded || damage.loses;
        out_.damage.push_back(std::move(damage));
    }
    if (replay.loss_accepted())
        out_.degraded = false;
    if (any) {
        write_anew_ = true;
        if (std::ranges::find(out_.damaged_files, file) == out_.damaged_files.end())
            out_.damaged_files.push_back(file);
    }
}

/// Whatever is in memory may have been changed by records that are gone.
void Recovery::lose_everything_before() {
    Replay(index_, "", FileKind::Journal, 0, 0, 0)
        .mark_all(frame_flag_uncertain | frame_flag_resurrected);
}

Status Recovery::look_around() {
    Result<std::vector<std::string>> names = disk_.list();
    if (!names.ok())
        return names.status();
    for (const std::string &name : *names) {
        std::uint64_t generation = 0;
        if (name == snapshot_name)
            has_snapshot_ = true;
        else if (parse_journal_name(name, &generation))
            journals_.push_back(generation);
        else if (!options_.read_only && name.starts_with(std::string(snapshot_name) + "."))
            (void)disk_.unlink(name); // Left by a kill inside QSaveFile's commit.
    }
    std::ranges::sort(journals_);
    Result<StoreMark> mark = read_mark(disk_);
    if (!mark.ok())
        return mark.status();
    mark_ = *mark;
    return {};
}

/// Whether nothing but zeros stands behind the header block.
static Result<bool> is_blank(File &file) {
    std::vector<std::uint8_t> piece(1u << 16);
    for (std::uint64_t offset = header_block_bytes;; offset += piece.size()) {
        Result<std::size_t> got = file.read(offset, piece);
        if (!got.ok())
            return got.status();
        if (std::any_of(piece.begin(), piece.begin() + static_cast<std::ptrdiff_t>(*got),
                        [](std::uint8_t byte) { return byte != 0; }))
            return false;
        if (*got < piece.size())
            return true;
    }
}

/// Whether the files are what an initialisation that never finished has left.
Result<bool> Recovery::holds_nothing() {
    if (mark_.is_there || has_snapshot_)
        return false;
    for (const std::uint64_t generation : journals_) {
        Result<OpenLog> log = open_log(journal_name(generation), FileKind::Journal);
        if (!log.ok())
            return log.status();
        Result<bool> blank = is_blank(*log->file);
        if (!blank.ok() || !*blank)
            return blank;
    }
    return true;
}

Status Recovery::initialise() {
    for (const std::uint64_t generation : journals_)
        if (Status gone = disk_.unlink(journal_name(generation)); !gone.ok())
            return gone;
    out_.created = true;
    out_.store_id = random_store_id();
    out_.mode = options_.references.value_or(ReferenceMode::Canonical);
    // The journal first: a snapshot always finds its own. The mark last: it says that both are.
    FileHeader header{};
    header.flags = static_cast<std::uint32_t>(out_.mode) << header_mode_shift;
    header.store_id = out_.store_id;
    header.generation = out_.generation = 1;
    header.salt = random_u64();
    bool left_behind = false;
    Result<std::unique_ptr<JournalWriter>> journal =
        JournalWriter::start(disk_, header, reserve_bytes(index_), &left_behind);
    if (!journal.ok())
        return journal.status();
    out_.journal = std::move(*journal);
    header.salt = random_u64();
    bool named = false;
    if (Status status = write_snapshot(disk_, header, {}, &named); !status.ok())
        return status;
    return write_mark(disk_, out_.store_id);
}

Result<Recovery::OpenLog> Recovery::open_log(const std::string &name, FileKind kind) {
    Result<std::unique_ptr<File>> file =
        disk_.open(name, options_.read_only ? OpenMode::Read : OpenMode::Write);
    if (!file.ok())
        return file.status();
    OpenLog log;
    log.file = std::move(*file);
    std::vector<std::uint8_t> block(header_block_bytes);
    Result<std::size_t> got = log.file->read(0, block);
    if (!got.ok())
        return got.status();
    block.resize(*got);
    Result<FileHeader> header = decode_header(kind, block, name, &log.copy_damaged);
    if (header.ok()) {
        log.header = *header;
        return log;
    }
    if (header.status().code != Code::Corrupt)
        return header.status();
    log.header_lost = true;
    return log;
}

Status Recovery::check_mode(ReferenceMode found) {
    static constexpr const char *names[] = {"canonical", "opaque", "mesos", "unknown"};
    if (options_.references && *options_.references != found)
        return {Code::Mode, 0, -1, "config.references",
                std::string("the store was created for ") + names[static_cast<int>(found)] +
                    " references, not " + names[static_cast<int>(*options_.references)]};
    out_.mode = found;
    return {};
}

Status Recovery::read_snapshot() {
    if (!has_snapshot_)
        return {};
    Result<OpenLog> log = open_log(snapshot_name, FileKind::Snapshot);
    if (!log.ok())
        return log.status();
    if (log->header_lost) {
        add_damage(snapshot_name, "neither copy of the header was whole");
        return {};
    }
    if (mark_.id && log->header.store_id != *mark_.id) {
        add_damage(snapshot_name, "belongs to another store");
        return {};
    }
    if (Status mode = check_mode(log->header.mode()); !mode.ok())
        return mode;
    if (log->copy_damaged)
        add_damage(snapshot_name, "one copy of the header was damaged", false);
    out_.store_id = log->header.store_id;
    out_.revision = log->header.first_revision;
    out_.degraded = out_.degraded || (log->header.flags & header_flag_degraded) != 0;
    base_generation_ = log->header.generation;
    snapshot_read_ = true;
    Replay replay(index_, snapshot_name, FileKind::Snapshot, log->header.salt, out_.revision,
                  out_.loss_mark);
    Result<LogEnd> end = read_log(*log->file, log->header.salt, LogTail::IsWhole, replay);
    if (!end.ok())
        return end.status();
    if (!replay.is_complete())
        replay.add_damage(end->end_offset, 0, "records are missing");
    take_damage(replay, snapshot_name);
    return {};
}

Status Recovery::read_journal(std::uint64_t generation, bool newest) {
    const std::string name = journal_name(generation);
    Result<OpenLog> log = open_log(name, FileKind::Journal);
    if (!log.ok())
        return log.status();
    if ((log->header_lost || log->copy_damaged) && newest && newest_.file) {
        Result<bool> blank = is_blank(*log->file);
        if (!blank.ok())
            return blank.status();
        // Its creation was cut, perhaps between the header's two copies; the one before it is
        // still the newest.
        if (*blank) {
            newest_was_never_begun_ = true;
            return options_.read_only ? Status{} : disk_.unlink(name);
        }
    }
    if (log->header_lost) {
        add_damage(name, "neither copy of the header was whole");
        lose_everything_before();
        lost_journal_ = true;
        return {};
    }
    if (log->header.store_id != out_.store_id) {
        add_damage(name, "belongs to another store");
        lose_everything_before();
        lost_journal_ = true;
        return {};
    }
    lost_journal_ = false;
    if (log->copy_damaged)
        add_damage(name, "one copy of the header was damaged", false);
    if (log->header.first_revision != out_.revision) {
        add_damage(name, "starts at revision " + std::to_string(log->header.first_revision) +
                             " where " + std::to_string(out_.revision) + " was reached");
        lose_everything_before();
        out_.revision = std::max(out_.revision, log->header.first_revision);
    }
    Replay replay(index_, name, FileKind::Journal, log->header.salt, out_.revision, out_.loss_mark);
    Result<LogEnd> end = read_log(*log->file, log->header.salt,
                                  newest ? LogTail::MayBeTorn : LogTail::IsWhole, replay);
    if (!end.ok())
        return end.status();
    out_.revision = replay.revision();
    take_damage(replay, name);
    out_.generation = generation;
    if (end->is_cut_off) {
        add_damage(name, "ends without the zeros that end a journal", true, end->end_offset);
        lose_everything_before();
        // What is appended to it would hide that.
        lost_journal_ = newest;
        newest_ = {};
        return {};
    }
    newest_ = std::move(*log);
    newest_end_ = *end;
    newest_is_closed_ = replay.closed();
    return {};
}

Status Recovery::read_journals() {
    if (!snapshot_read_ && !journals_.empty()) {
        // Without its snapshot the store is what the journals say. The first one of all starts
        // from nothing, so then nothing is lost.
        Result<OpenLog> first = open_log(journal_name(journals_.front()), FileKind::Journal);
        if (!first.ok())
            return first.status();
        if (first->header_lost)
            return failure(Code::Corrupt, "neither the snapshot nor " +
                                              journal_name(journals_.front()) +
                                              " has a readable header");
        if (Status mode = check_mode(first->header.mode()); !mode.ok())
            return mode;
        out_.store_id = mark_.id.value_or(first->header.store_id);
        out_.revision = first->header.first_revision;
        base_generation_ = journals_.front();
        if (out_.damage.empty())
            add_damage(snapshot_name, "is missing", out_.revision != 0);
    }
    std::uint64_t expected = base_generation_;
    for (const std::uint64_t generation : journals_) {
        if (generation < base_generation_)
            continue; // Replaced by the snapshot; its removal was cut.
        if (generation != expected) {
            add_damage(journal_name(expected), "is missing");
            lose_everything_before();
        }
        if (Status read = read_journal(generation, generation == journals_.back()); !read.ok())
            return read;
        expected = generation + 1;
    }
    if (newest_was_never_begun_)
        journals_.pop_back(); // Its number is free: a number left out would be a lost journal.
    if (expected == base_generation_) {
        add_damage(journal_name(expected), "is missing");
        lose_everything_before();
        lost_journal_ = true;
    }
    if (lost_journal_)
        out_.revision += revisions_of_a_lost_journal;
    if (newest_.file && newest_end_.tail_bytes > 0) {
        out_.dropped_tail_bytes = options_.read_only ? 0 : newest_end_.tail_bytes;
        out_.possibly_acknowledged = options_.read_only ? 0 : newest_end_.tail_whole_frames;
    }
    return {};
}

/// Up to where the newest journal has space of its own, once it has been given what it lacks. Its
/// size does not tell: a copy may have holes where space was kept.
Result<std::uint64_t> Recovery::end_of_space(File &file) {
    Result<std::uint64_t> size = file.size();
    if (!size.ok())
        return size;
    const Status allocated = file.allocate(0, *size);
    if (allocated.ok() || allocated.code == Code::Invalid)
        return size;
    if (allocated.code != Code::NoSpace)
        return allocated;
    // A full XFS refuses even what the file has.
    Result<std::uint64_t> has = file.allocated_bytes();
    if (!has.ok() || *has >= *size)
        return has.ok() ? size : has;
    out_.lacks_reserve = true;
    return newest_end_.end_offset;
}

/// A writer that was killed may have left bytes that only the page cache has, and whose sync may
/// even have failed: they are written once more before anybody sees them.
Status Recovery::make_newest_durable() {
    File &file = *newest_.file;
    Result<std::uint64_t> space_end = end_of_space(file);
    if (!space_end.ok())
        return space_end.status();
    if (newest_end_.last_batch_offset != 0) {
        std::vector<std::uint8_t> batch(newest_end_.end_offset - newest_end_.last_batch_offset);
        Result<std::size_t> got = file.read(newest_end_.last_batch_offset, batch);
        if (!got.ok())
            return got.status();
        if (*got != batch.size()) // It was there a moment ago; its records count as acknowledged.
            return failure(Code::Io,
                           journal_name(newest_.header.generation) + ": shrank while it was read");
        if (Status status = file.write(newest_end_.last_batch_offset, batch); !status.ok())
            return status;
    }
    const std::vector<std::uint8_t> zeros(std::min<std::uint64_t>(newest_end_.tail_bytes, 1 << 20));
    for (std::uint64_t done = 0; done < newest_end_.tail_bytes; done += zeros.size()) {
        const std::uint64_t left = newest_end_.tail_bytes - done;
        const Bytes piece = Bytes(zeros).first(std::min<std::uint64_t>(zeros.size(), left));
        if (Status status = file.write(newest_end_.end_offset + done, piece); !status.ok())
            return status;
    }
    if (Status status = file.sync(); !status.ok())
        return status;
    out_.journal = std::make_unique<JournalWriter>(std::move(newest_.file), newest_.header,
                                                   newest_end_.end_offset, *space_end);
    if (Status status = disk_.sync_directory(); !status.ok())
        return status;
    if (newest_end_.last_batch_offset != 0 && !newest_is_closed_) {
        // A full disk must not keep the store from opening.
        Status closed = append_close(*out_.journal, out_.revision, reserve_bytes(index_));
        if (!closed.ok() && !wrote_nothing(closed))
            return closed;
    }
    return {};
}

/// Puts a sound snapshot and journal in the place of what is damaged, which is kept aside first.
Status Recovery::write_anew() {
    if (Status kept = keep_damaged_files(disk_, out_.damaged_files); !kept.ok())
        return kept;
    out_.damaged_files.clear();
    FileHeader header{};
    header.flags = static_cast<std::uint32_t>(out_.mode) << header_mode_shift |
                   (out_.degraded ? header_flag_degraded : 0);
    header.store_id = out_.store_id;
    header.generation = 1 + std::max(base_generation_, journals_.empty() ? 0 : journals_.back());
    header.first_revision = out_.revision;
    header.salt = random_u64();
    bool left_behind = false;
    Result<std::unique_ptr<JournalWriter>> journal =
        JournalWriter::start(disk_, header, reserve_bytes(index_), &left_behind);
    if (!journal.ok()) {
        if (left_behind)
            out_.journal.reset();
        return journal.status();
    }
    header.salt = random_u64();
    std::vector<const Frame *> frames;
    index_.scan([&](const Frame &frame) { frames.push_back(&frame); });
    bool named = false;
    if (Status status = write_snapshot(disk_, header, frames, &named); !status.ok()) {
        journal->reset();
        // Once the snapshot may have its name the old journals no longer count, and the fresh one
        // would hide what the damaged ones say of the end: with either nothing may be appended.
        if (named || !JournalWriter::take_back(disk_, header.generation).ok())
            out_.journal.reset();
        return status;
    }
    out_.journal = std::move(*journal);
    out_.generation = header.generation;
    out_.loss_mark = 0;
    return drop_older_journals(disk_, header.generation);
}

Result<Recovered> Recovery::run() {
    if (Status status = look_around(); !status.ok())
        return status;
    Result<bool> nothing = holds_nothing();
    if (!nothing.ok())
        return nothing.status();
    if (*nothing) {
        if (options_.read_only)
            return failure(Code::NotFound, "the store has not been initialised yet");
        if (Status status = initialise(); !status.ok())
            return status;
        return std::move(out_);
    }
    if (!has_snapshot_ && journals_.empty())
        return failure(Code::Corrupt, "LOCK says that a store was here, but neither a snapshot "
                                      "nor a journal is left of it");
    if (Status status = read_snapshot(); !status.ok())
        return status;
    if (!snapshot_read_ && journals_.empty())
        return failure(Code::Corrupt, "snapshot: unreadable, and no journal is left");
    if (Status status = read_journals(); !status.ok())
        return status;
    index_.reclaim();
    if (options_.read_only)
        return std::move(out_);
    if (newest_.file)
        if (Status status = make_newest_durable(); !status.ok())
            return status;
    if (write_anew_ || !out_.journal) {
        Status anew = write_anew();
        if (!anew.ok() && !out_.journal)
            return anew;
        if (!anew.ok())
            out_.not_mended = anew.message;
    } else if (base_generation_ > 0 && journals_.front() < base_generation_) {
        (void)drop_older_journals(disk_, base_generation_);
    }
    if (!mark_.id)
        if (Status status = write_mark(disk_, out_.store_id); !status.ok())
            return status;
    return std::move(out_);
}

} // namespace

Result<Recovered> recover_store(Disk &disk, const RecoveryOptions &options, Index &index) {
    return Recovery(disk, options, index).run();
}

} // namespace waybill
