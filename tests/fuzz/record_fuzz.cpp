// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors
//
// Bytes whose checksum held and which nobody has encoded: what the verifier lets through must be
// safe for everything that reads records.
// Input: a byte, 0 for an image and 1 for a removal, then the payload.
#include "property.h"

#include "abi/handle.h"
#include "abi/image.h"
#include "plugin/retention.h"

#include "image_generated.h"

using namespace waybill;
using namespace waybill::fuzz;

namespace {

void read_text(const char *text) { (void)std::strlen(text); }

/// As a host sees it.
void read_views(const waybill_image *image) {
    waybill_image_view view{};
    view.struct_size = sizeof view;
    require(view_image(image, &view).ok(), "an image can be viewed");
    for (const char *text : {view.name_space, view.reference, view.spelled, view.media_type,
                             view.os, view.architecture, view.variant, view.os_version})
        read_text(text);
    require(parse_digest(view.target_digest).ok(), "a target is a digest", view.target_digest);
    require(!*view.config_digest || parse_digest(view.config_digest).ok(), "a config is a digest",
            view.config_digest);
    waybill_layer_view layer{};
    layer.struct_size = sizeof layer;
    for (std::uint32_t i = 0; i < view.layer_count; ++i) {
        require(view_layer(image, i, &layer).ok(), "a layer can be viewed");
        require(parse_layer_id(layer.id).ok(), "a layer's id is one path component", layer.id);
        require(!*layer.digest || parse_digest(layer.digest).ok(), "a layer's digest is one",
                layer.digest);
        read_text(layer.media_type);
    }
    require(view_layer(image, view.layer_count, &layer).code == Code::NotFound,
            "there is no layer behind the last");
    waybill_pair pair{};
    for (std::uint32_t i = 0; i < view.label_count; ++i) {
        require(view_label(image, i, &pair).ok(), "a label can be viewed");
        read_text(pair.key), read_text(pair.value);
    }
    for (std::uint32_t i = 0; i < view.annotation_count; ++i) {
        require(view_annotation(image, i, &pair).ok(), "an annotation can be viewed");
        read_text(pair.key), read_text(pair.value);
    }
}

/// As the store works with it: index, pins, prune, the space for its removal.
void keep_in_index(FramePtr frame) {
    const Key key = key_of(*frame);
    const Bytes config = config_of(*image_of(*frame));
    require(config.empty() || is_packed_digest(config), "a packed config is a digest");
    frame->key_hash = key_hash(key.name_space, key.reference);
    Index index;
    index.put(frame.release());
    bool out_of_memory = false;
    ImagePin pin = index.pin(key.name_space, key.reference, &out_of_memory);
    require(pin && key_of(pin->frame()) == key, "an image is found under its name");
    const Retained retained = apply_keep_list(index, {});
    for (const BlobSet *set : {&retained.used, &retained.unused})
        for (std::size_t i = 0; i < set->size(); ++i)
            require(parse_layer_id(id_text(set->id(i))).ok(), "a blob's id is one");
    const std::size_t reserved = removal_bytes(pin->frame());
    Batch batch;
    Frame head{};
    head.kind = static_cast<std::uint16_t>(FrameKind::Remove);
    const std::vector<std::uint8_t> removal = encode_removal({key});
    batch.add(head, removal);
    require(batch.size_bytes() <= reserved, "a removal fits into the space that is kept for it");
    require(verified_removal(removal) != nullptr, "a removal can be read back");
    require(index.erase(key.name_space, key.reference), "an image can be removed");
    const waybill_image *handle = as_handle(std::move(pin));
    read_views(handle);
    Pins::of_process().release(pin_of(handle));
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t *data, std::size_t size) {
    if (size == 0)
        return 0;
    FramePtr frame = allocate_frame(size - 1);
    std::memcpy(frame->payload(), data + 1, size - 1);
    if (data[0] & 1) {
        if (const record::Removal *removal = verified_removal(frame->payload_span())) {
            Index index;
            for (const record::Key *key : *removal->images())
                (void)index.erase({key->name_space()->c_str(), key->name_space()->size()},
                                  {key->reference()->c_str(), key->reference()->size()});
        }
        return 0;
    }
    frame->kind = static_cast<std::uint16_t>(FrameKind::Put);
    if (verified_image(frame->payload_span()))
        keep_in_index(std::move(frame));
    return 0;
}
