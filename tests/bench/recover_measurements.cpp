// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors
#include "bare_loops.h"
#include "rounds.h"
#include "workload.h"

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <spawn.h>
#include <stdexcept>
#include <sys/stat.h>
#include <sys/wait.h>
#include <system_error>
#include <unistd.h>

extern char **environ;

namespace bench {

/// A number behind a word in one of this process's files under /proc/self.
static double told(const char *file, const std::string &word) {
    std::ifstream in(std::string("/proc/self/") + file);
    std::string found;
    while (in >> found)
        if (found == word) {
            double value = 0;
            in >> value;
            return value;
        }
    throw std::runtime_error(word + " is not in /proc/self/" + file);
}

/// What a process finds that has just started.
struct Recovered {
    double load_ms;    ///< of the library, and Qt with it
    double recover_ms; ///< without create
    double both_ms;
    double first_ms; ///< create, recover and a get
    double resident_mib, peak_mib;
    std::size_t images;
};

int recover_and_report(const std::string &library_path, const std::string &directory) {
    Recovered found{};
    const Clock::time_point started = Clock::now();
    const waybill::Library library(library_path);
    found.load_ms = 1e3 * seconds_since(started);
    const Clock::time_point began = Clock::now();
    waybill::Store store = waybill::Store::create(library, configuration(directory));
    const Clock::time_point created = Clock::now();
    found.images = static_cast<std::size_t>(store.recover().get().image_count);
    found.recover_ms = 1e3 * seconds_since(created);
    found.both_ms = 1e3 * seconds_since(began);
    if (!store.get(canonical_name(found.images / 2)))
        throw std::runtime_error("an image was not recovered");
    found.first_ms = 1e3 * seconds_since(began);
    found.resident_mib = told("status", "VmRSS:") / 1024;
    found.peak_mib = told("status", "VmHWM:") / 1024;
    std::printf("%.6f %.6f %.6f %.6f %.3f %.3f %zu\n", found.load_ms, found.recover_ms,
                found.both_ms, found.first_ms, found.resident_mib, found.peak_mib, found.images);
    return 0;
}

/// Runs a program to its end; returns what it printed. So no memory and no thread of an earlier
/// store helps.
static std::string output_of(const std::string &program, std::vector<std::string> words) {
    int ends[2];
    if (::pipe(ends) != 0)
        throw std::system_error(errno, std::generic_category(), "pipe");
    posix_spawn_file_actions_t actions;
    ::posix_spawn_file_actions_init(&actions);
    ::posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
    ::posix_spawn_file_actions_addclose(&actions, ends[0]);
    words.insert(words.begin(), program);
    std::vector<char *> arguments;
    for (std::string &word : words)
        arguments.push_back(word.data());
    arguments.push_back(nullptr);
    pid_t child = 0;
    const int failed =
        ::posix_spawn(&child, program.c_str(), &actions, nullptr, arguments.data(), environ);
    ::posix_spawn_file_actions_destroy(&actions);
    ::close(ends[1]);
    if (failed != 0)
        throw std::system_error(failed, std::generic_category(), program);
    char text[256] = {};
    std::size_t length = 0;
    ssize_t got;
    while ((got = ::read(ends[0], text + length, sizeof text - 1 - length)) > 0)
        length += static_cast<std::size_t>(got);
    if (got < 0)
        throw std::system_error(errno, std::generic_category(), program);
    ::close(ends[0]);
    int status = 0;
    ::waitpid(child, &status, 0);
    if (status != 0)
        throw std::runtime_error(program + ": the process that was to recover the store failed");
    return text;
}

static const std::string this_program = std::filesystem::read_symlink("/proc/self/exe");

static Recovered recover_elsewhere(const Settings &settings, const std::string &directory,
                                   std::size_t images) {
    const std::string text =
        output_of(this_program, {"--library", settings.library_path, "--recover", directory});
    Recovered found{};
    if (std::sscanf(text.c_str(), "%lf %lf %lf %lf %lf %lf %zu", &found.load_ms, &found.recover_ms,
                    &found.both_ms, &found.first_ms, &found.resident_mib, &found.peak_mib,
                    &found.images) != 7 ||
        found.images != images)
        throw std::runtime_error("not every image was recovered");
    return found;
}

static double bare_ms(const std::string &directory, std::size_t images) {
    const std::string text = output_of(this_program + "_recovery", {directory});
    double ms = 0;
    std::size_t found = 0;
    if (std::sscanf(text.c_str(), "%lf %zu", &ms, &found) != 2 || found != images)
        throw std::runtime_error("the bare recovery did not find every image");
    return ms;
}

static std::vector<Row> recover_among(const Settings &settings, std::size_t images,
                                      const std::string &count, double target_ms) {
    const Directory directory(settings, "recover");
    const std::string store = directory / "store";
    double records_mib = 0;
    {
        OpenStore filled(settings.library, store);
        filled.fill(images);
        records_mib = static_cast<double>(filled.stat("recordBytes")) / (1u << 20);
    }
    const std::string other = "read, checksum, verify, index";
    Row alone{"recover, " + count + " x 10 layers", "ms", Better::Less, other, 1.2, target_ms};
    Row both{"create + recover, " + count, "ms", Better::Less, other};
    Row memory{"resident memory then", "MiB", Better::Less, "the records' bytes", 1.4};
    Row peak{"peak memory of that process", "MiB", Better::Less, "the records' bytes"};
    (void)read_all(store);
    for (std::size_t round = 0; round < settings.rounds; ++round) {
        const Recovered found = recover_elsewhere(settings, store, images);
        const double bare = bare_ms(store, images);
        alone.ours.push_back(found.recover_ms);
        both.ours.push_back(found.both_ms);
        memory.ours.push_back(found.resident_mib);
        peak.ours.push_back(found.peak_mib);
        alone.other.push_back(bare);
        both.other.push_back(bare);
        memory.other.push_back(records_mib);
        peak.other.push_back(records_mib);
    }
    return {alone, both, memory, peak};
}

std::vector<Row> recover(const Settings &settings) {
    return recover_among(settings, 100'000, "100,000", 90);
}

std::vector<Row> recover_million(const Settings &settings) {
    return recover_among(settings, 1'000'000, "1,000,000", 900);
}

std::vector<Row> first_get(const Settings &settings) {
    constexpr std::size_t images = 10'000;
    const Directory directory(settings, "first-get");
    const std::string store = directory / "store";
    OpenStore(settings.library, store).fill(images);
    Row first{"create + recover + get, 10,000", "ms", Better::Less, "", {}, 10};
    Row load{"the library loaded, Qt with it", "ms", Better::Less, ""};
    for (std::size_t round = 0; round < settings.rounds; ++round) {
        const Recovered found = recover_elsewhere(settings, store, images);
        first.ours.push_back(found.first_ms);
        load.ours.push_back(found.load_ms);
    }
    return {first, load};
}

/// What a host pays that starts with nothing.
std::vector<Row> empty_store(const Settings &settings) {
    Row row{"create + recover, empty store", "ms", Better::Less, "", {}, 3};
    for (std::size_t round = 0; round < 3 * settings.rounds; ++round) {
        const Directory directory(settings, "empty");
        const Clock::time_point began = Clock::now();
        const OpenStore store(settings.library, directory / "store");
        row.ours.push_back(1e3 * seconds_since(began));
    }
    return {row};
}

static std::pair<double, double> snapshot_and_blocks(const std::string &directory) {
    double snapshot = 0, blocks = 0;
    for (const auto &entry : std::filesystem::directory_iterator(directory)) {
        struct stat found {};
        if (::stat(entry.path().c_str(), &found) != 0)
            continue;
        blocks += 512.0 * static_cast<double>(found.st_blocks);
        if (entry.path().filename() == "snapshot")
            snapshot = static_cast<double>(found.st_size);
    }
    return {snapshot, blocks};
}

/// A million puts over 10,000 images: what they write, what they leave behind.
std::vector<Row> overwrites(const Settings &settings) {
    constexpr std::size_t images = 10'000, passes = 100, a_call = 1000;
    const Directory directory(settings, "overwrites");
    const std::string path = directory / "store";
    OpenStore store(settings.library, path);
    store.fill(images);
    const PreparedImages replacing(0, images, 1);
    const auto pass = [&] {
        for (std::size_t first = 0; first < images; first += a_call) {
            std::vector<waybill_future *> futures(a_call);
            for (std::size_t i = 0; i < a_call; ++i)
                require(
                    store.api()->put(store.get_c(), &replacing[first + i], 1, &futures[i], nullptr),
                    "put");
            for (waybill_future *future : futures) {
                const std::int32_t code = store.api()->future_wait(future, -1, nullptr);
                store.api()->future_free(future);
                require(code, "put");
            }
        }
    };
    // Both memory and files are larger while a snapshot is written.
    const auto rotate = [&] {
        const auto put = [&](std::size_t i) { store.put_and_wait(replacing[i % images]); };
        const std::uint64_t generation = store.stat("generation");
        for (std::size_t i = 0; store.stat("generation") == generation; ++i)
            put(i);
        while (store.stat("snapshots") + 1 < store.stat("generation"))
            ::usleep(1000);
        for (std::size_t i = 0; i < 100; ++i)
            put(i);
    };
    for (int i = 0; i < 30; ++i)
        pass(); // The allocator has seen the worst of it by now.
    rotate();
    const double written_before = told("io", "write_bytes:");
    const double memory_before = told("status", "VmRSS:");
    for (std::size_t i = 0; i < passes; ++i)
        pass();
    const double written = told("io", "write_bytes:") - written_before;
    rotate();
    const double grown_mib = (told("status", "VmRSS:") - memory_before) / 1024;
    const auto [snapshot, blocks] = snapshot_and_blocks(path);
    const double record = snapshot / images;
    Row amplification{"bytes written a byte put, 1,000,000 puts", "x", Better::Less, "", {}, 2.5};
    amplification.ours = {written / (record * images * passes)};
    Row growth{"memory grown over them", "MiB", Better::Less, "", {}, 1};
    growth.ours = {grown_mib};
    Row size{"snapshot, bytes an image", "B", Better::Less, "", {}, 950};
    size.ours = {record};
    Row allocated{
        "all files, allocated, after a rotation, bytes an image", "B", Better::Less, "", {}, 950};
    allocated.ours = {blocks / images};
    return {amplification, growth, size, allocated};
}

} // namespace bench
