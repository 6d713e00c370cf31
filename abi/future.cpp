// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors
#include "future.h"

#include "plugin/thread_memory.h"

#include <charconv>
#include <cstring>
#include <iterator>
#include <new>

namespace waybill {

/// For threads that may be unable to hear that there is no memory: what counts is the code.
static Status told(Code code, std::string_view text) noexcept {
    if (has_thread_memory())
        try {
            return failure(code, std::string(text));
        } catch (const std::bad_alloc &) {
        }
    return failure(code, "(no memory)");
}

static Status check(const waybill_future *future) noexcept {
    if (!future)
        return invalid("future", "NULL");
    if (future->fork_generation != forked::generation())
        return told(Code::Forked, "the future belongs to the parent process");
    return {};
}

static Status timed_out(std::int64_t timeout_ms) noexcept {
    char text[64] = "not done within ";
    char *const digits = text + std::strlen(text);
    std::strcpy(std::to_chars(digits, std::end(text), timeout_ms).ptr, " ms");
    return told(Code::TimedOut, text);
}

Status wait_for(waybill_future *future, std::int64_t timeout_ms) {
    if (Status checked = check(future); !checked.ok())
        return checked;
    Operation &operation = *future->operation;
    if (!operation.finished()) {
        if (future->notifier->is_calling() && timeout_ms != 0)
            return told(Code::Deadlock, "waiting inside a callback of this store");
        if (!operation.wait(timeout_ms))
            return timed_out(timeout_ms);
    }
    // Its own code, whatever memory there is: "no memory" would say that nothing was stored.
    return copied(operation.outcome().status);
}

Status status_of(const waybill_future *future) {
    if (Status checked = check(future); !checked.ok())
        return checked;
    if (!future->operation->finished())
        return told(Code::Pending, "still under way");
    return copied(future->operation->outcome().status);
}

Status call_back(waybill_future *future, FutureCallback callback, void *payload) {
    if (Status checked = check(future); !checked.ok())
        return checked;
    if (!callback)
        return invalid("callback", "NULL");
    // All that the call will need is made here, where a lack of memory can still be answered.
    const auto calls = std::make_shared<Notifier::Calls>();
    calls->push_back([future, callback, payload] { callback(payload, future); });
    Operation::Subscribers subscriber;
    subscriber.push_back([calls, notifier = future->notifier] {
        // After destroy there is no thread of the library left: the caller's own serves.
        if (!notifier->post(*calls))
            calls->front()();
    });
    if (future->has_callback.exchange(true))
        return failure(Code::State, "the future has a callback already");
    future->operation->subscribe(subscriber);
    return {};
}

Status attach(waybill_queue *queue, waybill_future *future, std::uint64_t token) {
    if (Status checked = check(future); !checked.ok())
        return checked;
    if (!queue)
        return invalid("queue", "NULL");
    if (queue->fork_generation != forked::generation())
        return failure(Code::Forked, "the queue belongs to the parent process");
    const auto completions = std::make_shared<CompletionQueue::Completions>();
    completions->push_back({token, future, WAYBILL_OK, 0});
    // Weak: a queue that the host has freed takes nothing more. The operation is reached through
    // the future's own reference, which this call must not outlive.
    Operation::Subscribers subscriber;
    subscriber.push_back([weak = std::weak_ptr(queue->queue), completions,
                          operation = std::weak_ptr(future->operation)] {
        const auto target = weak.lock();
        const auto ended = operation.lock();
        if (!target || !ended)
            return;
        completions->front().status = code_number(ended->outcome().status.code);
        target->push(*completions);
    });
    if (future->has_queue.exchange(true))
        return failure(Code::State, "the future has a queue already");
    future->operation->subscribe(subscriber);
    return {};
}

Status cancel(waybill_future *future) {
    if (Status checked = check(future); !checked.ok())
        return checked;
    return future->operation->cancel() ? Status{}
                                       : failure(Code::State, "the operation has begun or ended");
}

/// Lives as long as the future does.
static Result<const Outcome *> good_outcome(const waybill_future *future) {
    if (Status status = status_of(future); !status.ok())
        return status;
    return &future->operation->outcome();
}

Status result_of(const waybill_future *future, waybill_outcome *outcome) {
    if (Status checked = check_struct(outcome, "outcome"); !checked.ok())
        return checked;
    Result<const Outcome *> good = good_outcome(future);
    if (!good.ok())
        return good.status();
    const Outcome &ended = **good;
    outcome->existed = ended.existed;
    outcome->revision = ended.revision;
    outcome->image_count = ended.image_count;
    outcome->unused_layer_count = ended.retained.unused.size();
    outcome->used_layer_count = ended.retained.used.size();
    outcome->report_json = ended.report_json.empty() ? nullptr : ended.report_json.c_str();
    return {};
}

Status pruned_layer(const waybill_future *future, std::uint32_t set, std::uint64_t index,
                    waybill_blob_view *view) {
    if (Status checked = check_struct(view, "view"); !checked.ok())
        return checked;
    if (set != WAYBILL_LAYERS_UNUSED && set != WAYBILL_LAYERS_USED)
        return invalid("set", std::to_string(set) + " is unknown");
    Result<const Outcome *> good = good_outcome(future);
    if (!good.ok())
        return good.status();
    const BlobSet &blobs =
        set == WAYBILL_LAYERS_UNUSED ? (*good)->retained.unused : (*good)->retained.used;
    if (index >= blobs.size())
        return failure(Code::NotFound,
                       "index " + std::to_string(index) + " of " + std::to_string(blobs.size()));
    view->kind = blobs.is_config(index) ? WAYBILL_BLOB_CONFIG : WAYBILL_BLOB_LAYER;
    write_id_text(blobs.id(index), view->id);
    return {};
}

Status pruned_image(const waybill_future *future, std::uint64_t index, waybill_key_view *view) {
    if (Status checked = check_struct(view, "view"); !checked.ok())
        return checked;
    Result<const Outcome *> good = good_outcome(future);
    if (!good.ok())
        return good.status();
    const std::vector<Key> &removed = (*good)->retained.removed.sorted();
    if (index >= removed.size())
        return failure(Code::NotFound,
                       "index " + std::to_string(index) + " of " + std::to_string(removed.size()));
    view->name_space = removed[index].name_space.c_str();
    view->reference = removed[index].reference.c_str();
    return {};
}

} // namespace waybill
