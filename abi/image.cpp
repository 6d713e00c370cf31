// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors
#include "image.h"

#include "handle.h"
#include "image_generated.h"

namespace waybill {

static const char *text_or(const flatbuffers::String *text, const char *otherwise = "") {
    return text ? text->c_str() : otherwise;
}

static void write_digest(Bytes packed, char (&out)[WAYBILL_DIGEST_TEXT_BYTES]) {
    if (packed.empty())
        out[0] = '\0';
    else
        write_id_text(packed, out);
}

static Status beyond(std::uint32_t index, std::uint32_t count) {
    return failure(Code::NotFound,
                   "index " + std::to_string(index) + " of " + std::to_string(count));
}

/// Who views an image reads all of it: one wait for memory instead of one a line. A large record is
/// read long enough for the processor to see where that goes.
static void ask_for(const Frame &frame) {
    constexpr std::size_t line_bytes = 64, bytes_max = 1024;
    const auto *bytes = reinterpret_cast<const std::uint8_t *>(&frame);
    for (std::size_t at = 0; at < bytes_max; at += line_bytes)
        __builtin_prefetch(bytes + at);
}

Status view_image(const waybill_image *handle, waybill_image_view *view) {
    if (!handle)
        return invalid("image", "NULL");
    if (Status checked = check_struct(view, "view"); !checked.ok())
        return checked;
    const Frame &frame = frame_of(handle);
    ask_for(frame);
    const record::Image &image = *image_of(frame);
    const std::uint16_t flags = frame.flags_now();
    view->state = ((flags & frame_flag_incomplete) ? WAYBILL_IMAGE_INCOMPLETE : 0) |
                  ((flags & frame_flag_uncertain) ? WAYBILL_IMAGE_UNCERTAIN : 0) |
                  ((flags & frame_flag_resurrected) ? WAYBILL_IMAGE_RESURRECTED : 0);
    view->revision = frame.revision;
    view->name_space = namespace_of(frame).data();
    view->reference = reference_of(frame).data();
    view->spelled = text_or(image.spelled(), view->reference);
    view->media_type = media_type_of(image).data();
    view->os = text_or(image.os());
    view->architecture = text_or(image.architecture());
    view->variant = text_or(image.variant());
    view->os_version = text_or(image.os_version());
    view->size_bytes = image.size_bytes();
    view->created_ns = image.created_ns();
    view->updated_ns = image.updated_ns();
    view->last_used_ns = image.last_used_ns();
    view->pinned = image.pinned();
    view->layer_count = LayerList(image).size();
    view->label_count = labels_of(image).size();
    view->annotation_count = annotations_of(image).size();
    write_digest(target_of(image), view->target_digest);
    write_digest(config_of(image), view->config_digest);
    return {};
}

Status view_layer(const waybill_image *handle, std::uint32_t index, waybill_layer_view *view) {
    if (!handle)
        return invalid("image", "NULL");
    if (Status checked = check_struct(view, "view"); !checked.ok())
        return checked;
    const LayerList layers(*image_of(frame_of(handle)));
    if (index >= layers.size())
        return beyond(index, layers.size());
    const LayerList::Layer layer = layers[index];
    view->size_bytes = layer.size_bytes;
    view->media_type = layer.media_type.data();
    if (layer.digest.data() == layer.id.data()) {
        write_id_texts(layer.id, view->id, view->digest);
    } else {
        write_id_text(layer.id, view->id);
        write_digest(layer.digest, view->digest);
    }
    return {};
}

static Status view_pair(const PairList &pairs, std::uint32_t index, waybill_pair *pair) {
    if (!pair)
        return invalid("pair", "NULL");
    if (index >= pairs.size())
        return beyond(index, pairs.size());
    pair->key = pairs.key(index).data();
    pair->value = pairs.value(index).data();
    return {};
}

Status view_label(const waybill_image *image, std::uint32_t index, waybill_pair *pair) {
    if (!image)
        return invalid("image", "NULL");
    return view_pair(labels_of(*image_of(frame_of(image))), index, pair);
}

Status view_annotation(const waybill_image *image, std::uint32_t index, waybill_pair *pair) {
    if (!image)
        return invalid("image", "NULL");
    return view_pair(annotations_of(*image_of(frame_of(image))), index, pair);
}

} // namespace waybill
