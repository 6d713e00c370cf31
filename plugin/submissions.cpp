// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors
#include "submissions.h"

#include "limits.h"

#include <algorithm>
#include <chrono>

namespace waybill {

Submissions::Submissions(Committer &committer) : committer_(committer) {
    for (std::shared_ptr<Bell> &bell : bells_)
        bell = std::make_shared<Bell>();
}

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

/// Whoever sleeps while there is nothing to do waits for something that has ended, and is being
/// woken by others who did. Should one of these not come to it within a moment, we do.
void Submissions::wait_for_work(std::unique_lock<std::mutex> &lock) {
    constexpr auto a_moment = std::chrono::milliseconds(5);
    const auto work = [this] { return stopping_ || !queue_.empty(); };
    const auto sleeping = [](const std::shared_ptr<Bell> &bell) { return bell->anybody_sleeps(); };
    if (std::ranges::any_of(bells_, sleeping) && !changed_.wait_for(lock, a_moment, work))
        for (const std::shared_ptr<Bell> &bell : bells_)
            bell->wake_all();
    changed_.wait(lock, work);
}

void Submissions::run() {
    std::vector<Submission> arrivals;
    for (;;) {
        {
            std::unique_lock lock(mutex_);
            wait_for_work(lock);
            if (queue_.empty())
                break;
            arrivals.swap(queue_);
            // Who still sleeps at the bell that comes into use again was passed over.
            if (Bell &next = *bells_[(rounds_.load() + 1) % bells_.size()]; next.anybody_sleeps())
                next.wake_all();
            rounds_.fetch_add(1);
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
