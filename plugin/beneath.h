// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors
//
// Opens files in directories that others write: the host's layer directory, an OCI image layout.
// Invariants: below the root no symbolic link is followed and no path leaves it; nothing is ever
// created or written; no open waits (a planted FIFO does not hang us); descriptors are
// close-on-exec.
#pragma once

#include <string>

namespace waybill {

/// Owns a descriptor, or says with an errno why there is none.
class Descriptor final {
  public:
    static Descriptor owning(int fd) { return Descriptor(fd, 0); }
    static Descriptor failed(int sys_errno) { return Descriptor(-1, sys_errno); }

    Descriptor(Descriptor &&other) noexcept;
    Descriptor &operator=(Descriptor &&other) noexcept;
    ~Descriptor();

    bool ok() const { return fd_ >= 0; }
    int fd() const { return fd_; }
    int sys_errno() const { return sys_errno_; }
    /// Gives the descriptor to the caller, who closes it.
    int release();

  private:
    Descriptor(int fd, int sys_errno) : fd_(fd), sys_errno_(sys_errno) {}

    int fd_;
    int sys_errno_;
};

/// The directory below which everything else is opened. Its own path may lead through symbolic
/// links: it is the host's configuration.
Descriptor open_root(const std::string &directory);

/// Opens `path`, relative and without "." or ".." components, below `root`. `flags` are open's
/// reading flags (O_RDONLY, O_DIRECTORY, O_PATH). A symbolic link anywhere in it is ELOOP.
Descriptor open_beneath(const Descriptor &root, const std::string &path, int flags);

} // namespace waybill
