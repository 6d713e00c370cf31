/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: Waybill contributors
 *
 * A place to write in beside a store, on the same disk.
 */
#ifndef WAYBILL_CLI_SCRATCH_DIRECTORY_H
#define WAYBILL_CLI_SCRATCH_DIRECTORY_H

#include <cstdint>
#include <string>

namespace cli {

/** A new directory beside another one and on its file system. It is gone with the object. */
class ScratchDirectory final {
  public:
    /** `neighbour` must exist; nothing in it is touched, or even looked at.
     *  Throws WAYBILL_ENOTSTORE if it does not, and WAYBILL_EINVAL if what lies beside it is
     *  another file system. */
    ScratchDirectory(const std::string &neighbour, bool json);
    ScratchDirectory(const ScratchDirectory &) = delete;
    ScratchDirectory &operator=(const ScratchDirectory &) = delete;
    ~ScratchDirectory();

    std::string operator/(const char *name) const { return path_ + '/' + name; }
    /** Where it was made. */
    const std::string &parent() const { return parent_; }
    /** A file system in memory syncs nothing. */
    bool in_memory() const;

  private:
    std::string parent_;
    std::string path_;
    bool json_;
};

/** What the files of a directory take on disk, without those of directories in it. */
std::uint64_t bytes_on_disk(const std::string &directory);

} // namespace cli

#endif
