// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors
//
// The only try block between the host and us. Reporting allocates nothing.
#pragma once

#include "conversion.h"

#include <exception>
#include <new>

namespace waybill {

/// Runs `body`, which returns a Status, and answers its code. Nothing thrown passes.
template <typename Body> std::int32_t guarded(waybill_error *error, Body body) noexcept {
    try {
        return report(body(), error);
    } catch (const std::bad_alloc &) {
        return report_text(Code::NoMemory, "memory ran out", error);
    } catch (const std::exception &thrown) {
        return report_text(Code::Internal, thrown.what(), error);
    } catch (...) {
        return report_text(Code::Internal, "an unknown exception", error);
    }
}

/// For functions without a status.
template <typename Body> void guarded(Body body) noexcept {
    try {
        body();
    } catch (...) {
        // A free or a logged line that fails has nobody to tell.
    }
}

} // namespace waybill
