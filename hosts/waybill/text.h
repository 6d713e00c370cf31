/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: Waybill contributors
 *
 * Values as people read them.
 */
#ifndef WAYBILL_CLI_TEXT_H
#define WAYBILL_CLI_TEXT_H

#include <waybill/waybill.hpp>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace cli {

/** Control characters as \xNN: opaque names can hold any, and a terminal would obey them. */
std::string printable(std::string_view text);

/** The first 12 hex digits. */
std::string short_digest(std::string_view digest);

/** "1.1 MB", decimal as the registries count; "-" for 0, which means not known. */
std::string size_text(std::uint64_t bytes);

/** "3 hours ago"; "-" for 0. */
std::string age_text(std::int64_t time_ns);

/** "2026-01-31T12:00:00.000000000Z"; "" for 0. */
std::string time_text(std::int64_t time_ns);

/** The inverse; the fraction may have 0 to 9 digits. Throws WAYBILL_EINVAL for `field`. */
std::int64_t parse_time(const std::string &text, const char *field);

/** "incomplete", "uncertain", "resurrected" and "pinned", as far as they hold. */
std::vector<std::string> states(const waybill::Image &image);

/** The same in one word, "ok" if none holds. */
std::string state_text(const waybill::Image &image);

/** Columns as wide as their widest cell. */
class Table final {
  public:
    explicit Table(std::vector<std::string> header) { add(std::move(header)); }

    void add(std::vector<std::string> row) { rows_.push_back(std::move(row)); }
    std::string text() const;

  private:
    std::vector<std::vector<std::string>> rows_;
};

} // namespace cli

#endif
