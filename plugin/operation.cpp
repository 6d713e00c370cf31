// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors
#include "operation.h"

#include "submissions.h"

namespace waybill {

void Operation::help() noexcept {
    if (const std::shared_ptr<Submissions> submissions = submissions_.lock())
        submissions->help(*this);
}

} // namespace waybill
