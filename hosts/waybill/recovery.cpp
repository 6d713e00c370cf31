/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: Waybill contributors
 */
#include "output.h"
#include "session.h"
#include "text.h"

#include <CLI/CLI.hpp>
#include <fmt/format.h>

namespace cli {
namespace {

using nlohmann::ordered_json;

std::string value_text(const ordered_json &value) {
    if (value.is_string())
        return printable(value.get<std::string>());
    if (value.is_boolean())
        return value.get<bool>() ? "yes" : "no";
    return value.dump();
}

/** "possiblyAcknowledged" as "possibly acknowledged". */
std::string words(const std::string &key) {
    std::string result;
    for (const char letter : key) {
        if (letter >= 'A' && letter <= 'Z') {
            result += ' ';
            result += static_cast<char>(letter - 'A' + 'a');
        } else {
            result += letter;
        }
    }
    return printable(result);
}

/** Any report, so that what later libraries add is shown, too. */
void add_report(std::string &text, const ordered_json &report, std::size_t indent) {
    for (const auto &[key, value] : report.items()) {
        const std::string name = std::string(indent, ' ') + words(key);
        if (value.is_object()) {
            text += name + "\n";
            add_report(text, value, indent + 2);
        } else if (value.is_array()) {
            text += fmt::format("{:<24} {}\n", name, value.empty() ? "none" : "");
            for (const auto &item : value) {
                std::string line(indent + 2, ' ');
                if (!item.is_object())
                    line += value_text(item);
                else
                    for (const auto &[item_key, item_value] : item.items())
                        line += words(item_key) + " " + value_text(item_value) + "  ";
                text += line.substr(0, line.find_last_not_of(' ') + 1) + "\n";
            }
        } else {
            text += fmt::format("{:<24} {}\n", name, value_text(value));
        }
    }
}

void print_report(const Options &options, const std::string &report_json) {
    const ordered_json report = ordered_json::parse(report_json);
    if (options.json) {
        print_json(report);
        return;
    }
    // What an operator looks for comes first; the rest follows as the library has it.
    ordered_json sorted;
    for (const char *key : {"images", "incompleteImages", "droppedTailBytes",
                            "possiblyAcknowledged", "damage", "degraded", "revision"})
        if (report.contains(key))
            sorted[key] = report[key];
    sorted.update(report);
    std::string text;
    add_report(text, sorted, 0);
    print(text);
}

int recover(const Options &options) {
    const Session session = open_store(options, Access::change);
    print_report(options, session.recovery.report_json);
    const ordered_json report = ordered_json::parse(session.recovery.report_json);
    const bool damaged = !report.value("damage", ordered_json::array()).empty();
    return damaged || report.value("degraded", false) ? exit_problem : exit_done;
}

int accept_loss(const Options &options) {
    Session session = open_store(options, Access::change);
    print_report(options, session.store.accept_loss().get().report_json);
    return exit_done;
}

int stats(const Options &options) {
    const Session session = open_store(options, Access::read);
    print_report(options, session.store.report("stats"));
    return exit_done;
}

} // namespace

void add_recovery(CLI::App &app, const Options &options, Run &run) {
    CLI::App *command = app.add_subcommand(
        "recover", "Mend what a crash left and report it; exit 1 if records were damaged");
    command->fallthrough();
    command->footer("Every command that writes does this first. A dropped tail is normal after a "
                    "crash; \"possibly\nacknowledged\" counts its records that were whole.\n"
                    "Example:\n  waybill recover --layers /var/lib/images --layout oci");
    command->callback([&options, &run] { run = [&options] { return recover(options); }; });

    command = app.add_subcommand("accept-loss",
                                 "Accept the damage that recover reported, so that prune works");
    command->fallthrough();
    command->footer("The damaged files stay in the store's directory \"damaged\".\n"
                    "Example:\n  waybill recover; waybill accept-loss");
    command->callback([&options, &run] { run = [&options] { return accept_loss(options); }; });
}

void add_stats(CLI::App &app, const Options &options, Run &run) {
    CLI::App *command = app.add_subcommand("stats", "Show counters and sizes");
    command->fallthrough();
    command->footer("Works beside a running host.\nExample:\n  waybill stats --json");
    command->callback([&options, &run] { run = [&options] { return stats(options); }; });
}

} // namespace cli
