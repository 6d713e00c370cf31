// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors
#include "submissions.h"

#include "limits.h"

#include <chrono>
#include <csignal>
#include <ctime>
#include <optional>
#include <pthread.h>

namespace waybill {

namespace {

/// Around work on a thread of the host's: a handler of the host's must not run, nor its
/// cancellation end the thread, in the middle of a batch. A file-size limit that a write meets
/// raises SIGXFSZ, which would end a host that has not asked for it.
class HostThread final {
  public:
    HostThread() {
        ::pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel_state_);
        sigset_t blocked;
        ::sigfillset(&blocked);
        for (const int fault : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT, SIGSYS})
            ::sigdelset(&blocked, fault);
        ::pthread_sigmask(SIG_SETMASK, &blocked, &mask_);
    }
    ~HostThread() {
        sigset_t size_limit;
        ::sigemptyset(&size_limit);
        ::sigaddset(&size_limit, SIGXFSZ);
        const timespec now{0, 0};
        ::sigtimedwait(&size_limit, nullptr, &now);
        ::pthread_sigmask(SIG_SETMASK, &mask_, nullptr);
        ::pthread_setcancelstate(cancel_state_, nullptr);
    }
    HostThread(const HostThread &) = delete;
    HostThread &operator=(const HostThread &) = delete;

  private:
    int cancel_state_ = PTHREAD_CANCEL_ENABLE;
    sigset_t mask_;
};

} // namespace

Status Submissions::submit(Submission submission) {
    if (committer_.is_read_only())
        return failure(Code::ReadOnly, "the store is read-only since a write failed");
    bool wake = false;
    {
        const std::lock_guard lock(mutex_);
        if (stopping_)
            return failure(Code::State, "the store is being destroyed");
        if (queue_.size() >= limits::queued_operations_max)
            return over_limit("",
                              std::to_string(queue_.size()) + " operations are waiting already");
        queue_.push_back(std::move(submission));
        // Who commits looks for more at the end of the round. Of two that nobody is at, one at
        // least has not come to wait.
        wake = !committing_ &&
               (queue_.size() == 2 || (queue_.size() == 1 && !(waiters_come_ && watching_)));
    }
    if (wake)
        changed_.notify_one();
    return {};
}

void Submissions::commit_round(std::unique_lock<std::mutex> &lock) {
    committing_ = true;
    arrivals_.swap(queue_);
    lock.unlock();
    committer_.commit_round(arrivals_);
    arrivals_.clear();
    lock.lock();
    committing_ = false;
}

bool Submissions::has_work() const {
    return !committing_ && (stopping_ || !queue_.empty() || committer_.has_to_speak());
}

/// Until there is something to do. While waiters do the work themselves it looks now and then for
/// what nobody came to wait for.
void Submissions::sleep(std::unique_lock<std::mutex> &lock) {
    constexpr std::chrono::milliseconds interval(1);
    constexpr int looks_max = 20;
    const auto ready = [this] { return has_work(); };
    watching_ = true;
    std::uint64_t seen = helped_;
    for (int look = 0; waiters_come_ && look < looks_max; ++look) {
        if (changed_.wait_for(lock, interval, ready)) {
            waiters_come_ = false;
        } else if (seen != helped_) {
            seen = helped_;
            look = 0;
        }
    }
    watching_ = false;
    changed_.wait(lock, ready);
}

void Submissions::run() {
    std::unique_lock lock(mutex_);
    for (;;) {
        sleep(lock);
        if (queue_.empty() && stopping_)
            break;
        if (!queue_.empty())
            commit_round(lock);
        if (committer_.has_to_speak() && !committing_) {
            committing_ = true;
            lock.unlock();
            committer_.speak();
            lock.lock();
            committing_ = false;
        }
    }
    lock.unlock();
    committer_.close_journal();
    committer_.speak();
    lock.lock();
    ended_ = true;
    ended_changed_.notify_all();
}

void Submissions::stop() {
    std::unique_lock lock(mutex_);
    stopping_ = true;
    changed_.notify_all();
    ended_changed_.wait(lock, [this] { return ended_; });
}

void Submissions::help(const Operation &operation) noexcept {
    bool wake = false;
    std::optional<HostThread> quiet; // Longer than the lock: a handler may run when it goes.
    {
        std::unique_lock lock(mutex_);
        // A long queue is somebody's who does not wait: the store's thread has been woken for it,
        // and who waits for one of many must not do all of them.
        constexpr std::size_t short_queue = 64;
        if (committing_ || queue_.empty() || queue_.size() > short_queue || operation.finished())
            return;
        waiters_come_ = queue_.size() == 1;
        ++helped_;
        quiet.emplace();
        commit_round(lock);
        wake = stopping_ || !queue_.empty() || committer_.has_to_speak();
    }
    if (wake)
        changed_.notify_one();
}

} // namespace waybill
