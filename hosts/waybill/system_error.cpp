/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: Waybill contributors
 */
#include "system_error.h"

#include <cerrno>
#include <system_error>

namespace cli {
namespace {

std::int32_t code_of(int sys_errno) {
    switch (sys_errno) {
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
        return WAYBILL_ENOSPC;
    case EACCES:
    case EPERM:
    case EROFS:
        return WAYBILL_EACCES;
    case EMFILE:
    case ENFILE:
    case EAGAIN:
        return WAYBILL_EAGAIN;
    case ENOMEM:
        return WAYBILL_ENOMEM;
    default:
        return WAYBILL_EIO;
    }
}

} // namespace

waybill::Error system_error(const std::string &what, int sys_errno) {
    return waybill::Error(code_of(sys_errno),
                          what + ": " + std::generic_category().message(sys_errno), "", -1,
                          sys_errno);
}

} // namespace cli
