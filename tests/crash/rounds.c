/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: Waybill contributors
 *
 * Rounds of work, blow and check. A host works on a store and acknowledges; a blow ends it; another
 * one compares what is there with what was acknowledged, and the next round goes on from there.
 *
 *   crash_rounds LIBRARY HOST DIRECTORY kills [OPTION…]    SIGKILL at random moments
 *   crash_rounds LIBRARY HOST DIRECTORY points [OPTION…]   SIGKILL at the n-th call of each kind
 *   crash_rounds LIBRARY HOST DIRECTORY cuts DEVICE TYPE MOUNT-OPTIONS [OPTION…]
 *     DIRECTORY is where DEVICE is mounted. The file system is shut down without a flush of its
 *     log, which is what a power cut does to it; then it is mounted anew. A sync that ends while
 *     the shutdown is under way may report success for what it has dropped (ext4 refuses to
 *     convert written extents some instructions before it aborts its journal): the power was gone
 *     by then, so what is acknowledged from that moment on may be there or not.
 *
 *   --rounds N      so many; for `points` the last n of each kind
 *   --seed N
 *   --preload FILE  into the working host
 *   --expect-loss   ends well if and only if a loss was found
 *
 * What happens in a round depends on its seed and on when the blow falls, which no seed can repeat.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include "acknowledgement.h"
#include "sequence.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/** As in Linux's uapi since 4.x; ext4 and XFS share it. The argument: do not flush the log. */
#define FILE_SYSTEM_SHUTDOWN _IOR('X', 125, uint32_t)
#define SHUTDOWN_WITHOUT_LOG_FLUSH 2u

typedef struct options {
    const char *library, *host, *directory, *kind;
    const char *device, *type, *mount_options;
    const char *preload;
    uint64_t seed;
    unsigned rounds;
    int expect_loss;
} options;

/** One store and what is known of it. */
typedef struct play {
    char root[512];
    uint64_t seed;
    uint32_t writers;
    uint64_t numbers[WRITERS_MAX]; /**< the last operation that must be in the store */
    uint64_t late[WRITERS_MAX];    /**< the last one acknowledged while the blow was falling */
    uint64_t revision;             /**< the highest that was acknowledged before the blow */
    int is_made;                   /**< its host has said that it was open */
} play;

/** When and how the host is to end. */
typedef struct blow {
    const char *call; /**< kill at the `call_number`-th of these, or NULL */
    unsigned call_number;
    unsigned acknowledgements; /**< kill after so many … */
    long pause_ns;             /**< … and so long */
    int look;                  /**< check without mending */
} blow;

typedef struct host_process {
    pid_t process, tracer;
    int socket;
    int printed; /**< its stderr: the library prints nothing, ever */
    FILE *tracer_said;
} host_process;

static options chosen;
static uint64_t blows, acknowledged_operations, late_operations, refused, reached_points;

static void say_seed(void) {
    fprintf(stderr, "seed %" PRIu64 ", after %" PRIu64 " rounds\n", chosen.seed, blows);
}

__attribute__((format(printf, 1, 2), noreturn)) static void fail(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fprintf(stderr, "\n");
    say_seed();
    exit(2);
}

static void must(int holds, const char *what) {
    if (!holds)
        fail("%s: %s", what, strerror(errno));
}

/* --- the host --------------------------------------------------------------------------------- */

static void run_host(const play *of, const char *role, const char *more, char *last) {
    char numbers[WRITERS_MAX][48], seed[24];
    char *arguments[16 + WRITERS_MAX];
    int count = 0;
    uint32_t i;
    snprintf(seed, sizeof seed, "%" PRIu64, of->seed);
    arguments[count++] = (char *)chosen.host;
    arguments[count++] = (char *)chosen.library;
    arguments[count++] = (char *)role;
    arguments[count++] = (char *)of->root;
    arguments[count++] = seed;
    arguments[count++] = (char *)more;
    if (last)
        arguments[count++] = last;
    for (i = 0; i < of->writers; ++i) {
        if (last)
            snprintf(numbers[i], sizeof numbers[i], "%" PRIu64, of->numbers[i]);
        else
            snprintf(numbers[i], sizeof numbers[i], "%" PRIu64 "-%" PRIu64, of->numbers[i],
                     of->late[i]);
        arguments[count++] = numbers[i];
    }
    arguments[count] = NULL;
    execv(chosen.host, arguments);
    perror(chosen.host);
    _exit(127);
}

/** Takes one packet; 0 when there is none yet or will be none. A host that is killed with something
 *  unread in its socket resets it, behind all that it had sent. What else fails is no end: what had
 *  been acknowledged would not be looked for. */
static int receive(const host_process *host, acknowledgement *packet, int flags) {
    ssize_t got;
    do
        got = recv(host->socket, packet, sizeof *packet, flags);
    while (got < 0 && errno == EINTR);
    if (got == (ssize_t)sizeof *packet)
        return 1;
    if (got > 0)
        fail("the host sent %zd bytes of a packet", got);
    must(got == 0 || errno == ECONNRESET || (flags != 0 && errno == EAGAIN), "recv");
    return 0;
}

/** Waits for the host to say this; 0 if it ended before. */
static int wait_for(const host_process *host, uint32_t wanted) {
    acknowledgement packet;
    while (receive(host, &packet, 0))
        if (packet.said == wanted)
            return 1;
    return 0;
}

/** Whether the host printed anything; shows it. */
static int show_printed(const host_process *host) {
    char text[2048];
    const ssize_t length = pread(host->printed, text, sizeof text - 1, 0);
    if (length <= 0)
        return 0;
    text[length] = '\0';
    fprintf(stderr, "the host printed: %s\n", text);
    return 1;
}

static host_process start_host(const play *of) {
    host_process host = {0, 0, -1, -1, NULL};
    int ends[2];
    must(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) == 0, "socketpair");
    host.printed = memfd_create("printed", MFD_CLOEXEC);
    must(host.printed >= 0, "memfd_create");
    host.process = fork();
    must(host.process >= 0, "fork");
    if (host.process == 0) {
        char fd[16];
        dup2(host.printed, STDERR_FILENO);
        snprintf(fd, sizeof fd, "%d", ends[1]);
        fcntl(ends[1], F_SETFD, 0);
        if (chosen.preload)
            setenv("LD_PRELOAD", chosen.preload, 1);
        run_host(of, "work", fd, "0");
    }
    close(ends[1]);
    host.socket = ends[0];
    if (!wait_for(&host, SAID_LOADED)) {
        show_printed(&host);
        fail("the host did not load the library");
    }
    return host;
}

/** Has strace kill the host at a call, and waits until it is attached. */
static void attach_tracer(host_process *host, const blow *end) {
    char inject[96], trace[48], process[24], line[256];
    int ends[2];
    snprintf(trace, sizeof trace, "trace=%s", end->call);
    snprintf(inject, sizeof inject, "inject=%s:signal=KILL:when=%u", end->call, end->call_number);
    snprintf(process, sizeof process, "%d", (int)host->process);
    must(pipe2(ends, O_CLOEXEC) == 0, "pipe");
    host->tracer = fork();
    must(host->tracer >= 0, "fork");
    if (host->tracer == 0) {
        dup2(ends[1], STDERR_FILENO);
        execlp("strace", "strace", "-f", "-o", "/dev/null", "-e", trace, "-e", inject, "-p",
               process, (char *)NULL);
        fprintf(stderr, "strace: %s\n", strerror(errno));
        _exit(127);
    }
    close(ends[1]);
    /* Open until the end: strace goes on to speak of each new thread. */
    host->tracer_said = fdopen(ends[0], "r");
    must(host->tracer_said != NULL, "fdopen");
    if (!fgets(line, sizeof line, host->tracer_said) || !strstr(line, "attached"))
        fail("strace could not attach to the host: %s", line);
}

/** Takes one packet into account; 0 when the host has ended. */
static int take_packet(const host_process *host, play *of, int flags, int is_late) {
    acknowledgement packet;
    if (!receive(host, &packet, flags))
        return 0;
    if (packet.said == SAID_WRONG) {
        show_printed(host);
        fail("the host found the library wrong, status %d", (int)packet.status);
    }
    if (packet.said == SAID_OPEN)
        of->is_made = 1;
    if (packet.said == SAID_REFUSED)
        ++refused;
    if (packet.said == SAID_REFUSED && !chosen.device)
        fail("an operation was refused although no disk failed, status %d", (int)packet.status);
    if (packet.said == SAID_ACKNOWLEDGED) {
        of->late[packet.writer] = packet.number;
        late_operations += (uint64_t)is_late;
        if (is_late)
            return 1;
        ++acknowledged_operations;
        of->numbers[packet.writer] = packet.number;
        if (packet.revision > of->revision)
            of->revision = packet.revision;
    }
    return 1;
}

static void pause_for(long ns) {
    struct timespec time = {ns / 1000000000, ns % 1000000000};
    (void)ppoll(NULL, 0, &time, NULL);
}

static void shut_down_file_system(void) {
    const uint32_t how = SHUTDOWN_WITHOUT_LOG_FLUSH;
    const int fd = open(chosen.directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    must(fd >= 0, chosen.directory);
    must(ioctl(fd, FILE_SYSTEM_SHUTDOWN, &how) == 0, "shutdown of the file system");
    close(fd);
}

static void mount_device(void) {
    if (mount(chosen.device, chosen.directory, chosen.type, 0, chosen.mount_options) != 0)
        fail("%s does not mount as %s with '%s': %s", chosen.device, chosen.type,
             chosen.mount_options, strerror(errno));
}

/** Lets a host work until the blow has fallen. */
static void strike(play *of, const blow *end) {
    host_process host = start_host(of);
    const uint64_t before = acknowledged_operations;
    int status = 0, alive = 1;
    if (end->call)
        attach_tracer(&host, end);
    must(send(host.socket, "g", 1, MSG_NOSIGNAL) == 1, "the host is gone");
    while (alive && acknowledged_operations - before < end->acknowledgements)
        alive = take_packet(&host, of, 0, 0);
    if (alive)
        pause_for(end->pause_ns);
    if (chosen.device) {
        while (take_packet(&host, of, MSG_DONTWAIT, 0))
            ;
        shut_down_file_system();
    }
    if (alive)
        must(kill(host.process, SIGKILL) == 0, "kill");
    while (take_packet(&host, of, 0, chosen.device != NULL))
        ;
    close(host.socket);
    must(waitpid(host.process, &status, 0) == host.process, "waitpid");
    if (show_printed(&host) || !WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL)
        fail("the host printed or ended by itself, status %#x", (unsigned)status);
    close(host.printed);
    reached_points += end->call != NULL && !alive;
    if (host.tracer) {
        must(waitpid(host.tracer, &status, 0) == host.tracer, "waitpid");
        fclose(host.tracer_said);
    }
    if (chosen.device) {
        must(umount2(chosen.directory, 0) == 0, "umount");
        mount_device();
    }
    ++blows;
}

/** Whether the store holds what was acknowledged; takes `of` to what it holds. */
static int check(play *of, int look) {
    char line[512], revision[24];
    char *at = line;
    int ends[2], status = 0;
    pid_t process;
    FILE *said;
    uint32_t i;
    snprintf(revision, sizeof revision, "%" PRIu64, of->revision);
    must(pipe2(ends, O_CLOEXEC) == 0, "pipe");
    process = fork();
    must(process >= 0, "fork");
    if (process == 0) {
        dup2(ends[1], STDOUT_FILENO);
        run_host(of, look ? "look" : "check", revision, NULL);
    }
    close(ends[1]);
    said = fdopen(ends[0], "r");
    must(said != NULL, "fdopen");
    line[0] = '\0';
    if (!fgets(line, sizeof line, said))
        line[0] = '\0';
    fclose(said);
    must(waitpid(process, &status, 0) == process, "waitpid");
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
        return 0;
    of->revision = strtoull(at, &at, 10);
    for (i = 0; i < of->writers; ++i)
        of->numbers[i] = of->late[i] = strtoull(at, &at, 10);
    return 1;
}

/** One round; 0 if something was lost. */
static int round_of(play *of, const blow *end) {
    strike(of, end);
    return check(of, end->look && of->is_made);
}

/* --- the rounds ------------------------------------------------------------------------------- */

static play new_play(uint64_t *random, const char *name, uint32_t writers) {
    static unsigned made;
    play fresh;
    memset(&fresh, 0, sizeof fresh);
    snprintf(fresh.root, sizeof fresh.root, "%s/%s-%u", chosen.directory, name, made++);
    fresh.seed = next_random(random) >> 16;
    fresh.writers = writers;
    return fresh;
}

static void forget(const play *of) {
    char command[640];
    snprintf(command, sizeof command, "rm -rf '%s'", of->root);
    if (system(command) != 0)
        fail("%s could not be removed", of->root);
}

static blow random_blow(uint64_t *random) {
    blow end;
    memset(&end, 0, sizeof end);
    /* Some fall into recovery, before anything is acknowledged. */
    if (next_random(random) % 5 != 0)
        end.acknowledgements = (unsigned)(next_random(random) % 90);
    end.pause_ns = (long)(next_random(random) % 4000000);
    end.look = next_random(random) % 2 == 0;
    return end;
}

/** Blows at random moments, on stores of one writer and of several in turn. */
static int random_rounds(void) {
    static const uint32_t writers[] = {1, 8, 3};
    uint64_t random = chosen.seed;
    play plays[3];
    unsigned round;
    for (round = 0; round < 3; ++round)
        plays[round] = new_play(&random, "random", writers[round]);
    for (round = 0; round < chosen.rounds; ++round) {
        play *of = &plays[round % 3];
        const blow end = random_blow(&random);
        /* Now and then from nothing: what makes a store is cut too. */
        if (round >= 3 && next_random(&random) % 10 == 0) {
            forget(of);
            *of = new_play(&random, "random", of->writers);
        }
        if (!round_of(of, &end))
            return 0;
    }
    return 1;
}

/** A store that is new each time, and one that goes on from how it was left: recovery is hit. */
static int point_rounds(void) {
    static const char *const calls[] = {"pwrite64", "fdatasync", "fallocate", "fsync",
                                        "write",    "openat",    "linkat",    "/rename",
                                        "unlinkat", "mkdir",     "sendto"};
    uint64_t random = chosen.seed;
    play old = new_play(&random, "point", 1);
    unsigned kind, number, step;
    for (kind = 0; kind < sizeof calls / sizeof calls[0]; ++kind) {
        for (number = 1; number <= chosen.rounds; ++number) {
            play fresh = new_play(&random, "point", 1);
            blow end = {calls[kind], number, 100, 0, number % 2 == 0};
            if (!round_of(&fresh, &end))
                return 0;
            forget(&fresh);
            /* Twice: what one kill left, the next one's recovery finds. */
            for (step = 0; step < 2; ++step, end.look = 1)
                if (!round_of(&old, &end))
                    return 0;
        }
    }
    return 1;
}

static void read_options(int argc, char **argv) {
    int i = 5;
    if (argc < 5)
        goto usage;
    chosen.library = argv[1];
    chosen.host = argv[2];
    chosen.directory = argv[3];
    chosen.kind = argv[4];
    chosen.rounds = 120;
    chosen.seed = (uint64_t)time(NULL) * 1000003u ^ (uint64_t)getpid();
    if (strcmp(chosen.kind, "cuts") == 0) {
        if (argc < 8)
            goto usage;
        chosen.device = argv[5];
        chosen.type = argv[6];
        chosen.mount_options = argv[7];
        i = 8;
    } else if (strcmp(chosen.kind, "kills") != 0 && strcmp(chosen.kind, "points") != 0) {
        goto usage;
    }
    for (; i < argc; ++i) {
        if (strcmp(argv[i], "--expect-loss") == 0)
            chosen.expect_loss = 1;
        else if (i + 1 < argc && strcmp(argv[i], "--rounds") == 0)
            chosen.rounds = (unsigned)strtoul(argv[++i], NULL, 10);
        else if (i + 1 < argc && strcmp(argv[i], "--seed") == 0)
            chosen.seed = strtoull(argv[++i], NULL, 10);
        else if (i + 1 < argc && strcmp(argv[i], "--preload") == 0)
            chosen.preload = argv[++i];
        else
            goto usage;
    }
    return;
usage:
    fprintf(stderr,
            "usage: %s LIBRARY HOST DIRECTORY kills|points [OPTION...]\n"
            "       %s LIBRARY HOST DIRECTORY cuts DEVICE TYPE MOUNT-OPTIONS [OPTION...]\n"
            "options: --rounds N, --seed N, --preload FILE, --expect-loss\n",
            argv[0], argv[0]);
    exit(2);
}

int main(int argc, char **argv) {
    int kept;
    read_options(argc, argv);
    if (chosen.device)
        mount_device();
    kept = strcmp(chosen.kind, "points") == 0 ? point_rounds() : random_rounds();
    if (chosen.device)
        must(umount2(chosen.directory, 0) == 0, "umount");
    printf("%" PRIu64 " %s: %" PRIu64 " operations acknowledged, ", blows,
           chosen.device ? "power cuts" : "kills", acknowledged_operations);
    if (reached_points)
        printf("%" PRIu64 " at the named call, ", reached_points);
    if (chosen.device)
        printf("%" PRIu64 " while the power went, %" PRIu64 " writers refused, ", late_operations,
               refused);
    printf("lost: %s\n", kept ? "0" : "something that was acknowledged");
    if (kept == chosen.expect_loss)
        say_seed();
    return kept == chosen.expect_loss;
}
