// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors
//
// What the comparison found, and how it is shown.
#pragma once

#include "../table.h"

#include <cstddef>
#include <map>
#include <string>
#include <vector>

namespace bench {

/// One figure of all engines. values[engine][i] and values[our_name][i] belong to the same round.
struct ComparedRow {
    std::string name;
    std::string unit;
    Better better = Better::More;
    std::size_t images = 0;
    std::string chart = {}; ///< that the medians are drawn in, or ""
    double chart_x = 0;
    std::map<std::string, std::vector<double>> values = {};
    std::vector<std::string> skipped = {}; ///< "engine: why"
    std::size_t disturbed = 0;             ///< rounds dropped
};

struct About {
    std::string name, date, kernel, file_system, packages;
    std::size_t processors = 0, rounds = 0;
};

/// Waybill's figure divided by the engine's, round by round.
std::vector<double> ratios(const ComparedRow &row, const std::string &engine);

void print(const ComparedRow &row);
std::string to_json(const About &about, const std::vector<ComparedRow> &rows);
/// A file a chart in the directory, for charts.gnuplot: x and a column an engine.
void write_chart_tables(const std::string &directory, const std::vector<ComparedRow> &rows);

std::string with_commas(std::size_t number);

} // namespace bench
