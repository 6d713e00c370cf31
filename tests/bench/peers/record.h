// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors
//
// One flat encoding of an image, for the engines that store bytes under a key: texts and lists
// with their length before them in two bytes, sizes in eight. Every field that the workload sets is
// in it.
#pragma once

#include <waybill/waybill.hpp>

#include <cstddef>
#include <string>
#include <string_view>

namespace bench {

std::string encode(const waybill_image_spec &image);
std::string encode(const waybill::ImageSpec &image);

/// Throws std::runtime_error if the record ends early or goes on behind its end.
waybill::ImageSpec decode(std::string_view record);

/// Reaches every field as text or number without copying it; returns a sum over all of them.
std::size_t walk(std::string_view record);

/// "" if both have the same fields, otherwise the first that differs and both values.
std::string difference(const waybill::ImageSpec &put, const waybill::ImageSpec &got);

std::string to_hex(std::string_view bytes);
std::string from_hex(std::string_view text);

} // namespace bench
