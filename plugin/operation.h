// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors
//
// One accepted call, from submission to its outcome.
// Invariants: an operation ends exactly once, and ending it takes no memory; its QFuture is started
// at submission (one that is not started is over at once); what is subscribed runs once, on the
// thread that ends the operation or, if that is over, on the subscriber's.
#pragma once

#include "announcement.h"
#include "record.h"
#include "retention.h"
#include "status.h"

#include <QtCore/QFuture>
#include <QtCore/QPromise>

#include <atomic>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <string>

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
    /// Called once when the operation has ended. A list, so that one made beforehand can be handed
    /// over where nothing may fail.
    using Subscribers = std::list<std::function<void()>>;

    /// Takes all the memory that ending will need.
    Operation() : outcome_(std::make_shared<Outcome>()) {
        promise_.start();
        future_ = promise_.future();
    }

    QFuture<void> future() const { return future_; }

    /// The operation has begun and can no longer be withdrawn. False if it has been.
    bool enter() {
        Stage expected = Stage::Queued;
        return stage_.compare_exchange_strong(expected, Stage::Entered);
    }

    /// Withdraws an operation that has not begun and ends it as Canceled.
    bool cancel() {
        Status canceled = failure(Code::Canceled, "withdrawn before it began");
        if (!enter())
            return false;
        fail(std::move(canceled));
        return true;
    }

    /// What the operation will come to; whoever entered it fills it in, until it is finished.
    Outcome &draft() { return *outcome_; }

    void finish() noexcept {
        Subscribers subscribers;
        promise_.finish();
        {
            const std::lock_guard lock(mutex_);
            end_.announce();
            subscribers.swap(subscribers_);
        }
        for (const auto &subscriber : subscribers)
            subscriber();
    }

    void fail(Status status) noexcept {
        *outcome_ = Outcome{};
        outcome_->status = std::move(status);
        finish();
    }

    bool finished() const { return end_.is_announced(); }

    /// Negative: without limit. False if the time ran out.
    bool wait(std::int64_t timeout_ms) { return end_.wait(timeout_ms); }

    /// Only once finished.
    OutcomePtr outcome() const { return outcome_; }

    /// Takes the subscribers out of the list. They must not throw.
    void subscribe(Subscribers &subscribers) noexcept {
        {
            const std::lock_guard lock(mutex_);
            if (!finished()) {
                subscribers_.splice(subscribers_.end(), subscribers);
                return;
            }
        }
        for (const auto &subscriber : subscribers)
            subscriber();
        subscribers.clear();
    }

  private:
    enum class Stage { Queued, Entered };

    std::atomic<Stage> stage_{Stage::Queued};
    Announcement end_;
    std::mutex mutex_;
    Subscribers subscribers_;
    const std::shared_ptr<Outcome> outcome_;
    QPromise<void> promise_; ///< only the end: results would be stored when it is too late to fail
    QFuture<void> future_;
};
using OperationPtr = std::shared_ptr<Operation>;

} // namespace waybill
