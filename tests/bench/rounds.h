// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors
//
// What all measurements share: clocks, rounds, places.
#pragma once

#include "measurements.h"

#include <chrono>
#include <cstddef>
#include <functional>
#include <string>
#include <vector>

namespace bench {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point began);

/// Seconds of each of `count` calls of `work(i)`.
std::vector<double> seconds_of_each(std::size_t count,
                                    const std::function<void(std::size_t)> &work);
double sum(const std::vector<double> &values);
double median_us(const std::vector<double> &seconds);

/// A sync that finds both cores busy takes one tick of the scheduler, 4 ms, whatever is synced.
bool disturbed(const std::vector<double> &seconds);

/// Calls `round()` until it has answered true `rounds` times, but at most three times as often;
/// what it answered false to has been disturbed. Returns how often that was.
std::size_t repeat(std::size_t rounds, const std::function<bool()> &round);

std::vector<std::size_t> shuffled(std::size_t count);

/// A directory that is gone with the object.
class Directory final {
  public:
    Directory(const Settings &settings, const char *name);
    ~Directory();
    Directory(const Directory &) = delete;
    Directory &operator=(const Directory &) = delete;

    std::string operator/(const char *name) const { return path_ + '/' + name; }

  private:
    std::string path_;
};

} // namespace bench
