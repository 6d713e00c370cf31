/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: Waybill contributors
 */
#include "bench_images.h"

#include <fmt/format.h>

#include <random>

namespace cli {
namespace {

constexpr std::size_t layers_per_image = 10;
constexpr std::size_t shared_layers = 5;
constexpr std::size_t images_per_group = 20;

enum class DigestOf : std::uint32_t { manifest, config, shared_layer, own_layer };

std::string digest(DigestOf kind, std::size_t number, std::size_t part) {
    std::seed_seq seed{static_cast<std::uint64_t>(kind), std::uint64_t{number},
                       std::uint64_t{part}};
    std::uint32_t words[8];
    seed.generate(std::begin(words), std::end(words));
    std::string text = "sha256:";
    for (const std::uint32_t word : words)
        text += fmt::format("{:08x}", word);
    return text;
}

waybill::Layer layer(std::size_t number, std::size_t place) {
    waybill::Layer made;
    made.digest = place < shared_layers
                      ? digest(DigestOf::shared_layer, number / images_per_group, place)
                      : digest(DigestOf::own_layer, number, place);
    made.size_bytes = 1'000'000 + number;
    return made;
}

waybill::ImageSpec image(std::size_t number, std::size_t version) {
    waybill::ImageSpec made;
    made.reference = bench_image_name(number);
    made.target_digest = digest(DigestOf::manifest, number, version);
    made.target_media_type = "application/vnd.oci.image.manifest.v1+json";
    made.target_size_bytes = 2'048;
    made.config_digest = digest(DigestOf::config, number, version);
    for (std::size_t place = 0; place < layers_per_image; ++place)
        made.layers.push_back(layer(number, place));
    made.labels = {{"org.opencontainers.image.source", "https://code.example.org/team/service"},
                   {"org.opencontainers.image.version", fmt::format("1.4.{}", number % 10)},
                   {"org.example.owner", fmt::format("team-{}", number / images_per_group)}};
    made.os = "linux";
    made.architecture = "amd64";
    return made;
}

} // namespace

std::string bench_image_name(std::size_t number) {
    return fmt::format("docker.io/team-{:03}/service-{:06}:1.4.{}", number / images_per_group,
                       number, number % 10);
}

BenchImages::BenchImages(std::size_t first, std::size_t count, std::size_t version) {
    images_.reserve(count); // the specs point into them
    for (std::size_t number = first; number < first + count; ++number)
        specs_.push_back(borrow(images_.emplace_back(image(number, version))));
}

waybill_image_spec BenchImages::borrow(const waybill::ImageSpec &image) {
    std::vector<waybill_layer> &layers = layers_.emplace_back();
    for (const waybill::Layer &each : image.layers)
        layers.push_back(
            {sizeof(waybill_layer), 0, nullptr, each.digest.c_str(), nullptr, each.size_bytes});
    std::vector<waybill_pair> &labels = labels_.emplace_back();
    for (const auto &[key, value] : image.labels)
        labels.push_back({key.c_str(), value.c_str()});
    waybill_image_spec spec{};
    spec.struct_size = sizeof spec;
    spec.reference = image.reference.c_str();
    spec.target_digest = image.target_digest.c_str();
    spec.target_media_type = image.target_media_type.c_str();
    spec.target_size_bytes = image.target_size_bytes;
    spec.config_digest = image.config_digest.c_str();
    spec.layers = layers.data();
    spec.layer_count = static_cast<std::uint32_t>(layers.size());
    spec.labels = labels.data();
    spec.label_count = static_cast<std::uint32_t>(labels.size());
    spec.os = image.os.c_str();
    spec.architecture = image.architecture.c_str();
    return spec;
}

} // namespace cli
