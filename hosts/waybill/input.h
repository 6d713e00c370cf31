/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: Waybill contributors
 *
 * Standard input, or a file that was named, line by line.
 */
#ifndef WAYBILL_CLI_INPUT_H
#define WAYBILL_CLI_INPUT_H

#include "stream_error.h"

#include <waybill/waybill.hpp>

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace cli {

/** A stream could not be opened or read: what has come of it may be a part. */
class InputError final : public StreamError {
  public:
    InputError(const std::string &stream, int sys_errno)
        : StreamError(input_failed, stream, sys_errno) {}
};

/** The lines of a stream, each as soon as it is there. Its end is where the system says so, never
 *  where reading fails. std::istream tells the two apart for nobody, and takes a pipe that is set
 *  non-blocking and has nothing to give yet for one that has ended. */
class Input final {
  public:
    /** [blocking] Opens the file; "-" is standard input. Longer lines than `line_bytes_max` are
     *  refused: a stream that never ends a line must not take all memory. Throws InputError. */
    Input(const std::string &path, std::size_t line_bytes_max);
    Input(const Input &) = delete;
    Input &operator=(const Input &) = delete;
    ~Input();

    /** [blocking] The next line, without its end; false at the end of the stream. What stands
     * behind the last end of a line is a line. Throws InputError, WAYBILL_ELIMIT, and
     * WAYBILL_EINVAL for a NUL byte, which would cut short what is made of the line. */
    bool next(std::string &line);

    /** Of the line that `next` gave last, or is about to give: 1 and up. */
    std::uint64_t line_number() const noexcept { return line_number_; }

    /** "standard input", or the path. */
    const std::string &name() const noexcept { return name_; }

  private:
    bool fill();
    void add(std::string &line, std::size_t end);
    [[noreturn]] void refuse(std::int32_t code, const std::string &why,
                             std::int64_t position) const;

    const std::string name_;
    const std::size_t line_bytes_max_;
    int descriptor_;
    std::vector<char> buffer_;
    std::size_t begin_ = 0; ///< of what has been read and not been given
    std::size_t end_ = 0;
    std::uint64_t line_number_ = 0;
    bool has_ended_ = false;
};

} // namespace cli

#endif
