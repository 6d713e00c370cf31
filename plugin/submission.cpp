// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors
#include "submission.h"

#include "image_generated.h"

namespace waybill {

PutImage::PutImage(FramePtr its_frame, PutCondition its_condition,
                   std::uint64_t its_expected_revision)
    : frame(std::move(its_frame)), condition(its_condition),
      expected_revision(its_expected_revision), given_created_ns(image_of(*frame)->created_ns()),
      given_updated_ns(image_of(*frame)->updated_ns()) {}

} // namespace waybill
