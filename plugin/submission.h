// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors
//
// What is handed to the committer: one call of a changing verb, and the operation that it ends.
#pragma once

#include "operation.h"
#include "record.h"
#include "retention.h"

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

namespace waybill {

enum class PutCondition { Any, IfAbsent, IfRevision };

struct PutImage {
    PutImage(FramePtr its_frame, PutCondition its_condition, std::uint64_t its_expected_revision);

    FramePtr frame;
    PutCondition condition;
    std::uint64_t expected_revision;
    /// As the host gave them, 0: not at all. The frame has what the last plan made of them, and a
    /// batch for which there was no room is planned anew.
    std::int64_t given_created_ns;
    std::int64_t given_updated_ns;
    /// What became of `frame`, if the operation ends only when its layers have been looked at.
    const Frame *incomplete = nullptr;
};

enum class Verb { Put, Remove, Prune, AcceptLoss };

struct Submission {
    Verb verb = Verb::Put;
    OperationPtr operation;
    std::vector<PutImage> images; ///< put
    Key key;                      ///< remove
    KeepList keep;                ///< prune
    std::string report_json;      ///< passed on to the outcome

    bool waits_for_look() const {
        return std::ranges::any_of(images, [](const PutImage &image) { return image.incomplete; });
    }
};

} // namespace waybill
