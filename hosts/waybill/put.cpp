/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: Waybill contributors
 */
#include "image_json.h"
#include "output.h"
#include "put_stream.h"
#include "session.h"
#include "text.h"

#include <CLI/CLI.hpp>
#include <fmt/format.h>

namespace cli {
namespace {

struct Put {
    bool from_stdin = false;
    waybill::ImageSpec image;
    std::vector<std::string> layers;
    std::vector<std::string> labels;
    std::vector<std::string> annotations;
    std::string platform;
    bool if_absent = false;
    std::optional<std::uint64_t> if_revision;
};

std::map<std::string, std::string> parse_pairs(const std::vector<std::string> &texts,
                                               const char *field) {
    std::map<std::string, std::string> pairs;
    for (const std::string &text : texts) {
        const std::size_t equals = text.find('=');
        if (equals == std::string::npos || equals == 0)
            throw waybill::Error(WAYBILL_EINVAL, text + ": not of the form key=value", field);
        if (!pairs.emplace(text.substr(0, equals), text.substr(equals + 1)).second)
            throw waybill::Error(WAYBILL_EINVAL, text + ": this key was given twice", field);
    }
    return pairs;
}

waybill::ImageSpec image_of(const Options &options, const Put &put) {
    waybill::ImageSpec image = put.image;
    image.name_space = options.name_space;
    if (image.reference.empty())
        throw waybill::Error(WAYBILL_EINVAL, "REF is required, or --stdin", "reference");
    if (image.target_digest.empty())
        throw waybill::Error(WAYBILL_EINVAL, "--target is required", "target");
    if (put.layers.empty())
        throw waybill::Error(WAYBILL_EINVAL, "--layer is required, once for each layer", "layers");
    for (const std::string &text : put.layers)
        image.layers.push_back(parse_layer(text));
    image.labels = parse_pairs(put.labels, "labels");
    image.annotations = parse_pairs(put.annotations, "annotations");
    if (!put.platform.empty())
        parse_platform(put.platform, image);
    if (put.if_absent)
        image.condition = waybill::PutIf::absent;
    if (put.if_revision) {
        image.condition = waybill::PutIf::revision;
        image.expected_revision = *put.if_revision;
    }
    return image;
}

int put_images(const Options &options, const Put &put) {
    if (put.from_stdin) {
        Session session = open_store(options, Access::make);
        put_stream(session.store, options);
        return exit_done;
    }
    const waybill::ImageSpec image = image_of(options, put);
    Session session = open_store(options, Access::make);
    const waybill::Outcome outcome = session.store.put(image).get();
    if (options.json)
        print_json({{"namespace", image.name_space},
                    {"reference", image.reference},
                    {"revision", outcome.revision}});
    else
        print(fmt::format("ok {} {}\n", printable(image.reference), outcome.revision));
    return exit_done;
}

void add_image_options(CLI::App &command, Put &put, CLI::Option *from_stdin) {
    waybill::ImageSpec &image = put.image;
    const auto add = [&](const char *name, auto &target, const char *type, const char *help) {
        return command.add_option(name, target, help)->type_name(type)->excludes(from_stdin);
    };
    add("REF", image.reference, "", "The image's name, in any spelling");
    add("--target", image.target_digest, "DIGEST", "Of the manifest or index");
    add("--layer", put.layers, "LAYER",
        "Base first, once for each: ID, DIGEST, or ID=DIGEST. The ID is the layer's name on disk");
    add("--config", image.config_digest, "DIGEST", "Of the image's config");
    add("--label", put.labels, "KEY=VALUE", "A label; may be repeated");
    add("--annotation", put.annotations, "KEY=VALUE", "An annotation; may be repeated");
    add("--media-type", image.target_media_type, "TYPE", "Of the target");
    add("--size", image.target_size_bytes, "BYTES", "Of the target");
    add("--platform", put.platform, "OS/ARCH[/VARIANT]", "Such as linux/arm/v7");
    command.add_flag("--pin", image.pinned, "Never remove it when pruning")->excludes(from_stdin);
    CLI::Option *if_absent =
        command.add_flag("--if-absent", put.if_absent, "Only if no image has this name")
            ->excludes(from_stdin);
    add("--if-revision", put.if_revision, "N", "Only over the image of this revision")
        ->excludes(if_absent);
}

} // namespace

void add_put(CLI::App &app, const Options &options, Run &run) {
    CLI::App *command =
        app.add_subcommand("put", "Record an image, or replace the one of that name");
    command->fallthrough();
    auto put = std::make_shared<Put>();
    CLI::Option *from_stdin = command->add_flag(
        "--stdin", put->from_stdin,
        "Read images from standard input, one JSON object a line, as `get --json` prints them; "
        "print \"ok REF REVISION\" once an image is on stable storage");
    add_image_options(*command, *put, from_stdin);
    command->footer("Prints \"ok REF REVISION\". Exits 1 if the condition is not met.\n"
                    "Examples:\n"
                    "  waybill put ubuntu --target sha256:… --layer sha256:… --layer sha256:…\n"
                    "  waybill get ubuntu --json | jq -c '.[]' | waybill --root /copy put --stdin");
    command->callback(
        [&options, &run, put] { run = [&options, put] { return put_images(options, *put); }; });
}

} // namespace cli
