/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: Waybill contributors
 */
#include "help.h"

#include <fmt/format.h>

#include <sstream>

namespace cli {
namespace {

constexpr std::size_t name_columns = 30;
constexpr std::size_t line_columns = 90;

/** "  left   right", with the right side wrapped and lines without a left side below. */
std::string entry(const std::string &left, const std::string &right) {
    std::string result = "  " + left;
    std::size_t column = result.size();
    if (column + 2 > name_columns) {
        result += "\n";
        column = 0;
    }
    result.append(name_columns - column, ' ');
    column = name_columns;
    std::istringstream prose(right);
    for (std::string word; prose >> word; column += word.size() + 1) {
        if (column + word.size() > line_columns) {
            result.back() = '\n';
            result.append(name_columns, ' ');
            column = name_columns;
        }
        result += word + ' ';
    }
    result.back() = '\n';
    return result;
}

} // namespace

std::string HelpText::make_option(const CLI::Option *option, bool is_positional) const {
    std::string left = option->get_name(is_positional, !is_positional);
    for (std::size_t comma = left.find(','); comma != std::string::npos;
         comma = left.find(',', comma + 2))
        left.insert(comma + 1, " ");
    if (!is_positional && option->get_expected_max() > 0 && !option->get_type_name().empty())
        left += " " + option->get_type_name();
    std::string right = option->get_description();
    if (!option->get_default_str().empty())
        right += fmt::format(" (default: {})", option->get_default_str());
    return entry(left, right);
}

std::string HelpText::make_subcommand(const CLI::App *command) const {
    return entry(command->get_display_name(true), command->get_description());
}

std::string HelpText::make_footer(const CLI::App *command) const {
    std::string text = CLI::Formatter::make_footer(command);
    if (command->get_parent() != nullptr)
        text += "\nFor --root, --namespace, --json and more see: waybill --help\n";
    return text;
}

} // namespace cli
