// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors
//
// Marks the images whose layers are not on disk. Each distinct layer is asked for once.
#pragma once

#include "host.h"
#include "index.h"
#include "settings.h"

#include <cstdint>
#include <vector>

namespace waybill {

struct LayerCheck {
    bool asked = false; ///< there was a layer directory or a callback to ask
    std::uint64_t distinct_layers = 0;
    std::uint64_t missing_layers = 0;
    std::uint64_t incomplete_images = 0;
};

/// May run beside a committer: images that are put meanwhile keep the mark they have.
Result<LayerCheck> check_layers(Index &index, const std::optional<LayerSettings> &settings,
                                const Host &host);
/// The same for some images.
Result<LayerCheck> check_layers(Index &index, const std::vector<ImagePin> &images,
                                const std::optional<LayerSettings> &settings, const Host &host);

} // namespace waybill
