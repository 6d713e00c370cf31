// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors
//
// What has been accepted and not begun, and the thread that has it committed.
// Invariants: what is accepted ends; the committer is that thread's alone, so that nothing is ever
// written on a thread of the host's, which a file-size limit would signal.
#pragma once

#include "committer.h"

#include <array>
#include <atomic>
#include <condition_variable>
#include <mutex>
#include <vector>

namespace waybill {

class Submissions final {
  public:
    explicit Submissions(Committer &committer);

    /// Any thread: what will be rung for all that is submitted now.
    const std::shared_ptr<Bell> &bell() const { return bells_[rounds_.load() % bells_.size()]; }

    /// Any thread. Fails with ReadOnly, State or Limit; otherwise the operation will end.
    Status submit(Submission submission);

    /// The committer's thread: returns after stop(), when everything accepted has ended.
    void run();
    /// Waits until run() has done so.
    void stop();

  private:
    void wait_for_work(std::unique_lock<std::mutex> &lock);

    Committer &committer_;
    std::mutex mutex_;
    std::condition_variable changed_;
    std::vector<Submission> queue_;
    /// Of the round that gathers and of the last few.
    std::array<std::shared_ptr<Bell>, 8> bells_;
    std::atomic<std::uint64_t> rounds_{0};
    bool stopping_ = false;
    bool ended_ = false;
};

} // namespace waybill
