// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors
#include "handle.h"

#include <algorithm>
#include <cerrno>
#include <sys/eventfd.h>
#include <unistd.h>

namespace waybill {

Result<std::shared_ptr<CompletionQueue>> CompletionQueue::create() {
    const int fd = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (fd < 0)
        return system_failure(errno, "eventfd");
    return std::shared_ptr<CompletionQueue>(new CompletionQueue(fd));
}

CompletionQueue::~CompletionQueue() { ::close(fd_); }

static void signal_fd(int fd) {
    const std::uint64_t one = 1;
    // Fails only when the counter is full, and then the descriptor is readable already.
    [[maybe_unused]] const ssize_t put = ::write(fd, &one, sizeof one);
}

void CompletionQueue::push(const waybill_completion &completion) {
    const std::lock_guard lock(mutex_);
    completions_.push_back(completion);
    if (completions_.size() == 1)
        signal_fd(fd_);
}

std::uint32_t CompletionQueue::drain(waybill_completion *out, std::uint32_t capacity) {
    const std::lock_guard lock(mutex_);
    // Reset before taking: a completion that comes in between must be heard of.
    std::uint64_t count;
    [[maybe_unused]] const ssize_t got = ::read(fd_, &count, sizeof count);
    const auto taken =
        static_cast<std::uint32_t>(std::min<std::size_t>(capacity, completions_.size()));
    std::copy_n(completions_.begin(), taken, out);
    completions_.erase(completions_.begin(), completions_.begin() + taken);
    if (!completions_.empty())
        signal_fd(fd_);
    return taken;
}

} // namespace waybill
