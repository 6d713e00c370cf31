/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: Waybill contributors
 */
#include "output.h"

#include "text.h"

#include <fmt/format.h>

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>

namespace cli {
namespace {

/** 0, or errno. */
int write_all(int descriptor, std::string_view text) {
    while (!text.empty()) {
        const ssize_t written = write(descriptor, text.data(), text.size());
        if (written < 0 && errno == EINTR)
            continue;
        if (written < 0)
            return errno;
        text.remove_prefix(static_cast<std::size_t>(written));
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
            (void)open("/dev/null", modes[descriptor]);
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

void print_warning(std::string_view message, bool json) {
    const std::string line = json ? dump({{"warning", std::string(message)}}, -1)
                                  : fmt::format("waybill: {}", printable(message));
    (void)write_all(STDERR_FILENO, line + "\n");
}

} // namespace cli
