// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors
#include "record.h"

#include "image_generated.h"
#include "media_type.h"

#include <algorithm>

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
    copy->flags = frame.flags_now();
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

static Status pair_fault(const char *field, std::size_t i, const char *member, Status status) {
    status.field = std::string(field) + "[" + std::to_string(i) + "]" + member;
    return status;
}

static Status check_pairs(std::vector<PairSpec> &pairs, const char *field) {
    if (pairs.size() > limits::pairs_max)
        return over_limit(field, std::to_string(pairs.size()) + " entries, at most " +
                                     std::to_string(limits::pairs_max) + " are allowed");
    for (std::size_t i = 0; i < pairs.size(); ++i) {
        if (pairs[i].key.empty())
            return pair_fault(field, i, ".key", invalid({}, "empty"));
        if (pairs[i].key.size() + pairs[i].value.size() > limits::pair_bytes_max)
            return pair_fault(field, i, "",
                              over_limit({}, "key and value together over " +
                                                 std::to_string(limits::pair_bytes_max) +
                                                 " bytes"));
        std::int64_t position = 0;
        if (!is_utf8(pairs[i].key, &position))
            return pair_fault(field, i, ".key", invalid({}, "not UTF-8", position));
        if (!is_utf8(pairs[i].value, &position))
            return pair_fault(field, i, ".value", invalid({}, "not UTF-8", position));
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
                        : builder.CreateString(text.data(), text.size());
}

/// Once in the record, however many layers have it.
static flatbuffers::Offset<flatbuffers::String> shared_text(Builder &builder,
                                                            std::string_view text) {
    return text.empty() ? flatbuffers::Offset<flatbuffers::String>()
                        : builder.CreateSharedString(text.data(), text.size());
}

/// One layer, checked.
struct ParsedLayer {
    PackedId id;
    PackedId digest; ///< empty: there is none, or it is the id
    std::uint8_t media_type_number = 0;
    bool is_plain = false;
};

static Status layer_fault(Status status, std::size_t i, const char *member) {
    status.field = "layers[" + std::to_string(i) + "]" + member;
    return status;
}

/// Room in a plain layer.
static constexpr std::uint64_t plain_size_end = std::uint64_t{1} << 48;

static Status parse_layer(const LayerSpec &layer, std::size_t i, ParsedLayer &out) {
    const std::string_view id_text = layer.id.empty() ? layer.digest : layer.id;
    if (id_text.empty())
        return layer_fault(invalid({}, "neither id nor digest"), i, "");
    if (Status id = parse_layer_id(id_text, out.id); !id.ok())
        return layer_fault(std::move(id), i, layer.id.empty() ? ".digest" : ".id");
    out.digest.size = 0;
    if (!layer.digest.empty() && !(layer.id.empty() && is_packed_digest(out.id.span()))) {
        if (Status digest = parse_digest(layer.digest, out.digest); !digest.ok())
            return layer_fault(std::move(digest), i, ".digest");
        if (std::ranges::equal(out.digest.span(), out.id.span()))
            out.digest.size = 0;
    }
    if (Status text = check_text(layer.media_type, limits::media_type_bytes_max, ""); !text.ok())
        return layer_fault(std::move(text), i, ".media_type");
    out.is_plain = number_of_media_type(layer.media_type, &out.media_type_number) &&
                   out.id.bytes[0] == id_is_sha256 && out.digest.size == 0 &&
                   layer.size_bytes < plain_size_end;
    return {};
}

/// The one form that an image's layers have: plain if all of them can be.
struct EncodedLayers {
    flatbuffers::Offset<flatbuffers::Vector<const record::PlainLayer *>> plain;
    flatbuffers::Offset<flatbuffers::Vector<flatbuffers::Offset<record::Layer>>> any;
};

/// False at the first layer that is not plain.
static Result<bool> encode_plain_layers(Builder &builder, const std::vector<LayerSpec> &layers,
                                        EncodedLayers &out) {
    std::vector<record::PlainLayer> plain;
    plain.reserve(layers.size());
    ParsedLayer parsed;
    for (std::size_t i = 0; i < layers.size(); ++i) {
        if (Status status = parse_layer(layers[i], i, parsed); !status.ok())
            return status;
        if (!parsed.is_plain)
            return false;
        const auto number = static_cast<record::MediaType>(parsed.media_type_number);
        record::PlainLayer &layer = plain.emplace_back();
        std::memcpy(layer.mutable_id()->Data(), parsed.id.bytes, layer.id()->size());
        layer.mutate_media_type(number);
        std::memcpy(layer.mutable_size_bytes()->Data(), &layers[i].size_bytes,
                    layer.size_bytes()->size());
    }
    out.plain = builder.CreateVectorOfStructs(plain);
    return true;
}

static Status encode_any_layers(Builder &builder, const std::vector<LayerSpec> &layers,
                                EncodedLayers &out) {
    std::vector<flatbuffers::Offset<record::Layer>> offsets;
    offsets.reserve(layers.size());
    ParsedLayer parsed;
    for (std::size_t i = 0; i < layers.size(); ++i) {
        if (Status status = parse_layer(layers[i], i, parsed); !status.ok())
            return status;
        flatbuffers::Offset<flatbuffers::Vector<std::uint8_t>> digest;
        if (parsed.digest.size != 0)
            digest = packed(builder, parsed.digest);
        const auto id = packed(builder, parsed.id);
        const auto media_type = shared_text(builder, layers[i].media_type);
        offsets.push_back(
            record::CreateLayer(builder, id, digest, media_type, layers[i].size_bytes));
    }
    out.any = builder.CreateVector(offsets);
    return {};
}

static flatbuffers::Offset<PairList::Vector> encode_pairs(Builder &builder,
                                                          const std::vector<PairSpec> &pairs) {
    if (pairs.empty())
        return {};
    std::vector<flatbuffers::Offset<flatbuffers::String>> offsets;
    offsets.reserve(2 * pairs.size());
    for (const PairSpec &pair : pairs) {
        offsets.push_back(builder.CreateString(pair.key.data(), pair.key.size()));
        offsets.push_back(builder.CreateString(pair.value.data(), pair.value.size()));
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
    const KeyHead head{static_cast<std::uint16_t>(key.reference.size()),
                       static_cast<std::uint16_t>(key.name_space.size())};
    const std::size_t bytes = head.padded_bytes() + builder.GetSize();
    if (bytes > record_bytes_max)
        return over_limit("", "the record takes " + std::to_string(bytes) + " bytes, at most " +
                                  std::to_string(record_bytes_max) + " are allowed");
    FramePtr frame = allocate_frame(bytes);
    if (!frame)
        return failure(Code::NoMemory, "no memory for a record");
    std::memset(frame->payload(), 0, head.padded_bytes());
    std::memcpy(frame->payload(), &head, sizeof head);
    const KeyHead &placed = key_head_of(frame->payload_span());
    std::ranges::copy(key.name_space, const_cast<char *>(placed.name_space()));
    std::ranges::copy(key.reference, const_cast<char *>(placed.reference()));
    std::memcpy(frame->payload() + head.padded_bytes(), builder.GetBufferPointer(),
                builder.GetSize());
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
    PackedId target;
    if (Status parsed = parse_digest(spec.target_digest, target); !parsed.ok())
        return named(std::move(parsed), "target_digest");
    if (Status texts = check_texts(spec); !texts.ok())
        return texts;
    std::vector<PairSpec> labels = spec.labels;
    if (Status checked = check_pairs(labels, "labels"); !checked.ok())
        return checked;
    std::vector<PairSpec> annotations = spec.annotations;
    if (Status checked = check_pairs(annotations, "annotations"); !checked.ok())
        return checked;

    Builder builder(1024);
    EncodedLayers layers;
    Result<bool> plain = encode_plain_layers(builder, spec.layers, layers);
    if (!plain.ok())
        return plain.status();
    if (!*plain)
        if (Status any = encode_any_layers(builder, spec.layers, layers); !any.ok())
            return any;
    flatbuffers::Offset<flatbuffers::Vector<std::uint8_t>> config;
    if (!spec.config_digest.empty()) {
        PackedId parsed;
        if (Status status = parse_digest(spec.config_digest, parsed); !status.ok())
            return named(std::move(status), "config_digest");
        config = packed(builder, parsed);
    }
    const auto labels_offset = encode_pairs(builder, labels);
    const auto annotations_offset = encode_pairs(builder, annotations);
    const auto target_offset = packed(builder, target);
    std::uint8_t media_type_number = 0;
    const bool numbered = number_of_media_type(spec.target_media_type, &media_type_number);
    const auto media_type = optional_text(builder, numbered ? "" : spec.target_media_type);
    const auto os = optional_text(builder, spec.os);
    const auto architecture = optional_text(builder, spec.architecture);
    const auto variant = optional_text(builder, spec.variant);
    const auto os_version = optional_text(builder, spec.os_version);
    const auto spelled = optional_text(builder, spec.reference == *reference ? "" : spec.reference);

    record::ImageBuilder image(builder);
    image.add_spelled(spelled);
    image.add_target(target_offset);
    image.add_media_type(media_type);
    image.add_media_type_number(static_cast<record::MediaType>(media_type_number));
    image.add_size_bytes(spec.target_size_bytes);
    image.add_config(config);
    image.add_plain_layers(layers.plain);
    image.add_layers(layers.any);
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
    auto *image = const_cast<record::Image *>(image_of(frame));
    image->mutate_created_ns(created_ns);
    image->mutate_updated_ns(updated_ns);
}

/// Vector entry, one Key table and its two strings, each rounded up.
static constexpr std::size_t key_bytes(std::size_t namespace_bytes, std::size_t reference_bytes) {
    return padded(48 + namespace_bytes + reference_bytes);
}

std::size_t keys_in_removal(std::span<const Key> keys, std::size_t bytes_max) {
    std::size_t bytes = key_bytes(0, 0); // root and vector
    for (std::size_t i = 0; i < keys.size(); ++i) {
        bytes += key_bytes(keys[i].name_space.size(), keys[i].reference.size());
        if (bytes > bytes_max)
            return std::max<std::size_t>(i, 1);
    }
    return keys.size();
}

std::vector<std::uint8_t> encode_removal(std::span<const Key> keys) {
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

static bool layers_are_sound(const record::Image &image) {
    if (!image.plain_layers() == !image.layers())
        return false;
    if (image.plain_layers()) {
        for (const record::PlainLayer *layer : *image.plain_layers())
            if (layer->id()->Get(0) != id_is_sha256 ||
                static_cast<std::size_t>(layer->media_type()) >= numbered_media_type_count)
                return false;
        return true;
    }
    for (const record::Layer *layer : *image.layers())
        if (!is_packed_id(span_of(layer->id())) ||
            (layer->digest() && !is_packed_digest(span_of(layer->digest()))))
            return false;
    return true;
}

static bool packed_forms_are_sound(const record::Image &image) {
    return is_packed_digest(span_of(image.target())) &&
           (!image.config() || is_packed_digest(span_of(image.config()))) &&
           static_cast<std::size_t>(image.media_type_number()) < numbered_media_type_count &&
           (!image.labels() || image.labels()->size() % 2 == 0) &&
           (!image.annotations() || image.annotations()->size() % 2 == 0) &&
           layers_are_sound(image);
}

/// The verifier's own bound on tables is a million; one layer or pair is one table.
static flatbuffers::Verifier verifier_for(Bytes payload) {
    return flatbuffers::Verifier(payload.data(), payload.size(), 8, 16'000'000);
}

static bool key_is_sound(Bytes payload) {
    if (payload.size() < sizeof(KeyHead))
        return false;
    const KeyHead &head = key_head_of(payload);
    return head.namespace_bytes <= limits::namespace_bytes_max &&
           head.reference_bytes <= limits::reference_bytes_max &&
           head.padded_bytes() <= payload.size() && head.name_space()[head.namespace_bytes] == 0 &&
           head.reference()[head.reference_bytes] == 0;
}

const record::Image *verified_image(Bytes payload) {
    if (!key_is_sound(payload))
        return nullptr;
    const Bytes buffer = payload.subspan(key_head_of(payload).padded_bytes());
    flatbuffers::Verifier verifier = verifier_for(buffer);
    if (!verifier.VerifyBuffer<record::Image>(nullptr))
        return nullptr;
    const auto *image = flatbuffers::GetRoot<record::Image>(buffer.data());
    return packed_forms_are_sound(*image) ? image : nullptr;
}

const record::Removal *verified_removal(Bytes payload) {
    flatbuffers::Verifier verifier = verifier_for(payload);
    return verifier.VerifyBuffer<record::Removal>(nullptr)
               ? flatbuffers::GetRoot<record::Removal>(payload.data())
               : nullptr;
}

const record::Image *image_of(const Frame &frame) {
    return flatbuffers::GetRoot<record::Image>(frame.payload() +
                                               key_head_of(frame.payload_span()).padded_bytes());
}

Key key_of(const Frame &frame) {
    return {std::string(namespace_of(frame)), std::string(reference_of(frame))};
}

Bytes target_of(const record::Image &image) { return span_of(image.target()); }

Bytes config_of(const record::Image &image) { return span_of(image.config()); }

static std::string_view view_of(const flatbuffers::String *text) {
    return text ? std::string_view(text->c_str(), text->size()) : std::string_view("");
}

std::string_view media_type_of(const record::Image &image) {
    if (image.media_type())
        return view_of(image.media_type());
    return numbered_media_types[static_cast<std::size_t>(image.media_type_number())];
}

LayerList::LayerList(const record::Image &image)
    : plain_(image.plain_layers()), any_(plain_ ? nullptr : image.layers()),
      size_(plain_ ? plain_->size() : any_->size()) {}

static Bytes id_of(const record::PlainLayer &layer) {
    return {layer.id()->Data(), layer.id()->size()};
}

Bytes LayerList::id(std::uint32_t index) const {
    return plain_ ? id_of(*plain_->Get(index)) : span_of(any_->Get(index)->id());
}

LayerList::Layer LayerList::operator[](std::uint32_t index) const {
    if (plain_) {
        const record::PlainLayer &layer = *plain_->Get(index);
        std::uint32_t low = 0;
        std::uint16_t high = 0;
        std::memcpy(&low, layer.size_bytes()->Data(), sizeof low);
        std::memcpy(&high, layer.size_bytes()->Data() + sizeof low, sizeof high);
        const std::uint64_t size_bytes = std::uint64_t{high} << 32 | low;
        return {id_of(layer), id_of(layer),
                numbered_media_types[static_cast<std::size_t>(layer.media_type())], size_bytes};
    }
    const record::Layer &layer = *any_->Get(index);
    const Bytes id = span_of(layer.id());
    const Bytes digest = span_of(layer.digest());
    return {id,
            !digest.empty()        ? digest
            : is_packed_digest(id) ? id
                                   : Bytes(),
            view_of(layer.media_type()), layer.size_bytes()};
}

std::uint32_t PairList::size() const { return texts_ ? texts_->size() / 2 : 0; }
std::string_view PairList::key(std::uint32_t index) const {
    return view_of(texts_->Get(2 * index));
}
std::string_view PairList::value(std::uint32_t index) const {
    return view_of(texts_->Get(2 * index + 1));
}

PairList labels_of(const record::Image &image) { return PairList(image.labels()); }
PairList annotations_of(const record::Image &image) { return PairList(image.annotations()); }

std::size_t removal_bytes(const Frame &frame) {
    // Batch and frame headers, root and vector, and what the key takes: generous, since the promise
    // to remove on a full disk rests on it.
    return sizeof(BatchHeader) + sizeof(Frame) + key_bytes(0, 0) +
           key_bytes(namespace_of(frame).size(), reference_of(frame).size());
}

} // namespace waybill
