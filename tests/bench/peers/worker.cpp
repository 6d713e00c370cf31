// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors
//
// A process that holds one engine and measures it. It reads one request a line and answers each
// with one line: "ok" and figures as key=value, "unsupported" and why, or "error" and what. It
// times its own work with a monotonic clock, so that no request and no answer is counted. The
// requests are described in README.md; go/worker/worker.go speaks the same.
#include "engine.h"

#include "../bare_loops.h"
#include "../table.h"

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <iostream>
#include <malloc.h>
#include <random>
#include <sstream>

namespace bench {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point began) {
    return std::chrono::duration<double>(Clock::now() - began).count();
}

template <typename Work> double milliseconds(const Work &work) {
    const Clock::time_point began = Clock::now();
    work();
    return 1e3 * seconds_since(began);
}

/// Numbers below `count` in an order that is the same each time for the same seed.
std::vector<std::size_t> shuffled(std::size_t count, std::size_t seed) {
    std::vector<std::size_t> order(count);
    for (std::size_t i = 0; i < count; ++i)
        order[i] = i;
    std::shuffle(order.begin(), order.end(), std::mt19937_64(seed));
    return order;
}

std::string figure(const char *key, double value) {
    char text[64];
    std::snprintf(text, sizeof text, " %s=%.9g", key, value);
    return text;
}

/// Images to be put over others, made before the clock runs.
struct Replacement {
    std::size_t number;
    std::uint32_t version;
    PreparedImages image;

    Replacement(std::size_t the_number, std::uint32_t the_version)
        : number(the_number), version(the_version), image(the_number, 1, the_version) {}
};

class Worker final {
  public:
    explicit Worker(std::unique_ptr<Engine> engine) : engine_(std::move(engine)) {}

    /// The figures that answer a request.
    std::string answer(const std::string &verb, std::istringstream &words);

  private:
    std::string start(const std::string &directory, std::size_t count, const std::string &what);
    std::string fill(std::size_t count);
    std::string put(std::size_t writers, std::size_t each, double budget_s);
    std::string mixed(std::size_t threads, std::size_t each, double budget_s);
    std::string get(std::size_t readers, std::size_t count, bool fields);
    std::string remove(std::size_t count, double budget_s);
    std::string prune_half();
    std::string dump(std::size_t first, std::size_t step, std::size_t count);

    using Replacements = std::vector<std::unique_ptr<Replacement>>;
    std::vector<Replacements> replacements(std::size_t writers, std::size_t each);
    void put_one(const Replacement &replacement) {
        engine_->put(replacement.image[0]);
        versions_[replacement.number] = replacement.version;
    }
    void expect_count(std::size_t count);

    std::unique_ptr<Engine> engine_;
    std::vector<std::string> names_;
    std::vector<std::uint32_t> versions_; ///< that each image was last put in
    std::uint32_t latest_version_ = 0;
};

void Worker::expect_count(std::size_t count) {
    versions_.assign(count, 0);
    if (names_.size() == count)
        return;
    names_.clear();
    for (std::size_t i = 0; i < count; ++i)
        names_.push_back(canonical_name(i));
}

std::string Worker::fill(std::size_t count) {
    expect_count(count);
    return figure("ms", milliseconds([&] { engine_->fill(count); }));
}

/// Opens the store and looks at one image or at all.
std::string Worker::start(const std::string &directory, std::size_t count,
                          const std::string &what) {
    expect_count(count);
    std::size_t images = count;
    const double ms = milliseconds([&] {
        engine_->open(directory);
        if (what == "list") {
            images = engine_->list();
        } else {
            const std::unique_ptr<Reader> reader = engine_->reader();
            reader->get(names_[count / 2]);
            reader->read_fields();
        }
    });
    return figure("ms", ms) + figure("images", static_cast<double>(images));
}

/// For each writer, of images that no other writer has. Each is in a version that was never put
/// before: an engine may write nothing where nothing changes, as SQLite does.
std::vector<Worker::Replacements> Worker::replacements(std::size_t writers, std::size_t each) {
    const std::vector<std::size_t> order = shuffled(names_.size(), latest_version_);
    const std::size_t own = std::min(order.size() / writers, each);
    if (own == 0)
        throw std::runtime_error("fewer images than writers");
    std::vector<Replacements> made(writers);
    for (std::size_t writer = 0; writer < writers; ++writer)
        for (std::size_t i = 0; i < each; ++i)
            made[writer].push_back(std::make_unique<Replacement>(
                order[writer * own + i % own],
                latest_version_ + 1 + static_cast<std::uint32_t>(i / own)));
    latest_version_ += 1 + static_cast<std::uint32_t>((each - 1) / own);
    return made;
}

/// Each writer stops when the budget is used up.
std::string Worker::put(std::size_t writers, std::size_t each, double budget_s) {
    const std::vector<Replacements> images = replacements(writers, each);
    std::vector<std::vector<double>> microseconds(writers);
    for (std::vector<double> &times : microseconds)
        times.reserve(each);
    const Clock::time_point started = Clock::now();
    const double seconds = seconds_of_threads(writers, 1, [&](std::size_t writer, std::size_t) {
        for (std::size_t i = 0; i < each && (i == 0 || seconds_since(started) < budget_s); ++i) {
            const Clock::time_point began = Clock::now();
            put_one(*images[writer][i]);
            microseconds[writer].push_back(1e6 * seconds_since(began));
        }
    });
    std::vector<double> all;
    for (const std::vector<double> &times : microseconds)
        all.insert(all.end(), times.begin(), times.end());
    return figure("per_s", static_cast<double>(all.size()) / seconds) +
           figure("p50_us", quantile(all, 0.5)) + figure("p99_us", quantile(all, 0.99)) +
           figure("count", static_cast<double>(all.size()));
}

/// Of twenty operations nineteen are gets of random images and one is a put.
std::string Worker::mixed(std::size_t threads, std::size_t each, double budget_s) {
    constexpr std::size_t one_put_in = 20;
    const std::vector<Replacements> images =
        replacements(threads, (each + one_put_in - 1) / one_put_in);
    const std::vector<std::size_t> order = shuffled(names_.size(), 1);
    std::vector<std::size_t> done(threads);
    const Clock::time_point started = Clock::now();
    const double seconds = seconds_of_threads(threads, 1, [&](std::size_t thread, std::size_t) {
        const std::unique_ptr<Reader> reader = engine_->reader();
        for (std::size_t i = 0; i < each; ++i) {
            if (i % one_put_in != 0) {
                reader->get(names_[order[(thread * each + i) % order.size()]]);
            } else {
                if (i > 0 && seconds_since(started) > budget_s)
                    break;
                put_one(*images[thread][i / one_put_in]);
            }
            ++done[thread];
        }
    });
    double all = 0;
    for (const std::size_t count : done)
        all += static_cast<double>(count);
    return figure("per_s", all / seconds);
}

/// The median over stretches of 50 gets, so that reading the clock costs next to nothing.
std::string Worker::get(std::size_t readers, std::size_t count, bool fields) {
    constexpr std::size_t stretch = 50;
    std::vector<std::vector<double>> nanoseconds(readers);
    std::vector<std::size_t> sums(readers);
    std::vector<std::vector<std::size_t>> orders;
    for (std::size_t reader = 0; reader < readers; ++reader)
        orders.push_back(shuffled(names_.size(), reader + 1));
    seconds_of_threads(readers, 1, [&](std::size_t thread, std::size_t) {
        const std::unique_ptr<Reader> reader = engine_->reader();
        const std::vector<std::size_t> &order = orders[thread];
        for (std::size_t i = 0; i < count; i += stretch) {
            const Clock::time_point began = Clock::now();
            for (std::size_t k = i; k < i + stretch; ++k) {
                reader->get(names_[order[k % order.size()]]);
                if (fields)
                    sums[thread] += reader->read_fields();
            }
            nanoseconds[thread].push_back(1e9 * seconds_since(began) / stretch);
        }
    });
    std::vector<double> all;
    for (const std::vector<double> &times : nanoseconds)
        all.insert(all.end(), times.begin(), times.end());
    return figure("ns", quantile(all, 0.5));
}

std::string Worker::remove(std::size_t count, double budget_s) {
    const std::vector<std::size_t> order = shuffled(names_.size(), 2);
    const Clock::time_point began = Clock::now();
    std::size_t done = 0;
    while (done < std::min(count, order.size()) && (done == 0 || seconds_since(began) < budget_s))
        engine_->remove(names_[order[done++]]);
    return figure("per_s", static_cast<double>(done) / seconds_since(began)) +
           figure("count", static_cast<double>(done));
}

std::string Worker::prune_half() {
    std::vector<std::string> keep;
    for (std::size_t i = 0; i < names_.size(); i += 2)
        keep.push_back(names_[i]);
    std::size_t removed = 0;
    const double ms = milliseconds([&] { removed = engine_->prune(keep); });
    return figure("ms", ms) + figure("images", static_cast<double>(removed));
}

/// Images first, first + step, …: the version that was put last and the record in the flat
/// encoding, for the driver to compare.
std::string Worker::dump(std::size_t first, std::size_t step, std::size_t count) {
    const std::unique_ptr<Reader> reader = engine_->reader();
    std::string records;
    for (std::size_t i = 0, number = first; i < count && number < names_.size();
         ++i, number += step) {
        reader->get(names_[number]);
        records += ' ' + std::to_string(number) + ':' + std::to_string(versions_[number]) + ':' +
                   to_hex(encode(reader->record()));
    }
    return records;
}

std::string Worker::answer(const std::string &verb, std::istringstream &words) {
    const auto number = [&] {
        std::size_t value = 0;
        if (!(words >> value))
            throw std::runtime_error(verb + ": a number is missing");
        return value;
    };
    const auto word = [&] {
        std::string value;
        if (!(words >> value))
            throw std::runtime_error(verb + ": a word is missing");
        return value;
    };
    // Function arguments have no order of evaluation, so each is taken by itself.
    if (verb == "open") {
        const std::string directory = word();
        return figure("ms", milliseconds([&] { engine_->open(directory); }));
    }
    if (verb == "start") {
        const std::string directory = word();
        const std::size_t count = number();
        return start(directory, count, word());
    }
    if (verb == "fill")
        return fill(number());
    if (verb == "put" || verb == "mixed") {
        const std::size_t threads = number(), each = number();
        const double budget_s = 1e-3 * static_cast<double>(number());
        return verb == "put" ? put(threads, each, budget_s) : mixed(threads, each, budget_s);
    }
    if (verb == "get") {
        const std::size_t readers = number(), count = number();
        return get(readers, count, word() == "fields");
    }
    if (verb == "remove") {
        const std::size_t count = number();
        return remove(count, 1e-3 * static_cast<double>(number()));
    }
    if (verb == "prune")
        return prune_half();
    if (verb == "list") {
        std::size_t images = 0;
        const double ms = milliseconds([&] { images = engine_->list(); });
        return figure("ms", ms) + figure("images", static_cast<double>(images));
    }
    if (verb == "dump") {
        const std::size_t first = number(), step = number();
        return dump(first, step, number());
    }
    if (verb == "compact")
        return engine_->compact(), "";
    if (verb == "close")
        return engine_->close(), "";
    if (verb == "settle")
        return ::malloc_trim(0), "";
    throw std::runtime_error(verb + ": no such request");
}

int serve() {
    Worker worker(make_engine());
    for (std::string line; std::getline(std::cin, line);) {
        std::istringstream words(line);
        std::string verb;
        words >> verb;
        if (verb == "quit")
            break;
        try {
            std::cout << "ok" + worker.answer(verb, words) << std::endl;
        } catch (const Unsupported &reason) {
            std::cout << "unsupported " << reason.what() << std::endl;
        } catch (const std::exception &error) {
            std::cout << "error " << error.what() << std::endl;
        }
    }
    return 0;
}

} // namespace
} // namespace bench

int main() {
    try {
        return bench::serve();
    } catch (const std::exception &error) {
        std::cout << "error " << error.what() << std::endl;
        return 1;
    }
}
