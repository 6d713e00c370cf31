// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors
//
// The real disk: POSIX calls relative to one directory descriptor, QSaveFile behind the replace
// verbs. Invariants: every descriptor is O_CLOEXEC; no symbolic link is followed; files are 0600
// and directories 0700 whatever the umask.
#pragma once

#include "disk.h"

namespace waybill {

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

    int directory_fd_ = -1;
};

} // namespace waybill
