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

struct Get {
    std::vector<std::string> references;
    bool fresh = false;
};

void add_line(std::string &text, const char *name, const std::string &value) {
    if (!value.empty())
        text += fmt::format("{:<13}{}\n", name, printable(value));
}

void add_pairs(std::string &text, const char *name,
               const std::map<std::string, std::string> &pairs) {
    for (const auto &[key, value] : pairs) {
        add_line(text, name, key + "=" + value);
        name = "";
    }
}

std::string platform_text(const waybill::Image &image) {
    std::string platform = image.os();
    for (const std::string &part : {image.architecture(), image.variant(), image.os_version()})
        if (!part.empty())
            platform += (platform.empty() ? "" : "/") + part;
    return platform;
}

std::string layer_text(const waybill::Layer &layer) {
    std::string text = layer.id;
    if (!layer.digest.empty() && layer.digest != layer.id)
        text += " = " + layer.digest;
    if (layer.size_bytes != 0)
        text += fmt::format(" ({})", size_text(layer.size_bytes));
    return text;
}

std::string image_text(const waybill::Image &image) {
    std::string text;
    add_line(text, "Reference", image.reference());
    if (image.spelled() != image.reference())
        add_line(text, "Spelled", image.spelled());
    add_line(text, "Namespace", image.name_space());
    add_line(text, "Revision", std::to_string(image.revision()));
    add_line(text, "State", state_text(image));
    add_line(text, "Target", image.target_digest());
    add_line(text, "Media type", image.target_media_type());
    if (image.target_size_bytes() != 0)
        add_line(text, "Size", size_text(image.target_size_bytes()));
    add_line(text, "Config", image.config_digest());
    add_line(text, "Platform", platform_text(image));
    const char *name = "Layers";
    for (const waybill::Layer &layer : image.layers()) {
        add_line(text, name, layer_text(layer));
        name = "";
    }
    add_pairs(text, "Labels", image.labels());
    add_pairs(text, "Annotations", image.annotations());
    add_line(text, "Created", time_text(image.created_ns()));
    add_line(text, "Updated", time_text(image.updated_ns()));
    add_line(text, "Last used", time_text(image.last_used_ns()));
    return text;
}

int get_images(const Options &options, const Get &get) {
    const Session session = open_store(options, Access::read);
    auto document = nlohmann::ordered_json::array();
    std::string text;
    int code = exit_done;
    for (const std::string &reference : get.references) {
        const std::optional<waybill::Image> image =
            session.store.get(reference, !get.fresh, options.name_space);
        if (!image) {
            print_error({WAYBILL_ENOTFOUND, reference + ": no such image", "reference"},
                        options.json);
            code = exit_problem;
        } else if (options.json) {
            document.push_back(to_json(*image));
        } else {
            text += (text.empty() ? "" : "\n") + image_text(*image);
        }
    }
    if (options.json)
        print_json(document);
    else
        print(text);
    return code;
}

int remove_images(const Options &options, const std::vector<std::string> &references) {
    Session session = open_store(options, Access::change);
    std::vector<std::future<waybill::Outcome>> futures;
    for (const std::string &reference : references)
        futures.push_back(session.store.remove(reference, options.name_space));
    auto document = nlohmann::ordered_json::array();
    int code = exit_done;
    for (std::size_t index = 0; index < references.size(); ++index) {
        const waybill::Outcome outcome = futures[index].get();
        if (!outcome.existed) {
            print_error({WAYBILL_ENOTFOUND, references[index] + ": no such image", "reference"},
                        options.json);
            code = exit_problem;
        } else if (options.json) {
            document.push_back({{"namespace", options.name_space},
                                {"reference", references[index]},
                                {"revision", outcome.revision}});
        } else {
            print(fmt::format("removed {}\n", printable(references[index])));
        }
    }
    if (options.json)
        print_json(document);
    return code;
}

} // namespace

void add_get(CLI::App &app, const Options &options, Run &run) {
    CLI::App *command = app.add_subcommand("get", "Show images by name; exit 1 if any is missing");
    command->fallthrough();
    auto get = std::make_shared<Get>();
    command->add_option("REF", get->references, "Names, in any spelling")->required();
    command->add_flag("--fresh", get->fresh,
                      "Answer as if nothing were held, as a host that wants a fresh pull asks");
    command->footer("Works beside a running host.\n"
                    "Example:\n  waybill get ubuntu registry.example/demo:app --json");
    command->callback(
        [&options, &run, get] { run = [&options, get] { return get_images(options, *get); }; });
}

void add_remove(CLI::App &app, const Options &options, Run &run) {
    CLI::App *command =
        app.add_subcommand("rm", "Forget images, pinned ones too; exit 1 if any is missing");
    command->fallthrough();
    auto references = std::make_shared<std::vector<std::string>>();
    command->add_option("REF", *references, "Names, in any spelling")->required();
    command->footer("Layers are not touched: `waybill prune` says which nothing uses any longer.\n"
                    "Example:\n  waybill rm registry.example/demo:tools");
    command->callback([&options, &run, references] {
        run = [&options, references] { return remove_images(options, *references); };
    });
}

} // namespace cli
