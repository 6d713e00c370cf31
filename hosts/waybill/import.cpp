/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: Waybill contributors
 */
#include "output.h"
#include "session.h"
#include "text.h"

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include <filesystem>

namespace cli {
namespace {

struct Import {
    std::string layout_dir;
    std::string reference;
};

int import_oci(const Options &options, const Import &import) {
    Session session = open_store(options, Access::make);
    const waybill::Outcome outcome =
        session.store
            .import_oci(std::filesystem::absolute(import.layout_dir).string(), import.reference,
                        options.name_space)
            .get();
    const auto report = nlohmann::ordered_json::parse(outcome.report_json);
    if (options.json) {
        print_json(report);
        return exit_done;
    }
    std::string text;
    // The report's images are names, or objects that have one.
    for (const auto &image : report.value("images", nlohmann::ordered_json::array())) {
        const auto name = image.is_object()   ? image.value("reference", "")
                          : image.is_string() ? image.get<std::string>()
                                              : std::string();
        text += fmt::format("imported {}\n", printable(name));
    }
    print(text + fmt::format("{} {} stored, revision {}\n", outcome.image_count,
                             outcome.image_count == 1 ? "image" : "images", outcome.revision));
    return exit_done;
}

} // namespace

void add_import(CLI::App &app, const Options &options, Run &run) {
    CLI::App *command = app.add_subcommand("import", "Record the images of a directory");
    command->require_subcommand(1);
    command->fallthrough();
    command->footer("Example:\n  waybill import oci ./demo --ref registry.example/demo");
    CLI::App *oci = command->add_subcommand(
        "oci", "Record every tagged image of an OCI image layout, all or none");
    oci->fallthrough();
    auto import = std::make_shared<Import>();
    oci->add_option("LAYOUT_DIR", import->layout_dir,
                    "The directory with oci-layout and index.json")
        ->required();
    oci->add_option("--ref", import->reference,
                    "What bare tags belong to: with NAME, tag \"app\" becomes NAME:app")
        ->type_name("NAME");
    oci->footer("Example:\n  waybill import oci ./demo --ref registry.example/demo");
    oci->callback([&options, &run, import] {
        run = [&options, import] { return import_oci(options, *import); };
    });
}

} // namespace cli
