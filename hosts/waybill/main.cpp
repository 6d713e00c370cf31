/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: Waybill contributors
 *
 * waybill: the store on the command line, and the sample of a C++ host.
 */
#include "help.h"
#include "options.h"
#include "output.h"
#include "session.h"

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include <csignal>
#include <string_view>

namespace cli {
namespace {

void add_options(CLI::App &app, Options &options) {
    app.add_option("--root", options.root,
                   "The store's directory. Default: /var/lib/waybill for root, otherwise "
                   "$XDG_DATA_HOME/waybill or ~/.local/share/waybill")
        ->type_name("DIR");
    options.name_space = waybill::default_namespace;
    app.add_option("--namespace", options.name_space, "The namespace to work in")
        ->type_name("NS")
        ->capture_default_str();
    app.add_option("--references", options.references,
                   "How names are read; fixed when the store is made. Default: canonical")
        ->check(CLI::IsMember({"canonical", "opaque", "mesos"}).description(""))
        ->type_name("canonical|opaque|mesos");
    app.add_option("--layers", options.layers, "Where to look for layers")->type_name("DIR");
    options.layout = "oci";
    app.add_option("--layout", options.layout,
                   "How they lie there: oci is DIR/blobs/<algorithm>/<hex>, mesos is "
                   "DIR/layers/<id>/rootfs")
        ->check(CLI::IsMember({"mesos", "oci"}).description(""))
        ->type_name("mesos|oci")
        ->capture_default_str();
    options.library = waybill::soname;
    app.add_option("--library", options.library, "The library to load")
        ->type_name("PATH")
        ->capture_default_str();
    app.add_flag("--json", options.json, "Print JSON, errors too");
}

int print_version(const Options &options) {
    const waybill::Library library(options.library);
    if (options.json)
        print_json({{"cli", WAYBILL_VERSION},
                    {"library", library.version()},
                    {"abi", library.abi_version()}});
    else
        print(fmt::format("waybill {}\nlibrary {}\nABI {}\n", WAYBILL_VERSION,
                          library.version(), library.abi_version()));
    return exit_done;
}

int exit_code(const waybill::Error &error) {
    if (dynamic_cast<const waybill::LoadError *>(&error) != nullptr)
        return exit_failed;
    switch (error.code()) {
    case WAYBILL_EINVAL:
        return exit_usage;
    case WAYBILL_ENOTFOUND:
    case WAYBILL_EEXIST:
    case WAYBILL_ECONFLICT:
        return exit_problem;
    default:
        return exit_failed;
    }
}

/** The command line's own --json: the parser may have failed before it came to it. */
bool wants_json(int argc, char **argv) {
    for (int index = 1; index < argc && std::string_view(argv[index]) != "--"; ++index)
        if (std::string_view(argv[index]) == "--json")
            return true;
    return false;
}

/** A reader that has gone is no failure of ours: end as every filter does. By now the store is
 *  closed, which it would not be if the signal had come in the middle of a write. */
int end_by_broken_pipe() {
    std::signal(SIGPIPE, SIG_DFL);
    std::raise(SIGPIPE);
    return exit_failed;
}

int parse_and_run(int argc, char **argv) {
    CLI::App app("Which images does this node hold, and which layers are they made of?", "waybill");
    app.formatter(std::make_shared<HelpText>());
    Options options;
    Run run;
    bool version = false;
    add_options(app, options);
    app.add_flag("--version", version, "Print the versions of program, library and ABI");
    app.require_subcommand(0, 1);
    add_import(app, options, run);
    add_put(app, options, run);
    add_get(app, options, run);
    add_list(app, options, run);
    add_remove(app, options, run);
    add_prune(app, options, run);
    add_recovery(app, options, run);
    add_stats(app, options, run);
    add_bench(app, options, run);
    add_completion(app, options, run);
    app.footer("Exit codes: 0 done; 1 not found, a condition not met, or damage found; 2 usage; "
               "3 failed.\nExample:\n  waybill --root /tmp/store import oci ./demo --ref "
               "registry.example/demo");
    try {
        app.parse(argc, argv);
    } catch (const CLI::CallForHelp &) {
        print(app.help());
        return exit_done;
    } catch (const CLI::ParseError &error) {
        throw waybill::Error(WAYBILL_EINVAL, error.what());
    }
    if (version)
        return print_version(options);
    if (!run)
        throw waybill::Error(WAYBILL_EINVAL, "a command is required; see waybill --help");
    options.root = store_root(options.root);
    return run();
}

} // namespace
} // namespace cli

int main(int argc, char **argv) {
    std::signal(SIGPIPE, SIG_IGN);
    const bool json = cli::wants_json(argc, argv);
    try {
        cli::reserve_standard_streams();
        return cli::parse_and_run(argc, argv);
    } catch (const waybill::Error &error) {
        cli::print_error(error, json);
        return cli::exit_code(error);
    } catch (const cli::OutputError &error) {
        if (error.code().value() == EPIPE)
            return cli::end_by_broken_pipe();
        cli::print_error(error, json);
    } catch (const cli::StreamError &error) {
        cli::print_error(error, json);
    } catch (const std::exception &error) {
        cli::print_error({WAYBILL_EINTERNAL, error.what()}, json);
    }
    return cli::exit_failed;
}
