/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: Waybill contributors
 *
 * Runs a program on standard streams that fail, each in the way that the system itself makes them
 * fail: nothing stands between the program and its calls.
 *   descriptor_faults STDIN STDOUT STDERR IN-FILE OUT-FILE ERR-FILE PROGRAM ARGUMENT…
 *
 * STDIN, from IN-FILE:      STDOUT and STDERR, into their files:
 *   file                      file
 *   pauses:N                  pauses
 *   reset:N                   full           ENOSPC
 *   fails:N                   gone:N         EPIPE after N bytes and what the pipe holds
 *   directory   EISDIR        fails          EIO
 *   closed      EBADF         closed         EBADF
 *   unreadable  EBADF         unwritable     EBADF
 * "pauses" is a pipe that is set non-blocking. As input it has N bytes at first and N more whenever
 * the program waits for it in poll; as output it is full, and emptied whenever the program waits.
 * "reset" and "fails" give N bytes, then ECONNRESET or EIO.
 *
 * Prints how often the program waited for each stream that pauses. Ends as the program did, with
 * 128 and the signal if one ended it, 124 if it went on for a minute, 125 if the test itself
 * failed.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

enum { seconds_max = 60, step_ns = 1000000 };

static void must(int holds, const char *what) {
    if (holds)
        return;
    fprintf(stderr, "descriptor_faults: %s: %s\n", what, strerror(errno));
    exit(125);
}

/** One of the program's three streams. */
typedef struct {
    int number;       /* 0 to 2 */
    int given;        /* what the program gets, -1: closed */
    int ours;         /* the other end of a pipe, or -1 */
    int file;         /* where output goes, or -1 */
    size_t discard;   /* what the pipe was filled with and is not yet read */
    size_t left_max;  /* how much is taken before the reader goes; SIZE_MAX: all */
    const char *more; /* input that has not been given, and how much of it there is */
    size_t more_bytes, step_bytes;
    long waits;
} stream;

/** N of "kind:N" if the fault is of that kind, else -1. */
static long count_of(const char *fault, const char *kind) {
    const size_t length = strlen(kind);
    if (strncmp(fault, kind, length) != 0 || fault[length] != ':')
        return -1;
    return strtol(fault + length + 1, NULL, 10);
}

static int is(const char *fault, const char *kind) { return strcmp(fault, kind) == 0; }

static int opened(const char *path, int flags) {
    const int fd = open(path, flags | O_CLOEXEC | O_NOCTTY, 0600);
    must(fd >= 0, path);
    return fd;
}

static void set_non_blocking(int fd) {
    must(fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK) == 0, "O_NONBLOCK");
}

static void write_all(int fd, const char *bytes, size_t size) {
    while (size > 0) {
        const ssize_t put = write(fd, bytes, size);
        must(put > 0, "write");
        bytes += put;
        size -= (size_t)put;
    }
}

/** The whole file; kept until the process ends. */
static char *contents_of(const char *path, size_t *size) {
    static char *bytes;
    const int fd = opened(path, O_RDONLY);
    struct stat found;
    must(fstat(fd, &found) == 0, path);
    *size = (size_t)found.st_size;
    bytes = malloc(*size + 1);
    must(bytes != NULL && read(fd, bytes, *size) == (ssize_t)*size, path);
    close(fd);
    return bytes;
}

/** A pipe of one page. */
static void make_pipe(int ends[2]) {
    must(pipe2(ends, O_CLOEXEC) == 0, "pipe");
    must(fcntl(ends[1], F_SETPIPE_SZ, 1) > 0, "F_SETPIPE_SZ");
}

static void make_terminal(int *master, int *slave) {
    struct termios settings;
    *master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    must(*master >= 0 && grantpt(*master) == 0 && unlockpt(*master) == 0, "posix_openpt");
    *slave = opened(ptsname(*master), O_RDWR);
    must(tcgetattr(*slave, &settings) == 0, "tcgetattr");
    cfmakeraw(&settings);
    must(tcsetattr(*slave, TCSANOW, &settings) == 0, "tcsetattr");
}

static stream input_of(const char *fault, const char *path) {
    stream in = {0, -1, -1, -1, 0, SIZE_MAX, NULL, 0, 0, 0};
    size_t size = 0;
    char *bytes = contents_of(path, &size);
    int ends[2];
    long count;
    if (is(fault, "file")) {
        in.given = opened(path, O_RDONLY);
    } else if ((count = count_of(fault, "pauses")) > 0) {
        must(pipe2(ends, O_CLOEXEC) == 0, "pipe");
        set_non_blocking(ends[0]);
        in.given = ends[0];
        in.ours = ends[1];
        in.more = bytes;
        in.more_bytes = size;
        in.step_bytes = (size_t)count;
    } else if ((count = count_of(fault, "reset")) >= 0) {
        /* Who closes a socket before reading what is in it resets the connection. */
        must(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0, "socketpair");
        write_all(ends[0], "?", 1);
        write_all(ends[1], bytes, (size_t)count);
        close(ends[1]);
        in.given = ends[0];
    } else if ((count = count_of(fault, "fails")) >= 0) {
        make_terminal(&ends[0], &ends[1]);
        write_all(ends[1], bytes, (size_t)count);
        close(ends[1]);
        in.given = ends[0];
    } else if (is(fault, "directory")) {
        in.given = opened("/", O_RDONLY | O_DIRECTORY);
    } else if (is(fault, "unreadable")) {
        in.given = opened("/dev/null", O_WRONLY);
    } else {
        must(is(fault, "closed"), fault);
    }
    return in;
}

static stream output_of(int number, const char *fault, const char *path) {
    stream out = {number, -1, -1, -1, 0, SIZE_MAX, NULL, 0, 0, 0};
    int ends[2];
    long count;
    out.file = opened(path, O_WRONLY | O_CREAT | O_TRUNC);
    if (is(fault, "file")) {
        out.given = out.file;
    } else if (is(fault, "pauses")) {
        make_pipe(ends);
        set_non_blocking(ends[0]);
        set_non_blocking(ends[1]);
        while (write(ends[1], "?", 1) == 1)
            ++out.discard;
        must(errno == EAGAIN, "filling a pipe");
        out.ours = ends[0];
        out.given = ends[1];
    } else if ((count = count_of(fault, "gone")) >= 0) {
        make_pipe(ends);
        set_non_blocking(ends[0]);
        out.left_max = (size_t)count;
        out.ours = ends[0];
        out.given = ends[1];
    } else if (is(fault, "full")) {
        out.given = opened("/dev/full", O_WRONLY);
    } else if (is(fault, "fails")) {
        make_terminal(&ends[0], &ends[1]);
        close(ends[0]);
        out.given = ends[1];
    } else if (is(fault, "unwritable")) {
        out.given = opened("/dev/null", O_RDONLY);
    } else {
        must(is(fault, "closed"), fault);
    }
    return out;
}

/** Whether a thread sleeps in poll, and for this descriptor. */
static int thread_waits_for(const char *process, const char *thread, int fd) {
    char path[300], line[256];
    unsigned long number, first;
    struct pollfd waited_for = {-1, 0, 0};
    const struct iovec to = {&waited_for, sizeof waited_for};
    struct iovec from = {NULL, sizeof waited_for};
    FILE *file;
    int found;
    snprintf(path, sizeof path, "/proc/%s/task/%s/syscall", process, thread);
    file = fopen(path, "re");
    if (!file)
        return 0; /* It has ended. */
    found = fgets(line, sizeof line, file) && sscanf(line, "%lu 0x%lx", &number, &first) == 2;
    fclose(file);
    if (!found) /* "running", or gone */
        return 0;
#ifdef SYS_poll
    if (number != SYS_poll && number != SYS_ppoll)
        return 0;
#else
    if (number != SYS_ppoll)
        return 0;
#endif
    memcpy(&from.iov_base, &first, sizeof first);
    return process_vm_readv((pid_t)strtol(process, NULL, 10), &to, 1, &from, 1, 0) ==
               (ssize_t)sizeof waited_for &&
           waited_for.fd == fd;
}

static int waits_for(pid_t process, int fd) {
    char name[24], path[64];
    struct dirent *entry;
    DIR *threads;
    int found = 0;
    snprintf(name, sizeof name, "%ld", (long)process);
    snprintf(path, sizeof path, "/proc/%s/task", name);
    threads = opendir(path);
    if (!threads)
        return 0;
    while (!found && (entry = readdir(threads)))
        found = entry->d_name[0] != '.' && thread_waits_for(name, entry->d_name, fd);
    closedir(threads);
    return found;
}

static void close_ours(stream *of) {
    if (of->ours >= 0)
        close(of->ours);
    of->ours = -1;
}

/** The next piece of input, or its end. */
static void feed(stream *in) {
    const size_t piece = in->more_bytes < in->step_bytes ? in->more_bytes : in->step_bytes;
    if (piece == 0)
        close_ours(in);
    else
        write_all(in->ours, in->more, piece);
    in->more += piece;
    in->more_bytes -= piece;
}

/** Takes what there is. */
static void drain(stream *out) {
    char bytes[4096];
    while (out->ours >= 0 && out->left_max > 0) {
        const size_t room = out->left_max < sizeof bytes ? out->left_max : sizeof bytes;
        const ssize_t got = read(out->ours, bytes, room);
        const size_t passed = got > 0 && (size_t)got < out->discard ? (size_t)got
                              : got > 0                             ? out->discard
                                                                    : 0;
        must(got >= 0 || errno == EAGAIN, "read");
        if (got <= 0)
            return;
        out->discard -= passed;
        write_all(out->file, bytes + passed, (size_t)got - passed);
        if (out->left_max != SIZE_MAX)
            out->left_max -= (size_t)got;
    }
    close_ours(out);
}

/** Whether the program waits for a stream that pauses, now. */
static int noted_wait(stream *of, pid_t process) {
    int held = 0;
    if (of->ours < 0 || of->left_max != SIZE_MAX)
        return 0;
    if (of->number == 0 && (ioctl(of->ours, FIONREAD, &held) != 0 || held != 0))
        return 0; /* It waits no more, though it may not have woken yet. */
    if (!waits_for(process, of->number))
        return 0;
    ++of->waits;
    return 1;
}

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

static pid_t start(const stream streams[3], char **command) {
    const pid_t process = fork();
    int i;
    must(process >= 0, "fork");
    if (process > 0)
        return process;
    signal(SIGPIPE, SIG_DFL);
    for (i = 0; i < 3; ++i) {
        if (streams[i].given >= 0)
            must(dup2(streams[i].given, i) == i, "dup2");
        else if (i != STDERR_FILENO)
            close(i);
    }
    if (streams[STDERR_FILENO].given < 0)
        close(STDERR_FILENO);
    execvp(command[0], command);
    _exit(125);
}

int main(int argc, char **argv) {
    stream streams[3];
    const struct timespec step = {0, step_ns};
    const double end = now() + seconds_max;
    int status = 0, i;
    pid_t process;
    if (argc < 8) {
        fprintf(stderr, "usage: descriptor_faults STDIN STDOUT STDERR IN-FILE OUT-FILE ERR-FILE "
                        "PROGRAM ARGUMENT...\n");
        return 125;
    }
    signal(SIGPIPE, SIG_IGN);
    streams[0] = input_of(argv[1], argv[4]);
    streams[1] = output_of(1, argv[2], argv[5]);
    streams[2] = output_of(2, argv[3], argv[6]);
    if (streams[0].ours >= 0)
        feed(&streams[0]);
    for (i = 1; i < 3; ++i)
        if (streams[i].left_max == 0)
            close_ours(&streams[i]);
    process = start(streams, argv + 7);
    for (i = 0; i < 3; ++i)
        if (streams[i].given >= 0)
            close(streams[i].given);
    while (waitpid(process, &status, WNOHANG) == 0) {
        if (noted_wait(&streams[0], process))
            feed(&streams[0]);
        for (i = 1; i < 3; ++i)
            if (streams[i].left_max != SIZE_MAX || noted_wait(&streams[i], process))
                drain(&streams[i]);
        if (now() > end) {
            must(kill(process, SIGKILL) == 0 && waitpid(process, &status, 0) == process, "kill");
            return 124;
        }
        (void)ppoll(NULL, 0, &step, NULL);
    }
    for (i = 1; i < 3; ++i)
        drain(&streams[i]);
    printf("%ld %ld %ld\n", streams[0].waits, streams[1].waits, streams[2].waits);
    return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}
