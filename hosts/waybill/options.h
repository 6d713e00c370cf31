/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: Waybill contributors
 *
 * What every command of the program shares: the options before the command, and how a command
 * enters the command line.
 */
#ifndef WAYBILL_CLI_OPTIONS_H
#define WAYBILL_CLI_OPTIONS_H

#include <functional>
#include <string>

namespace CLI {
class App;
}

namespace cli {

struct Options {
    std::string root; ///< absolute once the command line has been read
    std::string name_space;
    std::string references; ///< "": as the library has it
    std::string layers;     ///< "": layers are not looked for
    std::string layout;
    std::string library;
    bool json = false;
};

/** Exit codes. Scripts rely on them. */
inline constexpr int exit_done = 0;
inline constexpr int exit_problem = 1; ///< not found, a condition not met, damage
inline constexpr int exit_usage = 2;
inline constexpr int exit_failed = 3;

/** What the command line asks for; answers the exit code. */
using Run = std::function<int()>;

/** Each adds its commands to the command line. Parsing one of them sets `run`, which refers to
 *  `options`. */
void add_import(CLI::App &app, const Options &options, Run &run);
void add_put(CLI::App &app, const Options &options, Run &run);
void add_get(CLI::App &app, const Options &options, Run &run);
void add_remove(CLI::App &app, const Options &options, Run &run);
void add_list(CLI::App &app, const Options &options, Run &run);
void add_prune(CLI::App &app, const Options &options, Run &run);
void add_recovery(CLI::App &app, const Options &options, Run &run);
void add_stats(CLI::App &app, const Options &options, Run &run);
void add_bench(CLI::App &app, const Options &options, Run &run);
void add_completion(CLI::App &app, const Options &options, Run &run);

} // namespace cli

#endif
