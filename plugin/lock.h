// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors
//
// The store's exclusive lock: an open-file-description lock on LOCK, since a classic one would
// vanish as soon as anybody in the process closed any descriptor of that file.
// It would vanish with the last descriptor too, so a mapping of the file, which is never touched,
// keeps the open file: a host that closes descriptors which are not its own does not let a second
// writer in.
// Invariants: LOCK is never removed (two holders would be possible); after locking, the file that
// the name leads to is the one that is locked; the holder's process id and program stand in it.
#pragma once

#include "disk.h"
#include "status.h"

#include <memory>

namespace waybill {

class DirectoryLock final {
  public:
    /// Expected: Locked, naming the holder; NotStore if the directory holds other things.
    static Result<std::unique_ptr<DirectoryLock>> take(int directory_fd);
    /// Writes this process's id and program into LOCK, for whoever finds it held.
    void write_holder();
    /// Unlocks by itself: a forked child may still have the descriptor.
    ~DirectoryLock();
    DirectoryLock(const DirectoryLock &) = delete;
    DirectoryLock &operator=(const DirectoryLock &) = delete;

  private:
    DirectoryLock() = default;
    Status outlive_descriptor();

    int fd_ = -1;
    FileIdentity identity_;
    void *mapping_ = nullptr;
    bool is_held_ = false;
};

/// Whether the directory holds a store, for those that take no lock.
Status check_is_store(int directory_fd);

} // namespace waybill
