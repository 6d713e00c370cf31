// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors
//
// The thread on which the host hears of finished operations, so that what it does then holds up
// neither the committer nor other operations.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>

namespace waybill {

class Notifier final {
  public:
    /// False once stopped: the caller runs the call itself.
    bool post(std::function<void()> call) {
        const std::lock_guard lock(mutex_);
        if (stopped_)
            return false;
        calls_.push_back(std::move(call));
        changed_.notify_one();
        return true;
    }

    /// Runs calls until stopped and none is left.
    void run() {
        current() = this;
        std::unique_lock lock(mutex_);
        for (;;) {
            changed_.wait(lock, [this] { return stopped_ || !calls_.empty(); });
            if (calls_.empty())
                break;
            std::function<void()> call = std::move(calls_.front());
            calls_.pop_front();
            lock.unlock();
            call();
            call = nullptr;
            lock.lock();
        }
        current() = nullptr;
    }

    void stop() {
        const std::lock_guard lock(mutex_);
        stopped_ = true;
        changed_.notify_all();
    }

    /// Whether the calling thread is inside a call of this notifier.
    bool is_calling() const { return current() == this; }

  private:
    static const Notifier *&current() {
        thread_local const Notifier *own = nullptr;
        return own;
    }

    std::mutex mutex_;
    std::condition_variable changed_;
    std::deque<std::function<void()>> calls_;
    bool stopped_ = false;
};

} // namespace waybill
