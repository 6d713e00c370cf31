// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors
#include "handle.h"

#include <algorithm>
#include <cerrno>
#include <iterator>
#include <sys/eventfd.h>
#include <unistd.h>

namespace waybill {

Result<std::shared_ptr<CompletionQueue>> CompletionQueue::create() {
    std::shared_ptr<CompletionQueue> queue(new CompletionQueue);
    queue->fd_ = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (queue->fd_ < 0)
        return system_failure(errno, "eventfd");
    return queue;
}

CompletionQueue::~CompletionQueue() {
    if (fd_ >= 0)
        ::close(fd_);
}

static void signal_fd(int fd) {
    const std::uint64_t one = 1;
    // Fails only when the counter is full, and then the descriptor is readable already.
    [[maybe_unused]] const ssize_t put = ::write(fd, &one, sizeof one);
}

void CompletionQueue::push(Completions &completions) noexcept {
    const std::lock_guard lock(mutex_);
    if (completions_.empty())
        signal_fd(fd_);
    completions_.splice(completions_.end(), completions);
}

std::uint32_t CompletionQueue::drain(waybill_completion *out, std::uint32_t capacity) {
    const std::lock_guard lock(mutex_);
    // Reset before taking: a completion that comes in between must be heard of.
    std::uint64_t count;
    [[maybe_unused]] const ssize_t got = ::read(fd_, &count, sizeof count);
    const auto taken =
        static_cast<std::uint32_t>(std::min<std::size_t>(capacity, completions_.size()));
    std::copy_n(completions_.begin(), taken, out);
    completions_.erase(completions_.begin(), std::next(completions_.begin(), taken));
    if (!completions_.empty())
        signal_fd(fd_);
    return taken;
}

} // namespace waybill
