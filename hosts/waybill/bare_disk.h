/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: Waybill contributors
 *
 * What the disk gives to a program that does nothing but append and sync: the limit that `bench`
 * compares the store with.
 */
#ifndef WAYBILL_CLI_BARE_DISK_H
#define WAYBILL_CLI_BARE_DISK_H

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <mutex>
#include <string>
#include <vector>

namespace cli {

/** A file in allocated space, so that a write changes no file size. Begins again when it is full.
 *  Failures are waybill::Errors, here and below. */
class AppendedFile final {
  public:
    explicit AppendedFile(const std::string &path);
    AppendedFile(const AppendedFile &) = delete;
    AppendedFile &operator=(const AppendedFile &) = delete;
    ~AppendedFile();

    /** [blocking] Returns when the bytes are on stable storage. */
    void append(const std::vector<std::uint8_t> &bytes);

  private:
    void allocate();

    std::string path_;
    int descriptor_;
    std::size_t offset_ = 0;
};

/** The plainest group commit: the first to come writes and syncs for all who came meanwhile. */
class GroupCommit final {
  public:
    explicit GroupCommit(const std::string &path) : file_(path) {}

    /** [blocking] Any thread: returns when the record is on stable storage. */
    void append(const std::vector<std::uint8_t> &record);

  private:
    void lead(std::unique_lock<std::mutex> &lock);

    AppendedFile file_;
    std::mutex mutex_;
    std::condition_variable durable_;
    std::vector<std::uint8_t> collected_;
    std::vector<std::uint8_t> writing_;
    std::uint64_t batch_ = 0; ///< that is being collected
    std::uint64_t durable_batches_ = 0;
    bool leading_ = false;
    std::exception_ptr failure_;
};

} // namespace cli

#endif
