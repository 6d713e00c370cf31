/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: Waybill contributors
 *
 * Standard output and standard error, with every write checked.
 */
#ifndef WAYBILL_CLI_OUTPUT_H
#define WAYBILL_CLI_OUTPUT_H

#include "stream_error.h"

#include <waybill/waybill.hpp>

#include <nlohmann/json.hpp>

#include <string_view>

namespace cli {

/** Standard output took no more: a full disk, or a reader that has gone (EPIPE). */
class OutputError final : public StreamError {
  public:
    explicit OutputError(int sys_errno)
        : StreamError(output_failed, "standard output", sys_errno) {}
};

/** Makes descriptors 0 to 2 exist: otherwise the store's files would get their numbers, and what is
 *  printed would end up in a journal. A stream that was closed still fails when it is used.
 *  Throws waybill::Error if they cannot be had. */
void reserve_standard_streams();

/** [blocking] Writes all of the text, and waits where a descriptor that is set non-blocking takes
 *  none now; nothing is held back. Throws OutputError. */
void print(std::string_view text);

/** [blocking] Prints a document: indented, or on one line for streams of them. */
void print_json(const nlohmann::ordered_json &document);
void print_json_line(const nlohmann::ordered_json &document);

/** One line on standard error: "waybill: message (field, byte N)", or a JSON object. Who closes
 *  standard error wants none: that it takes no more is passed over, here and in the two below. */
void print_error(const waybill::Error &error, bool json);
void print_error(const StreamError &error, bool json);

/** The same without a status code behind it: "waybill: message", or {"warning": message}. */
void print_warning(std::string_view message, bool json);

} // namespace cli

#endif
