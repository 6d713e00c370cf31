// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors
//
// crash_explore: cuts the power of a store at every disk call of many workloads.
#include "exploration.h"

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include <atomic>
#include <chrono>
#include <mutex>
#include <optional>
#include <thread>

using namespace waybill::crash;

int main(int argc, char **argv) {
    CLI::App app("Cuts the power of a store at every disk call, in every way there is");
    std::optional<std::uint64_t> seed;
    std::uint64_t random_workloads = 500, first = 0;
    unsigned threads = std::max(1u, std::thread::hardware_concurrency());
    Bounds bounds;
    app.add_option("--seed", seed, "Only this workload, as a failure names it");
    app.add_option("--random", random_workloads, "Workloads at random, after the small ones")
        ->capture_default_str();
    app.add_option("--first", first, "Number of the first random workload after the small ones")
        ->capture_default_str();
    app.add_option("--states", bounds.states_per_call, "States looked at, at most, at one call")
        ->capture_default_str();
    app.add_option("--second", bounds.second_cut_one_in, "One recovery in so many is cut again")
        ->capture_default_str();
    app.add_option("--threads", threads)->capture_default_str();
    CLI11_PARSE(app, argc, argv);

    const std::uint64_t small = small_workloads();
    std::atomic<std::uint64_t> next{seed.value_or(0)};
    const std::uint64_t end = seed ? *seed + 1 : small + random_workloads;
    std::mutex mutex;
    Counts counts;
    std::string failure;
    const auto work = [&] {
        Exploration exploration(bounds);
        for (std::uint64_t taken = next++; taken < end; taken = next++) {
            const std::uint64_t number = !seed && taken >= small ? taken + first : taken;
            const Workload done = workload(number);
            const std::string lost = exploration.run(done);
            if (lost.empty())
                continue;
            const std::lock_guard lock(mutex);
            if (failure.empty())
                failure = fmt::format("--seed {}: {}\n  {}", number, done.text(), lost);
            next = end;
        }
        const std::lock_guard lock(mutex);
        counts.add(exploration.counts());
    };
    const auto began = std::chrono::steady_clock::now();
    std::vector<std::jthread> workers;
    for (unsigned i = 0; i < (seed ? 1 : threads); ++i)
        workers.emplace_back(work);
    workers.clear();
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - began;

    fmt::print("{} workloads, {} of them all the small ones there are\n"
               "{} disk calls at which the power was cut, {} of them sampled\n"
               "{} crash states, {} of them second cuts; {} kills, {} failing calls, "
               "{} damaged records; {:.0f} s\n",
               counts.workloads, small, counts.calls, counts.sampled_calls, counts.states,
               counts.second_cuts, counts.kills, counts.faults, counts.rotted, took.count());
    if (!failure.empty()) {
        fmt::print(stderr, "LOST: {}\n", failure);
        return 1;
    }
    fmt::print("lost: 0\n");
    return 0;
}
