// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors
//
// A golden store's files, in memory and in directories.
#pragma once

#include <filesystem>
#include <map>
#include <stdexcept>
#include <string>

namespace golden {

using Files = std::map<std::string, std::string>; ///< name → bytes

/// LOCK, snapshot and journals; what else is in the directory is left out.
Files read_store(const std::filesystem::path &directory);
/// Into a new directory with the store's permissions.
void write_store(const std::filesystem::path &directory, const Files &files);

std::string read_file(const std::filesystem::path &path);
void write_file(const std::filesystem::path &path, const std::string &bytes);

/// A directory that goes with the object.
class ScratchDirectory final {
  public:
    ScratchDirectory();
    ~ScratchDirectory();
    ScratchDirectory(const ScratchDirectory &) = delete;
    ScratchDirectory &operator=(const ScratchDirectory &) = delete;
    std::filesystem::path operator/(const std::string &name) const { return path_ / name; }

  private:
    std::filesystem::path path_;
};

inline void require(bool holds, const std::string &what) {
    if (!holds)
        throw std::runtime_error(what);
}

} // namespace golden
