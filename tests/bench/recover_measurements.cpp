// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors
#include "bare_loops.h"
#include "rounds.h"
#include "workload.h"

#include <array>
#include <cerrno>
#include <cstdio>
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

int recover_and_report(const waybill::Library &library, const std::string &directory) {
    const Clock::time_point began = Clock::now();
    waybill::Store store = waybill::Store::create(library, configuration(directory));
    const Clock::time_point created = Clock::now();
    const waybill::Outcome outcome = store.recover().get();
    const double recovered = seconds_since(created), both = seconds_since(began);
    std::printf("%.6f %.6f %.3f %zu\n", 1e3 * recovered, 1e3 * both,
                told("status", "VmHWM:") / 1024, static_cast<std::size_t>(outcome.image_count));
    return 0;
}

struct Recovered {
    double recover_ms, both_ms, peak_mib;
    std::size_t images;
};

/// Runs this program once more, so that no memory and no thread of an earlier store helps.
static Recovered recover_elsewhere(const Settings &settings, const std::string &directory) {
    int ends[2];
    if (::pipe(ends) != 0)
        throw std::system_error(errno, std::generic_category(), "pipe");
    posix_spawn_file_actions_t actions;
    ::posix_spawn_file_actions_init(&actions);
    ::posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
    ::posix_spawn_file_actions_addclose(&actions, ends[0]);
    std::array<std::string, 5> words = {"waybill_bench", "--library", settings.library_path,
                                        "--recover", directory};
    std::array<char *, 6> arguments{};
    for (std::size_t i = 0; i < words.size(); ++i)
        arguments[i] = words[i].data();
    pid_t child = 0;
    const int failed =
        ::posix_spawn(&child, "/proc/self/exe", &actions, nullptr, arguments.data(), environ);
    ::posix_spawn_file_actions_destroy(&actions);
    ::close(ends[1]);
    if (failed != 0)
        throw std::system_error(failed, std::generic_category(), "posix_spawn");
    char text[256] = {};
    std::size_t length = 0;
    for (ssize_t got; (got = ::read(ends[0], text + length, sizeof text - 1 - length)) > 0;)
        length += static_cast<std::size_t>(got);
    ::close(ends[0]);
    int status = 0;
    ::waitpid(child, &status, 0);
    Recovered found{};
    if (status != 0 || std::sscanf(text, "%lf %lf %lf %zu", &found.recover_ms, &found.both_ms,
                                   &found.peak_mib, &found.images) != 4)
        throw std::runtime_error("the process that was to recover the store failed");
    return found;
}

std::vector<Row> recover(const Settings &settings) {
    constexpr std::size_t images = 100'000;
    const Directory directory(settings, "recover");
    const std::string store = directory / "store";
    OpenStore(settings.library, store).fill(images);
    const std::string other = "files read into memory";
    Row alone{"recover, 100,000 x 10 layers", "ms", Better::Less, other};
    Row both{"create + recover, 100,000 x 10 layers", "ms", Better::Less, other};
    Row memory{"peak memory of that process", "MiB", Better::Less, "size of the files"};
    (void)read_all(store);
    for (std::size_t round = 0; round < settings.rounds; ++round) {
        const Recovered found = recover_elsewhere(settings, store);
        if (found.images != images)
            throw std::runtime_error("not every image was recovered");
        const Clock::time_point began = Clock::now();
        const std::size_t bytes = read_all(store);
        alone.other.push_back(1e3 * seconds_since(began));
        both.other.push_back(alone.other.back());
        alone.ours.push_back(found.recover_ms);
        both.ours.push_back(found.both_ms);
        memory.ours.push_back(found.peak_mib);
        memory.other.push_back(static_cast<double>(bytes) / (1u << 20));
    }
    return {alone, both, memory};
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
    for (int i = 0; i < 10; ++i)
        pass(); // The allocator has seen the worst of it by now.
    const double written_before = told("io", "write_bytes:");
    const double memory_before = told("status", "VmRSS:");
    for (std::size_t i = 0; i < passes; ++i)
        pass();
    const double written = told("io", "write_bytes:") - written_before;
    const double grown_mib = (told("status", "VmRSS:") - memory_before) / 1024;
    const auto [snapshot, blocks] = snapshot_and_blocks(path);
    const double record = snapshot / images;
    Row amplification{"bytes written a byte put, 1,000,000 puts", "x", Better::Less, "", {}, 2.5};
    amplification.ours = {written / (record * images * passes)};
    Row growth{"memory grown over them", "MiB", Better::Less, "", {}, 1};
    growth.ours = {grown_mib};
    Row size{"snapshot, bytes an image", "B", Better::Less, "", {}, 950};
    size.ours = {record};
    Row allocated{"all files, allocated, bytes an image", "B", Better::Less, ""};
    allocated.ours = {blocks / images};
    return {amplification, growth, size, allocated};
}

} // namespace bench
