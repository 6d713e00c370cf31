// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors
//
// The real disk: POSIX calls relative to one directory descriptor, QSaveFile behind the replace
// verbs. Invariants: every descriptor is O_CLOEXEC; no symbolic link is followed; files are 0600
// and directories 0700 whatever the umask; a descriptor is looked at before it is written through
// or closed, since a host may have closed it and got its number for a file of its own.
#pragma once

#include "disk.h"

#include <sys/stat.h>

namespace waybill {

/// Whether the descriptor still is one of that file.
bool leads_to(int fd, const FileIdentity &identity);

/// Whether it is known to be one of another file, or of none. What cannot be told is taken for
/// ours, where the matter is to give it back.
bool leads_elsewhere(int fd, const FileIdentity &identity);

/// Has the fork handler know the descriptor, and notes which file it leads to. Closes it on
/// failure.
Status adopt(int fd, const std::string &name, FileIdentity *identity, struct stat *found);

/// Closes what `adopt` took, unless the number has become another file's.
void close_adopted(int fd, const FileIdentity &identity);

class PosixDisk final : public Disk {
  public:
    /// Opens the directory, making it and missing parents if `create`.
    static Result<std::unique_ptr<PosixDisk>> open(const std::string &root, bool create);
    ~PosixDisk() override;
    PosixDisk(const PosixDisk &) = delete;
    PosixDisk &operator=(const PosixDisk &) = delete;

    int directory_fd() const { return directory_fd_; }

    Result<std::vector<std::string>> list() override;
    Result<std::unique_ptr<File>> open(const std::string &name, OpenMode mode) override;
    Result<std::unique_ptr<Replacement>> begin_replace(const std::string &name) override;
    Result<FileIdentity> identity(const std::string &name) override;
    Status unlink(const std::string &name) override;
    Status keep_damaged(const std::string &name, const std::string &kept_name) override;
    Status sync_directory() override;

  private:
    PosixDisk() = default;
    /// Io if somebody else has closed the directory's descriptor.
    Status check_directory() const;

    int directory_fd_ = -1;
    FileIdentity identity_;
};

} // namespace waybill
