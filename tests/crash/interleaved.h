// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors
//
// A job on a thread of its own that runs only while the other waits: one goes on from disk call to
// disk call as the other lets it, so that every interleaving can be chosen and had again.
#pragma once

#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>

namespace waybill::crash {

class Interleaved final {
  public:
    explicit Interleaved(std::function<void()> job)
        : thread_([this, job = std::move(job)] {
              wait_for(Turn::Job);
              job();
              const std::lock_guard lock(mutex_);
              turn_ = Turn::Ended;
              changed_.notify_all();
          }) {}
    ~Interleaved() {
        while (step()) {
        }
        thread_.join();
    }
    Interleaved(const Interleaved &) = delete;
    Interleaved &operator=(const Interleaved &) = delete;

    /// The other side: lets the job run to its next call. False once it has ended.
    bool step() {
        std::unique_lock lock(mutex_);
        if (turn_ == Turn::Ended)
            return false;
        turn_ = Turn::Job;
        changed_.notify_all();
        changed_.wait(lock, [this] { return turn_ != Turn::Job; });
        return turn_ != Turn::Ended;
    }

    bool is_running_here() const { return std::this_thread::get_id() == thread_.get_id(); }

    /// The job's side, at each of its calls: gives the turn back and waits for the next.
    void pause() {
        {
            const std::lock_guard lock(mutex_);
            turn_ = Turn::Other;
            changed_.notify_all();
        }
        wait_for(Turn::Job);
    }

  private:
    enum class Turn { Other, Job, Ended };

    void wait_for(Turn turn) {
        std::unique_lock lock(mutex_);
        changed_.wait(lock, [&] { return turn_ == turn; });
    }

    std::mutex mutex_;
    std::condition_variable changed_;
    Turn turn_ = Turn::Other;
    std::thread thread_;
};

} // namespace waybill::crash
