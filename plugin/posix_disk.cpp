// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors
#include "posix_disk.h"

#include "directory_stream.h"
#include "forked.h"
#include "limits.h"
#include "system_call.h"

#include <QtCore/QSaveFile>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <fcntl.h>
#include <optional>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <thread>
#include <unistd.h>

namespace waybill {

static_assert(sizeof(off_t) == 8, "a file may be larger than 2 GiB: -D_FILE_OFFSET_BITS=64");

static const char *const damaged_directory = "damaged";

/// A failed sync is final, but a sync that a signal interrupted has not failed.
static int sync_fd(int fd, int (*call)(int)) {
    return uninterrupted([&] { return call(fd); });
}

/// fstat for identity, kind, links and size. Who asks a recent kernel for a file's times has it
/// keep finer ones, which the next write changes: every sync then writes the inode too, which made
/// a put 60 µs longer. Sandboxes older than statx refuse it.
static int stat_without_times(int fd, struct stat *found) {
    struct statx told = {};
    constexpr unsigned wanted = STATX_TYPE | STATX_INO | STATX_NLINK | STATX_SIZE | STATX_BLOCKS;
    if (::statx(fd, "", AT_EMPTY_PATH, wanted, &told) != 0)
        return errno == ENOSYS || errno == EPERM ? ::fstat(fd, found) : -1;
    *found = {};
    found->st_dev = makedev(told.stx_dev_major, told.stx_dev_minor);
    found->st_ino = told.stx_ino;
    found->st_mode = told.stx_mode;
    found->st_nlink = told.stx_nlink;
    found->st_size = static_cast<off_t>(told.stx_size);
    found->st_blocks = static_cast<blkcnt_t>(told.stx_blocks);
    return 0;
}

bool leads_to(int fd, const FileIdentity &identity) {
    struct stat found;
    return stat_without_times(fd, &found) == 0 &&
           FileIdentity{found.st_dev, found.st_ino} == identity;
}

bool leads_elsewhere(int fd, const FileIdentity &identity) {
    struct stat found;
    if (stat_without_times(fd, &found) != 0)
        return errno == EBADF;
    return FileIdentity{found.st_dev, found.st_ino} != identity;
}

Status adopt(int fd, const std::string &name, FileIdentity *identity, struct stat *found) {
    if (stat_without_times(fd, found) != 0) {
        const int cause = errno;
        ::close(fd);
        return system_failure(cause, name + ": stat");
    }
    *identity = {found->st_dev, found->st_ino};
    forked::watch(fd, *identity);
    return {};
}

void close_adopted(int fd, const FileIdentity &identity) {
    forked::unwatch(fd);
    if (!leads_elsewhere(fd, identity))
        ::close(fd);
}

/// Io if the descriptor has become another file's, or that cannot be told.
static Status check_leads_to(int fd, const FileIdentity &identity, const std::string &name,
                             struct stat *found) {
    if (stat_without_times(fd, found) != 0 && errno != EBADF)
        return system_failure(errno, name + ": stat"); // XFS, after it was shut down.
    if (FileIdentity{found->st_dev, found->st_ino} != identity)
        return {Code::Io, EBADF, -1, {}, name + ": somebody else closed its descriptor"};
    return {};
}

namespace {

class PosixFile final : public File {
  public:
    explicit PosixFile(std::string name) : name_(std::move(name)) {}
    ~PosixFile() override {
        if (fd_ >= 0)
            close_adopted(fd_, identity_);
    }

    /// The memory for it has been had before there is a descriptor that could be lost.
    Status open(int directory_fd, OpenMode mode);

    Result<std::size_t> read(std::uint64_t offset, std::span<std::uint8_t> out) override {
        std::size_t done = 0;
        while (done < out.size()) {
            const ssize_t got = ::pread(fd_, out.data() + done, out.size() - done,
                                        static_cast<off_t>(offset + done));
            if (got < 0 && errno == EINTR)
                continue;
            if (got < 0)
                return system_failure(errno,
                                      name_ + ": read at byte " + std::to_string(offset + done));
            if (got == 0)
                break;
            done += static_cast<std::size_t>(got);
        }
        return done;
    }

    Status write(std::uint64_t offset, Bytes bytes) override {
        if (Status ours = check_ours(); !ours.ok())
            return ours;
        std::size_t done = 0;
        while (done < bytes.size()) {
            const ssize_t put = ::pwrite(fd_, bytes.data() + done, bytes.size() - done,
                                         static_cast<off_t>(offset + done));
            if (put < 0 && errno == EINTR)
                continue;
            if (put <= 0)
                return system_failure(put < 0 ? errno : EIO,
                                      name_ + ": write at byte " + std::to_string(offset + done));
            done += static_cast<std::size_t>(put);
        }
        return {};
    }

    Status sync() override {
        if (sync_fd(fd_, ::fdatasync) != 0)
            return system_failure(errno, name_ + ": sync");
        // If not, another file may have been synced.
        return check_ours();
    }

    Status allocate(std::uint64_t offset, std::uint64_t length) override {
        if (Status ours = check_ours(); !ours.ok())
            return ours;
        const auto reserve = [&](int mode) {
            return uninterrupted([&] {
                return ::fallocate(fd_, mode, static_cast<off_t>(offset),
                                   static_cast<off_t>(length));
            });
        };
        // Blocks that a copy shares, as cp --reflink makes it, are not the file's own: to write
        // them takes others. A file system without such copies does not know the mode.
        int result = reserve(FALLOC_FL_UNSHARE_RANGE);
        if (result != 0 && (errno == EOPNOTSUPP || errno == EINVAL))
            result = reserve(0);
        if (result == 0)
            return {};
        if (errno == EOPNOTSUPP || errno == ENOSYS)
            return {Code::Invalid, errno, -1, {}, name_ + ": space cannot be reserved here"};
        return system_failure(errno, name_ + ": reserve " + std::to_string(length) + " bytes");
    }

    Result<std::uint64_t> size() override {
        struct stat found;
        if (stat_without_times(fd_, &found) != 0)
            return system_failure(errno, name_ + ": stat");
        return static_cast<std::uint64_t>(found.st_size);
    }

    Result<std::uint64_t> allocated_bytes() override {
        constexpr std::uint64_t stat_block_bytes = 512; // Whatever the file system's own.
        struct stat found;
        if (stat_without_times(fd_, &found) != 0)
            return system_failure(errno, name_ + ": stat");
        return static_cast<std::uint64_t>(found.st_blocks) * stat_block_bytes;
    }

    Result<FileIdentity> identity() override {
        struct stat found;
        if (stat_without_times(fd_, &found) != 0)
            return system_failure(errno, name_ + ": stat");
        return FileIdentity{found.st_dev, found.st_ino};
    }

    Result<std::uint64_t> data_from(std::uint64_t offset) override {
        const off_t found = ::lseek(fd_, static_cast<off_t>(offset), SEEK_DATA);
        if (found >= 0)
            return static_cast<std::uint64_t>(found);
        return errno == ENXIO ? size() : Result<std::uint64_t>(offset);
    }

    void discard() noexcept override {
        using Clock = std::chrono::steady_clock;
        struct stat found = {};
        if (stat_without_times(fd_, &found) != 0 || found.st_nlink != 0 ||
            FileIdentity{found.st_dev, found.st_ino} != identity_)
            return;
        for (off_t size = found.st_size; size > 0;) {
            const Clock::time_point began = Clock::now();
            size -= std::min<off_t>(size, limits::discard_step_bytes);
            if (::ftruncate(fd_, size) != 0)
                return;                                        // Closing the file does it.
            std::this_thread::sleep_for(Clock::now() - began); // The disk's other half is for puts.
        }
    }

  private:
    /// Takes 0.4 µs, where a sync takes 100 and more. What is in a file without a name nobody will
    /// find again.
    Status check_ours() const {
        struct stat found = {};
        if (Status ours = check_leads_to(fd_, identity_, name_, &found); !ours.ok())
            return ours;
        if (found.st_nlink == 0)
            return {Code::Io, ENOENT, -1, {}, name_ + ": somebody else removed it"};
        return {};
    }

    int fd_ = -1;
    std::string name_;
    FileIdentity identity_;
};

Status PosixFile::open(int directory_fd, OpenMode mode) {
    // O_NONBLOCK: a FIFO planted under the name must not hang the host.
    int flags = O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK;
    flags |= mode == OpenMode::Read ? O_RDONLY : O_RDWR;
    if (mode == OpenMode::Create)
        flags |= O_CREAT | O_EXCL;
    const int fd =
        uninterrupted([&] { return ::openat(directory_fd, name_.c_str(), flags, 0600); });
    if (fd < 0 && (errno == EISDIR || errno == ENXIO))
        return {Code::Symlink, errno, -1, {}, name_ + ": is not a plain file"};
    if (fd < 0)
        return system_failure(errno, name_ + ": open");
    struct stat found;
    if (Status adopted = adopt(fd, name_, &identity_, &found); !adopted.ok())
        return adopted;
    fd_ = fd;
    if (!S_ISREG(found.st_mode))
        return failure(Code::Symlink, name_ + ": is not a plain file");
    if (mode == OpenMode::Create && ::fchmod(fd_, 0600) != 0)
        return system_failure(errno, name_ + ": set permissions");
    return {};
}

/// QSaveFile reports neither a failed sync nor a failed flush within its commit, and syncs no
/// directory: so everything is flushed and synced here, checked, before commit is called. And it
/// goes to byte 0 when it closes the file; where that fails, as it does on an ext4 that was shut
/// down, Qt prints a warning. In that case it is given an empty file to close.
class SavedReplacement final : public Replacement {
  public:
    SavedReplacement(const QString &path, std::string name) : file_(path), name_(std::move(name)) {}
    ~SavedReplacement() override {
        if (!file_.isOpen())
            return;
        try {
            // An fstat that fails tells nothing: on an XFS that was shut down every call fails.
            if (!identity_ || !leads_elsewhere(file_.handle(), *identity_))
                (void)closes_silently();
            file_.cancelWriting();
            file_.commit();
        } catch (...) {
            // Out of memory. A file without a name goes with its descriptor; another is swept.
        }
    }

    Status begin() {
        if (!file_.open(QIODevice::WriteOnly | QIODevice::Unbuffered))
            return system_failure(errno ? errno : EIO, name_ + ": begin to replace");
        Result<FileIdentity> begun = identity();
        if (!begun.ok())
            return begun.status();
        identity_ = *begun;
        // QSaveFile made the file with the umask's permissions.
        if (::fchmod(file_.handle(), 0600) != 0)
            return system_failure(errno, name_ + ": set permissions");
        return {};
    }

    Status write(Bytes bytes) override {
        struct stat found = {};
        if (Status ours = check_leads_to(file_.handle(), *identity_, name_, &found); !ours.ok())
            return ours;
        errno = 0;
        const auto wanted = static_cast<qint64>(bytes.size());
        if (file_.write(reinterpret_cast<const char *>(bytes.data()), wanted) != wanted ||
            file_.error() != QFileDevice::NoError)
            return system_failure(errno ? errno : EIO, name_ + ": write");
        return {};
    }

    Status sync() override {
        errno = 0;
        if (!file_.flush())
            return system_failure(errno ? errno : EIO, name_ + ": flush");
        if (sync_fd(file_.handle(), ::fsync) != 0)
            return system_failure(errno, name_ + ": sync");
        return {};
    }

    Status commit() override {
        // What has the number now would be given our name.
        struct stat found = {};
        if (Status ours = check_leads_to(file_.handle(), *identity_, name_, &found); !ours.ok())
            return ours;
        if (!closes_silently())
            return system_failure(errno, name_ + ": seek");
        errno = 0;
        if (!file_.commit())
            return system_failure(errno ? errno : EIO, name_ + ": rename");
        return {};
    }

    Result<FileIdentity> identity() override {
        struct stat found;
        if (stat_without_times(file_.handle(), &found) != 0)
            return system_failure(errno, name_ + ": stat");
        return FileIdentity{found.st_dev, found.st_ino};
    }

  private:
    bool closes_silently() {
        if (::lseek(file_.handle(), 0, SEEK_SET) == 0)
            return true;
        const int cause = errno;
        const int empty = ::memfd_create("waybill", MFD_CLOEXEC);
        if (empty >= 0) {
            (void)::dup3(empty, file_.handle(), O_CLOEXEC);
            ::close(empty);
        }
        errno = cause;
        return false;
    }

    QSaveFile file_;
    std::string name_;
    std::optional<FileIdentity> identity_; // None until begun.
};

} // namespace

/// Makes `path` and what is missing above it, each 0700 and each durable in its parent.
static Status make_directories(const std::string &path) {
    for (std::size_t slash = path.find('/', 1);; slash = path.find('/', slash + 1)) {
        const std::string part = path.substr(0, slash);
        if (::mkdir(part.c_str(), 0700) == 0) {
            if (::chmod(part.c_str(), 0700) != 0)
                return system_failure(errno, part + ": set permissions");
            const std::size_t last = part.rfind('/');
            const std::string parent = last == 0 ? "/" : part.substr(0, last);
            const int fd = uninterrupted(
                [&] { return ::open(parent.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC); });
            if (fd < 0 || sync_fd(fd, ::fsync) != 0) {
                const int cause = errno;
                if (fd >= 0)
                    ::close(fd);
                return system_failure(cause, parent + ": sync");
            }
            ::close(fd);
        } else if (errno != EEXIST && errno != EISDIR) {
            return system_failure(errno, part + ": make directory");
        }
        if (slash == std::string::npos)
            return {};
    }
}

Result<std::unique_ptr<PosixDisk>> PosixDisk::open(const std::string &root, bool create) {
    std::unique_ptr<PosixDisk> disk(new PosixDisk);
    const auto open_root = [&] { return ::open(root.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC); };
    int fd = uninterrupted(open_root);
    if (fd < 0 && errno == ENOENT && create) {
        if (Status made = make_directories(root); !made.ok())
            return made;
        fd = uninterrupted(open_root);
    }
    if (fd < 0 && errno == ENOTDIR)
        return Status{Code::NotStore, ENOTDIR, -1, {}, root + ": not a directory"};
    if (fd < 0)
        return system_failure(errno, root + ": open directory");
    struct stat found;
    if (Status adopted = adopt(fd, root, &disk->identity_, &found); !adopted.ok())
        return adopted;
    disk->directory_fd_ = fd;
    return disk;
}

PosixDisk::~PosixDisk() {
    if (directory_fd_ >= 0)
        close_adopted(directory_fd_, identity_);
}

Status PosixDisk::check_directory() const {
    struct stat found = {};
    return check_leads_to(directory_fd_, identity_, "directory", &found);
}

Result<std::vector<std::string>> PosixDisk::list() {
    if (Status ours = check_directory(); !ours.ok())
        return ours;
    const int fd = uninterrupted(
        [&] { return ::openat(directory_fd_, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC); });
    if (fd < 0)
        return system_failure(errno, "directory: open");
    const DirectoryStream directory(::fdopendir(fd));
    if (!directory) {
        const int cause = errno;
        ::close(fd);
        return system_failure(cause, "directory: open");
    }
    std::vector<std::string> names;
    errno = 0;
    while (const dirent *entry = ::readdir(directory.get())) {
        const std::string_view name = entry->d_name;
        if (name != "." && name != "..")
            names.emplace_back(name);
        errno = 0; // An allocation may have set it.
    }
    if (errno != 0)
        return system_failure(errno, "directory: list");
    return names;
}

Result<std::unique_ptr<File>> PosixDisk::open(const std::string &name, OpenMode mode) {
    if (Status ours = check_directory(); !ours.ok())
        return ours;
    auto file = std::make_unique<PosixFile>(name);
    if (Status opened = file->open(directory_fd_, mode); !opened.ok())
        return opened;
    return std::unique_ptr<File>(std::move(file));
}

Result<std::unique_ptr<Replacement>> PosixDisk::begin_replace(const std::string &name) {
    if (Status ours = check_directory(); !ours.ok())
        return ours;
    struct stat found;
    const bool is_there = ::fstatat(directory_fd_, name.c_str(), &found, AT_SYMLINK_NOFOLLOW) == 0;
    if (!is_there && errno != ENOENT)
        return system_failure(errno, name + ": stat"); // It may be a link, which Qt would follow.
    if (is_there && !S_ISREG(found.st_mode))
        return failure(Code::Symlink, name + ": is not a plain file");
    // Through the descriptor: the directory may have been renamed or replaced since it was opened.
    const QString path =
        QStringLiteral("/proc/self/fd/%1/%2").arg(directory_fd_).arg(QString::fromStdString(name));
    auto replacement = std::make_unique<SavedReplacement>(path, name);
    if (Status begun = replacement->begin(); !begun.ok())
        return begun;
    return std::unique_ptr<Replacement>(std::move(replacement));
}

Result<FileIdentity> PosixDisk::identity(const std::string &name) {
    struct stat found;
    if (::fstatat(directory_fd_, name.c_str(), &found, AT_SYMLINK_NOFOLLOW) != 0)
        return system_failure(errno, name + ": stat");
    return FileIdentity{found.st_dev, found.st_ino};
}

Status PosixDisk::unlink(const std::string &name) {
    if (Status ours = check_directory(); !ours.ok())
        return ours;
    if (::unlinkat(directory_fd_, name.c_str(), 0) != 0)
        return system_failure(errno, name + ": remove");
    return {};
}

Status PosixDisk::keep_damaged(const std::string &name, const std::string &kept_name) {
    if (Status ours = check_directory(); !ours.ok())
        return ours;
    if (::mkdirat(directory_fd_, damaged_directory, 0700) != 0 && errno != EEXIST)
        return system_failure(errno, "damaged: make directory");
    const int fd = uninterrupted([&] {
        return ::openat(directory_fd_, damaged_directory,
                        O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    });
    if (fd < 0)
        return system_failure(errno, "damaged: open directory");
    int result = ::linkat(directory_fd_, name.c_str(), fd, kept_name.c_str(), 0);
    if (result != 0 && errno == EEXIST)
        result = 0; // Kept by a recovery that was interrupted.
    if (result == 0)
        result = sync_fd(fd, ::fsync);
    const int cause = errno;
    ::close(fd);
    if (result != 0)
        return system_failure(cause, "damaged/" + kept_name + ": keep");
    return sync_directory();
}

Status PosixDisk::sync_directory() {
    if (sync_fd(directory_fd_, ::fsync) != 0)
        return system_failure(errno, "directory: sync");
    return {};
}

} // namespace waybill
