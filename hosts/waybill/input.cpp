/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: Waybill contributors
 */
#include "input.h"

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace cli {
namespace {

constexpr std::size_t buffer_bytes = 64u << 10;

int open_file(const std::string &path) {
    if (path == "-")
        return STDIN_FILENO;
    int descriptor;
    do // A FIFO is waited for, and a signal may come meanwhile.
        descriptor = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY);
    while (descriptor < 0 && errno == EINTR);
    return descriptor;
}

} // namespace

Input::Input(const std::string &path, std::size_t line_bytes_max)
    : name_(path == "-" ? "standard input" : path), line_bytes_max_(line_bytes_max),
      descriptor_(open_file(path)) {
    if (descriptor_ < 0)
        throw InputError(name_, errno);
}

Input::~Input() {
    if (descriptor_ != STDIN_FILENO)
        close(descriptor_);
}

/** False at the end of the stream. */
bool Input::fill() {
    buffer_.resize(buffer_bytes);
    for (;;) {
        const ssize_t got = read(descriptor_, buffer_.data(), buffer_.size());
        if (got >= 0) {
            begin_ = 0;
            end_ = static_cast<std::size_t>(got);
            return got > 0;
        }
        // Whoever set the descriptor non-blocking, for the program or for another that shares it,
        // did not mean an end.
        if (errno == EAGAIN || errno == EWOULDBLOCK) {
            pollfd waited_for{descriptor_, POLLIN, 0};
            if (poll(&waited_for, 1, -1) < 0 && errno != EINTR)
                throw InputError(name_, errno);
        } else if (errno != EINTR) {
            throw InputError(name_, errno);
        }
    }
}

void Input::refuse(std::int32_t code, const std::string &why, std::int64_t position) const {
    throw waybill::Error(code, name_ + ", line " + std::to_string(line_number_) + ": " + why,
                         "line", position);
}

/** What has been read up to `end` belongs to the line. */
void Input::add(std::string &line, std::size_t end) {
    const std::size_t count = end - begin_;
    if (count > line_bytes_max_ - line.size())
        refuse(WAYBILL_ELIMIT, "longer than " + std::to_string(line_bytes_max_) + " bytes", -1);
    line.append(buffer_.data() + begin_, count);
    begin_ = end;
}

bool Input::next(std::string &line) {
    line.clear();
    if (has_ended_)
        return false;
    ++line_number_;
    for (bool is_whole = false; !is_whole;) {
        if (begin_ == end_ && !fill()) {
            has_ended_ = true; // A terminal would go on behind its end.
            if (line.empty())
                return false;
            break;
        }
        const void *found = std::memchr(buffer_.data() + begin_, '\n', end_ - begin_);
        is_whole = found != nullptr;
        add(line, is_whole
                      ? static_cast<std::size_t>(static_cast<const char *>(found) - buffer_.data())
                      : end_);
        begin_ += is_whole ? 1 : 0;
    }
    if (const std::size_t nul = line.find('\0'); nul != std::string::npos)
        refuse(WAYBILL_EINVAL, "NUL byte", static_cast<std::int64_t>(nul));
    return true;
}

} // namespace cli
