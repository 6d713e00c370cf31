/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: Waybill contributors
 *
 * A failed system call of the program itself, as the library would report it.
 */
#ifndef WAYBILL_CLI_SYSTEM_ERROR_H
#define WAYBILL_CLI_SYSTEM_ERROR_H

#include <waybill/waybill.hpp>

#include <string>

namespace cli {

/** "what: No space left on device", with the code that fits. */
waybill::Error system_error(const std::string &what, int sys_errno);

} // namespace cli

#endif
