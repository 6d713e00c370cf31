// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors
#include "measurements.h"

#include "bare_loops.h"
#include "workload.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <functional>
#include <memory>
#include <random>
#include <spawn.h>
#include <stdexcept>
#include <sys/resource.h>
#include <sys/wait.h>
#include <system_error>
#include <unistd.h>

extern char **environ;

namespace bench {

using Clock = std::chrono::steady_clock;

static double seconds_since(Clock::time_point began) {
    return std::chrono::duration<double>(Clock::now() - began).count();
}

/// Seconds of each of `count` calls of `work(i)`.
static std::vector<double> seconds_of_each(std::size_t count,
                                           const std::function<void(std::size_t)> &work) {
    std::vector<double> seconds(count);
    for (std::size_t i = 0; i < count; ++i) {
        const Clock::time_point began = Clock::now();
        work(i);
        seconds[i] = seconds_since(began);
    }
    return seconds;
}

static double sum(const std::vector<double> &values) {
    double total = 0;
    for (const double value : values)
        total += value;
    return total;
}

/// A sync that finds both cores busy takes one tick of the scheduler, 4 ms, whatever is synced.
static bool disturbed(const std::vector<double> &seconds) { return quantile(seconds, 0.5) > 3e-3; }

/// Calls `round()` until it has answered true `rounds` times, but at most three times as often;
/// what it answered false to has been disturbed. Returns how often that was.
static std::size_t repeat(std::size_t rounds, const std::function<bool()> &round) {
    std::size_t good = 0, bad = 0;
    while (good < rounds && good + bad < 3 * rounds)
        round() ? ++good : ++bad;
    return bad;
}

static std::vector<std::size_t> shuffled(std::size_t count) {
    std::vector<std::size_t> order(count);
    for (std::size_t i = 0; i < count; ++i)
        order[i] = i;
    std::shuffle(order.begin(), order.end(), std::mt19937_64(count));
    return order;
}

/// A directory that is gone with the object.
class Directory final {
  public:
    Directory(const Settings &settings, const char *name) : path_(settings.directory + '/' + name) {
        std::filesystem::remove_all(path_);
        std::filesystem::create_directories(path_);
    }
    ~Directory() {
        std::error_code ignored;
        std::filesystem::remove_all(path_, ignored);
    }
    Directory(const Directory &) = delete;
    Directory &operator=(const Directory &) = delete;

    std::string operator/(const char *name) const { return path_ + '/' + name; }

  private:
    std::string path_;
};

// --- put ---------------------------------------------------------------------------------------

static std::vector<Row> put_by_one(const Settings &settings) {
    constexpr std::size_t images = 1000, puts = 300, allocated = 64u << 20;
    const Directory directory(settings, "put");
    OpenStore store(settings.library, directory / "store");
    store.fill(images);
    const PreparedImages replacing(0, images, 1);
    const std::vector<std::size_t> order = shuffled(images);
    AppendedFile growing(directory / "growing");
    AppendedFile fixed(directory / "allocated", allocated);
    Row append{"durable put, 1 writer, n=1,000", "put/s", Better::More, "append + fdatasync", 0.7};
    Row into_allocated = append;
    into_allocated.other_name = "into allocated space";
    into_allocated.target_ratio.reset();
    std::size_t next = 0;
    append.disturbed = into_allocated.disturbed = repeat(settings.rounds, [&] {
        const auto ours = seconds_of_each(
            puts, [&](std::size_t) { store.put_and_wait(replacing[order[next++ % images]]); });
        const auto grown =
            seconds_of_each(puts, [&](std::size_t) { growing.append(record_bytes); });
        const auto filled = seconds_of_each(puts, [&](std::size_t) { fixed.append(record_bytes); });
        if (disturbed(ours) || disturbed(grown) || disturbed(filled))
            return false;
        append.ours.push_back(puts / sum(ours));
        append.other.push_back(puts / sum(grown));
        into_allocated.ours.push_back(puts / sum(ours));
        into_allocated.other.push_back(puts / sum(filled));
        return true;
    });
    return {append, into_allocated};
}

static std::vector<Row> put_by_many(const Settings &settings) {
    constexpr std::size_t images = 1024, threads = 64, each = 100, allocated = 256u << 20;
    const Directory directory(settings, "put-many");
    OpenStore store(settings.library, directory / "store");
    store.fill(images);
    const PreparedImages replacing(0, images, 1);
    GroupCommit group(directory / "group", allocated);
    Row row{"durable put, 64 writers, n=1,000", "put/s", Better::More, "bare group commit", 0.6};
    for (std::size_t round = 0; round < settings.rounds; ++round) {
        const double ours =
            seconds_of_threads(threads, each, [&](std::size_t thread, std::size_t i) {
                store.put_and_wait(
                    replacing[(thread * (images / threads) + i % (images / threads))]);
            });
        const double bare =
            seconds_of_threads(threads, each, [&](std::size_t, std::size_t) { group.append(); });
        row.ours.push_back(threads * each / ours);
        row.other.push_back(threads * each / bare);
    }
    return {row};
}

static std::vector<Row> put_latency(const Settings &settings) {
    constexpr std::size_t many = 100'000, few = 100, puts = 100, turns = 4;
    const Directory directory(settings, "latency");
    OpenStore large(settings.library, directory / "large");
    large.fill(many);
    OpenStore small(settings.library, directory / "small");
    small.fill(few);
    const PreparedImages into_large(0, 5'000, 1);
    const PreparedImages into_small(0, few, 1);
    Row median{"put latency n=100,000, median", "us", Better::Less, "n=100", 1.2};
    Row p99 = median;
    p99.name = "put latency n=100,000, p99";
    p99.target_ratio.reset();
    std::size_t next = 0;
    median.disturbed = p99.disturbed = repeat(settings.rounds, [&] {
        std::vector<double> in_large, in_small;
        for (std::size_t turn = 0; turn < turns; ++turn) {
            for (const double each : seconds_of_each(puts, [&](std::size_t) {
                     large.put_and_wait(into_large[next++ % into_large.size()]);
                 }))
                in_large.push_back(each * 1e6);
            for (const double each : seconds_of_each(
                     puts, [&](std::size_t i) { small.put_and_wait(into_small[i % few]); }))
                in_small.push_back(each * 1e6);
        }
        if (quantile(in_large, 0.5) > 3e3 || quantile(in_small, 0.5) > 3e3)
            return false;
        median.ours.push_back(quantile(in_large, 0.5));
        median.other.push_back(quantile(in_small, 0.5));
        p99.ours.push_back(quantile(in_large, 0.99));
        p99.other.push_back(quantile(in_small, 0.99));
        return true;
    });
    return {median, p99};
}

static void put_all(OpenStore &store, const PreparedImages &images) {
    std::vector<waybill_future *> futures(images.size());
    for (std::size_t i = 0; i < images.size(); ++i)
        require(store.api()->put(store.get_c(), &images[i], 1, &futures[i], nullptr), "put");
    for (waybill_future *future : futures) {
        const std::int32_t code = store.api()->future_wait(future, -1, nullptr);
        store.api()->future_free(future);
        require(code, "put");
    }
}

static std::vector<Row> burst(const Settings &settings) {
    constexpr std::size_t puts = 1000;
    const Directory directory(settings, "burst");
    OpenStore store(settings.library, directory / "store");
    store.fill(puts);
    const PreparedImages images(0, puts, 1);
    std::vector<waybill::ImageSpec> specs;
    for (std::size_t i = 0; i < puts; ++i)
        specs.push_back(image(i, 2));
    AppendedFile file(directory / "file");
    Row c{"burst of 1,000 puts, C futures", "ms", Better::Less, "one append of 1 MB"};
    Row cpp{"burst of 1,000 puts, std::future", "ms", Better::Less, "one append of 1 MB"};
    for (std::size_t round = 0; round < settings.rounds; ++round) {
        const auto time = [](const std::function<void()> &work) {
            return 1e3 * seconds_of_each(1, [&](std::size_t) { work(); })[0];
        };
        c.ours.push_back(time([&] { put_all(store, images); }));
        cpp.ours.push_back(time([&] {
            std::vector<std::future<waybill::Outcome>> futures;
            for (const waybill::ImageSpec &spec : specs)
                futures.push_back(store.store().put(spec));
            for (std::future<waybill::Outcome> &future : futures)
                future.get();
        }));
        c.other.push_back(time([&] { file.append(puts * record_bytes); }));
        cpp.other.push_back(c.other.back());
    }
    return {c, cpp};
}

// --- get ---------------------------------------------------------------------------------------

using Look = std::function<void(const waybill_api *, const waybill_image *)>;

static double ns_of_gets(OpenStore &store, const std::vector<std::string> &names,
                         const std::vector<std::size_t> &order, const Look &look) {
    const waybill_api *api = store.api();
    const Clock::time_point began = Clock::now();
    for (const std::size_t number : order) {
        waybill_image *found = nullptr;
        require(api->get(store.get_c(), nullptr, names[number].c_str(), 1, &found, nullptr), "get");
        if (look)
            look(api, found);
        api->image_free(found);
    }
    return 1e9 * seconds_since(began) / static_cast<double>(order.size());
}

static void read_everything(const waybill_api *api, const waybill_image *found) {
    waybill_image_view view;
    view.struct_size = sizeof view;
    require(api->image_view(found, &view, nullptr), "image_view");
    for (std::uint32_t i = 0; i < view.layer_count; ++i) {
        waybill_layer_view layer;
        layer.struct_size = sizeof layer;
        require(api->image_layer(found, i, &layer, nullptr), "image_layer");
    }
}

static double ns_of_copies(const CopyingTable &table, const std::vector<std::string> &names,
                           const std::vector<std::size_t> &order) {
    unsigned total = 0;
    const Clock::time_point began = Clock::now();
    for (const std::size_t number : order)
        total += table.get(names[number]);
    const double took = seconds_since(began);
    if (total == 0)
        throw std::runtime_error("the bare table copies nothing");
    return 1e9 * took / static_cast<double>(order.size());
}

static std::vector<Row> get(const Settings &settings) {
    constexpr std::size_t images = 10'000, passes = 10;
    const Directory directory(settings, "get");
    OpenStore store(settings.library, directory / "store");
    store.fill(images);
    std::vector<std::string> canonical, spelled;
    for (std::size_t i = 0; i < images; ++i) {
        canonical.push_back(canonical_name(i));
        spelled.push_back(spelled_name(i));
    }
    const CopyingTable table(canonical);
    const std::vector<std::size_t> order = shuffled(images);
    const std::string other = "hash table, 1 KB copied";
    Row plain{"get + free, n=10,000, canonical name", "ns", Better::Less, other, {}, 300};
    Row short_name{"get + free, n=10,000, spelled name", "ns", Better::Less, other};
    Row whole{"get + view + 10 layers + free", "ns", Better::Less, other};
    for (std::size_t pass = 0; pass < passes * settings.rounds; ++pass) {
        // Many short passes rather than a few long ones: a median then drops what was disturbed.
        plain.ours.push_back(ns_of_gets(store, canonical, order, nullptr));
        plain.other.push_back(ns_of_copies(table, canonical, order));
        short_name.ours.push_back(ns_of_gets(store, spelled, order, nullptr));
        whole.ours.push_back(ns_of_gets(store, canonical, order, read_everything));
    }
    short_name.other = whole.other = plain.other;
    return {plain, short_name, whole};
}

// --- recover -----------------------------------------------------------------------------------

int recover_and_report(const waybill::Library &library, const std::string &directory) {
    const Clock::time_point began = Clock::now();
    waybill::Store store = waybill::Store::create(library, configuration(directory));
    const Clock::time_point created = Clock::now();
    const waybill::Outcome outcome = store.recover().get();
    const double recovered = seconds_since(created), both = seconds_since(began);
    rusage usage{};
    ::getrusage(RUSAGE_SELF, &usage);
    std::printf("%.6f %.6f %.3f %zu\n", 1e3 * recovered, 1e3 * both,
                static_cast<double>(usage.ru_maxrss) / 1024,
                static_cast<std::size_t>(outcome.image_count));
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

static std::vector<Row> recover(const Settings &settings) {
    constexpr std::size_t images = 100'000;
    const Directory directory(settings, "recover");
    const std::string store = directory / "store";
    OpenStore(settings.library, store).fill(images);
    const std::string other = "files read into memory";
    Row alone{"recover, 100,000 x 10 layers", "ms", Better::Less, other, {}, 200};
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

// --- prune -------------------------------------------------------------------------------------

static std::vector<Row> prune(const Settings &settings) {
    constexpr std::size_t images = 10'000;
    const Directory directory(settings, "prune");
    OpenStore store(settings.library, directory / "store");
    std::vector<std::string> names;
    std::vector<const char *> keep;
    for (std::size_t i = 0; i < images; i += 2)
        names.push_back(canonical_name(i));
    for (const std::string &name : names)
        keep.push_back(name.c_str());
    Row row{"prune half of 10,000", "ms", Better::Less, ""};
    for (std::size_t round = 0; round < settings.rounds; ++round) {
        store.fill(images);
        const waybill_api *api = store.api();
        waybill_future *future = nullptr;
        waybill_outcome outcome{};
        outcome.struct_size = sizeof outcome;
        const Clock::time_point began = Clock::now();
        require(api->prune(store.get_c(), nullptr, keep.data(),
                           static_cast<std::uint32_t>(keep.size()), &future, nullptr),
                "prune");
        const std::int32_t code = api->future_wait(future, -1, nullptr);
        row.ours.push_back(1e3 * seconds_since(began));
        require(code, "prune");
        require(api->future_result(future, &outcome, nullptr), "future_result");
        api->future_free(future);
        if (outcome.image_count != images / 2)
            throw std::runtime_error("prune did not remove every other image");
    }
    return {row};
}

const std::vector<Measurement> &measurements() {
    static const std::vector<Measurement> all = {
        {"put", "durable puts of one writer, against a bare append", put_by_one},
        {"put-many", "durable puts of 64 writers, against a bare group commit", put_by_many},
        {"get", "lookups among 10,000 images", get},
        {"recover", "a fresh process opens 100,000 images", recover},
        {"latency", "a put among 100,000 images, against one among 100", put_latency},
        {"burst", "1,000 puts at once from one thread", burst},
        {"prune", "half of 10,000 images go", prune},
    };
    return all;
}

} // namespace bench
