// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors
//
// What a store asks of its host, in C++ terms.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

namespace waybill {

enum class Severity { Error = 3, Warning = 4, Info = 6, Debug = 7 };
enum class Presence { Missing, Present, Unknown };

/// `log` and `clock_ns` are always set; `layer_present` may be empty.
struct Host {
    std::function<void(Severity, const std::string &)> log;
    std::function<Presence(const char *)> layer_present;
    std::function<std::int64_t()> clock_ns;
};

} // namespace waybill
