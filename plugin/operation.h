// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors
//
// One accepted call, from submission to its outcome.
// Invariants: an operation ends exactly once, and ending it takes no memory; a QFuture of it is
// started when it is made (one that is not started is over at once); what is subscribed runs once,
// on the thread that ends the operation or, if that is over, on the subscriber's; who ends an
// operation rings its bell afterwards.
#pragma once

#include "bell.h"
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
#include <optional>
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

class Operation final {
  public:
    /// Called once when the operation has ended. A list, so that one made beforehand can be handed
    /// over where nothing may fail.
    using Subscribers = std::list<std::function<void()>>;

    /// Takes all the memory that ending will need. `bell` may be that of others, too.
    explicit Operation(std::shared_ptr<Bell> bell = std::make_shared<Bell>())
        : bell_(std::move(bell)) {}

    /// For code that works with Qt's futures. Made when first asked for: it takes as long as a
    /// tenth of a put, and the C ABI never asks.
    QFuture<void> future() {
        const std::lock_guard lock(mutex_);
        if (!promise_) {
            promise_.emplace();
            promise_->start();
            if (finished())
                promise_->finish();
        }
        return promise_->future();
    }

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
    Outcome &draft() { return outcome_; }

    void finish() noexcept {
        end();
        // Others may sleep at the bell whose own have not ended: a ring could wake just those.
        bell_->wake_all();
    }

    void fail(Status status) noexcept {
        outcome_ = Outcome{};
        outcome_.status = std::move(status);
        finish();
    }

    /// Ends it as it is. Only who sleeps does not hear of it: the bell is to be rung.
    void end() noexcept {
        Subscribers subscribers;
        {
            const std::lock_guard lock(mutex_);
            ended_.store(true);
            if (promise_)
                promise_->finish();
            subscribers.swap(subscribers_);
        }
        for (const auto &subscriber : subscribers)
            subscriber();
    }
    const std::shared_ptr<Bell> &bell() const { return bell_; }

    bool finished() const { return ended_.load(std::memory_order_acquire); }

    /// Negative: without limit. False if the time ran out.
    bool wait(std::int64_t timeout_ms) {
        return bell_->wait(timeout_ms, [this] { return ended_.load(); });
    }

    /// Only once finished.
    const Outcome &outcome() const { return outcome_; }

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
    std::atomic<bool> ended_{false};
    const std::shared_ptr<Bell> bell_;
    std::mutex mutex_;
    Subscribers subscribers_;
    Outcome outcome_;
    /// Only the end: results would be stored when it is too late to fail.
    std::optional<QPromise<void>> promise_;
};
using OperationPtr = std::shared_ptr<Operation>;

} // namespace waybill
