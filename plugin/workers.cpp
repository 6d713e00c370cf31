// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors
#include "workers.h"

#include "thread_memory.h"

#include <QtCore/QThread>

#include <cerrno>
#include <csignal>
#include <new>
#include <pthread.h>
#include <system_error>

namespace waybill {

namespace {

/// New threads inherit the mask of the one that starts them; the host's own is put back at once.
class SignalsBlocked final {
  public:
    SignalsBlocked() {
        sigset_t blocked;
        ::sigfillset(&blocked);
        // Faults of the code itself must still reach the host's crash handler.
        for (const int fault : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT, SIGSYS})
            ::sigdelset(&blocked, fault);
        ::pthread_sigmask(SIG_SETMASK, &blocked, &before_);
    }
    ~SignalsBlocked() { ::pthread_sigmask(SIG_SETMASK, &before_, nullptr); }

  private:
    sigset_t before_;
};

} // namespace

Result<std::unique_ptr<Workers>> Workers::start(int threads) {
    // Qt takes the first thread that uses it for the main one. One of ours would be a bad choice
    // for a host that uses Qt itself.
    (void)QThread::currentThread();
    std::unique_ptr<Workers> workers(new Workers);
    workers->threads_.reserve(static_cast<std::size_t>(threads));
    const SignalsBlocked signals_blocked;
    try {
        for (int i = 0; i < threads && !workers->short_of_memory_; ++i) {
            std::unique_lock lock(workers->mutex_);
            workers->threads_.emplace_back([of = workers.get()] {
                name_thread("waybill-worker");
                of->settle();
                of->serve();
            });
            // One by one: the stack of the next could take what this one has found to be there.
            workers->settled_.wait(
                lock, [&] { return workers->settled_threads_ == workers->threads_.size(); });
        }
    } catch (const std::system_error &error) {
        return Status{Code::Again, error.code().value(), -1, {}, "no thread could be started"};
    }
    if (workers->short_of_memory_)
        return Status{Code::NoMemory, ENOMEM, -1, {}, "no memory left for the threads"};
    return workers;
}

/// Takes what the C++ runtime and Qt keep for a thread.
void Workers::settle() {
    bool has_memory = has_thread_memory();
    try {
        if (has_memory)
            (void)QThread::currentThread();
    } catch (const std::bad_alloc &) {
        has_memory = false;
    }
    const std::lock_guard lock(mutex_);
    short_of_memory_ |= !has_memory;
    ++settled_threads_;
    settled_.notify_all();
}

Workers::~Workers() {
    {
        const std::lock_guard lock(mutex_);
        stopping_ = true;
        posted_.notify_all();
    }
    for (std::thread &thread : threads_)
        thread.join();
}

void Workers::post(std::function<void()> run, bool is_background) {
    std::list<Job> job;
    job.push_back({std::move(run), is_background});
    const std::lock_guard lock(mutex_);
    background_ += is_background;
    jobs_.splice(jobs_.end(), job);
    posted_.notify_one();
}

/// Takes jobs until there is none left and none will come.
void Workers::serve() {
    std::unique_lock lock(mutex_);
    for (;;) {
        posted_.wait(lock, [this] { return stopping_ || !jobs_.empty(); });
        if (jobs_.empty())
            return;
        std::list<Job> job;
        job.splice(job.end(), jobs_, jobs_.begin());
        const bool is_background = job.front().is_background;
        lock.unlock();
        job.front().run();
        job.clear(); // What it held is gone before anybody takes it for ended.
        lock.lock();
        background_ -= is_background;
        if (background_ == 0)
            idle_.notify_all();
    }
}

void Workers::wait_for_background() {
    std::unique_lock lock(mutex_);
    idle_.wait(lock, [this] { return background_ == 0; });
}

void Workers::name_thread(const char *name) { ::pthread_setname_np(::pthread_self(), name); }

} // namespace waybill
