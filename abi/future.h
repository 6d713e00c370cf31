// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors
//
// What a host does with an operation under way: wait, be called, be told through a queue.
#pragma once

#include "conversion.h"
#include "handle.h"

namespace waybill {

using FutureCallback = void (*)(void *payload, waybill_future *future);

Status wait_for(waybill_future *future, std::int64_t timeout_ms);
Status status_of(const waybill_future *future);
Status call_back(waybill_future *future, FutureCallback callback, void *payload);
Status attach(waybill_queue *queue, waybill_future *future, std::uint64_t token);
Status cancel(waybill_future *future);
Status result_of(const waybill_future *future, waybill_outcome *outcome);
Status pruned_layer(const waybill_future *future, std::uint32_t set, std::uint64_t index,
                    waybill_blob_view *view);
Status pruned_image(const waybill_future *future, std::uint64_t index, waybill_key_view *view);

} // namespace waybill
