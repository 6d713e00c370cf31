// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors
//
// All threads that a store will ever have.
// Invariants: every thread has been started, and has the memory that it needs to report a want of
// memory, before start() returns: none can fail later. Asynchronous signals are blocked on these
// threads, and only there. They are the standard library's and not QThreadPool's, which a host does
// not survive when something runs out: a Qt thread that gets no memory for its event dispatcher, or
// none to note that it is idle, ends the process; one that the system refuses prints a line and is
// waited for in vain.
#pragma once

#include "status.h"

#include <condition_variable>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

namespace waybill {

/// Runs a job beside the caller's thread. Jobs catch what they throw.
using Background = std::function<void(std::function<void()>)>;

class Workers final {
  public:
    /// Expected: Again, NoMemory.
    static Result<std::unique_ptr<Workers>> start(int threads);
    /// Waits for every job; services must have been told to end.
    ~Workers();
    Workers(const Workers &) = delete;
    Workers &operator=(const Workers &) = delete;

    /// Work that ends by itself. Jobs catch what they throw. Without memory for it this throws,
    /// and the job never runs.
    void run_background(std::function<void()> job) { post(std::move(job), true); }

    /// Work that takes a thread for as long as the store lives and is ended by other means.
    void run_service(std::function<void()> job) { post(std::move(job), false); }

    void wait_for_background();

    static void name_thread(const char *name);

  private:
    struct Job {
        std::function<void()> run;
        bool is_background;
    };

    Workers() = default;
    void post(std::function<void()> run, bool is_background);
    void settle();
    void serve();

    std::mutex mutex_;
    std::condition_variable posted_, idle_, settled_;
    std::list<Job> jobs_;
    int background_ = 0; ///< jobs that have been posted and have not ended
    bool stopping_ = false;
    std::size_t settled_threads_ = 0;
    bool short_of_memory_ = false;
    std::vector<std::thread> threads_;
};

} // namespace waybill
