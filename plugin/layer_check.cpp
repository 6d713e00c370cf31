// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors
#include "layer_check.h"

#include "layer_directory.h"

#include <algorithm>
#include <unordered_map>

namespace waybill {

namespace {

std::string key_for(Bytes id, bool is_config) {
    std::string key(1, is_config ? 'c' : 'l');
    key.append(reinterpret_cast<const char *>(id.data()), id.size());
    return key;
}

using Present = std::unordered_map<std::string, bool>;

/// Calls `visit(key)` for each layer and, where `configs`, for the config.
template <typename Visit> void for_each_blob(const Frame &frame, bool configs, Visit visit) {
    const record::Image &image = *image_of(frame);
    const LayerList layers(image);
    for (std::uint32_t i = 0; i < layers.size(); ++i)
        visit(key_for(layers.id(i), false));
    if (const Bytes config = config_of(image); configs && !config.empty())
        visit(key_for(config, true));
}

Status ask(Present &present, const std::optional<LayerSettings> &settings, const Host &host) {
    if (host.layer_present) {
        char text[256];
        for (auto &[key, here] : present) {
            write_id_text(
                Bytes(reinterpret_cast<const std::uint8_t *>(key.data()) + 1, key.size() - 1),
                text);
            // A host that cannot tell has not said that the layer is missing.
            here = host.layer_present(text) != Presence::Missing;
        }
        return {};
    }
    Result<LayerDirectory> directory = LayerDirectory::list(*settings);
    if (!directory.ok())
        return directory.status();
    for (auto &[key, here] : present) {
        const Bytes id(reinterpret_cast<const std::uint8_t *>(key.data()) + 1, key.size() - 1);
        here = key[0] == 'c' ? directory->has_config(id) : directory->has_layer(id);
    }
    return {};
}

/// `for_each_image(visit)` calls visit(frame) for each.
template <typename Images>
Result<LayerCheck> check(Index &index, Images for_each_image,
                         const std::optional<LayerSettings> &settings, const Host &host) {
    LayerCheck result;
    result.asked = host.layer_present || settings;
    if (!result.asked)
        return result;
    const bool configs = !host.layer_present;
    Present present;
    std::uint64_t newest = 0;
    for_each_image([&](const Frame &frame) {
        newest = std::max(newest, frame.revision);
        for_each_blob(frame, configs,
                      [&](std::string key) { present.try_emplace(std::move(key)); });
    });
    if (Status asked = ask(present, settings, host); !asked.ok())
        return asked;
    for (const auto &[key, here] : present)
        result.missing_layers += !here;
    result.distinct_layers = present.size();
    // Twice over the images, so that no lock is held while the host or the disk is asked.
    for_each_image([&](const Frame &frame) {
        if (frame.revision > newest)
            return; // Put meanwhile: what was answered may not be true any more.
        bool known = true, complete = true;
        for_each_blob(frame, configs, [&](const std::string &key) {
            const auto found = present.find(key);
            known = known && found != present.end();
            complete = complete && found != present.end() && found->second;
        });
        if (!known)
            return;
        index.set_flags(const_cast<Frame &>(frame), complete ? 0 : frame_flag_incomplete,
                        complete ? frame_flag_incomplete : 0);
        result.incomplete_images += !complete;
    });
    return result;
}

} // namespace

Result<LayerCheck> check_layers(Index &index, const std::optional<LayerSettings> &settings,
                                const Host &host) {
    return check(
        index, [&](auto visit) { index.scan(visit); }, settings, host);
}

Result<LayerCheck> check_layers(Index &index, const std::vector<ImagePin> &images,
                                const std::optional<LayerSettings> &settings, const Host &host) {
    const auto for_each = [&](auto visit) {
        for (const ImagePin &image : images)
            visit(image->frame());
    };
    return check(index, for_each, settings, host);
}

} // namespace waybill
