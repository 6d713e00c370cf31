// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors
#include "compared_rows.h"

#include "engine_profiles.h"

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <stdexcept>

namespace bench {

std::vector<double> ratios(const ComparedRow &row, const std::string &engine) {
    Row pair;
    if (const auto ours = row.values.find(our_name); ours != row.values.end())
        pair.ours = ours->second;
    if (const auto other = row.values.find(engine); other != row.values.end())
        pair.other = other->second;
    return pair.ratios();
}

std::string with_commas(std::size_t number) {
    const std::string digits = std::to_string(number);
    std::string text;
    for (std::size_t i = 0; i < digits.size(); ++i) {
        if (i > 0 && (digits.size() - i) % 3 == 0)
            text += ',';
        text += digits[i];
    }
    return text;
}

static std::string figure(double value) {
    if (value >= 1000)
        return with_commas(static_cast<std::size_t>(value + 0.5));
    char text[32];
    std::snprintf(text, sizeof text, value >= 100 ? "%.0f" : value >= 10 ? "%.1f" : "%.3g", value);
    return text;
}

static std::string spread(const std::vector<double> &values) {
    return figure(quantile(values, 0)) + " - " + figure(quantile(values, 1));
}

/// In columns, without blanks at the end.
static std::string line_of(const std::string &engine, const std::string &median,
                           const std::string &values, const std::string &ratio,
                           const std::string &ratio_spread, const std::string &mark) {
    char text[256];
    std::snprintf(text, sizeof text, "  %-19s %10s  %-23s %9s  %-19s %s", engine.c_str(),
                  median.c_str(), values.c_str(), ratio.c_str(), ratio_spread.c_str(),
                  mark.c_str());
    std::string line = text;
    line.erase(line.find_last_not_of(' ') + 1);
    return line + '\n';
}

void print(const ComparedRow &row) {
    std::string text = "\n" + row.name + ": " + row.unit + ", " +
                       (row.better == Better::More ? "more" : "less") + " is better";
    if (row.disturbed > 0)
        text += "; " + std::to_string(row.disturbed) + " disturbed rounds dropped";
    text += '\n' + line_of("", "median", "spread", "waybill:", "spread", "");
    for (const EngineProfile &engine : engine_profiles()) {
        const auto found = row.values.find(engine.name);
        if (found == row.values.end())
            continue;
        const std::vector<double> &values = found->second;
        const std::vector<double> compared = ratios(row, engine.name);
        if (values.empty())
            text += line_of(engine.name, "-", "no round was quiet", "", "", "");
        else if (engine.name == our_name || compared.empty())
            text += line_of(engine.name, figure(quantile(values, 0.5)), spread(values), "", "",
                            engine.mark);
        else
            text += line_of(engine.name, figure(quantile(values, 0.5)), spread(values),
                            figure(quantile(compared, 0.5)), spread(compared), engine.mark);
    }
    for (const std::string &reason : row.skipped)
        text += "  skipped " + reason + '\n';
    std::fputs(text.c_str(), stdout);
    std::fflush(stdout);
}

static std::string quoted(const std::string &text) {
    std::string json = "\"";
    for (const char c : text) {
        if (c == '"' || c == '\\')
            json += '\\';
        json += static_cast<unsigned char>(c) < ' ' ? ' ' : c;
    }
    return json + '"';
}

static std::string number(double value) {
    char text[32];
    std::snprintf(text, sizeof text, "%.6g", value);
    return text;
}

static std::string engine_json(const ComparedRow &row, const EngineProfile &engine,
                               const std::vector<double> &values) {
    std::string list;
    for (const double value : values)
        list += (list.empty() ? "" : ",") + number(value);
    std::string json = "    {\"engine\":" + quoted(engine.name) +
                       ",\"note\":" + quoted(engine.note) + ",\"values\":[" + list + ']';
    if (!values.empty())
        json += ",\"median\":" + number(quantile(values, 0.5));
    const std::vector<double> compared = ratios(row, engine.name);
    if (engine.name != our_name && !compared.empty())
        json += ",\"ratio\":" + number(quantile(compared, 0.5)) +
                ",\"ratioLeast\":" + number(quantile(compared, 0)) +
                ",\"ratioGreatest\":" + number(quantile(compared, 1));
    return json + '}';
}

static std::string row_json(const ComparedRow &row) {
    std::string json = "  {\"row\":" + quoted(row.name) + ",\"unit\":" + quoted(row.unit) +
                       ",\"better\":" + (row.better == Better::More ? "\"more\"" : "\"less\"") +
                       ",\"images\":" + std::to_string(row.images) +
                       ",\"disturbedRounds\":" + std::to_string(row.disturbed);
    json += ",\"skipped\":[";
    for (std::size_t i = 0; i < row.skipped.size(); ++i)
        json += (i > 0 ? "," : "") + quoted(row.skipped[i]);
    json += "],\"engines\":[";
    bool first = true;
    for (const EngineProfile &engine : engine_profiles())
        if (const auto found = row.values.find(engine.name); found != row.values.end()) {
            json += (first ? "\n" : ",\n") + engine_json(row, engine, found->second);
            first = false;
        }
    return json + "]}";
}

std::string to_json(const About &about, const std::vector<ComparedRow> &rows) {
    std::string json = "{\"name\":" + quoted(about.name) + ",\n \"date\":" + quoted(about.date) +
                       ",\n \"kernel\":" + quoted(about.kernel) +
                       ",\n \"processors\":" + std::to_string(about.processors) +
                       ",\n \"fileSystem\":" + quoted(about.file_system) +
                       ",\n \"packages\":" + quoted(about.packages) +
                       ",\n \"rounds\":" + std::to_string(about.rounds) + ",\n \"rows\":[";
    for (std::size_t i = 0; i < rows.size(); ++i)
        json += (i > 0 ? ",\n" : "\n") + row_json(rows[i]);
    return json + "\n ]}\n";
}

static void write_table(const std::string &path, const std::vector<std::string> &engines,
                        const std::map<double, const ComparedRow *> &points) {
    std::ofstream file(path);
    file << "x";
    for (const std::string &engine : engines)
        file << ' ' << engine;
    file << '\n';
    for (const auto &[x, row] : points) {
        file << x;
        for (const std::string &engine : engines) {
            const auto found = row->values.find(engine);
            if (found == row->values.end() || found->second.empty())
                file << " ?";
            else
                file << ' ' << quantile(found->second, 0.5);
        }
        file << '\n';
    }
    file.close();
    if (!file)
        throw std::runtime_error(path + ": cannot be written");
}

void write_chart_tables(const std::string &directory, const std::vector<ComparedRow> &rows) {
    std::map<std::string, std::map<double, const ComparedRow *>> charts;
    for (const ComparedRow &row : rows)
        if (!row.chart.empty())
            charts[row.chart][row.chart_x] = &row;
    for (const auto &[chart, points] : charts) {
        std::vector<std::string> engines;
        for (const EngineProfile &engine : engine_profiles())
            if (std::any_of(points.begin(), points.end(), [&](const auto &point) {
                    const auto &values = point.second->values;
                    const auto found = values.find(engine.name);
                    return found != values.end() && !found->second.empty();
                }))
                engines.push_back(engine.name);
        write_table(directory + '/' + chart + ".table", engines, points);
    }
}

} // namespace bench
