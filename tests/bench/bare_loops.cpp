// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors
#include "bare_loops.h"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <filesystem>
#include <latch>
#include <memory>
#include <stdexcept>
#include <system_error>
#include <thread>
#include <unistd.h>

namespace bench {

[[noreturn]] static void fail(const std::string &what) {
    throw std::system_error(errno, std::generic_category(), what);
}

AppendedFile::AppendedFile(const std::string &path, std::size_t allocated_bytes)
    : path_(path), fd_(::open(path.c_str(), O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0600)) {
    if (fd_ < 0)
        fail(path);
    const std::vector<std::uint8_t> zeros(std::min<std::size_t>(allocated_bytes, 1u << 20));
    for (std::size_t done = 0; done < allocated_bytes; done += zeros.size())
        if (::pwrite(fd_, zeros.data(), zeros.size(), static_cast<off_t>(done)) !=
            static_cast<ssize_t>(zeros.size()))
            fail(path);
    if (::fsync(fd_) != 0)
        fail(path);
}

AppendedFile::~AppendedFile() {
    ::close(fd_);
    ::unlink(path_.c_str());
}

void AppendedFile::append(const std::uint8_t *bytes, std::size_t count) {
    while (count > 0) {
        const ssize_t written = ::pwrite(fd_, bytes, count, static_cast<off_t>(offset_));
        if (written < 0)
            fail(path_);
        offset_ += static_cast<std::size_t>(written);
        bytes += written;
        count -= static_cast<std::size_t>(written);
    }
    if (::fdatasync(fd_) != 0)
        fail(path_);
}

void AppendedFile::append(std::size_t count) {
    if (filler_.size() < count)
        filler_.resize(count, 0x5a);
    append(filler_.data(), count);
}

void GroupCommit::append() {
    std::unique_lock lock(mutex_);
    collected_.resize(collected_.size() + record_bytes, 0x5a);
    const std::uint64_t mine = batch_;
    for (;;) {
        if (durable_batches_ > mine)
            return;
        if (!leading_)
            break;
        durable_.wait(lock);
    }
    leading_ = true;
    collected_.swap(writing_);
    const std::uint64_t done = ++batch_;
    lock.unlock();
    file_.append(writing_.data(), writing_.size());
    lock.lock();
    writing_.clear();
    durable_batches_ = done;
    leading_ = false;
    durable_.notify_all();
}

CopyingTable::CopyingTable(const std::vector<std::string> &names) {
    records_.reserve(names.size());
    for (const std::string &name : names)
        records_.emplace(name, std::vector<std::uint8_t>(record_bytes, 0x5a));
}

unsigned CopyingTable::get(const std::string &name) const {
    const std::vector<std::uint8_t> &record = records_.find(name)->second;
    auto *copy = static_cast<std::uint8_t *>(std::malloc(record.size()));
    if (!copy)
        throw std::bad_alloc();
    std::memcpy(copy, record.data(), record.size());
    // Or the compiler leaves the whole copy out.
    const unsigned last = static_cast<volatile std::uint8_t *>(copy)[record.size() - 1];
    std::free(copy);
    return last;
}

double seconds_of_threads(std::size_t threads, std::size_t each,
                          const std::function<void(std::size_t, std::size_t)> &work) {
    std::latch ready(static_cast<std::ptrdiff_t>(threads) + 1);
    std::exception_ptr thrown;
    std::mutex mutex;
    std::vector<std::thread> running;
    for (std::size_t thread = 0; thread < threads; ++thread)
        running.emplace_back([&, thread] {
            ready.arrive_and_wait();
            try {
                for (std::size_t i = 0; i < each; ++i)
                    work(thread, i);
            } catch (...) {
                const std::lock_guard lock(mutex);
                thrown = std::current_exception();
            }
        });
    ready.arrive_and_wait();
    const auto began = std::chrono::steady_clock::now();
    for (std::thread &thread : running)
        thread.join();
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - began;
    if (thrown)
        std::rethrow_exception(thrown);
    return took.count();
}

std::size_t read_all(const std::string &directory) {
    std::size_t bytes = 0;
    for (const auto &entry : std::filesystem::directory_iterator(directory)) {
        if (!entry.is_regular_file())
            continue;
        const int fd = ::open(entry.path().c_str(), O_RDONLY | O_CLOEXEC);
        if (fd < 0)
            fail(entry.path());
        const std::size_t size = entry.file_size();
        const std::unique_ptr<std::uint8_t[]> memory(new std::uint8_t[size]);
        for (std::size_t done = 0; done < size;) {
            const ssize_t got = ::read(fd, memory.get() + done, size - done);
            if (got <= 0) // Less would take less time.
                fail(entry.path());
            done += static_cast<std::size_t>(got);
        }
        ::close(fd);
        bytes += size;
    }
    return bytes;
}

} // namespace bench
