/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: Waybill contributors
 *
 * Puts from standard input, many under way at once, each acknowledged once it is durable.
 */
#ifndef WAYBILL_CLI_PUT_STREAM_H
#define WAYBILL_CLI_PUT_STREAM_H

#include "options.h"

#include <waybill/waybill.hpp>

namespace cli {

/** [blocking] Reads one JSON object a line until the end of standard input. For each it prints
 *  "ok REFERENCE REVISION" as soon as the image is on stable storage, in the order of the lines.
 *  The first failure ends it; everything before is acknowledged, and it throws that failure. */
void put_stream(waybill::Store &store, const Options &options);

} // namespace cli

#endif
