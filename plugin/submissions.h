// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors
//
// What has been accepted and not begun, and whose turn it is to commit it: that of the store's own
// thread, or of a host's thread that has nothing to do but wait for one of these operations. The
// latter saves both switches of threads, which take as long as a third of a sync.
// Invariants: one thread at a time has the committer; what is accepted ends, whoever waits; a
// host's thread calls none of the host's callbacks but the clock, and leaves no signal behind.
#pragma once

#include "committer.h"

#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

namespace waybill {

class Submissions final {
  public:
    explicit Submissions(Committer &committer) : committer_(committer) {}

    /// Any thread. Fails with ReadOnly, State or Limit; otherwise the operation will end.
    Status submit(Submission submission);

    /// The store's thread: returns after stop(), when everything accepted has ended.
    void run();
    /// Waits until run() has done so.
    void stop();

    /// A thread that waits for `operation`: commits what has been submitted, if nobody is at it.
    void help(const Operation &operation) noexcept;

  private:
    void commit_round(std::unique_lock<std::mutex> &lock);
    bool has_work() const;
    void sleep(std::unique_lock<std::mutex> &lock);

    Committer &committer_;
    std::mutex mutex_;
    std::condition_variable changed_; ///< for the store's thread
    std::condition_variable ended_changed_;
    std::vector<Submission> queue_;
    std::vector<Submission> arrivals_; ///< of the round under way
    bool committing_ = false;
    /// Who submitted last came to wait at once: likely, so will who submits next. Waking the
    /// store's thread for it would cost a switch and make the two compete.
    bool waiters_come_ = false;
    /// The store's thread looks by itself from time to time.
    bool watching_ = false;
    std::uint64_t helped_ = 0; ///< rounds that waiters committed
    bool stopping_ = false;
    bool ended_ = false;
};

} // namespace waybill
