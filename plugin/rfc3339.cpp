// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors
#include "rfc3339.h"

#include <algorithm>
#include <chrono>

namespace waybill {

namespace {

/// `width` digits at `at`, or -1.
int digits_at(std::string_view text, std::size_t at, std::size_t width) {
    if (text.size() < at + width)
        return -1;
    int number = 0;
    for (const char digit : text.substr(at, width)) {
        if (digit < '0' || digit > '9')
            return -1;
        number = number * 10 + (digit - '0');
    }
    return number;
}

/// The zone behind the time: "Z" or "+hh:mm"; in seconds east of UTC.
std::optional<std::int64_t> parse_zone(std::string_view zone) {
    if (zone == "Z" || zone == "z")
        return 0;
    const int hours = digits_at(zone, 1, 2);
    const int minutes = digits_at(zone, 4, 2);
    if (zone.size() != 6 || (zone[0] != '+' && zone[0] != '-') || zone[3] != ':' || hours < 0 ||
        hours > 23 || minutes < 0 || minutes > 59)
        return std::nullopt;
    const std::int64_t seconds = hours * 3600 + minutes * 60;
    return zone[0] == '-' ? -seconds : seconds;
}

} // namespace

std::optional<std::int64_t> parse_rfc3339(std::string_view text) {
    const int year = digits_at(text, 0, 4), month = digits_at(text, 5, 2);
    const int day = digits_at(text, 8, 2), hour = digits_at(text, 11, 2);
    const int minute = digits_at(text, 14, 2), second = digits_at(text, 17, 2);
    if (std::min({year, month, day, hour, minute, second}) < 0 || text[4] != '-' ||
        text[7] != '-' || (text[10] != 'T' && text[10] != 't') || text[13] != ':' ||
        text[16] != ':' || hour > 23 || minute > 59 || second > 59)
        return std::nullopt;
    const std::chrono::year_month_day date{std::chrono::year(year),
                                           std::chrono::month(static_cast<unsigned>(month)),
                                           std::chrono::day(static_cast<unsigned>(day))};
    if (!date.ok())
        return std::nullopt;
    std::size_t at = 19;
    std::int64_t fraction_ns = 0;
    if (at < text.size() && text[at] == '.') {
        const std::size_t begin = ++at;
        // Digits beyond the ninth are below a nanosecond.
        for (std::int64_t unit = 100'000'000; digits_at(text, at, 1) >= 0; unit /= 10)
            fraction_ns += unit * digits_at(text, at++, 1);
        if (at == begin)
            return std::nullopt;
    }
    const auto zone_seconds = parse_zone(text.substr(at));
    if (!zone_seconds)
        return std::nullopt;
    const std::int64_t days = std::chrono::sys_days(date).time_since_epoch().count();
    const std::int64_t seconds = days * 86'400 + hour * 3600 + minute * 60 + second - *zone_seconds;
    constexpr std::int64_t seconds_max = INT64_MAX / 1'000'000'000 - 1;
    if (seconds > seconds_max || seconds < -seconds_max)
        return 0;
    return seconds * 1'000'000'000 + fraction_ns;
}

} // namespace waybill
