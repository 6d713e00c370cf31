// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors
//
// Every call that a scenario makes fails once, in a process of its own: the n-th open with EMFILE,
// the n-th sync with EIO, the n-th allocation for want of memory. What the library answers, shows,
// and leaves on disk is checked each time.
//
//     faults LIBRARY [--all] [--seed N] [--samples N]
//     faults LIBRARY --scenario life --kind sync --error EIO --n 7
//
// File calls are all tried; of the allocations as many as --samples says, or all. Those that Qt
// makes for itself are tried only with --kind qt: they crash inside Qt, where nobody can help.
#include "fault_scenario.h"

#include "../abi/oci_fixture.h"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <filesystem>
#include <numeric>
#include <optional>
#include <random>
#include <sys/mman.h>
#include <sys/wait.h>

extern "C" int __lsan_do_recoverable_leak_check() __attribute__((weak));

namespace {

struct Kind {
    fault_call call;
    const char *name;
    int error;
    const char *error_name;
    long lasting;
};

constexpr Kind kinds[] = {
    {CALL_OPEN, "open", EMFILE, "EMFILE", 1},
    {CALL_OPEN, "open", EIO, "EIO", 1},
    {CALL_OPEN, "open", ENOSPC, "ENOSPC", 1},
    {CALL_OPEN, "open", EINTR, "EINTR", 1},
    {CALL_READ, "read", EIO, "EIO", 1},
    {CALL_READ, "read", EINTR, "EINTR", 1},
    {CALL_READ, "read", FAULT_SHORT, "short", 1},
    {CALL_WRITE, "write", EIO, "EIO", 1},
    {CALL_WRITE, "write", ENOSPC, "ENOSPC", 1},
    {CALL_WRITE, "write", EDQUOT, "EDQUOT", 1},
    {CALL_WRITE, "write", EINTR, "EINTR", 1},
    {CALL_WRITE, "write", FAULT_SHORT, "short", 1},
    {CALL_SYNC, "sync", EIO, "EIO", 1},
    {CALL_SYNC, "sync", ENOSPC, "ENOSPC", 1},
    {CALL_SYNC, "sync", EINTR, "EINTR", 1},
    {CALL_ALLOCATE, "allocate", EIO, "EIO", 1},
    {CALL_ALLOCATE, "allocate", ENOSPC, "ENOSPC", 1},
    {CALL_ALLOCATE, "allocate", EDQUOT, "EDQUOT", 1},
    {CALL_ALLOCATE, "allocate", EINTR, "EINTR", 1},
    {CALL_ALLOCATE, "allocate", EOPNOTSUPP, "EOPNOTSUPP", 1},
    {CALL_LINK, "link", EIO, "EIO", 1},
    {CALL_LINK, "link", ENOSPC, "ENOSPC", 1},
    {CALL_RENAME, "rename", EIO, "EIO", 1},
    {CALL_RENAME, "rename", ENOSPC, "ENOSPC", 1},
    {CALL_UNLINK, "unlink", EIO, "EIO", 1},
    {CALL_MKDIR, "mkdir", EIO, "EIO", 1},
    {CALL_MKDIR, "mkdir", ENOSPC, "ENOSPC", 1},
    {CALL_STAT, "stat", EIO, "EIO", 1},
    {CALL_CHMOD, "chmod", EIO, "EIO", 1},
    {CALL_LOCK, "lock", EIO, "EIO", 1},
    {CALL_EVENTFD, "eventfd", EMFILE, "EMFILE", 1},
    {CALL_THREAD, "thread", EAGAIN, "EAGAIN", 1},
    {CALL_NEW, "new", ENOMEM, "once", 1},
    {CALL_NEW, "new", ENOMEM, "12times", 12},
    {CALL_MALLOC, "malloc", ENOMEM, "once", 1},
    {CALL_MALLOC, "malloc", ENOMEM, "12times", 12},
    {CALL_QT_MEMORY, "qt", ENOMEM, "once", 1}, // Only when asked for: it ends the process.
};

struct NamedScenario {
    const char *name;
    Scenario run;
};
constexpr NamedScenario scenarios[] = {{"life", run_life}, {"worn", run_worn}};

/// What a child tells its parent, in memory that they share.
struct Told {
    bool finished;
    bool broken;
    bool read_only;
    std::int32_t error;
    long hits;
    long calls[CALL_KINDS];
    char message[1024];
};

struct Tally {
    long points = 0, not_reached = 0, errors = 0, worked = 0, read_only = 0, broken = 0;
};

struct Options {
    std::string library;
    bool all = false;
    unsigned seed = 0;
    long samples = 250;
    std::string scenario, kind, error;
    long n = 0;
};

void run_as_child(const Fixture &fixture, Scenario scenario, const fault_plan &plan, Told &told,
                  int printed) {
    // A hang ends in SIGALRM, which the parent reports.
    ::alarm(20);
    ::dup2(printed, STDOUT_FILENO);
    ::dup2(printed, STDERR_FILENO);
    try {
        const RunResult result = scenario(fixture, plan);
        told.error = result.error;
        told.read_only = result.read_only;
    } catch (const std::exception &broken) {
        fault_disarm();
        told.broken = true;
        std::snprintf(told.message, sizeof told.message, "%s", broken.what());
    }
    told.hits = fault_hits();
    for (int call = 0; call < CALL_KINDS; ++call)
        told.calls[call] = fault_calls_made(static_cast<fault_call>(call));
    if (!told.broken && __lsan_do_recoverable_leak_check && __lsan_do_recoverable_leak_check()) {
        told.broken = true;
        std::snprintf(told.message, sizeof told.message, "memory was leaked");
    }
    struct stat found;
    if (!told.broken && ::fstat(printed, &found) == 0 && found.st_size > 0) {
        told.broken = true;
        std::snprintf(told.message, sizeof told.message, "something was printed");
    }
    told.finished = true;
    ::_exit(0);
}

std::string printed_text(int fd) {
    char text[6000] = "";
    const ssize_t got = ::pread(fd, text, sizeof text - 1, 0);
    return std::string(text, got > 0 ? static_cast<std::size_t>(got) : 0);
}

/// One run in a process of its own; what went wrong, or nothing.
std::optional<std::string> run_point(const Fixture &parent, Scenario scenario,
                                     const fault_plan &plan, Told &told) {
    Fixture fixture = parent;
    fixture.scratch = parent.scratch + "/run";
    std::filesystem::create_directory(fixture.scratch);
    told = {};
    const int printed = ::memfd_create("printed", MFD_CLOEXEC);
    std::fflush(nullptr);
    const pid_t child = ::fork();
    CHECK(child >= 0 && printed >= 0);
    if (child == 0)
        run_as_child(fixture, scenario, plan, told, printed);
    int status = 0;
    CHECK(::waitpid(child, &status, 0) == child);
    std::optional<std::string> wrong;
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM)
        wrong = "it hung";
    else if (WIFSIGNALED(status))
        wrong = std::string("it was killed: ") + strsignal(WTERMSIG(status));
    else if (!told.finished)
        wrong = "it ended early";
    else if (told.broken)
        wrong = told.message;
    if (wrong)
        if (const std::string text = printed_text(printed); !text.empty())
            *wrong += "\n" + text;
    ::close(printed);
    std::filesystem::remove_all(fixture.scratch);
    return wrong;
}

std::vector<long> points_of(const Kind &kind, long count, const Options &options,
                            std::mt19937 &random) {
    std::vector<long> points(static_cast<std::size_t>(count));
    std::iota(points.begin(), points.end(), 1L);
    const bool is_memory =
        kind.call == CALL_NEW || kind.call == CALL_MALLOC || kind.call == CALL_QT_MEMORY;
    if (!is_memory || options.all || count <= options.samples)
        return points;
    std::vector<long> sampled;
    std::ranges::sample(points, std::back_inserter(sampled), options.samples, random);
    return sampled;
}

void try_points(const Fixture &fixture, const NamedScenario &scenario, const Kind &kind,
                const std::vector<long> &points, Told &told, Tally &tally) {
    for (const long n : points) {
        const fault_plan plan{kind.call, n, kind.lasting, kind.error};
        const auto wrong = run_point(fixture, scenario.run, plan, told);
        ++tally.points;
        if (wrong) {
            ++tally.broken;
            std::printf("--scenario %s --kind %s --error %s --n %ld: %s\n", scenario.name,
                        kind.name, kind.error_name, n, wrong->c_str());
        } else if (told.hits == 0) {
            ++tally.not_reached;
        } else if (told.error == WAYBILL_OK) {
            ++tally.worked;
        } else {
            ++tally.errors;
        }
        tally.read_only += told.read_only;
    }
}

bool wanted(const Options &options, const NamedScenario &scenario) {
    return options.scenario.empty() || options.scenario == scenario.name;
}

bool wanted(const Options &options, const Kind &kind) {
    if (options.kind.empty() && kind.call == CALL_QT_MEMORY)
        return false;
    return (options.kind.empty() || options.kind == kind.name) &&
           (options.error.empty() || options.error == kind.error_name);
}

/// Everything that the options ask for; how many points broke a promise.
long run_all(const Fixture &fixture, const Options &options, Told &told) {
    std::mt19937 random(options.seed);
    std::vector<Tally> tallies(std::size(kinds));
    for (const NamedScenario &scenario : scenarios) {
        if (!wanted(options, scenario))
            continue;
        if (const auto wrong = run_point(fixture, scenario.run, {CALL_KINDS, 0, 0, 0}, told)) {
            std::printf("%s, without a fault: %s\n", scenario.name, wrong->c_str());
            return 1;
        }
        long calls[CALL_KINDS];
        std::ranges::copy(told.calls, calls);
        for (std::size_t i = 0; i < std::size(kinds); ++i) {
            if (!wanted(options, kinds[i]))
                continue;
            const std::vector<long> points =
                options.n ? std::vector{options.n}
                          : points_of(kinds[i], calls[kinds[i].call], options, random);
            try_points(fixture, scenario, kinds[i], points, told, tallies[i]);
        }
    }
    std::printf("%-9s %-11s %7s %7s %7s %10s %12s %7s\n", "call", "fault", "points", "errors",
                "worked", "read-only", "not reached", "broken");
    Tally all;
    for (std::size_t i = 0; i < std::size(kinds); ++i) {
        const Tally &row = tallies[i];
        if (row.points > 0)
            std::printf("%-9s %-11s %7ld %7ld %7ld %10ld %12ld %7ld\n", kinds[i].name,
                        kinds[i].error_name, row.points, row.errors, row.worked, row.read_only,
                        row.not_reached, row.broken);
        all.points += row.points;
        all.errors += row.errors;
        all.worked += row.worked;
        all.broken += row.broken;
    }
    std::printf("seed %u: %ld faults: %ld answered with an error, %ld passed over, lost: %ld\n",
                options.seed, all.points, all.errors, all.worked, all.broken);
    return all.broken;
}

bool parse(int argc, char **argv, Options &options) {
    options.seed = std::random_device()();
    for (int i = 1; i < argc; ++i) {
        const std::string_view word = argv[i];
        const char *value = i + 1 < argc ? argv[i + 1] : nullptr;
        if (word == "--all") {
            options.all = true;
            continue;
        }
        if (!word.starts_with("--")) {
            options.library = word;
            continue;
        }
        if (!value)
            return false;
        ++i;
        if (word == "--seed")
            options.seed = static_cast<unsigned>(std::strtoul(value, nullptr, 10));
        else if (word == "--samples")
            options.samples = std::strtol(value, nullptr, 10);
        else if (word == "--n")
            options.n = std::strtol(value, nullptr, 10);
        else if (word == "--scenario")
            options.scenario = value;
        else if (word == "--kind")
            options.kind = value;
        else if (word == "--error")
            options.error = value;
        else
            return false;
    }
    return !options.library.empty();
}

} // namespace

int main(int argc, char **argv) {
    Options options;
    if (!parse(argc, argv, options)) {
        std::fprintf(stderr,
                     "usage: %s LIBRARY [--all] [--seed N] [--samples N]\n"
                     "       [--scenario life|worn] [--kind KIND] [--error FAULT] [--n N]\n",
                     argv[0]);
        return 2;
    }
    // The disk's own speed is of no interest here.
    if (::access("/dev/shm", W_OK) == 0)
        (void)::setenv("TMPDIR", "/dev/shm", 0);
    void *handle = nullptr;
    Fixture fixture;
    fixture.api = load_table(options.library.c_str(), &handle);
    fault_watch_loaded_code();
    fixture.scratch = make_temp_dir();
    fixture.layout = make_layout("fixture:1").directory;
    void *shared =
        ::mmap(nullptr, sizeof(Told), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(shared != MAP_FAILED);
    Told &told = *static_cast<Told *>(shared);
    // In a child, so that this process never has a thread and forks as it was loaded.
    fixture.worn = fixture.scratch + "/template";
    run_in_child([](void *payload) { make_worn_store(*static_cast<const Fixture *>(payload)); },
                 &fixture);
    const long broken = run_all(fixture, options, told);
    remove_temp_dirs();
    return broken == 0 ? 0 : 1;
}
