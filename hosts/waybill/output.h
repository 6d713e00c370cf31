/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: Waybill contributors
 *
 * Standard output and standard error, with every write checked.
 */
#ifndef WAYBILL_CLI_OUTPUT_H
#define WAYBILL_CLI_OUTPUT_H

#include <waybill/waybill.hpp>

#include <nlohmann/json.hpp>

#include <string_view>
#include <system_error>

namespace cli {

/** Standard output took no more: a full disk, or a reader that has gone (EPIPE). */
class OutputError final : public std::system_error {
  public:
    explicit OutputError(int sys_errno)
        : std::system_error(sys_errno, std::generic_category(), "standard output") {}
};

/** Makes descriptors 0 to 2 exist: otherwise the store's files would get their numbers, and what is
 *  printed would end up in a journal. A stream that was closed still fails when it is used. */
void reserve_standard_streams();

/** [blocking] Writes all of the text; nothing is held back. Throws OutputError. */
void print(std::string_view text);

/** [blocking] Prints a document: indented, or on one line for streams of them. */
void print_json(const nlohmann::ordered_json &document);
void print_json_line(const nlohmann::ordered_json &document);

/** One line on standard error: "waybill: message (field, byte N)", or a JSON object. */
void print_error(const waybill::Error &error, bool json);

/** The same without a status code behind it: "waybill: message", or {"warning": message}. */
void print_warning(std::string_view message, bool json);

} // namespace cli

#endif
