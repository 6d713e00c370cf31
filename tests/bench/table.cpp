// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors
#include "table.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

namespace bench {

double quantile(std::vector<double> values, double share) {
    if (values.empty())
        return 0;
    std::sort(values.begin(), values.end());
    const double at = share * static_cast<double>(values.size() - 1);
    const auto below = static_cast<std::size_t>(at);
    const std::size_t above = std::min(below + 1, values.size() - 1);
    return values[below] + (values[above] - values[below]) * (at - std::floor(at));
}

std::vector<double> Row::ratios() const {
    std::vector<double> ratios;
    for (std::size_t i = 0; i < std::min(ours.size(), other.size()); ++i)
        ratios.push_back(ours[i] / other[i]);
    return ratios;
}

std::optional<bool> Row::meets_target() const {
    if (ours.empty())
        return std::nullopt;
    const auto reached = [this](double got, double wanted) {
        return better == Better::More ? got >= wanted : got <= wanted;
    };
    if (target_ratio)
        return reached(quantile(ratios(), 0.5), *target_ratio);
    if (target_value)
        return reached(value(), *target_value);
    return std::nullopt;
}

static std::string number(double value) {
    char text[32];
    std::snprintf(text, sizeof text, value >= 100 ? "%.0f" : value >= 10 ? "%.1f" : "%.2f", value);
    return text;
}

static std::string range(const std::vector<double> &values) {
    return values.empty() ? "-" : number(quantile(values, 0)) + "-" + number(quantile(values, 1));
}

static std::string target_text(const Row &row) {
    const std::optional<bool> met = row.meets_target();
    if (!met)
        return "";
    const std::string sign = row.better == Better::More ? ">= " : "<= ";
    return sign +
           (row.target_ratio ? number(*row.target_ratio) + " x" : number(*row.target_value)) +
           (*met ? "  met" : "  MISSED");
}

void print(const std::vector<Row> &rows) {
    std::printf("%-38s %-8s %9s %15s  %-24s %9s %15s %6s %11s  %s\n", "what", "unit", "median",
                "spread", "against", "median", "spread", "ratio", "spread", "target");
    for (const Row &row : rows) {
        const std::vector<double> ratios = row.ratios();
        std::printf(
            "%-38s %-8s %9s %15s  %-24s %9s %15s %6s %11s  %s", row.name.c_str(), row.unit.c_str(),
            number(row.value()).c_str(), range(row.ours).c_str(), row.other_name.c_str(),
            row.other.empty() ? "" : number(quantile(row.other, 0.5)).c_str(),
            range(row.other).c_str(), ratios.empty() ? "" : number(quantile(ratios, 0.5)).c_str(),
            range(ratios).c_str(), target_text(row).c_str());
        if (row.disturbed > 0)
            std::printf("  (%zu disturbed rounds)", row.disturbed);
        std::printf("\n");
    }
}

static std::string json_list(const std::vector<double> &values) {
    std::string json = "[";
    for (const double value : values) {
        char text[32];
        std::snprintf(text, sizeof text, "%.6g", value);
        json += (json.size() > 1 ? "," : "") + std::string(text);
    }
    return json + "]";
}

std::string to_json(const std::vector<Row> &rows) {
    std::string json = "[";
    for (const Row &row : rows) {
        // No name holds a character that JSON would want escaped.
        json += json.size() > 1 ? ",\n " : "\n ";
        json += R"({"name":")" + row.name + R"(","unit":")" + row.unit + R"(","against":")" +
                row.other_name + R"(","median":)" + std::to_string(row.value()) + R"(,"values":)" +
                json_list(row.ours) + R"(,"againstValues":)" + json_list(row.other) +
                R"(,"ratio":)" +
                (row.other.empty() ? "null" : std::to_string(quantile(row.ratios(), 0.5)));
        if (const std::optional<bool> met = row.meets_target())
            json += std::string(R"(,"target":)") +
                    std::to_string(row.target_ratio ? *row.target_ratio : *row.target_value) +
                    R"(,"met":)" + (*met ? "true" : "false");
        json += R"(,"disturbedRounds":)" + std::to_string(row.disturbed) + "}";
    }
    return json + "\n]\n";
}

} // namespace bench
