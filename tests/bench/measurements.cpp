// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors
#include "measurements.h"

#include "rounds.h"
#include "workload.h"

#include <stdexcept>

namespace bench {

std::vector<Row> prune(const Settings &settings) {
    constexpr std::size_t images = 10'000;
    const Directory directory(settings, "prune");
    OpenStore store(settings.library, directory / "store");
    std::vector<std::string> names;
    std::vector<const char *> keep;
    for (std::size_t i = 0; i < images; i += 2)
        names.push_back(canonical_name(i));
    for (const std::string &name : names)
        keep.push_back(name.c_str());
    Row row{"prune half of 10,000", "ms", Better::Less, "", {}, 10};
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
        {"put-many", "durable puts of 8 and 64 writers, against a bare group commit", put_by_many},
        {"latency", "a put among 100,000 images, against one among 100", put_latency},
        {"snapshot", "a put while a snapshot is written", put_latency_beside_snapshot},
        {"burst", "1,000 puts at once from one thread", burst},
        {"pipeline", "one thread with 1,024 puts under way", pipeline},
        {"completion", "a put that an eventfd tells the end of", completion},
        {"get", "lookups among 100, 10,000 and 100,000 images", get},
        {"get-beside", "lookups while 64 writers put", get_beside_writers},
        {"recover", "a fresh process opens 100,000 images", recover},
        {"million", "a fresh process opens 1,000,000 images", recover_million},
        {"first-get", "a fresh process opens 10,000 images and looks one up", first_get},
        {"empty", "a new store", empty_store},
        {"prune", "half of 10,000 images go", prune},
        {"overwrites", "1,000,000 puts over 10,000 images", overwrites},
    };
    return all;
}

} // namespace bench
