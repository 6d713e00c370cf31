// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors
#include "rounds.h"

#include <algorithm>
#include <filesystem>
#include <random>

namespace bench {

double seconds_since(Clock::time_point began) {
    return std::chrono::duration<double>(Clock::now() - began).count();
}

std::vector<double> seconds_of_each(std::size_t count,
                                    const std::function<void(std::size_t)> &work) {
    std::vector<double> seconds(count);
    for (std::size_t i = 0; i < count; ++i) {
        const Clock::time_point began = Clock::now();
        work(i);
        seconds[i] = seconds_since(began);
    }
    return seconds;
}

double sum(const std::vector<double> &values) {
    double total = 0;
    for (const double value : values)
        total += value;
    return total;
}

double median_us(const std::vector<double> &seconds) { return 1e6 * quantile(seconds, 0.5); }

bool disturbed(const std::vector<double> &seconds) { return quantile(seconds, 0.5) > 3e-3; }

std::size_t repeat(std::size_t rounds, const std::function<bool()> &round) {
    std::size_t good = 0, bad = 0;
    while (good < rounds && good + bad < 3 * rounds)
        round() ? ++good : ++bad;
    return bad;
}

std::vector<std::size_t> shuffled(std::size_t count) {
    std::vector<std::size_t> order(count);
    for (std::size_t i = 0; i < count; ++i)
        order[i] = i;
    std::shuffle(order.begin(), order.end(), std::mt19937_64(count));
    return order;
}

Directory::Directory(const Settings &settings, const char *name)
    : path_(settings.directory + '/' + name) {
    std::filesystem::remove_all(path_);
    std::filesystem::create_directories(path_);
}

Directory::~Directory() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
}

} // namespace bench
