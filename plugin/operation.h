// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors
//
// One accepted call, from submission to its outcome.
// Invariants: an operation ends exactly once; its QFuture is started at submission (one that is not
// started returns from result() at once, with nothing); what is subscribed runs once, on the thread
// that ends the operation or, if that is over, on the subscriber's.
#pragma once

#include "record.h"
#include "retention.h"
#include "status.h"

#include <QtCore/QFuture>
#include <QtCore/QPromise>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

namespace waybill {

/// What an operation came to. Members that a verb does not speak of are empty.
struct Outcome {
    Status status;
    bool existed = false;
    std::uint64_t revision = 0;
    std::uint64_t image_count = 0;
    std::string report_json;
    Retained retained;
};
using OutcomePtr = std::shared_ptr<const Outcome>;

class Operation final {
  public:
    Operation() {
        promise_.start();
        future_ = promise_.future();
    }

    QFuture<OutcomePtr> future() const { return future_; }

    /// The operation has begun and can no longer be withdrawn. False if it has been.
    bool enter() {
        Stage expected = Stage::Queued;
        return stage_.compare_exchange_strong(expected, Stage::Entered);
    }

    /// Withdraws an operation that has not begun and ends it as Canceled.
    bool cancel() {
        Stage expected = Stage::Queued;
        if (!stage_.compare_exchange_strong(expected, Stage::Entered))
            return false;
        auto outcome = std::make_shared<Outcome>();
        outcome->status = failure(Code::Canceled, "withdrawn before it began");
        finish(std::move(outcome));
        return true;
    }

    void finish(OutcomePtr outcome) {
        std::vector<std::function<void()>> subscribers;
        promise_.addResult(std::move(outcome));
        promise_.finish();
        {
            const std::lock_guard lock(mutex_);
            finished_.store(true, std::memory_order_release);
            subscribers.swap(subscribers_);
        }
        ended_.notify_all();
        for (const auto &subscriber : subscribers) {
            try {
                subscriber();
            } catch (...) {
                // One that has no memory to pass the news on must not keep it from the others.
            }
        }
    }

    void fail(Status status) {
        auto outcome = std::make_shared<Outcome>();
        outcome->status = std::move(status);
        finish(std::move(outcome));
    }

    bool finished() const { return finished_.load(std::memory_order_acquire); }

    /// Negative: without limit. False if the time ran out.
    bool wait(std::int64_t timeout_ms) {
        std::unique_lock lock(mutex_);
        const auto over = [this] { return finished(); };
        // Beyond a century the clock's own arithmetic would overflow.
        constexpr std::int64_t longest_ms = 100LL * 366 * 24 * 3600 * 1000;
        if (timeout_ms < 0 || timeout_ms > longest_ms) {
            ended_.wait(lock, over);
            return true;
        }
        return ended_.wait_for(lock, std::chrono::milliseconds(timeout_ms), over);
    }

    /// Only once finished.
    OutcomePtr outcome() const { return future_.result(); }

    void subscribe(std::function<void()> subscriber) {
        {
            const std::lock_guard lock(mutex_);
            if (!finished()) {
                subscribers_.push_back(std::move(subscriber));
                return;
            }
        }
        subscriber();
    }

  private:
    enum class Stage { Queued, Entered };

    std::atomic<Stage> stage_{Stage::Queued};
    std::atomic<bool> finished_{false};
    std::mutex mutex_;
    std::condition_variable ended_;
    std::vector<std::function<void()>> subscribers_;
    QPromise<OutcomePtr> promise_;
    QFuture<OutcomePtr> future_;
};
using OperationPtr = std::shared_ptr<Operation>;

} // namespace waybill
