// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors
#include "status.h"

#include "thread_memory.h"

#include <cerrno>
#include <cstring>
#include <exception>
#include <new>

namespace waybill {

static Code code_of(int sys_errno) {
    switch (sys_errno) {
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
        return Code::NoSpace;
    case EACCES:
    case EPERM:
    case EROFS:
        return Code::Access;
    case ELOOP:
        return Code::Symlink;
    case ENOENT:
        return Code::NotFound;
    case ENOMEM:
        return Code::NoMemory;
    case EMFILE:
    case ENFILE:
    case EAGAIN:
        return Code::Again;
    default:
        return Code::Io;
    }
}

Status system_failure(int sys_errno, const std::string &what) {
    char text[128];
    // The GNU variant returns the text, which need not be in the buffer; no locale is consulted
    // beyond the host's own.
    const char *reason = ::strerror_r(sys_errno, text, sizeof text);
    return {code_of(sys_errno), sys_errno, -1, {}, what + ": " + reason};
}

/// The text is short enough to stand in the string itself.
static Status out_of_memory() noexcept { return failure(Code::NoMemory, "memory ran out"); }

Status thrown_failure() noexcept {
    try {
        throw;
    } catch (const std::bad_alloc &) {
        return out_of_memory();
    } catch (const std::exception &thrown) {
        try {
            return failure(Code::Internal, thrown.what());
        } catch (...) {
            return out_of_memory();
        }
    } catch (...) {
        return failure(Code::Internal, "unknown throw");
    }
}

Status copied(const Status &status) noexcept {
    if (has_thread_memory())
        try {
            return status;
        } catch (const std::bad_alloc &) {
        }
    return {status.code, status.sys_errno, status.position, {}, "(no memory)"};
}

} // namespace waybill
