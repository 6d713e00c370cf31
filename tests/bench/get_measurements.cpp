// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors
#include "bare_loops.h"
#include "rounds.h"
#include "workload.h"

#include <algorithm>
#include <atomic>
#include <stdexcept>
#include <thread>

namespace bench {
namespace {

enum class Look { Handle, EveryField };

/// Names one behind the other in the order in which they are asked for: who asks has just made or
/// read its name, so that it is in the cache.
class Names final {
  public:
    template <typename NameOf> Names(const std::vector<std::size_t> &order, NameOf name_of) {
        std::vector<std::size_t> starts;
        for (const std::size_t number : order) {
            starts.push_back(text_.size());
            text_ += name_of(number) + '\0';
        }
        for (const std::size_t start : starts)
            names_.push_back(text_.data() + start);
    }
    Names(const Names &) = delete;
    Names &operator=(const Names &) = delete;

    const std::vector<const char *> &all() const { return names_; }

  private:
    std::string text_;
    std::vector<const char *> names_;
};

void read_everything(const waybill_api *api, const waybill_image *found) {
    waybill_image_view view;
    view.struct_size = sizeof view;
    require(api->image_view(found, &view, nullptr), "image_view");
    for (std::uint32_t i = 0; i < view.layer_count; ++i) {
        waybill_layer_view layer;
        layer.struct_size = sizeof layer;
        require(api->image_layer(found, i, &layer, nullptr), "image_layer");
    }
    for (std::uint32_t i = 0; i < view.label_count; ++i) {
        waybill_pair pair;
        require(api->image_label(found, i, &pair, nullptr), "image_label");
    }
}

void get_all(OpenStore &store, const Names &names, Look look) {
    const waybill_api *api = store.api();
    for (const char *name : names.all()) {
        waybill_image *found = nullptr;
        require(api->get(store.get_c(), nullptr, name, 1, &found, nullptr), "get");
        if (look == Look::EveryField)
            read_everything(api, found);
        api->image_free(found);
    }
}

/// Of each of them; the first pass, which is not timed, has what fits into the cache be there.
double ns_of_gets(OpenStore &store, const Names &names, Look look = Look::Handle) {
    get_all(store, names, look);
    const std::size_t passes = std::max<std::size_t>(1, 100'000 / names.all().size());
    const Clock::time_point began = Clock::now();
    for (std::size_t pass = 0; pass < passes; ++pass)
        get_all(store, names, look);
    return 1e9 * seconds_since(began) / static_cast<double>(passes * names.all().size());
}

double ns_of_copies(const CopyingTable &table, const std::vector<std::string> &names) {
    unsigned total = 0;
    for (const std::string &name : names)
        total += table.get(name);
    const Clock::time_point began = Clock::now();
    for (const std::string &name : names)
        total += table.get(name);
    const double took = seconds_since(began);
    if (total == 0)
        throw std::runtime_error("the bare table copies nothing");
    return 1e9 * took / static_cast<double>(names.size());
}

/// Gets of each of two threads together, a second, as a multiple of one thread's.
void compare_threads(OpenStore &store, const Names &names, Row &row) {
    constexpr std::size_t gets = 2'000'000; // Or starting the threads would show.
    const std::size_t passes = std::max<std::size_t>(1, gets / names.all().size());
    const auto per_second = [&](std::size_t threads) {
        const double took = seconds_of_threads(threads, passes, [&](std::size_t, std::size_t) {
            get_all(store, names, Look::Handle);
        });
        return static_cast<double>(threads * passes * names.all().size()) / took;
    };
    row.ours.push_back(per_second(2));
    row.other.push_back(per_second(1));
}

std::vector<Row> gets_among(const Settings &settings, std::size_t images, double target_ns) {
    const Directory directory(settings, "get");
    OpenStore store(settings.library, directory / "store");
    store.fill(images);
    const std::vector<std::size_t> order = shuffled(images);
    const Names canonical(order, canonical_name), spelled(order, spelled_name);
    const Names hot(std::vector<std::size_t>(1000, order[0]), canonical_name);
    std::vector<std::string> texts;
    for (const std::size_t number : order)
        texts.push_back(canonical_name(number));
    const CopyingTable table(texts);
    const std::string n = ", n=" + std::to_string(images), other = "hash table, 1 KB copied";
    Row handle{"get + free" + n, "ns", Better::Less, other, {}, target_ns};
    Row fields{"get + every field as text + free" + n, "ns", Better::Less, other, {}, 600};
    Row typed{"get + free by the name as typed" + n, "ns", Better::Less, other};
    Row two{"gets of 2 threads" + n, "get/s", Better::More, "1 thread", 1.9};
    Row same{"gets of 2 threads, one image" + n, "get/s", Better::More, "1 thread", 1.9};
    for (std::size_t round = 0; round < settings.rounds; ++round) {
        handle.ours.push_back(ns_of_gets(store, canonical));
        handle.other.push_back(ns_of_copies(table, texts));
        fields.ours.push_back(ns_of_gets(store, canonical, Look::EveryField));
        typed.ours.push_back(ns_of_gets(store, spelled));
        compare_threads(store, canonical, two);
        compare_threads(store, hot, same);
    }
    fields.other = typed.other = handle.other;
    return {handle, fields, typed, two, same};
}

} // namespace

std::vector<Row> get(const Settings &settings) {
    std::vector<Row> rows;
    for (const auto &[images, target_ns] :
         {std::pair<std::size_t, double>{100, 80}, {10'000, 80}, {100'000, 250}})
        for (Row &row : gets_among(settings, images, target_ns))
            rows.push_back(std::move(row));
    return rows;
}

/// The median over stretches of gets: how long a get takes, not how often the thread must wait for
/// a processor.
std::vector<Row> get_beside_writers(const Settings &settings) {
    constexpr std::size_t images = 1024, writers = 64, stretch = 50, stretches = 2000;
    const Directory directory(settings, "get-beside");
    OpenStore store(settings.library, directory / "store");
    store.fill(images);
    const PreparedImages replacing(0, images, 1);
    const std::vector<std::size_t> order = shuffled(images);
    const Names names({order.begin(), order.begin() + stretch}, canonical_name);
    const auto ns = [&] {
        return 1e9 / stretch *
               quantile(seconds_of_each(stretches,
                                        [&](std::size_t) { get_all(store, names, Look::Handle); }),
                        0.5);
    };
    Row row{"get + free while 64 writers put", "ns", Better::Less, "nobody puts", 1.5};
    for (std::size_t round = 0; round < settings.rounds; ++round) {
        const double idle = ns();
        std::atomic<bool> stop{false};
        std::vector<std::thread> threads;
        for (std::size_t writer = 0; writer < writers; ++writer)
            threads.emplace_back([&, writer] {
                for (std::size_t i = writer; !stop; i += writers)
                    store.put_and_wait(replacing[i % images]);
            });
        row.ours.push_back(ns());
        row.other.push_back(idle);
        stop = true;
        for (std::thread &thread : threads)
            thread.join();
    }
    return {row};
}

} // namespace bench
