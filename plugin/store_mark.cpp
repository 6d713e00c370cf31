// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors
#include "store_mark.h"

#include <algorithm>
#include <memory>
#include <string>
#include <string_view>

namespace waybill {

/// "waybill store <id> <checksum of the id>\n"
static constexpr std::string_view lock_mark = "waybill store ";
static constexpr std::size_t lock_mark_bytes = 64;

static std::string mark_of(const StoreId &id) {
    const std::uint64_t sum = checksum(id, 0);
    return std::string(lock_mark) + hex(id) + " " +
           hex(Bytes(reinterpret_cast<const std::uint8_t *>(&sum), sizeof sum)) + "\n";
}

Result<StoreMark> read_mark(Disk &disk) {
    Result<std::unique_ptr<File>> file = disk.open(lock_name, OpenMode::Read);
    if (!file.ok())
        return file.status();
    std::uint8_t bytes[lock_mark_bytes] = {};
    Result<std::size_t> got = (*file)->read(0, bytes);
    if (!got.ok())
        return got.status();
    const std::string_view text(reinterpret_cast<const char *>(bytes), *got);
    StoreMark mark;
    mark.is_there = got.value() > 0 && bytes[0] != 0;
    StoreId id{};
    const std::string_view digits = text.substr(std::min(text.size(), lock_mark.size()));
    for (std::size_t i = 0; i < id.size() && 2 * i + 1 < digits.size(); ++i) {
        const auto digit = [](char c) { return c <= '9' ? c - '0' : c - 'a' + 10; };
        id[i] = static_cast<std::uint8_t>(digit(digits[2 * i]) << 4 | digit(digits[2 * i + 1]));
    }
    if (text == mark_of(id))
        mark.id = id;
    return mark;
}

Status write_mark(Disk &disk, const StoreId &id) {
    Result<std::unique_ptr<File>> file = disk.open(lock_name, OpenMode::Write);
    if (!file.ok())
        return file.status();
    const std::string text = mark_of(id);
    const Bytes bytes(reinterpret_cast<const std::uint8_t *>(text.data()), text.size());
    if (Status written = (*file)->write(0, bytes); !written.ok())
        return written;
    if (Status synced = (*file)->sync(); !synced.ok())
        return synced;
    return disk.sync_directory();
}

} // namespace waybill
