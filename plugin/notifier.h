// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors
//
// The thread on which the host hears of finished operations, so that what it does then holds up
// neither the committer nor other operations.
#pragma once

#include <atomic>
#include <condition_variable>
#include <functional>
#include <list>
#include <mutex>
#include <thread>

namespace waybill {

class Notifier final {
  public:
    /// Made by the host's thread, so that posting takes no memory.
    using Calls = std::list<std::function<void()>>;

    /// Takes the calls out of the list. False once stopped: the caller runs them itself.
    bool post(Calls &calls) noexcept {
        const std::lock_guard lock(mutex_);
        if (stopped_)
            return false;
        calls_.splice(calls_.end(), calls);
        changed_.notify_one();
        return true;
    }

    /// Runs calls until stopped and none is left.
    void run() {
        caller_.store(std::this_thread::get_id());
        std::unique_lock lock(mutex_);
        for (;;) {
            changed_.wait(lock, [this] { return stopped_ || !calls_.empty(); });
            if (calls_.empty())
                break;
            Calls call;
            call.splice(call.end(), calls_, calls_.begin());
            lock.unlock();
            call.front()();
            call.clear();
            lock.lock();
        }
        caller_.store(std::thread::id());
    }

    void stop() {
        const std::lock_guard lock(mutex_);
        stopped_ = true;
        changed_.notify_all();
    }

    /// Whether the calling thread is inside a call of this notifier.
    bool is_calling() const { return caller_.load() == std::this_thread::get_id(); }

  private:
    std::mutex mutex_;
    std::condition_variable changed_;
    Calls calls_;
    bool stopped_ = false;
    std::atomic<std::thread::id> caller_; ///< no thread's but while one runs the calls
};

} // namespace waybill
