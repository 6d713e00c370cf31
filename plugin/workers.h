// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors
//
// All threads that a store will ever have.
// Invariants: every thread is started and has proved that it runs before start() returns, so none
// can fail to start later, where Qt would abort the host (no descriptor left) or wait for ever (no
// thread left). Asynchronous signals are blocked on these threads, and only there.
#pragma once

#include "status.h"

#include <QtConcurrent/QtConcurrentRun>
#include <QtCore/QThreadPool>

#include <condition_variable>
#include <memory>
#include <mutex>

namespace waybill {

class Workers final {
  public:
    static Result<std::unique_ptr<Workers>> start(int threads);
    /// Waits for every job; services must have been told to end.
    ~Workers();
    Workers(const Workers &) = delete;
    Workers &operator=(const Workers &) = delete;

    /// Work that ends by itself. Jobs catch what they throw.
    template <typename Job> void run_background(Job job) {
        {
            const std::lock_guard lock(mutex_);
            ++background_;
        }
        (void)QtConcurrent::run(pool_.get(), [this, job = std::move(job)]() mutable {
            // Even a job that throws has ended.
            const auto ended = [this](void *) {
                const std::lock_guard lock(mutex_);
                if (--background_ == 0)
                    idle_.notify_all();
            };
            const std::unique_ptr<void, decltype(ended)> at_end(this, ended);
            job();
        });
    }

    /// Work that takes a thread for as long as the store lives and is ended by other means.
    template <typename Job> void run_service(Job job) {
        (void)QtConcurrent::run(pool_.get(), std::move(job));
    }

    /// Not by way of the futures: waiting for one may run its job on the waiting thread.
    void wait_for_background() {
        std::unique_lock lock(mutex_);
        idle_.wait(lock, [this] { return background_ == 0; });
    }

    static void name_thread(const char *name);

  private:
    Workers() : pool_(std::make_unique<QThreadPool>()) {}

    std::unique_ptr<QThreadPool> pool_;
    std::mutex mutex_;
    std::condition_variable idle_;
    int background_ = 0;
};

} // namespace waybill
