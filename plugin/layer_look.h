// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors
//
// What becomes of an image that is marked incomplete when it is put again. Its layers may have come
// since, and whoever pulled them must see it complete; or only a label has changed, and then it
// must not seem so. So it keeps the mark, its layers are looked at in the background, and the put
// ends after that. Invariants: every operation that is handed over ends, whether or not a look was
// possible: what is durable is durable. One job serves all that come while it waits, since each may
// list a whole directory.
#pragma once

#include "host.h"
#include "index.h"
#include "settings.h"
#include "submission.h"
#include "workers.h"

#include <mutex>
#include <optional>
#include <span>
#include <vector>

namespace waybill {

class LayerLook final {
  public:
    LayerLook(Index &index, Background background, const std::optional<LayerSettings> &settings,
              const Host &host)
        : index_(index), background_(std::move(background)), settings_(settings), host_(host) {}

    /// The writer, before it publishes `frame`: whether the image in whose place it comes lacked a
    /// layer when it was looked at, and `frame` depends on all of its layers, too.
    bool keeps_mark(const Frame &frame) const noexcept;
    /// The writer, before it publishes anything more: ends those that wait for a look.
    void end_after_it(std::span<const Submission> published) noexcept;

  private:
    struct Waiting {
        std::vector<ImagePin> images;
        std::vector<OperationPtr> operations;
    };
    void add(const Submission &submission);
    Waiting take() noexcept;
    void look() noexcept;

    Index &index_;
    const Background background_;
    const std::optional<LayerSettings> &settings_;
    const Host &host_;
    std::mutex mutex_;
    Waiting waiting_; ///< for a job that has been posted, unless it is empty
};

} // namespace waybill
