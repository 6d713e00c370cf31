// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors
#include "image_description.h"

namespace golden {

namespace {

json state_names(std::uint32_t state) {
    json names = json::array();
    if (state & WAYBILL_IMAGE_INCOMPLETE)
        names.push_back("incomplete");
    if (state & WAYBILL_IMAGE_UNCERTAIN)
        names.push_back("uncertain");
    if (state & WAYBILL_IMAGE_RESURRECTED)
        names.push_back("resurrected");
    return names;
}

json describe_layer(const waybill::Layer &layer) {
    return {{"id", layer.id},
            {"digest", layer.digest},
            {"mediaType", layer.media_type},
            {"size", layer.size_bytes}};
}

bool is_digest(const std::string &text) {
    return text.rfind("sha256:", 0) == 0 || text.rfind("sha384:", 0) == 0 ||
           text.rfind("sha512:", 0) == 0;
}

} // namespace

json describe(const waybill::Image &image) {
    json layers = json::array();
    for (const waybill::Layer &layer : image.layers())
        layers.push_back(describe_layer(layer));
    return {{"namespace", image.name_space()},
            {"reference", image.reference()},
            {"spelled", image.spelled()},
            {"revision", image.revision()},
            {"state", state_names(image.state())},
            {"pinned", image.pinned()},
            {"target", image.target_digest()},
            {"mediaType", image.target_media_type()},
            {"size", image.target_size_bytes()},
            {"config", image.config_digest()},
            {"layers", layers},
            {"labels", image.labels()},
            {"annotations", image.annotations()},
            {"os", image.os()},
            {"architecture", image.architecture()},
            {"variant", image.variant()},
            {"osVersion", image.os_version()},
            {"createdNs", image.created_ns()},
            {"updatedNs", image.updated_ns()},
            {"lastUsedNs", image.last_used_ns()}};
}

json describe(const waybill::ImageSpec &spec, const std::string &reference, std::uint64_t revision,
              std::uint32_t state) {
    json layers = json::array();
    for (waybill::Layer layer : spec.layers) {
        if (layer.id.empty())
            layer.id = layer.digest;
        if (layer.digest.empty() && is_digest(layer.id))
            layer.digest = layer.id;
        layers.push_back(describe_layer(layer));
    }
    return {{"namespace", spec.name_space},
            {"reference", reference},
            {"spelled", spec.reference},
            {"revision", revision},
            {"state", state_names(state)},
            {"pinned", spec.pinned},
            {"target", spec.target_digest},
            {"mediaType", spec.target_media_type},
            {"size", spec.target_size_bytes},
            {"config", spec.config_digest},
            {"layers", layers},
            {"labels", spec.labels},
            {"annotations", spec.annotations},
            {"os", spec.os},
            {"architecture", spec.architecture},
            {"variant", spec.variant},
            {"osVersion", spec.os_version},
            {"createdNs", spec.created_ns},
            {"updatedNs", spec.updated_ns},
            {"lastUsedNs", spec.last_used_ns}};
}

json describe_images(const waybill::Store &store) {
    json images = json::array();
    for (const waybill::Image &image : store.list())
        images.push_back(describe(image));
    return images;
}

json describe_report(const std::string &report_json) {
    const json report = json::parse(report_json);
    json described;
    for (const char *member : {"images", "revision", "references", "degraded", "droppedTailBytes",
                               "possiblyAcknowledged", "uncertain", "possiblyResurrected"})
        described[member] = report.at(member);
    described["damage"] = json::array();
    for (const json &damage : report.at("damage")) {
        json one;
        for (const char *member : {"file", "offset", "bytes", "losesRecords", "lost"})
            one[member] = damage.at(member);
        described["damage"].push_back(one);
    }
    return described;
}

} // namespace golden
