// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors
//
// The one seam between the store and a file system. Every byte and every directory entry of the
// store's directory goes through these verbs; the order of the steps is decided above them.
// Invariants: nothing here is retried after a failed sync; names are plain file names within the
// store's directory; an error says which file.
#pragma once

#include "format.h"
#include "status.h"

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace waybill {

/// Tells two files apart that have had the same name.
struct FileIdentity {
    std::uint64_t device = 0;
    std::uint64_t inode = 0;
    bool operator==(const FileIdentity &) const = default;
};

/// An open plain file. Closed by the destructor.
class File {
  public:
    virtual ~File() = default;
    /// Reads up to out.size() bytes; fewer only at the end of the file.
    virtual Result<std::size_t> read(std::uint64_t offset, std::span<std::uint8_t> out) = 0;
    /// Writes all of `bytes`, or fails; a failure may have written some.
    virtual Status write(std::uint64_t offset, Bytes bytes) = 0;
    /// Makes everything written durable, the size included. A failure is final for this file.
    virtual Status sync() = 0;
    /// Reserves space that reads as zeros and extends the size. Fails with NoSpace, or with
    /// Invalid where the file system cannot.
    virtual Status allocate(std::uint64_t offset, std::uint64_t length) = 0;
    virtual Result<std::uint64_t> size() = 0;
    /// The bytes of the disk that the file takes: fewer than its size if it has holes.
    virtual Result<std::uint64_t> allocated_bytes() = 0;
    virtual Result<FileIdentity> identity() = 0;
    /// Where, at or behind `offset`, anything but zeros may stand; the size if nowhere. A file
    /// system that cannot tell answers `offset`.
    virtual Result<std::uint64_t> data_from(std::uint64_t offset) = 0;
    /// Gives back, step by step, the space of a file that has no name any more; one that has keeps
    /// it. Closing the file would give it back at once, and other syncs would wait for that. To be
    /// called only when no crash can bring a name back.
    virtual void discard() noexcept = 0;
};

/// A file being written that takes its name at once and whole, by commit. Without commit it
/// disappears with the object.
class Replacement {
  public:
    virtual ~Replacement() = default;
    virtual Status write(Bytes bytes) = 0;
    virtual Status sync() = 0;
    /// Gives the file its name. The caller has synced it and syncs the directory afterwards.
    virtual Status commit() = 0;
    virtual Result<FileIdentity> identity() = 0;
};

enum class OpenMode {
    Read,
    Write,  ///< an existing file, for reading and writing
    Create, ///< must not exist yet
};

class Disk {
  public:
    virtual ~Disk() = default;
    virtual Result<std::vector<std::string>> list() = 0;
    virtual Result<std::unique_ptr<File>> open(const std::string &name, OpenMode mode) = 0;
    virtual Result<std::unique_ptr<Replacement>> begin_replace(const std::string &name) = 0;
    /// Of what `name` names now. NotFound if nothing.
    virtual Result<FileIdentity> identity(const std::string &name) = 0;
    virtual Status unlink(const std::string &name) = 0;
    /// Links `name` into the subdirectory for damaged files as `kept_name`, durably.
    virtual Status keep_damaged(const std::string &name, const std::string &kept_name) = 0;
    /// Makes creations, renames and removals durable.
    virtual Status sync_directory() = 0;
};

} // namespace waybill
