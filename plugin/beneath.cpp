// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors
#include "beneath.h"

#include <cerrno>
#include <fcntl.h>
#include <linux/openat2.h>
#include <string>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <utility>

namespace waybill {

Descriptor::Descriptor(Descriptor &&other) noexcept
    : fd_(std::exchange(other.fd_, -1)), sys_errno_(other.sys_errno_) {}

Descriptor &Descriptor::operator=(Descriptor &&other) noexcept {
    std::swap(fd_, other.fd_);
    std::swap(sys_errno_, other.sys_errno_);
    return *this;
}

Descriptor::~Descriptor() {
    if (fd_ >= 0)
        ::close(fd_);
}

int Descriptor::release() { return std::exchange(fd_, -1); }

static Descriptor from_call(int fd) {
    return fd >= 0 ? Descriptor::owning(fd) : Descriptor::failed(errno);
}

static Descriptor open_component(int directory_fd, const std::string &name, int flags) {
    int fd;
    do {
        fd = ::openat(directory_fd, name.c_str(), flags | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
    } while (fd < 0 && errno == EINTR);
    return from_call(fd);
}

/// For kernels before 5.6 and sandboxes that refuse openat2: the same guarantee, one component at
/// a time. O_PATH with O_NOFOLLOW opens a symbolic link itself, so links are recognised by fstat.
static Descriptor walk_beneath(int root_fd, const std::string &path, int flags) {
    Descriptor parent = Descriptor::failed(EBADF);
    std::size_t begin = 0;
    while (true) {
        const std::size_t end = path.find('/', begin);
        const std::string name = path.substr(begin, end - begin);
        const int parent_fd = parent.ok() ? parent.fd() : root_fd;
        Descriptor found = open_component(parent_fd, name, O_PATH);
        if (!found.ok())
            return found;
        struct stat status;
        if (::fstat(found.fd(), &status) != 0)
            return Descriptor::failed(errno);
        if (S_ISLNK(status.st_mode))
            return Descriptor::failed(ELOOP);
        if (end == std::string::npos)
            return (flags & O_PATH) ? std::move(found) : open_component(parent_fd, name, flags);
        parent = std::move(found);
        begin = end + 1;
    }
}

Descriptor open_root(const std::string &directory) {
    int fd;
    do {
        fd = ::open(directory.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC);
    } while (fd < 0 && errno == EINTR);
    return from_call(fd);
}

Descriptor open_beneath(const Descriptor &root, const std::string &path, int flags) {
    open_how how = {};
    // openat2 refuses flags that O_PATH would ignore.
    how.flags = static_cast<unsigned>(flags | O_CLOEXEC | ((flags & O_PATH) ? 0 : O_NONBLOCK));
    how.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS;
    long fd;
    do {
        fd = ::syscall(SYS_openat2, root.fd(), path.c_str(), &how, sizeof how);
    } while (fd < 0 && errno == EINTR);
    // Older container sandboxes answer EPERM for system calls that they do not know.
    if (fd < 0 && (errno == ENOSYS || errno == EPERM))
        return walk_beneath(root.fd(), path, flags);
    return from_call(static_cast<int>(fd));
}

} // namespace waybill
