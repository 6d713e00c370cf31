/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: Waybill contributors
 *
 * How --help looks.
 */
#ifndef WAYBILL_CLI_HELP_H
#define WAYBILL_CLI_HELP_H

#include <CLI/CLI.hpp>

#include <string>

namespace cli {

/** Names and types on the left, wrapped prose on the right, and nothing that repeats the prose. */
class HelpText final : public CLI::Formatter {
  public:
    std::string make_option(const CLI::Option *option, bool is_positional) const override;
    std::string make_subcommand(const CLI::App *command) const override;
    std::string make_footer(const CLI::App *command) const override;
};

} // namespace cli

#endif
