// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors
#include "submissions.h"

#include "limits.h"

namespace waybill {

Status Submissions::submit(Submission submission) {
    if (committer_.is_read_only())
        return failure(Code::ReadOnly, "the store is read-only since a write failed");
    const std::lock_guard lock(mutex_);
    if (stopping_)
        return failure(Code::State, "the store is being destroyed");
    if (queue_.size() >= limits::queued_operations_max)
        return over_limit("", std::to_string(queue_.size()) + " operations are waiting already");
    queue_.push_back(std::move(submission));
    if (queue_.size() == 1)
        changed_.notify_one();
    return {};
}

void Submissions::run() {
    std::vector<Submission> arrivals;
    for (;;) {
        {
            std::unique_lock lock(mutex_);
            changed_.wait(lock, [this] { return stopping_ || !queue_.empty(); });
            if (queue_.empty())
                break;
            arrivals.swap(queue_);
        }
        committer_.commit_round(arrivals);
        arrivals.clear();
    }
    committer_.close_journal();
    const std::lock_guard lock(mutex_);
    ended_ = true;
    changed_.notify_all();
}

void Submissions::stop() {
    std::unique_lock lock(mutex_);
    stopping_ = true;
    changed_.notify_all();
    changed_.wait(lock, [this] { return ended_; });
}

} // namespace waybill
