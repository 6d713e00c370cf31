/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: Waybill contributors
 *
 * A stream of the program's own that failed.
 */
#ifndef WAYBILL_CLI_STREAM_ERROR_H
#define WAYBILL_CLI_STREAM_ERROR_H

#include <cstdint>
#include <string>
#include <system_error>

namespace cli {

/** What is read or printed is neither the store nor its disk: none of the library's codes fits.
 *  Those are negative, so these never collide with one. */
struct StreamCode {
    std::int32_t number;
    const char *name;
};
inline constexpr StreamCode input_failed{1, "CLI_EINPUT"};
inline constexpr StreamCode output_failed{2, "CLI_EOUTPUT"};

/** "standard input: Connection reset by peer". */
class StreamError : public std::system_error {
  public:
    const StreamCode &stream_code() const noexcept { return code_; }

  protected:
    StreamError(const StreamCode &code, const std::string &stream, int sys_errno)
        : std::system_error(sys_errno, std::generic_category(), stream), code_(code) {}

  private:
    StreamCode code_;
};

} // namespace cli

#endif
