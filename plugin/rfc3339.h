// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors
//
// Times in documents that others wrote. By hand: QDateTime ends at milliseconds, and what strptime
// reads depends on the host's locale.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace waybill {

/// An RFC 3339 time in nanoseconds since 1970, or nothing if it is none; 0 if it lies outside of
/// what 64 bits hold, as the year 1 does that Go writes for "no time".
std::optional<std::int64_t> parse_rfc3339(std::string_view text);

} // namespace waybill
