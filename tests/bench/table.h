// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors
//
// What was measured, and how it is shown.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

namespace bench {

/// The `share`-th part of the values, sorted: 0.5 is the median, 0 the least. 0 of no values.
double quantile(std::vector<double> values, double share);

enum class Better { More, Less };

/// One line of the table. Values stand in pairs: ours[i] and other[i] were taken one right after
/// the other, and only their ratio says something about the store rather than the disk.
struct Row {
    std::string name;
    std::string unit;
    Better better = Better::More;
    std::string other_name; ///< what it is compared with; "" if with nothing
    std::optional<double> target_ratio = {};
    std::optional<double> target_value = {};
    std::vector<double> ours = {};
    std::vector<double> other = {};
    std::size_t disturbed = 0; ///< rounds taken again since other work was on the machine

    double value() const { return quantile(ours, 0.5); }
    std::vector<double> ratios() const;
    /// Absent: there is no target.
    std::optional<bool> meets_target() const;
};

void print(const std::vector<Row> &rows);
std::string to_json(const std::vector<Row> &rows);

} // namespace bench
