// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors
#include "workers.h"

#include "limits.h"

#include <chrono>
#include <condition_variable>
#include <csignal>
#include <cstdio>
#include <mutex>
#include <pthread.h>
#include <sys/eventfd.h>
#include <system_error>
#include <thread>
#include <unistd.h>
#include <vector>

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

/// Where threads meet: each waits until all have come or the meeting is called off.
class Rendezvous final {
  public:
    explicit Rendezvous(int expected) : missing_(expected) {}

    void arrive() {
        std::unique_lock lock(mutex_);
        if (--missing_ == 0)
            changed_.notify_all();
        changed_.wait(lock, [this] { return missing_ == 0 || called_off_; });
    }

    bool complete_within(std::chrono::milliseconds time) {
        std::unique_lock lock(mutex_);
        const bool complete = changed_.wait_for(lock, time, [this] { return missing_ == 0; });
        called_off_ = !complete;
        changed_.notify_all();
        return complete;
    }

    void call_off() { (void)complete_within(std::chrono::milliseconds(0)); }

  private:
    std::mutex mutex_;
    std::condition_variable changed_;
    int missing_;
    bool called_off_ = false;
};

} // namespace

/// Each Qt thread takes an event descriptor, and aborts the process when there is none.
static Status prove_descriptors(int threads) {
    constexpr int spare = 8; // For the store's files, and for a host that opens some meanwhile.
    std::vector<int> fds;
    Status status;
    for (int i = 0; i < threads + spare && status.ok(); ++i) {
        const int fd = ::eventfd(0, EFD_CLOEXEC);
        if (fd < 0)
            status = {Code::Again, errno, -1, {}, "no file descriptor left for the threads"};
        else
            fds.push_back(fd);
    }
    for (const int fd : fds)
        ::close(fd);
    return status;
}

/// A std::thread that cannot start throws, where a Qt thread would never be heard of again.
static Status prove_threads(int threads) {
    const auto meeting = std::make_shared<Rendezvous>(threads);
    std::vector<std::thread> started;
    Status status;
    try {
        for (int i = 0; i < threads; ++i)
            started.emplace_back([meeting] { meeting->arrive(); });
    } catch (const std::system_error &error) {
        status = {Code::Again, error.code().value(), -1, {}, "no thread could be started"};
        meeting->call_off();
    }
    for (std::thread &thread : started)
        thread.join();
    return status;
}

Result<std::unique_ptr<Workers>> Workers::start(int threads) {
    if (Status status = prove_descriptors(threads); !status.ok())
        return status;
    const SignalsBlocked signals_blocked;
    if (Status status = prove_threads(threads); !status.ok())
        return status;
    std::unique_ptr<Workers> workers(new Workers);
    workers->pool_->setMaxThreadCount(threads);
    workers->pool_->setExpiryTimeout(-1);
    const auto meeting = std::make_shared<Rendezvous>(threads);
    for (int i = 0; i < threads; ++i)
        workers->run_service([meeting] {
            name_thread("waybill-worker");
            meeting->arrive();
        });
    if (!meeting->complete_within(std::chrono::milliseconds(limits::thread_start_wait_ms))) {
        // A pool that waits for a thread which never ran cannot be destroyed: it is left behind.
        (void)workers->pool_.release();
        return failure(Code::Again, "the threads did not start in time");
    }
    return workers;
}

Workers::~Workers() {
    if (pool_)
        pool_->waitForDone();
}

void Workers::name_thread(const char *name) { ::pthread_setname_np(::pthread_self(), name); }

} // namespace waybill
