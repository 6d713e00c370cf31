// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors
//
// A system call that a signal of the host's interrupted has not failed.
#pragma once

#include <cerrno>

namespace waybill {

/// Makes the call, which answers a negative number on failure, until no signal interrupts it.
template <typename Call> auto uninterrupted(Call call) {
    auto result = call();
    while (result < 0 && errno == EINTR)
        result = call();
    return result;
}

} // namespace waybill
