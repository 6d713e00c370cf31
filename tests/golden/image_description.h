// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors
//
// What a host can see of a store, as JSON. The members that are compared are listed here, not taken
// from a report: a later library may say more, and may not say anything else.
#pragma once

#include <nlohmann/json.hpp>
#include <waybill/waybill.hpp>

#include <string>

namespace golden {

using nlohmann::json;

/// Everything that the accessors say.
json describe(const waybill::Image &image);
/// The same of what was put, without having been read.
json describe(const waybill::ImageSpec &spec, const std::string &reference, std::uint64_t revision,
              std::uint32_t state);
/// All images, in the order in which they are visited.
json describe_images(const waybill::Store &store);
/// Of a recovery's report, what depends on the files alone.
json describe_report(const std::string &report_json);

} // namespace golden
