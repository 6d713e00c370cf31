// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors
//
// The accessors: from a record to the caller's views.
#pragma once

#include "conversion.h"

namespace waybill {

Status view_image(const waybill_image *image, waybill_image_view *view);
Status view_layer(const waybill_image *image, std::uint32_t index, waybill_layer_view *view);
Status view_label(const waybill_image *image, std::uint32_t index, waybill_pair *pair);
Status view_annotation(const waybill_image *image, std::uint32_t index, waybill_pair *pair);

} // namespace waybill
