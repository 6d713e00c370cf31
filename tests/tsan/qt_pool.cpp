// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors
//
// Tells ThreadSanitizer what it cannot see. Debian's Qt is not built with it, so the mutex inside
// QThreadPool orders nothing in its eyes: whatever a job was given looks as if it raced with the
// thread that gave it. Suppressions would have to cover the whole stack of a worker, and so every
// race that there is to find. Instead, this library is loaded before Qt and stands between it and
// its callers in three places, where it states the order that the pool's mutex makes:
//   - what came before a job was given to a pool comes before that very job;
//   - what a job of a pool did comes before the return of that pool's waitForDone.
// Nothing else is ordered by it: not two jobs, and not a job with other callers of the pool.
#include <QtCore/QFutureInterface>
#include <QtCore/QRunnable>
#include <QtCore/QThreadPool>

#include <dlfcn.h>

#include <cstdio>
#include <cstdlib>

extern "C" {
// Weak: programs without ThreadSanitizer, such as a shell, load this library too.
__attribute__((weak)) void __tsan_acquire(void *address);
__attribute__((weak)) void __tsan_release(void *address);
}

namespace {

void acquire(const void *address) {
    if (__tsan_acquire)
        __tsan_acquire(const_cast<void *>(address));
}

void release(const void *address) {
    if (__tsan_release)
        __tsan_release(const_cast<void *>(address));
}

template <typename Function> Function *next(const char *symbol) {
    void *const found = dlsym(RTLD_NEXT, symbol);
    if (!found) {
        std::fprintf(stderr, "tsan/qt_pool: %s is not where it was in Qt 6.4\n", symbol);
        std::abort();
    }
    return reinterpret_cast<Function *>(found);
}

/// QtConcurrent's tasks are a QRunnable and, behind it, the promise of their result.
const void *runnable_of(const QFutureInterfaceBase *promise) {
    return reinterpret_cast<const char *>(promise) - sizeof(QRunnable);
}

} // namespace

#pragma GCC visibility push(default)

void QThreadPool::start(QRunnable *runnable, int priority) {
    static const auto real =
        next<void(QThreadPool *, QRunnable *, int)>("_ZN11QThreadPool5startEP9QRunnablei");
    release(runnable);
    real(this, runnable, priority);
}

/// The first thing that a task asks when it runs.
bool QFutureInterfaceBase::isCanceled() const {
    static const auto real =
        next<bool(const QFutureInterfaceBase *)>("_ZNK20QFutureInterfaceBase10isCanceledEv");
    acquire(runnable_of(this));
    return real(this);
}

/// The last thing that a task does.
void QFutureInterfaceBase::reportFinished() {
    static const auto real =
        next<void(QFutureInterfaceBase *)>("_ZN20QFutureInterfaceBase14reportFinishedEv");
    if (const QThreadPool *pool = threadPool())
        release(pool);
    real(this);
}

bool QThreadPool::waitForDone(int milliseconds) {
    static const auto real = next<bool(QThreadPool *, int)>("_ZN11QThreadPool11waitForDoneEi");
    const bool done = real(this, milliseconds);
    acquire(this);
    return done;
}

#pragma GCC visibility pop
