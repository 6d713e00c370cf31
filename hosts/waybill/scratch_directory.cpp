/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: Waybill contributors
 */
#include "scratch_directory.h"

#include "output.h"
#include "system_error.h"

#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include <cerrno>
#include <cstdlib>
#include <filesystem>

namespace cli {
namespace {

namespace fs = std::filesystem;

struct stat stat_of(const std::string &path) {
    struct stat found {};
    if (stat(path.c_str(), &found) != 0)
        throw system_error(path, errno);
    return found;
}

/** Without links: what lies beside a link may be another disk. */
std::string real_directory(const std::string &path) {
    std::error_code failure;
    const fs::path real = fs::canonical(path, failure);
    if (failure == std::errc::no_such_file_or_directory ||
        (!failure && !S_ISDIR(stat_of(real).st_mode)))
        throw waybill::Error(WAYBILL_ENOTSTORE, path + ": no such directory", "root");
    if (failure)
        throw system_error(path, failure.value());
    return real;
}

std::string parent_on_same_disk(const std::string &directory) {
    std::string parent = fs::path(directory).parent_path();
    if (stat_of(parent).st_dev != stat_of(directory).st_dev)
        throw waybill::Error(WAYBILL_EINVAL,
                             directory + ": is a file system of its own, and what lies beside it "
                                         "another; name a directory in it",
                             "root");
    return parent;
}

} // namespace

ScratchDirectory::ScratchDirectory(const std::string &neighbour, bool json)
    : parent_(parent_on_same_disk(real_directory(neighbour))),
      path_((fs::path(parent_) / "waybill-bench-XXXXXX").string()), json_(json) {
    if (mkdtemp(path_.data()) == nullptr)
        throw system_error(parent_ + ": no directory can be made in it", errno);
}

ScratchDirectory::~ScratchDirectory() {
    std::error_code failure;
    fs::remove_all(path_, failure);
    if (failure)
        print_warning(path_ + ": could not be removed: " + failure.message(), json_);
}

bool ScratchDirectory::in_memory() const {
    struct statfs found {};
    if (statfs(path_.c_str(), &found) != 0)
        throw system_error(path_, errno);
    return found.f_type == TMPFS_MAGIC || found.f_type == RAMFS_MAGIC;
}

std::uint64_t bytes_on_disk(const std::string &directory) {
    constexpr std::uint64_t block_bytes = 512; // whatever the file system's own are
    std::uint64_t bytes = 0;
    for (const fs::directory_entry &entry : fs::directory_iterator(directory))
        if (entry.is_regular_file())
            bytes += static_cast<std::uint64_t>(stat_of(entry.path()).st_blocks) * block_bytes;
    return bytes;
}

} // namespace cli
