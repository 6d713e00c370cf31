/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: Waybill contributors
 */
#include "text.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <ctime>

namespace cli {
namespace {

constexpr std::int64_t second_ns = 1'000'000'000;

std::int64_t now_ns() {
    const auto now = std::chrono::system_clock::now().time_since_epoch();
    return std::chrono::duration_cast<std::chrono::nanoseconds>(now).count();
}

std::size_t width(std::string_view text) {
    return static_cast<std::size_t>(std::count_if(text.begin(), text.end(), [](char byte) {
        return (static_cast<unsigned char>(byte) & 0xC0) != 0x80;
    }));
}

} // namespace

std::string printable(std::string_view text) {
    std::string result;
    for (std::size_t at = 0; at < text.size(); ++at) {
        const auto byte = static_cast<unsigned char>(text[at]);
        const auto next = static_cast<unsigned char>(at + 1 < text.size() ? text[at + 1] : 0);
        if (byte < 0x20 || byte == 0x7F) {
            result += fmt::format("\\x{:02x}", byte);
        } else if (byte == 0xC2 && next >= 0x80 && next < 0xA0) {
            result += fmt::format("\\x{:02x}", next);
            ++at;
        } else {
            result += text[at];
        }
    }
    return result;
}

std::string short_digest(std::string_view digest) {
    const std::size_t colon = digest.find(':');
    return std::string(colon == std::string_view::npos ? digest : digest.substr(colon + 1, 12));
}

std::string size_text(std::uint64_t bytes) {
    if (bytes == 0)
        return "-";
    if (bytes < 1000)
        return fmt::format("{} B", bytes);
    static constexpr const char *units[] = {"kB", "MB", "GB", "TB", "PB", "EB"};
    double value = static_cast<double>(bytes) / 1000;
    std::size_t unit = 0;
    for (; value >= 999.95 && unit + 1 < std::size(units); ++unit)
        value /= 1000;
    return fmt::format("{:.1f} {}", value, units[unit]);
}

std::string age_text(std::int64_t time_ns) {
    if (time_ns == 0)
        return "-";
    const std::int64_t seconds = (now_ns() - time_ns) / second_ns;
    if (seconds < 0)
        return time_text(time_ns);
    if (seconds < 2)
        return "just now";
    struct Unit {
        const char *name;
        std::int64_t seconds;
    };
    static constexpr Unit units[] = {{"year", 31'557'600}, {"month", 2'629'800}, {"week", 604'800},
                                     {"day", 86'400},      {"hour", 3'600},      {"minute", 60},
                                     {"second", 1}};
    const Unit *unit = std::begin(units);
    // From two of a unit on, so that 13 days do not become "1 week ago".
    while (seconds < 2 * unit->seconds && unit->seconds > 1)
        ++unit;
    return fmt::format("{} {}s ago", seconds / unit->seconds, unit->name);
}

std::string time_text(std::int64_t time_ns) {
    if (time_ns == 0)
        return {};
    std::int64_t seconds = time_ns / second_ns;
    std::int64_t fraction_ns = time_ns % second_ns;
    if (fraction_ns < 0) {
        fraction_ns += second_ns;
        --seconds;
    }
    const auto time = static_cast<std::time_t>(seconds);
    std::tm parts{};
    gmtime_r(&time, &parts);
    return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:09}Z", parts.tm_year + 1900,
                       parts.tm_mon + 1, parts.tm_mday, parts.tm_hour, parts.tm_min, parts.tm_sec,
                       fraction_ns);
}

std::int64_t parse_time(const std::string &text, const char *field) {
    std::tm parts{};
    int length = 0;
    const int found =
        std::sscanf(text.c_str(), "%4d-%2d-%2dT%2d:%2d:%2d%n", &parts.tm_year, &parts.tm_mon,
                    &parts.tm_mday, &parts.tm_hour, &parts.tm_min, &parts.tm_sec, &length);
    auto at = static_cast<std::size_t>(length);
    std::int64_t fraction_ns = 0;
    if (found == 6 && at < text.size() && text[at] == '.') {
        std::int64_t digit_ns = second_ns / 10;
        for (++at; at < text.size() && text[at] >= '0' && text[at] <= '9'; ++at, digit_ns /= 10)
            fraction_ns += (text[at] - '0') * digit_ns;
    }
    parts.tm_year -= 1900;
    parts.tm_mon -= 1;
    const std::tm written = parts;
    const std::int64_t seconds = found == 6 ? static_cast<std::int64_t>(timegm(&parts)) : -1;
    // timegm takes 31 April for 1 May.
    const bool exists = parts.tm_mon == written.tm_mon && parts.tm_mday == written.tm_mday &&
                        parts.tm_hour == written.tm_hour && parts.tm_min == written.tm_min;
    constexpr std::int64_t seconds_max = 7'289'654'400; // the year 2201; 64 bits end in 2262
    if (!exists || seconds < 0 || seconds >= seconds_max || text.substr(at) != "Z")
        throw waybill::Error(WAYBILL_EINVAL, "not a time such as 2026-01-31T12:00:00Z", field);
    return seconds * second_ns + fraction_ns;
}

std::vector<std::string> states(const waybill::Image &image) {
    std::vector<std::string> result;
    if (image.incomplete())
        result.emplace_back("incomplete");
    if (image.uncertain())
        result.emplace_back("uncertain");
    if (image.resurrected())
        result.emplace_back("resurrected");
    if (image.pinned())
        result.emplace_back("pinned");
    return result;
}

std::string state_text(const waybill::Image &image) {
    const std::vector<std::string> words = states(image);
    return words.empty() ? "ok" : fmt::format("{}", fmt::join(words, ","));
}

std::string Table::text() const {
    std::vector<std::size_t> widths(rows_.front().size(), 0);
    for (const auto &row : rows_)
        for (std::size_t column = 0; column < row.size(); ++column)
            widths[column] = std::max(widths[column], width(row[column]));
    std::string result;
    for (const auto &row : rows_) {
        for (std::size_t column = 0; column < row.size(); ++column) {
            result += row[column];
            if (column + 1 < row.size())
                result.append(widths[column] - width(row[column]) + 3, ' ');
        }
        result += '\n';
    }
    return result;
}

} // namespace cli
