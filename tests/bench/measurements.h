// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors
//
// What is measured. Each measurement makes its own stores, compares within a round, and removes
// what it wrote.
#pragma once

#include "table.h"

#include <waybill/waybill.hpp>

#include <string>
#include <vector>

namespace bench {

struct Settings {
    waybill::Library library;
    std::string library_path;
    std::string directory;
    std::size_t rounds;
};

struct Measurement {
    const char *name;
    const char *what;
    std::vector<Row> (*run)(const Settings &settings);
};

const std::vector<Measurement> &measurements();

// put_measurements.cpp
std::vector<Row> put_by_one(const Settings &settings);
std::vector<Row> put_by_many(const Settings &settings);
std::vector<Row> put_latency(const Settings &settings);
std::vector<Row> put_latency_beside_snapshot(const Settings &settings);
std::vector<Row> burst(const Settings &settings);
std::vector<Row> pipeline(const Settings &settings);
std::vector<Row> completion(const Settings &settings);
// get_measurements.cpp
std::vector<Row> get(const Settings &settings);
std::vector<Row> get_beside_writers(const Settings &settings);
// recover_measurements.cpp
std::vector<Row> recover(const Settings &settings);
std::vector<Row> recover_million(const Settings &settings);
std::vector<Row> first_get(const Settings &settings);
std::vector<Row> empty_store(const Settings &settings);
std::vector<Row> overwrites(const Settings &settings);
// measurements.cpp
std::vector<Row> prune(const Settings &settings);

/// The part of `recover` that runs in a process of its own: loads the library, opens the store and
/// prints how long that took.
int recover_and_report(const std::string &library_path, const std::string &directory);

} // namespace bench
