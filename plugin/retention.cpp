// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors
#include "retention.h"

#include "image_generated.h"

#include <algorithm>
#include <unordered_map>
#include <unordered_set>

namespace waybill {

void BlobSet::add(Bytes packed_id, bool is_config) {
    entries_.push_back({bytes_.size(), static_cast<std::uint16_t>(packed_id.size()), is_config});
    bytes_.insert(bytes_.end(), packed_id.begin(), packed_id.end());
}

Bytes BlobSet::id(std::size_t index) const {
    return Bytes(bytes_).subspan(entries_[index].offset, entries_[index].size);
}

void BlobSet::sort() {
    std::ranges::sort(entries_, [this](const Entry &a, const Entry &b) {
        return std::ranges::lexicographical_compare(Bytes(bytes_).subspan(a.offset, a.size),
                                                    Bytes(bytes_).subspan(b.offset, b.size));
    });
}

namespace {

struct Use {
    bool is_config;
    bool survives;
};

std::string_view text_of(Bytes packed) {
    return {reinterpret_cast<const char *>(packed.data()), packed.size()};
}

} // namespace

Retained apply_keep_list(const Index &index, const KeepList &keep) {
    const std::unordered_set<std::string_view> kept(keep.references.begin(), keep.references.end());
    Retained result;
    // The views point into frames: the reader keeps those alive beyond the scan.
    const Epoch::Reader reader(index.epoch());
    std::unordered_map<std::string_view, Use> uses;
    index.scan([&](const Frame &frame) {
        const record::Image &image = *image_of(frame);
        const bool in_scope = !keep.name_space || namespace_of(frame) == *keep.name_space;
        const bool survives = !in_scope || image.pinned() || kept.contains(reference_of(frame));
        if (!survives)
            result.removed.push_back(key_of(frame));
        const auto note = [&](Bytes id, bool is_config) {
            Use &use = uses.try_emplace(text_of(id), Use{is_config, false}).first->second;
            use.survives = use.survives || survives;
            // A layer is what a host must know it as, should an id serve as both.
            use.is_config = use.is_config && is_config;
        };
        const LayerList layers(image);
        for (std::uint32_t i = 0; i < layers.size(); ++i)
            note(layers.id(i), false);
        if (const Bytes config = config_of(image); !config.empty())
            note(config, true);
    });
    for (const auto &[id, use] : uses)
        (use.survives ? result.used : result.unused)
            .add(Bytes(reinterpret_cast<const std::uint8_t *>(id.data()), id.size()),
                 use.is_config);
    std::ranges::sort(result.removed);
    result.unused.sort();
    result.used.sort();
    return result;
}

} // namespace waybill
