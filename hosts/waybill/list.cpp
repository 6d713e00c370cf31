/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: Waybill contributors
 */
#include "image_json.h"
#include "output.h"
#include "session.h"
#include "text.h"

#include <CLI/CLI.hpp>
#include <fmt/format.h>

namespace cli {
namespace {

struct List {
    waybill::Query query;
    std::string label;
    bool names_only = false;
    bool no_trunc = false;
    bool incomplete = false;
    bool all_namespaces = false;
};

waybill::Query query_of(const Options &options, const List &list) {
    waybill::Query query = list.query;
    if (!list.all_namespaces)
        query.name_space = options.name_space;
    if (!list.label.empty()) {
        const std::size_t equals = list.label.find('=');
        query.label_key = list.label.substr(0, equals);
        if (query.label_key.empty())
            throw waybill::Error(WAYBILL_EINVAL, "not of the form key or key=value", "label", 0);
        if (equals != std::string::npos)
            query.label_value = list.label.substr(equals + 1);
    }
    if (list.incomplete)
        query.state_any = WAYBILL_IMAGE_INCOMPLETE;
    return query;
}

std::vector<std::string> row_of(const waybill::Image &image, const List &list) {
    const std::vector<waybill::Layer> layers = image.layers();
    std::uint64_t layer_bytes = 0;
    for (const waybill::Layer &layer : layers)
        layer_bytes += layer.size_bytes;
    const auto time = [&list](std::int64_t time_ns) {
        return list.no_trunc && time_ns != 0 ? time_text(time_ns) : age_text(time_ns);
    };
    std::vector<std::string> row = {printable(image.reference()),
                                    list.no_trunc ? image.target_digest()
                                                  : short_digest(image.target_digest()),
                                    std::to_string(layers.size()),
                                    size_text(layer_bytes),
                                    time(image.created_ns()),
                                    time(image.last_used_ns()),
                                    state_text(image)};
    if (list.all_namespaces)
        row.insert(row.begin(), image.name_space());
    return row;
}

int list_images(const Options &options, const List &list) {
    const waybill::Query query = query_of(options, list);
    const Session session = open_store(options, Access::read);
    if (options.json) {
        auto document = nlohmann::ordered_json::array();
        session.store.visit(query, [&](const waybill::Image &image) {
            list.names_only ? document.push_back(image.reference())
                            : document.push_back(to_json(image));
        });
        print_json(document);
        return exit_done;
    }
    if (list.names_only) {
        std::string text;
        session.store.visit(query, [&](const waybill::Image &image) {
            text += printable(image.reference()) + "\n";
        });
        print(text);
        return exit_done;
    }
    std::vector<std::string> header = {"REFERENCE", "DIGEST",    "LAYERS", "SIZE",
                                       "CREATED",   "LAST USED", "STATE"};
    if (list.all_namespaces)
        header.insert(header.begin(), "NAMESPACE");
    Table table(std::move(header));
    session.store.visit(query,
                        [&](const waybill::Image &image) { table.add(row_of(image, list)); });
    print(table.text());
    return exit_done;
}

} // namespace

void add_list(CLI::App &app, const Options &options, Run &run) {
    CLI::App *command = app.add_subcommand("ls", "List images, sorted by name");
    command->alias("list");
    command->fallthrough();
    auto list = std::make_shared<List>();
    command
        ->add_option("--prefix", list->query.prefix, "Only names that start so, as ls shows them")
        ->type_name("P");
    command->add_option("--label", list->label, "Only images with this label")
        ->type_name("KEY[=VALUE]");
    command
        ->add_option("--digest", list->query.digest,
                     "Only images that have this as their target, config or a layer")
        ->type_name("DIGEST");
    command->add_flag("--incomplete", list->incomplete,
                      "Only images with a layer that is not on disk (needs --layers)");
    command->add_flag("-A,--all-namespaces", list->all_namespaces, "Not only --namespace");
    command->add_flag("-q,--quiet", list->names_only, "Names only, one a line");
    command->add_flag("--no-trunc", list->no_trunc, "Digests and times in full");
    command->footer("SIZE is the sum of the layers' sizes, as far as they are known. STATE is ok, "
                    "or some of\nincomplete, uncertain, resurrected, pinned. Works beside a "
                    "running host.\n"
                    "Example:\n  waybill ls --prefix registry.example/ --label team=web");
    command->callback(
        [&options, &run, list] { run = [&options, list] { return list_images(options, *list); }; });
}

} // namespace cli
