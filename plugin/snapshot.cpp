// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors
#include "snapshot.h"

#include "limits.h"

#include <chrono>
#include <thread>

namespace waybill {

namespace {

/// Collects frames into batches and writes each where it belongs.
class SnapshotBatches final {
  public:
    SnapshotBatches(Replacement &file, std::uint64_t salt, Pace pace)
        : file_(file), salt_(salt), pace_(pace) {}

    Status add(const Frame &frame) {
        Frame head = frame;
        head.flags = frame.flags_now();
        batch_.add(head, frame.payload_span());
        return batch_.size_bytes() < limits::snapshot_sync_bytes ? Status{} : flush();
    }

    Status finish(std::uint64_t frame_count, std::uint64_t revision) {
        Frame end{};
        end.kind = static_cast<std::uint16_t>(FrameKind::End);
        end.key_hash = frame_count;
        end.revision = revision;
        batch_.add(end, {});
        return flush();
    }

  private:
    Status flush() {
        const Clock::time_point began = Clock::now();
        const Bytes bytes = batch_.seal(salt_, offset_);
        if (Status written = file_.write(bytes); !written.ok())
            return written;
        if (Status synced = file_.sync(); !synced.ok())
            return synced;
        offset_ += bytes.size();
        batch_.clear();
        if (pace_ == Pace::BesidePuts)
            std::this_thread::sleep_for(Clock::now() - began);
        return {};
    }

    using Clock = std::chrono::steady_clock;

    Replacement &file_;
    std::uint64_t salt_;
    Pace pace_;
    std::uint64_t offset_ = header_block_bytes;
    Batch batch_;
};

} // namespace

Status write_snapshot(Disk &disk, const FileHeader &header,
                      const std::vector<const Frame *> &frames, bool *named, Pace pace) {
    const Result<std::unique_ptr<File>> replaced = disk.open(snapshot_name, OpenMode::Write);
    Result<std::unique_ptr<Replacement>> begun = disk.begin_replace(snapshot_name);
    if (!begun.ok())
        return begun.status();
    Replacement &file = **begun;
    if (Status status = file.write(encode_header(FileKind::Snapshot, header)); !status.ok())
        return status;
    SnapshotBatches batches(file, header.salt, pace);
    for (const Frame *frame : frames)
        if (Status status = batches.add(*frame); !status.ok())
            return status;
    if (Status status = batches.finish(frames.size(), header.first_revision); !status.ok())
        return status;
    Result<FileIdentity> written = file.identity();
    if (!written.ok())
        return written.status();
    *named = true;
    if (Status status = file.commit(); !status.ok())
        return status;
    if (Status status = disk.sync_directory(); !status.ok())
        return status;
    Result<FileIdentity> found = disk.identity(snapshot_name);
    if (!found.ok())
        return found.status();
    if (*found != *written)
        return failure(Code::Io, "snapshot: the name leads to another file than was written");
    if (replaced.ok())
        replaced.value()->discard();
    return {};
}

Status keep_damaged_files(Disk &disk, const std::vector<std::string> &names) {
    for (const std::string &name : names) {
        Result<FileIdentity> identity = disk.identity(name);
        if (!identity.ok() && identity.status().code == Code::NotFound)
            continue;
        if (!identity.ok())
            return identity.status();
        if (Status kept = disk.keep_damaged(name, name + "-" + std::to_string(identity->inode));
            !kept.ok())
            return kept;
    }
    return {};
}

Status drop_older_journals(Disk &disk, std::uint64_t generation) {
    Result<std::vector<std::string>> names = disk.list();
    if (!names.ok())
        return names.status();
    bool removed = false;
    std::vector<std::unique_ptr<File>> nameless;
    for (const std::string &name : *names) {
        std::uint64_t found = 0;
        if (!parse_journal_name(name, &found) || found >= generation)
            continue;
        if (Result<std::unique_ptr<File>> file = disk.open(name, OpenMode::Write); file.ok())
            nameless.push_back(std::move(*file));
        if (Status gone = disk.unlink(name); !gone.ok())
            return gone;
        removed = true;
    }
    if (!removed)
        return {};
    if (Status synced = disk.sync_directory(); !synced.ok())
        return synced;
    for (const std::unique_ptr<File> &file : nameless)
        file->discard();
    return {};
}

} // namespace waybill
