// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors
#include "model.h"

#include "image_generated.h"

#include <cstdio>
#include <cstdlib>

namespace waybill::crash {

std::string text_of(const ModelState &state) {
    std::string text;
    for (const auto &[name, image] : state.images) {
        text += name + "=" + image.value.substr(0, image.value.find('.')) + "@" +
                std::to_string(image.revision);
        text += image.pinned ? " pinned" : "";
        text += image.flags & frame_flag_uncertain ? " uncertain" : "";
        text += image.flags & frame_flag_resurrected ? " resurrected" : "";
        text += ", ";
    }
    return text + "revision " + std::to_string(state.revision) +
           (state.degraded ? ", degraded" : "");
}

ModelState state_of(const Index &index, const Recovered &recovered) {
    ModelState state;
    state.revision = recovered.revision;
    state.degraded = recovered.degraded;
    index.for_each_frame([&](const Frame &frame) {
        const record::Image &image = *image_of(frame);
        const PairList labels = labels_of(image);
        state.images[std::string(reference_of(frame))] = {
            labels.size() == 1 ? std::string(labels.value(0)) : "not a sample", frame.revision,
            static_cast<std::uint16_t>(frame.flags & frame_flags_stored), image.pinned()};
    });
    return state;
}

FramePtr encode_sample(const std::string &reference, const std::string &value, bool pinned) {
    static const std::string digest = "sha256:" + std::string(64, '7');
    ImageSpec spec;
    spec.reference = reference;
    spec.target_digest = digest;
    spec.layers = {LayerSpec{{}, digest, {}, 7}};
    spec.labels = {PairSpec{"value", value}};
    spec.pinned = pinned;
    Result<FramePtr> frame =
        encode_image(spec, ReferenceMode::Opaque, limits::record_bytes_max_default);
    if (!frame.ok()) {
        std::fprintf(stderr, "a sample image is invalid: %s\n", frame.status().message.c_str());
        std::abort();
    }
    return std::move(*frame);
}

} // namespace waybill::crash
