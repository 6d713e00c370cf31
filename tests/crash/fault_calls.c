/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: Waybill contributors
 *
 * The system calls that can be made to fail. Each passes on what it is not to fail.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include "fault_plan.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* --- the plan --------------------------------------------------------------------------------- */

static fault_plan planned;
static long calls_made[CALL_KINDS];
static long hits;
static int armed;
static __thread int is_test; /* Threads of the library never set it. */

/* A failed sync, until its descriptor is closed. Of a directory: until its names change. */
static int failed_sync_fd = -1;
static int failed_sync_is_directory;
static int sync_was_retried;

void fault_arm(const fault_plan *plan) {
    planned = *plan;
    is_test = 1;
    hits = 0;
    memset(calls_made, 0, sizeof calls_made);
    fault_rearm();
}

void fault_rearm(void) { __atomic_store_n(&armed, 1, __ATOMIC_SEQ_CST); }

void fault_disarm(void) { __atomic_store_n(&armed, 0, __ATOMIC_SEQ_CST); }
void fault_enter_library(void) { is_test = 0; }
void fault_leave_library(void) { is_test = 1; }

long fault_calls_made(fault_call call) {
    return __atomic_load_n(&calls_made[call], __ATOMIC_SEQ_CST);
}

long fault_hits(void) { return __atomic_load_n(&hits, __ATOMIC_SEQ_CST); }
int fault_sync_was_retried(void) { return __atomic_load_n(&sync_was_retried, __ATOMIC_SEQ_CST); }

int fault_due(fault_call call) {
    long number;
    if (is_test || !__atomic_load_n(&armed, __ATOMIC_SEQ_CST))
        return 0;
    number = __atomic_add_fetch(&calls_made[call], 1, __ATOMIC_SEQ_CST);
    if (call != planned.call || planned.n == 0 || number < planned.n ||
        number >= planned.n + planned.lasting)
        return 0;
    __atomic_add_fetch(&hits, 1, __ATOMIC_SEQ_CST);
    return planned.error;
}

/** Sets errno, for calls that have no half. */
static int fails(fault_call call) {
    const int error = fault_due(call);
    if (error <= 0)
        return 0;
    errno = error;
    return 1;
}

/** The next definition of a function: the C library's, or a sanitizer's before it. */
static void *next_definition(const char *name) {
    void *found = dlsym(RTLD_NEXT, name);
    if (!found)
        abort();
    return found;
}

/** `real` in a function that stands in for another. */
#define NEXT(name)                                                                                 \
    static __typeof__(&name) real;                                                                 \
    if (!real)                                                                                     \
    *(void **)&real = next_definition(#name)

/* --- opening ---------------------------------------------------------------------------------- */

static mode_t mode_in(va_list arguments, int flags) {
    const int makes = (flags & O_CREAT) != 0 || (flags & O_TMPFILE) == O_TMPFILE;
    return makes ? va_arg(arguments, mode_t) : 0;
}

int open(const char *path, int flags, ...) {
    va_list arguments;
    mode_t mode;
    NEXT(open);
    va_start(arguments, flags);
    mode = mode_in(arguments, flags);
    va_end(arguments);
    return fails(CALL_OPEN) ? -1 : real(path, flags, mode);
}

int open64(const char *path, int flags, ...) {
    va_list arguments;
    mode_t mode;
    NEXT(open64);
    va_start(arguments, flags);
    mode = mode_in(arguments, flags);
    va_end(arguments);
    return fails(CALL_OPEN) ? -1 : real(path, flags, mode);
}

int openat(int directory, const char *path, int flags, ...) {
    va_list arguments;
    mode_t mode;
    NEXT(openat);
    va_start(arguments, flags);
    mode = mode_in(arguments, flags);
    va_end(arguments);
    return fails(CALL_OPEN) ? -1 : real(directory, path, flags, mode);
}

int openat64(int directory, const char *path, int flags, ...) {
    va_list arguments;
    mode_t mode;
    NEXT(openat64);
    va_start(arguments, flags);
    mode = mode_in(arguments, flags);
    va_end(arguments);
    return fails(CALL_OPEN) ? -1 : real(directory, path, flags, mode);
}

/** openat2 has no function of its own. Qt's futexes come this way, too. */
/* It hands on more arguments than it may have got. */
#if defined(__clang__)
__attribute__((no_sanitize("address")))
#else
__attribute__((no_sanitize_address))
#endif
long syscall(long number, ...) {
    va_list arguments;
    long a[6];
    int i;
    NEXT(syscall);
    va_start(arguments, number);
    for (i = 0; i < 6; ++i)
        a[i] = va_arg(arguments, long);
    va_end(arguments);
    if (number == SYS_openat2 && fails(CALL_OPEN))
        return -1;
    return real(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

int close(int fd) {
    NEXT(close);
    int expected = fd;
    (void)__atomic_compare_exchange_n(&failed_sync_fd, &expected, -1, 0, __ATOMIC_SEQ_CST,
                                      __ATOMIC_SEQ_CST);
    return real(fd);
}

/* --- reading and writing ---------------------------------------------------------------------- */

static int is_file(int fd) {
    struct stat found;
    const int was = is_test;
    int answer;
    is_test = 1;
    answer = fstat(fd, &found) == 0 && S_ISREG(found.st_mode);
    is_test = was;
    return answer;
}

/** What of `size` a faulty call still does: less than a whole one would. */
static size_t half(size_t size) { return size > 1 ? size / 2 : size; }

ssize_t read(int fd, void *bytes, size_t size) {
    int error;
    NEXT(read);
    error = is_file(fd) ? fault_due(CALL_READ) : 0;
    if (error > 0) {
        errno = error;
        return -1;
    }
    return real(fd, bytes, error == FAULT_SHORT ? half(size) : size);
}

typedef ssize_t (*pread_call)(int, void *, size_t, off64_t);

static ssize_t faulty_pread(pread_call real, int fd, void *bytes, size_t size, off64_t offset) {
    const int error = fault_due(CALL_READ);
    if (error > 0) {
        errno = error;
        return -1;
    }
    return real(fd, bytes, error == FAULT_SHORT ? half(size) : size, offset);
}

ssize_t pread(int fd, void *bytes, size_t size, off_t offset) {
    NEXT(pread);
    return faulty_pread(real, fd, bytes, size, offset);
}

ssize_t pread64(int fd, void *bytes, size_t size, off64_t offset) {
    NEXT(pread64);
    return faulty_pread(real, fd, bytes, size, offset);
}

/* A write that fails has written half by then, unless a signal cut it short before anything. */

ssize_t write(int fd, const void *bytes, size_t size) {
    int error;
    NEXT(write);
    error = is_file(fd) ? fault_due(CALL_WRITE) : 0;
    if (error == 0)
        return real(fd, bytes, size);
    if (error == FAULT_SHORT)
        return real(fd, bytes, half(size));
    if (error != EINTR)
        (void)!real(fd, bytes, half(size));
    errno = error;
    return -1;
}

typedef ssize_t (*pwrite_call)(int, const void *, size_t, off64_t);

static ssize_t faulty_pwrite(pwrite_call real, int fd, const void *bytes, size_t size,
                             off64_t offset) {
    const int error = fault_due(CALL_WRITE);
    if (error == 0)
        return real(fd, bytes, size, offset);
    if (error == FAULT_SHORT)
        return real(fd, bytes, half(size), offset);
    if (error != EINTR)
        (void)!real(fd, bytes, half(size), offset);
    errno = error;
    return -1;
}

ssize_t pwrite(int fd, const void *bytes, size_t size, off_t offset) {
    NEXT(pwrite);
    return faulty_pwrite(real, fd, bytes, size, offset);
}

ssize_t pwrite64(int fd, const void *bytes, size_t size, off64_t offset) {
    NEXT(pwrite64);
    return faulty_pwrite(real, fd, bytes, size, offset);
}

/* --- syncing and reserving -------------------------------------------------------------------- */

static int faulty_sync(int (*real)(int), int fd) {
    const int error = fault_due(CALL_SYNC);
    if (__atomic_load_n(&failed_sync_fd, __ATOMIC_SEQ_CST) == fd)
        __atomic_store_n(&sync_was_retried, 1, __ATOMIC_SEQ_CST);
    if (error <= 0)
        return real(fd);
    if (error != EINTR) {
        /* A file without a name is thrown away after a failure; what Qt does to it is no matter. */
        struct stat found;
        const int was = is_test;
        is_test = 1;
        if (fstat(fd, &found) == 0 && found.st_nlink > 0) {
            failed_sync_is_directory = S_ISDIR(found.st_mode);
            __atomic_store_n(&failed_sync_fd, fd, __ATOMIC_SEQ_CST);
        }
        is_test = was;
    }
    errno = error;
    return -1;
}

void fault_forget_failed_sync(void) { __atomic_store_n(&failed_sync_fd, -1, __ATOMIC_SEQ_CST); }

/** A directory whose names have changed since is another matter to sync. */
static void names_change(void) {
    if (failed_sync_is_directory)
        __atomic_store_n(&failed_sync_fd, -1, __ATOMIC_SEQ_CST);
}

int fsync(int fd) {
    NEXT(fsync);
    return faulty_sync(real, fd);
}

int fdatasync(int fd) {
    NEXT(fdatasync);
    return faulty_sync(real, fd);
}

int fallocate(int fd, int mode, off_t offset, off_t length) {
    NEXT(fallocate);
    return fails(CALL_ALLOCATE) ? -1 : real(fd, mode, offset, length);
}

int fallocate64(int fd, int mode, off64_t offset, off64_t length) {
    NEXT(fallocate64);
    return fails(CALL_ALLOCATE) ? -1 : real(fd, mode, offset, length);
}

/* --- names ------------------------------------------------------------------------------------ */

int link(const char *from, const char *to) {
    NEXT(link);
    names_change();
    return fails(CALL_LINK) ? -1 : real(from, to);
}

int linkat(int from_directory, const char *from, int to_directory, const char *to, int flags) {
    NEXT(linkat);
    names_change();
    return fails(CALL_LINK) ? -1 : real(from_directory, from, to_directory, to, flags);
}

int rename(const char *from, const char *to) {
    NEXT(rename);
    names_change();
    return fails(CALL_RENAME) ? -1 : real(from, to);
}

int renameat(int from_directory, const char *from, int to_directory, const char *to) {
    NEXT(renameat);
    names_change();
    return fails(CALL_RENAME) ? -1 : real(from_directory, from, to_directory, to);
}

int renameat2(int from_directory, const char *from, int to_directory, const char *to,
              unsigned flags) {
    NEXT(renameat2);
    names_change();
    return fails(CALL_RENAME) ? -1 : real(from_directory, from, to_directory, to, flags);
}

int unlink(const char *path) {
    NEXT(unlink);
    names_change();
    return fails(CALL_UNLINK) ? -1 : real(path);
}

int unlinkat(int directory, const char *path, int flags) {
    NEXT(unlinkat);
    names_change();
    return fails(CALL_UNLINK) ? -1 : real(directory, path, flags);
}

int mkdir(const char *path, mode_t mode) {
    NEXT(mkdir);
    names_change();
    return fails(CALL_MKDIR) ? -1 : real(path, mode);
}

int mkdirat(int directory, const char *path, mode_t mode) {
    NEXT(mkdirat);
    names_change();
    return fails(CALL_MKDIR) ? -1 : real(directory, path, mode);
}

/* --- what files are --------------------------------------------------------------------------- */

int stat(const char *path, struct stat *found) {
    NEXT(stat);
    return fails(CALL_STAT) ? -1 : real(path, found);
}

int fstat(int fd, struct stat *found) {
    NEXT(fstat);
    return fails(CALL_STAT) ? -1 : real(fd, found);
}

int fstat64(int fd, struct stat64 *found) {
    NEXT(fstat64);
    return fails(CALL_STAT) ? -1 : real(fd, found);
}

int stat64(const char *path, struct stat64 *found) {
    NEXT(stat64);
    return fails(CALL_STAT) ? -1 : real(path, found);
}

int lstat64(const char *path, struct stat64 *found) {
    NEXT(lstat64);
    return fails(CALL_STAT) ? -1 : real(path, found);
}

int fstatat(int directory, const char *path, struct stat *found, int flags) {
    NEXT(fstatat);
    return fails(CALL_STAT) ? -1 : real(directory, path, found, flags);
}

int statx(int directory, const char *path, int flags, unsigned mask, struct statx *found) {
    NEXT(statx);
    return fails(CALL_STAT) ? -1 : real(directory, path, flags, mask, found);
}

int chmod(const char *path, mode_t mode) {
    NEXT(chmod);
    return fails(CALL_CHMOD) ? -1 : real(path, mode);
}

int fchmod(int fd, mode_t mode) {
    NEXT(fchmod);
    return fails(CALL_CHMOD) ? -1 : real(fd, mode);
}

/* --- locks, events, threads ------------------------------------------------------------------- */

int fcntl(int fd, int command, ...) {
    va_list arguments;
    void *argument;
    NEXT(fcntl);
    va_start(arguments, command);
    argument = va_arg(arguments, void *);
    va_end(arguments);
    if (command == F_OFD_SETLK && fails(CALL_LOCK))
        return -1;
    return real(fd, command, argument);
}

int eventfd(unsigned count, int flags) {
    NEXT(eventfd);
    return fails(CALL_EVENTFD) ? -1 : real(count, flags);
}

/* A sanitizer that is part of this program must hear of its threads. */
int __interceptor_pthread_create(pthread_t *thread, const pthread_attr_t *attributes,
                                 void *(*body)(void *), void *payload) __attribute__((weak));

int pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*body)(void *),
                   void *payload) {
    NEXT(pthread_create);
    const int error = fault_due(CALL_THREAD);
    if (error > 0)
        return error;
    return __interceptor_pthread_create
               ? __interceptor_pthread_create(thread, attributes, body, payload)
               : real(thread, attributes, body, payload);
}
