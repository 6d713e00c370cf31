/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: Waybill contributors
 */
#include "input.h"
#include "output.h"
#include "session.h"
#include "text.h"

#include <CLI/CLI.hpp>
#include <fmt/format.h>

namespace cli {
namespace {

/** Four times what a name may have, as the library takes it. */
constexpr std::size_t keep_line_bytes_max = 4096;
/** As many as the library takes: a list without end must not take all memory. */
constexpr std::size_t keep_names_max = 1'000'000;

struct Prune {
    std::vector<std::string> keep;
    std::string keep_file;
    bool reads_file = false;
    bool all = false;
    bool all_namespaces = false;
};

/** The whole list or an error: half of one would remove what its other half names. */
void read_keep_list(const std::string &path, std::vector<std::string> &keep) {
    Input input(path, keep_line_bytes_max);
    for (std::string line; input.next(line);) {
        if (!line.empty() && line.back() == '\r')
            line.pop_back();
        if (line.empty())
            continue;
        if (keep.size() == keep_names_max)
            throw waybill::Error(
                WAYBILL_ELIMIT, fmt::format("{}: more than {} names", input.name(), keep_names_max),
                "keep-file");
        keep.push_back(line);
    }
}

std::vector<std::string> keep_list(const Prune &prune) {
    std::vector<std::string> keep = prune.keep;
    if (prune.reads_file)
        read_keep_list(prune.keep_file, keep);
    if (keep.empty() && !prune.all)
        throw waybill::Error(WAYBILL_EINVAL,
                             "nothing to keep was named; --all removes every unpinned image",
                             "keep");
    return keep;
}

nlohmann::ordered_json blobs_json(const std::vector<waybill::Blob> &blobs) {
    auto document = nlohmann::ordered_json::array();
    for (const waybill::Blob &blob : blobs)
        document.push_back(
            {{"kind", blob.kind == WAYBILL_BLOB_CONFIG ? "config" : "layer"}, {"id", blob.id}});
    return document;
}

nlohmann::ordered_json pruned_json(const waybill::Pruned &pruned) {
    auto removed = nlohmann::ordered_json::array();
    for (const waybill::Key &key : pruned.removed)
        removed.push_back({{"namespace", key.name_space}, {"reference", key.reference}});
    return {{"revision", pruned.revision},
            {"removed", removed},
            {"unused", blobs_json(pruned.unused)},
            {"used", blobs_json(pruned.used)}};
}

void add_blobs(std::string &text, const char *title, const std::vector<waybill::Blob> &blobs) {
    text += fmt::format("{}: {}\n", title, blobs.size());
    for (const waybill::Blob &blob : blobs)
        text += fmt::format("  {}{}\n", printable(blob.id),
                            blob.kind == WAYBILL_BLOB_CONFIG ? " (config)" : "");
}

std::string pruned_text(const waybill::Pruned &pruned, bool all_namespaces) {
    std::string text = fmt::format("Images removed: {}\n", pruned.removed.size());
    for (const waybill::Key &key : pruned.removed)
        text += fmt::format("  {}{}{}\n", all_namespaces ? key.name_space : "",
                            all_namespaces ? " " : "", printable(key.reference));
    add_blobs(text, "Layers that may go, no image uses them", pruned.unused);
    add_blobs(text, "Layers that stay", pruned.used);
    return text;
}

int prune_images(const Options &options, const Prune &prune) {
    const std::vector<std::string> keep = keep_list(prune);
    Session session = open_store(options, Access::change);
    const waybill::Pruned pruned =
        (prune.all_namespaces ? session.store.prune_all_namespaces(keep)
                              : session.store.prune(keep, options.name_space))
            .get();
    if (options.json)
        print_json(pruned_json(pruned));
    else
        print(pruned_text(pruned, prune.all_namespaces));
    return exit_done;
}

} // namespace

void add_prune(CLI::App &app, const Options &options, Run &run) {
    CLI::App *command = app.add_subcommand(
        "prune", "Forget all images but those named and the pinned ones; say which layers may go");
    command->fallthrough();
    auto prune = std::make_shared<Prune>();
    CLI::Option *keep = command->add_option("--keep", prune->keep, "Names to keep, in any spelling")
                            ->type_name("REF");
    CLI::Option *keep_file =
        command->add_option("--keep-file", prune->keep_file, "More of them, one a line; -: stdin")
            ->type_name("FILE");
    command->add_flag("--all", prune->all, "Keep none but the pinned ones")
        ->excludes(keep)
        ->excludes(keep_file);
    command->add_flag("--all-namespaces", prune->all_namespaces,
                      "In every namespace; a name is kept in each");
    command->footer("Deletes no layer itself. Layers in use in any namespace stay.\n"
                    "Example:\n  waybill prune --keep ubuntu registry.example/demo:app");
    command->callback([&options, &run, prune, keep_file] {
        // Not whether it is empty: that is a variable that was not set, and names no list.
        prune->reads_file = keep_file->count() > 0;
        run = [&options, prune] { return prune_images(options, *prune); };
    });
}

} // namespace cli
