// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors
#include "record.h"

#include "image_generated.h"

#include <algorithm>
#include <atomic>

namespace waybill {

using Builder = flatbuffers::FlatBufferBuilder;

static Status check_text(std::string_view text, std::size_t bytes_max, const char *field) {
    if (text.size() > bytes_max)
        return over_limit(field, std::to_string(text.size()) + " bytes, at most " +
                                     std::to_string(bytes_max) + " are allowed");
    std::int64_t position = 0;
    if (!is_utf8(text, &position))
        return invalid(field, "not UTF-8", position);
    return {};
}

Result<std::string> checked_namespace(std::string_view text) {
    if (text.empty())
        return std::string(default_namespace);
    if (text.size() > limits::namespace_bytes_max)
        return over_limit("name_space",
                          "over " + std::to_string(limits::namespace_bytes_max) + " bytes");
    for (std::size_t i = 0; i < text.size(); ++i) {
        const char c = text[i];
        const bool fine = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                          (c >= '0' && c <= '9') || c == '.' || c == '_' || c == '-';
        if (!fine)
            return invalid("name_space", "a character other than A-Z a-z 0-9 . _ -",
                           static_cast<std::int64_t>(i));
    }
    return std::string(text);
}

FramePtr allocate_frame(std::size_t payload_bytes) {
    auto *frame = static_cast<Frame *>(std::malloc(sizeof(Frame) + payload_bytes));
    if (frame) {
        *frame = {};
        frame->magic = frame_magic;
        frame->payload_bytes = static_cast<std::uint32_t>(payload_bytes);
    }
    return FramePtr(frame);
}

FramePtr copy_frame(const Frame &frame) {
    FramePtr copy = allocate_frame(frame.payload_bytes);
    if (!copy)
        return nullptr;
    copy->kind = frame.kind;
    copy->flags = std::atomic_ref(const_cast<Frame &>(frame).flags).load(std::memory_order_relaxed);
    copy->key_hash = frame.key_hash;
    copy->revision = frame.revision;
    std::memcpy(copy->payload(), frame.payload(), frame.payload_bytes);
    return copy;
}

// --- encoding ----------------------------------------------------------------------------------

static Status named(Status status, std::string field) {
    status.field = std::move(field);
    return status;
}

static Status check_pairs(std::vector<PairSpec> &pairs, const char *field) {
    if (pairs.size() > limits::pairs_max)
        return over_limit(field, std::to_string(pairs.size()) + " entries, at most " +
                                     std::to_string(limits::pairs_max) + " are allowed");
    for (std::size_t i = 0; i < pairs.size(); ++i) {
        const std::string at = std::string(field) + "[" + std::to_string(i) + "]";
        if (pairs[i].key.empty())
            return invalid(at + ".key", "empty");
        if (pairs[i].key.size() + pairs[i].value.size() > limits::pair_bytes_max)
            return over_limit(at, "key and value together over " +
                                      std::to_string(limits::pair_bytes_max) + " bytes");
        std::int64_t position = 0;
        if (!is_utf8(pairs[i].key, &position))
            return invalid(at + ".key", "not UTF-8", position);
        if (!is_utf8(pairs[i].value, &position))
            return invalid(at + ".value", "not UTF-8", position);
    }
    std::sort(pairs.begin(), pairs.end(),
              [](const PairSpec &a, const PairSpec &b) { return a.key < b.key; });
    const auto twin =
        std::adjacent_find(pairs.begin(), pairs.end(),
                           [](const PairSpec &a, const PairSpec &b) { return a.key == b.key; });
    if (twin != pairs.end())
        return invalid(field, "key '" + std::string(twin->key) + "' stands twice");
    return {};
}

static flatbuffers::Offset<flatbuffers::Vector<std::uint8_t>> packed(Builder &builder,
                                                                     const PackedId &id) {
    return builder.CreateVector(id.bytes, id.size);
}

static flatbuffers::Offset<flatbuffers::String> optional_text(Builder &builder,
                                                              std::string_view text) {
    return text.empty() ? flatbuffers::Offset<flatbuffers::String>()
                        : builder.CreateSharedString(text.data(), text.size());
}

using LayerOffset = flatbuffers::Offset<record::Layer>;

static Result<LayerOffset> encode_layer(Builder &builder, const LayerSpec &layer, std::size_t i) {
    const auto at = [i](const char *member) {
        return "layers[" + std::to_string(i) + "]" + member;
    };
    const std::string_view id_text = layer.id.empty() ? layer.digest : layer.id;
    if (id_text.empty())
        return invalid(at(""), "neither id nor digest");
    Result<PackedId> id = parse_layer_id(id_text);
    if (!id.ok())
        return named(id.status(), at(layer.id.empty() ? ".digest" : ".id"));
    flatbuffers::Offset<flatbuffers::Vector<std::uint8_t>> digest;
    if (!layer.digest.empty()) {
        Result<PackedId> parsed = parse_digest(layer.digest);
        if (!parsed.ok())
            return named(parsed.status(), at(".digest"));
        if (!std::ranges::equal(parsed->span(), id->span()))
            digest = packed(builder, *parsed);
    }
    if (Status text = check_text(layer.media_type, limits::media_type_bytes_max, ""); !text.ok())
        return named(text, at(".media_type"));
    const auto id_offset = packed(builder, *id);
    const auto media_type = optional_text(builder, layer.media_type);
    return record::CreateLayer(builder, id_offset, digest, media_type, layer.size_bytes);
}

using PairOffset = flatbuffers::Offset<record::Pair>;

static flatbuffers::Offset<flatbuffers::Vector<PairOffset>>
encode_pairs(Builder &builder, const std::vector<PairSpec> &pairs) {
    if (pairs.empty())
        return {};
    std::vector<PairOffset> offsets;
    offsets.reserve(pairs.size());
    for (const PairSpec &pair : pairs) {
        const auto key = builder.CreateString(pair.key.data(), pair.key.size());
        const auto value = builder.CreateString(pair.value.data(), pair.value.size());
        offsets.push_back(record::CreatePair(builder, key, value));
    }
    return builder.CreateVector(offsets);
}

static Status check_texts(const ImageSpec &spec) {
    const struct {
        std::string_view text;
        std::size_t bytes_max;
        const char *field;
    } texts[] = {
        {spec.target_media_type, limits::media_type_bytes_max, "target_media_type"},
        {spec.os, limits::platform_bytes_max, "os"},
        {spec.architecture, limits::platform_bytes_max, "architecture"},
        {spec.variant, limits::platform_bytes_max, "variant"},
        {spec.os_version, limits::platform_bytes_max, "os_version"},
    };
    for (const auto &text : texts)
        if (Status checked = check_text(text.text, text.bytes_max, text.field); !checked.ok())
            return checked;
    if (spec.layers.empty())
        return invalid("layers", "an image has at least one layer");
    if (spec.layers.size() > limits::layers_max)
        return over_limit("layers", std::to_string(spec.layers.size()) + " layers, at most " +
                                        std::to_string(limits::layers_max) + " are allowed");
    return {};
}

static Result<FramePtr> framed(Builder &builder, const Key &key, std::uint64_t record_bytes_max) {
    if (builder.GetSize() > record_bytes_max)
        return over_limit("", "the record takes " + std::to_string(builder.GetSize()) +
                                  " bytes, at most " + std::to_string(record_bytes_max) +
                                  " are allowed");
    FramePtr frame = allocate_frame(builder.GetSize());
    if (!frame)
        return failure(Code::NoMemory, "no memory for a record");
    std::memcpy(frame->payload(), builder.GetBufferPointer(), builder.GetSize());
    frame->kind = static_cast<std::uint16_t>(FrameKind::Put);
    frame->key_hash = key_hash(key.name_space, key.reference);
    return frame;
}

Result<FramePtr> encode_image(const ImageSpec &spec, ReferenceMode mode,
                              std::uint64_t record_bytes_max) {
    Result<std::string> name_space = checked_namespace(spec.name_space);
    if (!name_space.ok())
        return name_space.status();
    Result<std::string> reference = canonical_key(spec.reference, mode);
    if (!reference.ok())
        return reference.status();
    Result<PackedId> target = parse_digest(spec.target_digest);
    if (!target.ok())
        return named(target.status(), "target_digest");
    if (Status texts = check_texts(spec); !texts.ok())
        return texts;
    std::vector<PairSpec> labels = spec.labels;
    if (Status checked = check_pairs(labels, "labels"); !checked.ok())
        return checked;
    std::vector<PairSpec> annotations = spec.annotations;
    if (Status checked = check_pairs(annotations, "annotations"); !checked.ok())
        return checked;

    Builder builder(1024);
    std::vector<LayerOffset> layers;
    layers.reserve(spec.layers.size());
    for (std::size_t i = 0; i < spec.layers.size(); ++i) {
        Result<LayerOffset> layer = encode_layer(builder, spec.layers[i], i);
        if (!layer.ok())
            return layer.status();
        layers.push_back(*layer);
    }
    flatbuffers::Offset<flatbuffers::Vector<std::uint8_t>> config;
    if (!spec.config_digest.empty()) {
        Result<PackedId> parsed = parse_digest(spec.config_digest);
        if (!parsed.ok())
            return named(parsed.status(), "config_digest");
        config = packed(builder, *parsed);
    }
    const auto layers_offset = builder.CreateVector(layers);
    const auto labels_offset = encode_pairs(builder, labels);
    const auto annotations_offset = encode_pairs(builder, annotations);
    const auto name_space_offset = builder.CreateString(*name_space);
    const auto reference_offset = builder.CreateString(*reference);
    const auto spelled = optional_text(builder, spec.reference == *reference ? "" : spec.reference);
    const auto target_offset = packed(builder, *target);
    const auto media_type = optional_text(builder, spec.target_media_type);
    const auto os = optional_text(builder, spec.os);
    const auto architecture = optional_text(builder, spec.architecture);
    const auto variant = optional_text(builder, spec.variant);
    const auto os_version = optional_text(builder, spec.os_version);

    record::ImageBuilder image(builder);
    image.add_name_space(name_space_offset);
    image.add_reference(reference_offset);
    image.add_spelled(spelled);
    image.add_target(target_offset);
    image.add_media_type(media_type);
    image.add_size_bytes(spec.target_size_bytes);
    image.add_config(config);
    image.add_layers(layers_offset);
    image.add_labels(labels_offset);
    image.add_annotations(annotations_offset);
    image.add_os(os);
    image.add_architecture(architecture);
    image.add_variant(variant);
    image.add_os_version(os_version);
    // Present even while zero: the commit may fill it in, in place.
    builder.ForceDefaults(true);
    image.add_created_ns(spec.created_ns);
    image.add_updated_ns(spec.updated_ns);
    builder.ForceDefaults(false);
    image.add_last_used_ns(spec.last_used_ns);
    image.add_pinned(spec.pinned);
    builder.Finish(image.Finish());
    return framed(builder, {*name_space, *reference}, record_bytes_max);
}

void set_times(Frame &frame, std::int64_t created_ns, std::int64_t updated_ns) {
    auto *image = flatbuffers::GetMutableRoot<record::Image>(frame.payload());
    if (image->created_ns() == 0)
        image->mutate_created_ns(created_ns);
    if (image->updated_ns() == 0)
        image->mutate_updated_ns(updated_ns);
}

std::vector<std::uint8_t> encode_removal(const std::vector<Key> &keys) {
    Builder builder(256);
    std::vector<flatbuffers::Offset<record::Key>> offsets;
    offsets.reserve(keys.size());
    for (const Key &key : keys) {
        const auto name_space = builder.CreateSharedString(key.name_space);
        const auto reference = builder.CreateString(key.reference);
        offsets.push_back(record::CreateKey(builder, name_space, reference));
    }
    builder.Finish(record::CreateRemoval(builder, builder.CreateVector(offsets)));
    return {builder.GetBufferPointer(), builder.GetBufferPointer() + builder.GetSize()};
}

// --- reading -----------------------------------------------------------------------------------

static Bytes span_of(const flatbuffers::Vector<std::uint8_t> *vector) {
    return vector ? Bytes(vector->data(), vector->size()) : Bytes();
}

static bool packed_forms_are_sound(const record::Image &image) {
    if (!is_packed_digest(span_of(image.target())) ||
        (image.config() && !is_packed_digest(span_of(image.config()))))
        return false;
    if (image.name_space()->size() > limits::namespace_bytes_max ||
        image.reference()->size() > limits::reference_bytes_max)
        return false;
    for (const record::Layer *layer : *image.layers())
        if (!is_packed_id(span_of(layer->id())) ||
            (layer->digest() && !is_packed_digest(span_of(layer->digest()))))
            return false;
    return true;
}

/// The verifier's own bound on tables is a million; one layer or pair is one table.
static flatbuffers::Verifier verifier_for(Bytes payload) {
    return flatbuffers::Verifier(payload.data(), payload.size(), 8, 16'000'000);
}

const record::Image *verified_image(Bytes payload) {
    flatbuffers::Verifier verifier = verifier_for(payload);
    if (!verifier.VerifyBuffer<record::Image>(nullptr))
        return nullptr;
    const auto *image = flatbuffers::GetRoot<record::Image>(payload.data());
    return packed_forms_are_sound(*image) ? image : nullptr;
}

const record::Removal *verified_removal(Bytes payload) {
    flatbuffers::Verifier verifier = verifier_for(payload);
    return verifier.VerifyBuffer<record::Removal>(nullptr)
               ? flatbuffers::GetRoot<record::Removal>(payload.data())
               : nullptr;
}

const record::Image *image_of(const Frame &frame) {
    return flatbuffers::GetRoot<record::Image>(frame.payload());
}

std::string_view namespace_of(const Frame &frame) {
    const auto *text = image_of(frame)->name_space();
    return {text->c_str(), text->size()};
}

std::string_view reference_of(const Frame &frame) {
    const auto *text = image_of(frame)->reference();
    return {text->c_str(), text->size()};
}

Key key_of(const Frame &frame) {
    return {std::string(namespace_of(frame)), std::string(reference_of(frame))};
}

Bytes config_of(const Frame &frame) { return span_of(image_of(frame)->config()); }

std::size_t removal_bytes(const Frame &frame) {
    // Batch and frame headers, root, vector and one Key table with its two strings, each rounded
    // up: generous, since the promise to remove on a full disk rests on it.
    constexpr std::size_t around = sizeof(BatchHeader) + sizeof(Frame) + 96;
    return padded(around + namespace_of(frame).size() + reference_of(frame).size());
}

} // namespace waybill
