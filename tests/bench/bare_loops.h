// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors
//
// What the machine gives to a program that does nothing but the one thing that cannot be left out:
// the loops that the store is compared with.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <mutex>
#include <string>
#include <unordered_map>
#include <vector>

namespace bench {

inline constexpr std::size_t record_bytes = 1024;

/// A file that is written to its end and synced. It is removed with the object.
class AppendedFile final {
  public:
    /// With `allocated_bytes` the space is there beforehand, full of zeros: a write changes no
    /// file size, and no sync tells the file system that a block is in use now.
    explicit AppendedFile(const std::string &path, std::size_t allocated_bytes = 0);
    ~AppendedFile();
    AppendedFile(const AppendedFile &) = delete;
    AppendedFile &operator=(const AppendedFile &) = delete;

    void append(const std::uint8_t *bytes, std::size_t count);
    /// Appends `count` bytes of no meaning.
    void append(std::size_t count);

  private:
    std::string path_;
    int fd_;
    std::size_t offset_ = 0;
    std::vector<std::uint8_t> filler_;
};

/// The plainest group commit: the first to come writes and syncs for all who came meanwhile.
class GroupCommit final {
  public:
    GroupCommit(const std::string &path, std::size_t allocated_bytes)
        : file_(path, allocated_bytes) {}

    /// Any thread: returns when a record of `record_bytes` is durable.
    void append();

  private:
    AppendedFile file_;
    std::mutex mutex_;
    std::condition_variable durable_;
    std::vector<std::uint8_t> collected_, writing_;
    std::uint64_t batch_ = 0; ///< that is being collected
    std::uint64_t durable_batches_ = 0;
    bool leading_ = false;
};

/// A hash table whose records are copied out, as an image that outlives its store must be.
class CopyingTable final {
  public:
    explicit CopyingTable(const std::vector<std::string> &names);
    /// Looks up, copies, frees; returns a byte of the copy.
    unsigned get(const std::string &name) const;

  private:
    std::unordered_map<std::string, std::vector<std::uint8_t>> records_;
};

/// Seconds from the moment that `threads` threads start until each has called `work(thread, i)`
/// for every i below `each`.
double seconds_of_threads(std::size_t threads, std::size_t each,
                          const std::function<void(std::size_t, std::size_t)> &work);

/// Reads every file of the directory into fresh memory; returns the bytes.
std::size_t read_all(const std::string &directory);

} // namespace bench
