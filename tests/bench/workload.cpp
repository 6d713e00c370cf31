// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors
#include "workload.h"

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <stdexcept>
#include <utility>

namespace bench {

static constexpr std::size_t layers_per_image = 10;
static constexpr std::size_t shared_layers = 5;
static constexpr std::size_t images_per_group = 20;
static constexpr std::size_t images_per_call = 1000;

enum class DigestOf : std::uint64_t { Manifest = 1, Config, SharedLayer, OwnLayer };

/// The finaliser of splitmix64: neighbours have nothing in common.
static std::uint64_t scattered(std::uint64_t value) {
    value += 0x9e3779b97f4a7c15u;
    value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9u;
    value = (value ^ (value >> 27)) * 0x94d049bb133111ebu;
    return value ^ (value >> 31);
}

static std::string digest(DigestOf kind, std::uint64_t number, std::uint64_t part) {
    static constexpr char digits[] = "0123456789abcdef";
    std::string text = "sha256:";
    std::uint64_t word = scattered(static_cast<std::uint64_t>(kind) << 56 ^ part << 40 ^ number);
    for (int i = 0; i < 4; ++i, word = scattered(word))
        for (int shift = 60; shift >= 0; shift -= 4)
            text += digits[word >> shift & 15];
    return text;
}

std::string spelled_name(std::size_t number) {
    char text[64];
    std::snprintf(text, sizeof text, "team-%03zu/service-%06zu:1.4.%zu", number / images_per_group,
                  number, number % 10);
    return text;
}

std::string canonical_name(std::size_t number) { return "docker.io/" + spelled_name(number); }

waybill::ImageSpec image(std::size_t number, std::size_t version) {
    waybill::ImageSpec made;
    made.reference = canonical_name(number);
    made.target_digest = digest(DigestOf::Manifest, number, version);
    made.target_media_type = "application/vnd.oci.image.manifest.v1+json";
    made.target_size_bytes = 2'048;
    made.config_digest = digest(DigestOf::Config, number, version);
    for (std::size_t i = 0; i < layers_per_image; ++i) {
        waybill::Layer layer;
        layer.digest = i < shared_layers
                           ? digest(DigestOf::SharedLayer, number / images_per_group, i)
                           : digest(DigestOf::OwnLayer, number, i);
        layer.size_bytes = 1'000'000 + number;
        made.layers.push_back(std::move(layer));
    }
    made.labels = {{"org.opencontainers.image.source", "https://code.example.org/team/service"},
                   {"org.opencontainers.image.version", "1.4." + std::to_string(number % 10)},
                   {"org.example.owner", "team-" + std::to_string(number / images_per_group)}};
    made.os = "linux";
    made.architecture = "amd64";
    return made;
}

PreparedImages::PreparedImages(std::size_t first, std::size_t count, std::size_t version) {
    images_.reserve(count);
    layers_.reserve(count);
    labels_.reserve(count);
    specs_.reserve(count);
    for (std::size_t i = 0; i < count; ++i)
        borrow(images_.emplace_back(image(first + i, version)));
}

void PreparedImages::borrow(const waybill::ImageSpec &image) {
    std::vector<waybill_layer> &layers = layers_.emplace_back();
    for (const waybill::Layer &layer : image.layers)
        layers.push_back(
            {sizeof(waybill_layer), 0, nullptr, layer.digest.c_str(), nullptr, layer.size_bytes});
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
    specs_.push_back(spec);
}

void require(std::int32_t code, const char *what) {
    if (code != WAYBILL_OK)
        throw waybill::Error(code, std::string(what) + ": " + waybill::code_name(code));
}

std::string configuration(const std::string &directory) {
    std::string json = R"({"root":")";
    for (const char c : directory) {
        if (c == '"' || c == '\\')
            json += '\\';
        json += c;
    }
    return json + "\"}";
}

OpenStore::OpenStore(const waybill::Library &library, const std::string &directory)
    : api_(library.api()), store_(waybill::Store::create(library, configuration(directory))) {
    store_.recover().get();
}

void OpenStore::fill(std::size_t count) {
    for (std::size_t first = 0; first < count; first += images_per_call) {
        std::vector<waybill::ImageSpec> images;
        for (std::size_t i = first; i < std::min(first + images_per_call, count); ++i)
            images.push_back(image(i, 0));
        store_.put(images).get();
    }
}

void OpenStore::put_and_wait(const waybill_image_spec &spec) {
    waybill_future *future = nullptr;
    require(api_->put(get_c(), &spec, 1, &future, nullptr), "put");
    const std::int32_t code = api_->future_wait(future, -1, nullptr);
    api_->future_free(future);
    require(code, "put");
}

std::uint64_t OpenStore::stat(const char *key) const {
    const std::string stats = store_.report("stats");
    const std::string before = "\"" + std::string(key) + "\":";
    const std::size_t at = stats.find(before);
    if (at == std::string::npos)
        throw std::runtime_error(std::string(key) + " is not in the stats");
    return std::strtoull(stats.c_str() + at + before.size(), nullptr, 10);
}

} // namespace bench
