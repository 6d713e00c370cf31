// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors
#include "bare_loops.h"
#include "rounds.h"
#include "workload.h"

#include <cstdint>
#include <future>
#include <poll.h>
#include <stdexcept>

namespace bench {

std::vector<Row> put_by_one(const Settings &settings) {
    constexpr std::size_t images = 1000, puts = 300, allocated = 64u << 20;
    const Directory directory(settings, "put");
    OpenStore store(settings.library, directory / "store");
    store.fill(images);
    const PreparedImages replacing(0, images, 1);
    const std::vector<std::size_t> order = shuffled(images);
    AppendedFile growing(directory / "growing");
    AppendedFile fixed(directory / "allocated", allocated);
    Row append{"durable put, 1 writer, n=1,000", "put/s", Better::More, "append + fdatasync"};
    Row into_allocated = append;
    into_allocated.other_name = "into zeroed space";
    into_allocated.target_ratio = 0.95;
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

/// `threads` writers of the store, then of the bare group commit, and one writer of the latter. A
/// round in which the many do not reach `fold` times the one says nothing about group commits.
static Row put_by(const Settings &settings, std::size_t threads, double target, double fold) {
    constexpr std::size_t images = 1024, allocated = 256u << 20;
    const std::size_t each = 6400 / threads;
    const Directory directory(settings, "put-many");
    OpenStore store(settings.library, directory / "store");
    store.fill(images);
    const PreparedImages replacing(0, images, 1);
    GroupCommit group(directory / "group", allocated);
    Row row{"durable put, " + std::to_string(threads) + " writers, n=1,000", "put/s", Better::More,
            "bare group commit", target};
    row.disturbed = repeat(settings.rounds, [&] {
        const double ours =
            seconds_of_threads(threads, each, [&](std::size_t thread, std::size_t i) {
                store.put_and_wait(
                    replacing[(thread * (images / threads) + i % (images / threads))]);
            });
        const double bare =
            seconds_of_threads(threads, each, [&](std::size_t, std::size_t) { group.append(); });
        const double alone =
            seconds_of_threads(1, each, [&](std::size_t, std::size_t) { group.append(); });
        if (bare > static_cast<double>(threads) * alone / fold)
            return false;
        row.ours.push_back(static_cast<double>(threads * each) / ours);
        row.other.push_back(static_cast<double>(threads * each) / bare);
        return true;
    });
    return row;
}

std::vector<Row> put_by_many(const Settings &settings) {
    return {put_by(settings, 8, 1.1, 1), put_by(settings, 64, 1.5, 8)};
}

std::vector<Row> put_latency(const Settings &settings) {
    constexpr std::size_t many = 100'000, few = 100, puts = 100, turns = 4;
    const Directory directory(settings, "latency");
    OpenStore large(settings.library, directory / "large");
    large.fill(many);
    OpenStore small(settings.library, directory / "small");
    small.fill(few);
    const PreparedImages into_large(0, 5'000, 1);
    const PreparedImages into_small(0, few, 1);
    Row median{"put latency n=100,000, median", "us", Better::Less, "n=100", 1.05};
    Row p99 = median;
    p99.name = "put latency n=100,000, p99";
    p99.target_ratio = 1.2;
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

/// Puts until a rotation has begun; then how long each takes until its snapshot is done.
std::vector<Row> put_latency_beside_snapshot(const Settings &settings) {
    constexpr std::size_t images = 10'000, a_burst = 500, alone = 1'000, between_looks = 8;
    const Directory directory(settings, "snapshot");
    OpenStore store(settings.library, directory / "store");
    store.fill(images);
    const PreparedImages replacing(0, images, 1), hurried(0, a_burst, 2);
    Row p99{"put latency while a snapshot is written, p99", "us", Better::Less, "while none is", 5};
    Row longest{"the longest of them", "us", Better::Less, ""};
    std::size_t next = 0;
    const auto put = [&](std::size_t) { store.put_and_wait(replacing[next++ % images]); };
    for (std::size_t round = 0; round < settings.rounds; ++round) {
        const auto idle = seconds_of_each(alone, put);
        const std::uint64_t generation = store.stat("generation");
        const std::uint64_t snapshots = store.stat("snapshots");
        while (store.stat("generation") == generation)
            put_all(store, hurried);
        std::vector<double> beside;
        while (store.stat("snapshots") == snapshots)
            for (const double each : seconds_of_each(between_looks, put))
                beside.push_back(each);
        p99.ours.push_back(1e6 * quantile(beside, 0.99));
        p99.other.push_back(1e6 * quantile(idle, 0.99));
        longest.ours.push_back(1e6 * quantile(beside, 1));
    }
    return {p99, longest};
}

std::vector<Row> burst(const Settings &settings) {
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

/// One thread that keeps 1,024 puts under way.
std::vector<Row> pipeline(const Settings &settings) {
    constexpr std::size_t outstanding = 1024, puts = 50'000, allocated = 256u << 20;
    const Directory directory(settings, "pipeline");
    OpenStore store(settings.library, directory / "store");
    store.fill(outstanding);
    const PreparedImages images(0, outstanding, 1);
    const waybill_api *api = store.api();
    Row row{"puts through futures, 1,024 under way", "put/s", Better::More, "appends of 1 MB"};
    row.target_value = 150'000;
    for (std::size_t round = 0; round < settings.rounds; ++round) {
        std::vector<waybill_future *> futures(outstanding);
        const auto finish = [&](waybill_future *future) {
            const std::int32_t code = api->future_wait(future, -1, nullptr);
            api->future_free(future);
            require(code, "put");
        };
        const Clock::time_point began = Clock::now();
        for (std::size_t i = 0; i < puts; ++i) {
            waybill_future *&future = futures[i % outstanding];
            if (i >= outstanding)
                finish(future);
            require(api->put(store.get_c(), &images[i % outstanding], 1, &future, nullptr), "put");
        }
        for (waybill_future *future : futures)
            finish(future);
        row.ours.push_back(puts / seconds_since(began));
        AppendedFile file(directory / "file", allocated);
        const Clock::time_point began_bare = Clock::now();
        for (std::size_t done = 0; done < puts; done += outstanding)
            file.append(outstanding * record_bytes);
        row.other.push_back(puts / seconds_since(began_bare));
    }
    return {row};
}

/// From the put to the completion in the queue, less the sync that is in it.
std::vector<Row> completion(const Settings &settings) {
    constexpr std::size_t images = 1000, puts = 300, allocated = 64u << 20;
    const Directory directory(settings, "completion");
    OpenStore store(settings.library, directory / "store");
    store.fill(images);
    const PreparedImages replacing(0, images, 1);
    const waybill_api *api = store.api();
    waybill_queue *queue = nullptr;
    require(api->queue_create(&queue, nullptr), "queue_create");
    AppendedFile file(directory / "file", allocated);
    Row row{"put to completion by eventfd", "us", Better::Less, "append into zeroed space"};
    Row beyond{"the same beyond the append", "us", Better::Less, "", {}, 30};
    row.disturbed = repeat(settings.rounds, [&] {
        const auto put = [&](std::size_t i) {
            waybill_future *future = nullptr;
            require(api->put(store.get_c(), &replacing[i % images], 1, &future, nullptr), "put");
            require(api->queue_attach(queue, future, i, nullptr), "queue_attach");
            pollfd readable{api->queue_fd(queue), POLLIN, 0};
            if (::poll(&readable, 1, -1) != 1)
                throw std::runtime_error("poll");
            waybill_completion done{};
            std::uint32_t count = 0;
            require(api->queue_drain(queue, &done, 1, &count, nullptr), "queue_drain");
            require(done.status, "put");
            api->future_free(future);
        };
        const auto ours = seconds_of_each(puts, put);
        const auto bare = seconds_of_each(puts, [&](std::size_t) { file.append(record_bytes); });
        if (disturbed(ours) || disturbed(bare))
            return false;
        row.ours.push_back(median_us(ours));
        row.other.push_back(median_us(bare));
        beyond.ours.push_back(median_us(ours) - median_us(bare));
        return true;
    });
    api->queue_free(queue);
    return {row, beyond};
}

} // namespace bench
