/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: Waybill contributors
 */
#include "bench_measure.h"

#include "bare_disk.h"
#include "bench_images.h"
#include "interruption.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <chrono>
#include <functional>
#include <future>
#include <random>

namespace cli {
namespace {

using Clock = std::chrono::steady_clock;

/** Time and not a number of calls bounds a turn: disks differ a thousandfold. */
constexpr std::chrono::milliseconds put_turn{350};
constexpr std::chrono::milliseconds get_turn{150};
constexpr std::size_t images_per_call = 1'000;

double seconds_since(Clock::time_point began) {
    return std::chrono::duration<double>(Clock::now() - began).count();
}

double median(std::vector<double> values) {
    const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
    std::nth_element(values.begin(), middle, values.end());
    if (values.size() % 2 != 0)
        return *middle;
    return (*middle + *std::max_element(values.begin(), middle)) / 2;
}

void check(std::int32_t code, const waybill_error &error) {
    if (code != WAYBILL_OK)
        throw waybill::Error(code,
                             error.message[0] != '\0' ? error.message : waybill::code_name(code));
}

waybill_error no_error() {
    waybill_error error{};
    error.struct_size = sizeof error;
    return error;
}

/** The store through the C table: what std::future adds is the wrapper's. */
class BenchStore final {
  public:
    BenchStore(const waybill::Library &library, const std::string &directory)
        : api_(library.api()),
          store_(waybill::Store::create(library, nlohmann::json({{"root", directory}}).dump())) {}

    void recover() { store_.recover().get(); }

    /** Returns when they are durable. */
    void put(const waybill_image_spec *specs, std::size_t count) {
        waybill_error error = no_error();
        waybill_future *future = nullptr;
        check(api_->put(store_.get_c(), specs, static_cast<std::uint32_t>(count), &future, &error),
              error);
        const std::int32_t code = api_->future_wait(future, -1, &error);
        api_->future_free(future);
        check(code, error);
    }

    void get(const std::string &name) const {
        waybill_error error = no_error();
        waybill_image *image = nullptr;
        check(api_->get(store_.get_c(), nullptr, name.c_str(), 1, &image, &error), error);
        api_->image_free(image);
    }

    std::size_t record_bytes() const {
        const auto stats = nlohmann::json::parse(store_.report("stats"));
        return stats.at("recordBytes").get<std::size_t>() / stats.at("images").get<std::size_t>();
    }

  private:
    const waybill_api *api_;
    waybill::Store store_;
};

void fill(BenchStore &store, std::size_t count) {
    for (std::size_t first = 0; first < count; first += images_per_call) {
        Interruption::check();
        const BenchImages images(first, std::min(images_per_call, count - first), 0);
        store.put(images.data(), images.size());
    }
}

std::vector<std::size_t> shuffled(std::size_t count) {
    std::vector<std::size_t> order(count);
    for (std::size_t i = 0; i < count; ++i)
        order[i] = i;
    std::shuffle(order.begin(), order.end(), std::mt19937_64(count));
    return order;
}

/** Nothing that a file system or a disk could compress. */
std::vector<std::uint8_t> random_bytes(std::size_t count) {
    std::mt19937_64 random(count);
    std::vector<std::uint8_t> bytes(count);
    for (std::uint8_t &byte : bytes)
        byte = static_cast<std::uint8_t>(random());
    return bytes;
}

struct Turn {
    double us = 0; ///< median of the calls, where each was timed
    double per_second = 0;
};

/** Calls `work` one after the other for the time of a turn. */
Turn turn_of_one(const std::function<void()> &work) {
    std::vector<double> us;
    const Clock::time_point began = Clock::now();
    for (Clock::time_point last = began; last < began + put_turn && !Interruption::noted();) {
        work();
        const Clock::time_point now = Clock::now();
        us.push_back(std::chrono::duration<double, std::micro>(now - last).count());
        last = now;
    }
    const double seconds = seconds_since(began);
    Interruption::check();
    return {median(us), static_cast<double>(us.size()) / seconds};
}

/** Calls `work(writer, n)` from all writers at once for the time of a turn. */
Turn turn_of_many(const std::function<void(std::size_t, std::size_t)> &work) {
    std::vector<std::future<std::size_t>> writers;
    const Clock::time_point began = Clock::now();
    for (std::size_t writer = 0; writer < bench_writers; ++writer)
        writers.push_back(std::async(std::launch::async, [&work, writer, began] {
            std::size_t done = 0;
            while (Clock::now() < began + put_turn && !Interruption::noted())
                work(writer, done++);
            return done;
        }));
    std::size_t done = 0;
    for (std::future<std::size_t> &writer : writers)
        done += writer.get();
    const double seconds = seconds_since(began);
    Interruption::check();
    return {0, static_cast<double>(done) / seconds};
}

/** The turns of one kind of put and of the bare disk, round by round. */
class Rounds final {
  public:
    void add(const Turn &put, const Turn &bare) {
        us_.push_back(put.us);
        bare_us_.push_back(bare.us);
        per_second_.push_back(put.per_second);
        bare_per_second_.push_back(bare.per_second);
        // A disk's speed drifts within seconds; two turns side by side saw the same disk.
        ratio_.push_back(put.per_second / bare.per_second);
    }

    PutFigures figures() const {
        return {median(us_), median(bare_us_), median(per_second_), median(bare_per_second_),
                median(ratio_)};
    }

  private:
    std::vector<double> us_, bare_us_, per_second_, bare_per_second_, ratio_;
};

/** Nanoseconds of a get, for each time that every image was looked up once. */
std::vector<double> turn_of_gets(const BenchStore &store, const std::vector<std::string> &names) {
    std::vector<double> ns;
    const Clock::time_point turn_began = Clock::now();
    do {
        const Clock::time_point began = Clock::now();
        for (const std::string &name : names)
            store.get(name);
        ns.push_back(1e9 * seconds_since(began) / static_cast<double>(names.size()));
        Interruption::check();
    } while (Clock::now() < turn_began + get_turn);
    return ns;
}

double recover_ms(const waybill::Library &library, const std::string &directory,
                  std::size_t rounds) {
    std::vector<double> ms;
    for (std::size_t round = 0; round < rounds; ++round) {
        Interruption::check();
        BenchStore store(library, directory);
        const Clock::time_point began = Clock::now();
        store.recover();
        ms.push_back(1e3 * seconds_since(began));
    }
    return median(ms);
}

void measure_puts_and_gets(BenchStore &store, const ScratchDirectory &scratch,
                           const BenchSize &size, BenchFigures &figures) {
    const BenchImages replacing(0, std::min(size.images, images_per_call), 1);
    const std::vector<std::size_t> put_order = shuffled(replacing.size());
    std::vector<std::string> names;
    for (const std::size_t number : shuffled(size.images))
        names.push_back(bench_image_name(number));
    const std::vector<std::uint8_t> record = random_bytes(store.record_bytes());
    AppendedFile appended(scratch / "appended");
    GroupCommit group(scratch / "group");
    Rounds one, many;
    std::vector<double> get_ns;
    std::size_t next = 0;
    const auto put = [&](std::size_t number) {
        store.put(replacing.data() + put_order[number % put_order.size()], 1);
    };
    for (std::size_t round = 0; round < size.rounds; ++round) {
        const Turn put_by_one = turn_of_one([&] { put(next++); });
        one.add(put_by_one, turn_of_one([&] { appended.append(record); }));
        const Turn put_by_many = turn_of_many(
            [&](std::size_t writer, std::size_t n) { put(n * bench_writers + writer); });
        many.add(put_by_many,
                 turn_of_many([&](std::size_t, std::size_t) { group.append(record); }));
        const std::vector<double> ns = turn_of_gets(store, names);
        get_ns.insert(get_ns.end(), ns.begin(), ns.end());
    }
    figures.record_bytes = record.size();
    figures.one_writer = one.figures();
    figures.many_writers = many.figures();
    figures.get_ns = median(get_ns);
}

} // namespace

BenchFigures measure(const waybill::Library &library, const ScratchDirectory &scratch,
                     const BenchSize &size) {
    const std::string directory = scratch / "store";
    {
        BenchStore store(library, directory);
        store.recover();
        fill(store, size.images);
    }
    BenchFigures figures;
    figures.disk_bytes_per_image =
        static_cast<double>(bytes_on_disk(directory)) / static_cast<double>(size.images);
    figures.recover_ms = recover_ms(library, directory, size.rounds);
    BenchStore store(library, directory);
    store.recover();
    measure_puts_and_gets(store, scratch, size, figures);
    return figures;
}

} // namespace cli
