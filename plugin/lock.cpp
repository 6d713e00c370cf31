// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors
#include "lock.h"

#include "directory_stream.h"
#include "posix_disk.h"
#include "store_mark.h"
#include "system_call.h"

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <fcntl.h>
#include <string>
#include <string_view>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

namespace waybill {

/// The holder's line stands behind the mark that recovery writes.
static constexpr off_t holder_offset = 128;
static constexpr std::size_t holder_bytes = 128;

static struct flock whole_file(short type) {
    struct flock lock {};
    lock.l_type = type;
    lock.l_whence = SEEK_SET;
    return lock;
}

/// Between taking the lock and writing its name the holder may be stopped; what stands there then
/// is the name of the one before it.
static std::string read_holder(int fd) {
    static const std::string unnamed = "a process that has not written its name yet";
    char text[holder_bytes + 1] = {};
    const ssize_t got =
        uninterrupted([&] { return ::pread(fd, text, holder_bytes, holder_offset); });
    if (got < 0)
        return "a process whose name cannot be read";
    if (got == 0)
        return unnamed;
    const std::string_view line(text);
    const std::string named(line.substr(0, line.find('\n')));
    long process = 0;
    if (std::sscanf(text, "process %ld,", &process) != 1 || process <= 0)
        return unnamed;
    if (::kill(static_cast<pid_t>(process), 0) != 0 && errno == ESRCH)
        return unnamed + ", or whose process cannot be seen from here; LOCK names " + named;
    return named;
}

void DirectoryLock::write_holder() {
    char program[64] = {};
    const int comm = ::open("/proc/self/comm", O_RDONLY | O_CLOEXEC);
    if (comm >= 0) {
        const ssize_t got = ::read(comm, program, sizeof program - 1);
        if (got > 0)
            program[std::strcspn(program, "\n")] = '\0';
        ::close(comm);
    }
    char line[holder_bytes];
    std::memset(line, '\n', sizeof line);
    const int length =
        std::snprintf(line, sizeof line, "process %ld, %s", static_cast<long>(::getpid()), program);
    if (length > 0 && static_cast<std::size_t>(length) < sizeof line)
        line[length] = '\n';
    // For people only: a full disk must not keep a store from opening.
    if (!leads_to(fd_, identity_))
        return;
    [[maybe_unused]] const ssize_t put = ::pwrite(fd_, line, sizeof line, holder_offset);
}

static Status check_empty(int directory_fd) {
    const int fd = uninterrupted(
        [&] { return ::openat(directory_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC); });
    const DirectoryStream directory(fd < 0 ? nullptr : ::fdopendir(fd));
    if (!directory) {
        const int cause = errno;
        if (fd >= 0)
            ::close(fd);
        return system_failure(cause, "directory: list");
    }
    errno = 0;
    while (const dirent *entry = ::readdir(directory.get())) {
        const std::string_view name = entry->d_name;
        if (name == "." || name == ".." || name == "lost+found")
            continue;
        return failure(Code::NotStore,
                       "the directory holds '" + std::string(name) + "' but no LOCK");
    }
    return errno == 0 ? Status{} : system_failure(errno, "directory: list");
}

Status check_is_store(int directory_fd) {
    struct stat found;
    if (::fstatat(directory_fd, lock_name, &found, AT_SYMLINK_NOFOLLOW) != 0)
        return errno == ENOENT ? failure(Code::NotStore, "the directory has no LOCK")
                               : system_failure(errno, "LOCK: stat");
    return S_ISREG(found.st_mode) ? Status{} : failure(Code::Symlink, "LOCK: is not a plain file");
}

Result<std::unique_ptr<DirectoryLock>> DirectoryLock::take(int directory_fd) {
    constexpr int flags = O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK;
    // First, so that no descriptor is lost, and no lock with it, for want of memory.
    std::unique_ptr<DirectoryLock> taken(new DirectoryLock);
    int fd = uninterrupted([&] { return ::openat(directory_fd, lock_name, flags); });
    if (fd < 0 && errno == ENOENT) {
        if (Status empty = check_empty(directory_fd); !empty.ok())
            return empty;
        fd =
            uninterrupted([&] { return ::openat(directory_fd, lock_name, flags | O_CREAT, 0600); });
        if (fd >= 0)
            (void)::fchmod(fd, 0600);
    }
    if (fd < 0 && (errno == EISDIR || errno == ENXIO))
        return failure(Code::Symlink, "LOCK: is not a plain file");
    if (fd < 0)
        return system_failure(errno, "LOCK: open");
    struct stat locked, named;
    if (Status adopted = adopt(fd, lock_name, &taken->identity_, &locked); !adopted.ok())
        return adopted;
    taken->fd_ = fd;
    if (!S_ISREG(locked.st_mode))
        return failure(Code::Symlink, "LOCK: is not a plain file");
    struct flock lock = whole_file(F_WRLCK);
    if (::fcntl(fd, F_OFD_SETLK, &lock) != 0) {
        const int cause = errno;
        if (cause == EAGAIN || cause == EACCES)
            return Status{Code::Locked, cause, -1, {}, "held by " + read_holder(fd)};
        return system_failure(cause, "LOCK: lock");
    }
    taken->is_held_ = true;
    const bool found = ::fstatat(directory_fd, lock_name, &named, AT_SYMLINK_NOFOLLOW) == 0;
    if (!found && errno != ENOENT)
        return system_failure(errno, "LOCK: stat");
    if (!found || named.st_ino != locked.st_ino || named.st_dev != locked.st_dev)
        return failure(Code::Locked, "LOCK was replaced while it was being taken");
    if (Status status = taken->outlive_descriptor(); !status.ok())
        return status;
    return taken;
}

static constexpr std::size_t mapping_bytes = 1;

/// Not in a child, which would keep the lock for as long as it lives. File systems that map nothing
/// leave the lock to the descriptor alone.
Status DirectoryLock::outlive_descriptor() {
    void *mapping = ::mmap(nullptr, mapping_bytes, PROT_NONE, MAP_SHARED, fd_, 0);
    if (mapping == MAP_FAILED)
        return errno == ENOMEM ? system_failure(errno, "LOCK: map") : Status{};
    mapping_ = mapping;
    if (::madvise(mapping, mapping_bytes, MADV_DONTFORK) != 0)
        return system_failure(errno, "LOCK: map");
    return {};
}

DirectoryLock::~DirectoryLock() {
    if (fd_ < 0)
        return;
    struct flock lock = whole_file(F_UNLCK);
    if (is_held_ && !leads_elsewhere(fd_, identity_))
        (void)::fcntl(fd_, F_OFD_SETLK, &lock);
    close_adopted(fd_, identity_);
    if (mapping_)
        ::munmap(mapping_, mapping_bytes);
}

} // namespace waybill
