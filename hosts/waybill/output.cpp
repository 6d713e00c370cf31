/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: Waybill contributors
 */
#include "output.h"

#include "system_error.h"
#include "text.h"

#include <fmt/format.h>

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <cerrno>

namespace cli {
namespace {

/** 0, or errno. */
int write_all(int descriptor, std::string_view text) {
    while (!text.empty()) {
        const ssize_t written = write(descriptor, text.data(), text.size());
        if (written > 0) {
            text.remove_prefix(static_cast<std::size_t>(written));
        } else if (written == 0) {
            return EIO;
        } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
            // Whoever shares the descriptor set it non-blocking, and its reader is slow.
            pollfd waited_for{descriptor, POLLOUT, 0};
            if (poll(&waited_for, 1, -1) < 0 && errno != EINTR)
                return errno;
        } else if (errno != EINTR) {
            return errno;
        }
    }
    return 0;
}

std::string dump(const nlohmann::ordered_json &document, int indent) {
    return document.dump(indent, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
}

} // namespace

void reserve_standard_streams() {
    // Opened the wrong way round on purpose: reading standard input or writing standard output is
    // then EBADF, as on the closed descriptor. open takes the lowest number, so order matters.
    const int modes[] = {O_WRONLY, O_RDONLY, O_WRONLY};
    for (int descriptor = 0; descriptor <= 2; ++descriptor)
        if (fcntl(descriptor, F_GETFD) < 0 && errno == EBADF)
            if (open("/dev/null", modes[descriptor]) < 0)
                throw system_error(fmt::format("descriptor {} is closed, and /dev/null cannot be "
                                               "opened in its place",
                                               descriptor),
                                   errno);
}

void print(std::string_view text) {
    if (const int failure = write_all(STDOUT_FILENO, text); failure != 0)
        throw OutputError(failure);
}

void print_json(const nlohmann::ordered_json &document) { print(dump(document, 2) + "\n"); }

void print_json_line(const nlohmann::ordered_json &document) { print(dump(document, -1) + "\n"); }

void print_error(const waybill::Error &error, bool json) {
    std::string line;
    if (json) {
        line = dump({{"error",
                      {{"code", error.code()},
                       {"name", error.name()},
                       {"message", error.what()},
                       {"field", error.field()},
                       {"position", error.position()}}}},
                    -1);
    } else {
        line = fmt::format("waybill: {}", printable(error.what()));
        if (!error.field().empty() && error.position() >= 0)
            line += fmt::format(" ({}, byte {})", error.field(), error.position());
        else if (!error.field().empty())
            line += fmt::format(" ({})", error.field());
    }
    (void)write_all(STDERR_FILENO, line + "\n");
}

void print_error(const StreamError &error, bool json) {
    const std::string line = json ? dump({{"error",
                                           {{"code", error.stream_code().number},
                                            {"name", error.stream_code().name},
                                            {"message", error.what()}}}},
                                         -1)
                                  : fmt::format("waybill: {}", printable(error.what()));
    (void)write_all(STDERR_FILENO, line + "\n");
}

void print_warning(std::string_view message, bool json) {
    const std::string line = json ? dump({{"warning", std::string(message)}}, -1)
                                  : fmt::format("waybill: {}", printable(message));
    (void)write_all(STDERR_FILENO, line + "\n");
}

} // namespace cli
