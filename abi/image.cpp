// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors
#include "image.h"

#include "handle.h"
#include "image_generated.h"

namespace waybill {

static const char *text_or(const flatbuffers::String *text, const char *otherwise = "") {
    return text ? text->c_str() : otherwise;
}

static Bytes bytes_of(const flatbuffers::Vector<std::uint8_t> *packed) {
    return packed ? Bytes(packed->data(), packed->size()) : Bytes();
}

static void write_digest(Bytes packed, char (&out)[WAYBILL_DIGEST_TEXT_BYTES]) {
    if (packed.empty())
        out[0] = '\0';
    else
        write_id_text(packed, out);
}

template <typename Vector> static std::uint32_t count_of(const Vector *vector) {
    return vector ? vector->size() : 0;
}

static Status beyond(std::uint32_t index, std::uint32_t count) {
    return failure(Code::NotFound,
                   "index " + std::to_string(index) + " of " + std::to_string(count));
}

Status view_image(const waybill_image *handle, waybill_image_view *view) {
    if (!handle)
        return invalid("image", "NULL");
    if (Status checked = check_struct(view, sizeof *view, "view"); !checked.ok())
        return checked;
    const Frame &frame = frame_of(handle);
    const record::Image &image = *image_of(frame);
    view->state = ((frame.flags & frame_flag_incomplete) ? WAYBILL_IMAGE_INCOMPLETE : 0) |
                  ((frame.flags & frame_flag_uncertain) ? WAYBILL_IMAGE_UNCERTAIN : 0) |
                  ((frame.flags & frame_flag_resurrected) ? WAYBILL_IMAGE_RESURRECTED : 0);
    view->revision = frame.revision;
    view->name_space = image.name_space()->c_str();
    view->reference = image.reference()->c_str();
    view->spelled = text_or(image.spelled(), view->reference);
    view->media_type = text_or(image.media_type());
    view->os = text_or(image.os());
    view->architecture = text_or(image.architecture());
    view->variant = text_or(image.variant());
    view->os_version = text_or(image.os_version());
    view->size_bytes = image.size_bytes();
    view->created_ns = image.created_ns();
    view->updated_ns = image.updated_ns();
    view->last_used_ns = image.last_used_ns();
    view->pinned = image.pinned();
    view->layer_count = count_of(image.layers());
    view->label_count = count_of(image.labels());
    view->annotation_count = count_of(image.annotations());
    write_digest(bytes_of(image.target()), view->target_digest);
    write_digest(bytes_of(image.config()), view->config_digest);
    return {};
}

Status view_layer(const waybill_image *handle, std::uint32_t index, waybill_layer_view *view) {
    if (!handle)
        return invalid("image", "NULL");
    if (Status checked = check_struct(view, sizeof *view, "view"); !checked.ok())
        return checked;
    const auto *layers = image_of(frame_of(handle))->layers();
    if (index >= layers->size())
        return beyond(index, layers->size());
    const record::Layer &layer = *layers->Get(index);
    view->size_bytes = layer.size_bytes();
    view->media_type = text_or(layer.media_type());
    const Bytes id = bytes_of(layer.id());
    write_id_text(id, view->id);
    const Bytes digest = bytes_of(layer.digest());
    write_digest(!digest.empty() ? digest : is_packed_digest(id) ? id : Bytes(), view->digest);
    return {};
}

static Status view_pair(const flatbuffers::Vector<flatbuffers::Offset<record::Pair>> *pairs,
                        std::uint32_t index, waybill_pair *pair) {
    if (!pair)
        return invalid("pair", "NULL");
    if (index >= count_of(pairs))
        return beyond(index, count_of(pairs));
    pair->key = pairs->Get(index)->key()->c_str();
    pair->value = pairs->Get(index)->value()->c_str();
    return {};
}

Status view_label(const waybill_image *image, std::uint32_t index, waybill_pair *pair) {
    if (!image)
        return invalid("image", "NULL");
    return view_pair(image_of(frame_of(image))->labels(), index, pair);
}

Status view_annotation(const waybill_image *image, std::uint32_t index, waybill_pair *pair) {
    if (!image)
        return invalid("image", "NULL");
    return view_pair(image_of(frame_of(image))->annotations(), index, pair);
}

} // namespace waybill
