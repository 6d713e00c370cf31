/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: Waybill contributors
 */
#include "bare_disk.h"

#include "system_error.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>

namespace cli {
namespace {

constexpr std::size_t allocated_bytes = 16u << 20;

} // namespace

AppendedFile::AppendedFile(const std::string &path)
    : path_(path), descriptor_(open(path.c_str(), O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600)) {
    if (descriptor_ < 0)
        throw system_error(path_, errno);
    try {
        allocate();
    } catch (...) {
        close(descriptor_);
        throw;
    }
}

AppendedFile::~AppendedFile() { close(descriptor_); }

void AppendedFile::allocate() {
    if (ftruncate(descriptor_, 0) != 0)
        throw system_error(path_, errno);
    // A file system that has no such thing lets the file grow, as it does the store's journal.
    if (fallocate(descriptor_, 0, 0, allocated_bytes) != 0 && errno != EOPNOTSUPP)
        throw system_error(path_, errno);
    if (fsync(descriptor_) != 0)
        throw system_error(path_, errno);
    offset_ = 0;
}

void AppendedFile::append(const std::vector<std::uint8_t> &bytes) {
    if (offset_ + bytes.size() > allocated_bytes)
        allocate();
    for (std::size_t done = 0; done < bytes.size();) {
        const ssize_t written = pwrite(descriptor_, bytes.data() + done, bytes.size() - done,
                                       static_cast<off_t>(offset_ + done));
        if (written == 0 || (written < 0 && errno != EINTR))
            throw system_error(path_, written == 0 ? EIO : errno);
        done += written < 0 ? 0 : static_cast<std::size_t>(written);
    }
    if (fdatasync(descriptor_) != 0)
        throw system_error(path_, errno);
    offset_ += bytes.size();
}

void GroupCommit::append(const std::vector<std::uint8_t> &record) {
    std::unique_lock lock(mutex_);
    collected_.insert(collected_.end(), record.begin(), record.end());
    const std::uint64_t mine = batch_;
    while (durable_batches_ <= mine) {
        if (failure_)
            std::rethrow_exception(failure_);
        if (leading_)
            durable_.wait(lock);
        else
            lead(lock);
    }
}

/** Writes the batch that is being collected; what comes meanwhile is the next one. */
void GroupCommit::lead(std::unique_lock<std::mutex> &lock) {
    leading_ = true;
    writing_.clear();
    collected_.swap(writing_);
    const std::uint64_t written_batches = ++batch_;
    lock.unlock();
    std::exception_ptr failure;
    try {
        file_.append(writing_);
    } catch (...) {
        failure = std::current_exception();
    }
    lock.lock();
    leading_ = false;
    if (failure)
        failure_ = failure;
    else
        durable_batches_ = written_batches;
    durable_.notify_all();
}

} // namespace cli
