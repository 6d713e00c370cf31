// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors
//
// What a store should hold: one state after each transaction, and a way to see which of them a
// recovered store is in.
#pragma once

#include "plugin/index.h"
#include "plugin/recovery.h"
#include "plugin/store_mark.h"

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace waybill::crash {

struct ModelImage {
    std::string value;
    std::uint64_t revision = 0;
    std::uint16_t flags = 0;
    bool pinned = false;
    bool operator==(const ModelImage &) const = default;
};

struct ModelState {
    std::map<std::string, ModelImage> images; ///< by reference
    std::uint64_t revision = 0;
    bool degraded = false;
    bool operator==(const ModelState &) const = default;
};

/// For people: "a=v3@2 b=v1@1 pinned; revision 2".
std::string text_of(const ModelState &state);

/// What a recovery came to.
ModelState state_of(const Index &index, const Recovered &recovered);

/// The record of an image whose content is one text.
FramePtr encode_sample(const std::string &reference, const std::string &value, bool pinned);

} // namespace waybill::crash
