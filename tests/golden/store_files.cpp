// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors
#include "store_files.h"

#include <cstdlib>
#include <fstream>
#include <iterator>

namespace golden {

namespace fs = std::filesystem;

std::string read_file(const fs::path &path) {
    std::ifstream file(path, std::ios::binary);
    std::string bytes((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
    require(file.good() || file.eof(), path.string() + ": cannot be read");
    return bytes;
}

void write_file(const fs::path &path, const std::string &bytes) {
    std::ofstream file(path, std::ios::binary);
    file << bytes;
    file.close();
    require(!file.fail(), path.string() + ": cannot be written");
}

Files read_store(const fs::path &directory) {
    Files files;
    for (const fs::directory_entry &entry : fs::directory_iterator(directory)) {
        const std::string name = entry.path().filename();
        if (name == "LOCK" || name == "snapshot" || name.rfind("journal.", 0) == 0)
            files[name] = read_file(entry.path());
    }
    return files;
}

void write_store(const fs::path &directory, const Files &files) {
    fs::create_directories(directory);
    fs::permissions(directory, fs::perms::owner_all);
    for (const auto &[name, bytes] : files) {
        write_file(directory / name, bytes);
        fs::permissions(directory / name, fs::perms::owner_read | fs::perms::owner_write);
    }
}

ScratchDirectory::ScratchDirectory() {
    std::string path = (fs::temp_directory_path() / "waybill-golden-XXXXXX").string();
    require(mkdtemp(path.data()) != nullptr, path + ": cannot be made");
    path_ = path;
}

ScratchDirectory::~ScratchDirectory() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
}

} // namespace golden
