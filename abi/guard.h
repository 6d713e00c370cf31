// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors
//
// The only try block between the host and us. Reporting allocates nothing.
#pragma once

#include "conversion.h"

#include "plugin/thread_memory.h"

#include <exception>
#include <new>

namespace waybill {

/// Runs `body`, which answers for an operation that may have begun: only it can say what became of
/// that. Nothing thrown passes.
template <typename Body> std::int32_t guarded_answer(waybill_error *error, Body body) noexcept {
    (void)has_thread_memory();
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

/// Runs `body`, which returns a Status, and answers its code. Nothing thrown passes.
template <typename Body> std::int32_t guarded(waybill_error *error, Body body) noexcept {
    if (!has_thread_memory())
        return report_text(Code::NoMemory, "memory ran out", error);
    return guarded_answer(error, body);
}

/// For functions without a status.
template <typename Body> void guarded(Body body) noexcept {
    (void)has_thread_memory();
    try {
        body();
    } catch (...) {
        // A free or a logged line that fails has nobody to tell.
    }
}

} // namespace waybill
