// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors
//
// The host's configuration: one JSON object, strict.
#pragma once

#include "limits.h"
#include "reference.h"
#include "status.h"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace waybill {

enum class LayerLayout { Mesos, Oci };

struct LayerSettings {
    std::string root; ///< absolute
    LayerLayout layout = LayerLayout::Oci;
};

struct Settings {
    std::string root; ///< absolute, no "." or ".." component
    bool create = true;
    bool read_only = false;
    /// Absent: what the store has, and Canonical for a new one. A value that differs from the
    /// store's is refused by recovery.
    std::optional<ReferenceMode> references;
    std::optional<LayerSettings> layers;
    int threads = limits::threads_default;
    std::uint64_t images_max = limits::images_max_default;
    std::uint64_t record_bytes_max = limits::record_bytes_max_default;
    std::uint64_t journal_bytes = limits::journal_bytes_default;
};

/// Parses the JSON of the C API's `create`. Every failure is Invalid (or Limit) with the key's
/// path as field ("config.layers.layout"); an unknown key names the nearest known one; broken
/// JSON gives the byte position.
Result<Settings> parse_settings(std::string_view json);

} // namespace waybill
