// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors
#include "layer_look.h"

#include "image_generated.h"
#include "layer_check.h"

#include <algorithm>
#include <utility>

namespace waybill {

bool LayerLook::keeps_mark(const Frame &frame) const noexcept {
    const Frame *held = index_.find(namespace_of(frame), reference_of(frame), frame.key_hash);
    if (!held || (held->flags_now() & frame_flag_incomplete) == 0)
        return false;
    const LayerList before(*image_of(*held)), now(*image_of(frame));
    for (std::uint32_t i = 0; i < before.size(); ++i)
        if (i >= now.size() || !std::ranges::equal(before.id(i), now.id(i)))
            return false;
    return true;
}

void LayerLook::add(const Submission &submission) {
    for (const PutImage &image : submission.images) {
        if (!image.incomplete)
            continue;
        bool out_of_memory = false;
        if (ImagePin pin = index_.pin(namespace_of(*image.incomplete),
                                      reference_of(*image.incomplete), &out_of_memory))
            waiting_.images.push_back(std::move(pin));
    }
    waiting_.operations.push_back(submission.operation);
}

LayerLook::Waiting LayerLook::take() noexcept {
    const std::lock_guard lock(mutex_);
    return std::exchange(waiting_, {});
}

void LayerLook::end_after_it(std::span<const Submission> published) noexcept {
    try {
        bool posts = false;
        {
            const std::lock_guard lock(mutex_);
            posts = waiting_.operations.empty();
            for (const Submission &submission : published)
                if (submission.waits_for_look())
                    add(submission);
        }
        if (posts)
            background_([this] { look(); });
        return;
    } catch (...) {
        // The marks stay until the next look.
    }
    for (const OperationPtr &operation : take().operations)
        operation->finish();
    for (const Submission &submission : published)
        if (submission.waits_for_look() && !submission.operation->finished())
            submission.operation->finish();
}

void LayerLook::look() noexcept {
    const Waiting taken = take();
    try {
        const Result<LayerCheck> looked = check_layers(index_, taken.images, settings_, host_);
        if (!looked.ok())
            host_.log(Severity::Warning,
                      "whether incomplete images have their layers by now is not known: " +
                          looked.status().message);
    } catch (...) {
        // Out of memory: the marks stay.
    }
    for (const OperationPtr &operation : taken.operations)
        operation->finish();
}

} // namespace waybill
