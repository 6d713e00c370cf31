// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors
//
// The table. Each entry is one line within the guard; what it does is elsewhere.
#include "future.h"
#include "guard.h"
#include "handle.h"
#include "image.h"

#include <cstdlib>
#include <cstring>

namespace waybill {
namespace {

Status check(const waybill_store *store) { return store ? Status{} : invalid("store", "NULL"); }

/// The frame of every verb that answers with a future.
template <typename Verb>
std::int32_t start(waybill_store *store, waybill_future **future, waybill_error *error,
                   Verb verb) noexcept {
    return guarded(error, [&]() -> Status {
        if (Status checked = check(store); !checked.ok())
            return checked;
        if (!future)
            return invalid("future", "NULL");
        // Beforehand: what has been accepted must not be answered with a lack of memory.
        auto made = std::make_unique<waybill_future>();
        made->notifier = store->store->notifier();
        Result<OperationPtr> operation = verb(*store->store);
        if (!operation.ok())
            return operation.status();
        made->operation = std::move(*operation);
        *future = made.release();
        return {};
    });
}

Status create_store(const char *config_json, const waybill_host *host, waybill_store **store) {
    if (!config_json)
        return invalid("config", "NULL");
    if (!store)
        return invalid("store", "NULL");
    Result<Settings> settings = parse_settings(config_json);
    if (!settings.ok())
        return settings.status();
    Result<Host> converted = host_from(host);
    if (!converted.ok())
        return converted.status();
    Result<std::unique_ptr<Store>> opened =
        Store::open(std::move(*settings), std::move(*converted));
    if (!opened.ok())
        return opened.status();
    *store = new waybill_store{std::move(*opened)};
    return {};
}

Status destroy_store(waybill_store *store) {
    if (!store)
        return {};
    // In a child the threads do not exist and the locks may be held for ever: it is left behind.
    if (store->store->forked())
        return failure(Code::Forked, "the store belongs to the parent process");
    if (Status closed = store->store->close(); !closed.ok())
        return closed;
    delete store;
    return {};
}

std::int32_t create(const char *config_json, const waybill_host *host, waybill_store **store,
                    waybill_error *error) {
    return guarded(error, [&] { return create_store(config_json, host, store); });
}

std::int32_t destroy(waybill_store *store, waybill_error *error) {
    return guarded(error, [&] { return destroy_store(store); });
}

std::int32_t recover(waybill_store *store, waybill_future **future, waybill_error *error) {
    return start(store, future, error, [](Store &s) { return s.recover(); });
}

std::int32_t refresh(waybill_store *store, waybill_future **future, waybill_error *error) {
    return start(store, future, error, [](Store &s) { return s.refresh(); });
}

std::int32_t accept_loss(waybill_store *store, waybill_future **future, waybill_error *error) {
    return start(store, future, error, [](Store &s) { return s.accept_loss(); });
}

std::int32_t put(waybill_store *store, const waybill_image_spec *images, std::uint32_t count,
                 waybill_future **future, waybill_error *error) {
    return start(store, future, error, [&](Store &s) -> Result<OperationPtr> {
        Result<std::vector<PutRequest>> requests = requests_from(images, count);
        return requests.ok() ? s.put(*requests) : Result<OperationPtr>(requests.status());
    });
}

Status get_image(waybill_store *store, const char *name_space, const char *reference,
                 std::uint32_t cached, waybill_image **image) {
    if (Status checked = check(store); !checked.ok())
        return checked;
    if (!reference)
        return invalid("reference", "NULL");
    if (!image)
        return invalid("image", "NULL");
    if (Status checked = check_namespace(name_space); !checked.ok())
        return checked;
    Result<ImagePin> found = store->store->get(view(name_space), reference, cached != 0);
    if (!found.ok())
        return found.status();
    *image = as_handle(std::move(*found));
    return {};
}

std::int32_t get(waybill_store *store, const char *name_space, const char *reference,
                 std::uint32_t cached, waybill_image **image, waybill_error *error) {
    // The usual case by itself: it throws nothing and has nothing to report.
    if (store && reference && image && cached && (!name_space || *name_space))
        if (ImagePin held = store->store->get_by_key(view(name_space), reference)) {
            *image = as_handle(std::move(held));
            return WAYBILL_OK;
        }
    return guarded(error, [&] { return get_image(store, name_space, reference, cached, image); });
}

std::int32_t remove(waybill_store *store, const char *name_space, const char *reference,
                    waybill_future **future, waybill_error *error) {
    return start(store, future, error, [&](Store &s) -> Result<OperationPtr> {
        if (!reference)
            return invalid("reference", "NULL");
        if (Status checked = check_namespace(name_space); !checked.ok())
            return checked;
        return s.remove(view(name_space), reference);
    });
}

Result<OperationPtr> prune_store(Store &store, const char *name_space, const char *const *keep,
                                 std::uint32_t keep_count) {
    if (keep_count > 0 && !keep)
        return invalid("keep", "NULL");
    if (Status checked = check_namespace(name_space); !checked.ok())
        return checked;
    std::vector<std::string_view> names;
    names.reserve(keep_count);
    for (std::uint32_t i = 0; i < keep_count; ++i) {
        if (!keep[i])
            return invalid("keep[" + std::to_string(i) + "]", "NULL");
        names.emplace_back(keep[i]);
    }
    return store.prune(name_space ? std::optional(std::string_view(name_space)) : std::nullopt,
                       names);
}

std::int32_t prune(waybill_store *store, const char *name_space, const char *const *keep,
                   std::uint32_t keep_count, waybill_future **future, waybill_error *error) {
    return start(store, future, error,
                 [&](Store &s) { return prune_store(s, name_space, keep, keep_count); });
}

std::int32_t import_oci(waybill_store *store, const char *name_space, const char *layout_dir,
                        const char *reference, waybill_future **future, waybill_error *error) {
    return start(store, future, error, [&](Store &s) -> Result<OperationPtr> {
        if (!layout_dir)
            return invalid("layout_dir", "NULL");
        if (Status checked = check_namespace(name_space); !checked.ok())
            return checked;
        return s.import_oci(view(name_space), layout_dir, std::string(view(reference)));
    });
}

using Visitor = std::int32_t (*)(void *payload, waybill_image *image);

Status visit_images(waybill_store *store, const waybill_query *query, Visitor callback,
                    void *payload) {
    if (Status checked = check(store); !checked.ok())
        return checked;
    if (!callback)
        return invalid("callback", "NULL");
    Result<Query> converted = query_from(query);
    if (!converted.ok())
        return converted.status();
    Result<std::vector<ImagePin>> found = store->store->list(*converted);
    if (!found.ok())
        return found.status();
    for (ImagePin &pin : *found) {
        const auto *image = reinterpret_cast<const waybill_image *>(pin.get());
        const std::int32_t answer = callback(payload, const_cast<waybill_image *>(image));
        if (answer == WAYBILL_VISIT_STOP)
            break;
        if (answer == WAYBILL_VISIT_KEEP)
            (void)pin.release();
        else
            pin.reset();
    }
    return {};
}

std::int32_t visit(waybill_store *store, const waybill_query *query, Visitor callback,
                   void *payload, waybill_error *error) {
    return guarded(error, [&] { return visit_images(store, query, callback, payload); });
}

Status report_text_of(waybill_store *store, const char *name, const char *arguments_json,
                      char **json) {
    if (Status checked = check(store); !checked.ok())
        return checked;
    if (!name)
        return invalid("name", "NULL");
    if (!json)
        return invalid("json", "NULL");
    if (arguments_json && std::strcmp(arguments_json, "{}") != 0)
        return invalid("arguments", "this report takes none");
    Result<std::string> text = store->store->report(name);
    if (!text.ok())
        return text.status();
    char *copy = ::strdup(text->c_str());
    if (!copy)
        return failure(Code::NoMemory, "memory ran out");
    *json = copy;
    return {};
}

std::int32_t report_by_name(waybill_store *store, const char *name, const char *arguments_json,
                            char **json, waybill_error *error) {
    return guarded(error, [&] { return report_text_of(store, name, arguments_json, json); });
}

void text_free(char *text) { std::free(text); }

void image_free(waybill_image *image) { Pins::of_process().release(pin_of(image)); }

std::int32_t image_view(const waybill_image *image, waybill_image_view *view,
                        waybill_error *error) {
    return guarded(error, [&] { return view_image(image, view); });
}

std::int32_t image_layer(const waybill_image *image, std::uint32_t index, waybill_layer_view *view,
                         waybill_error *error) {
    return guarded(error, [&] { return view_layer(image, index, view); });
}

std::int32_t image_label(const waybill_image *image, std::uint32_t index, waybill_pair *pair,
                         waybill_error *error) {
    return guarded(error, [&] { return view_label(image, index, pair); });
}

std::int32_t image_annotation(const waybill_image *image, std::uint32_t index, waybill_pair *pair,
                              waybill_error *error) {
    return guarded(error, [&] { return view_annotation(image, index, pair); });
}

std::int32_t future_wait(waybill_future *future, std::int64_t timeout_ms, waybill_error *error) {
    return guarded_answer(error, [&] { return wait_for(future, timeout_ms); });
}

std::int32_t future_status(const waybill_future *future) {
    return guarded_answer(nullptr, [&] { return status_of(future); });
}

std::int32_t future_then(waybill_future *future, FutureCallback callback, void *payload,
                         waybill_error *error) {
    return guarded(error, [&] { return call_back(future, callback, payload); });
}

std::int32_t future_result(const waybill_future *future, waybill_outcome *outcome,
                           waybill_error *error) {
    return guarded(error, [&] { return result_of(future, outcome); });
}

std::int32_t prune_layer(const waybill_future *future, std::uint32_t set, std::uint64_t index,
                         waybill_blob_view *view, waybill_error *error) {
    return guarded(error, [&] { return pruned_layer(future, set, index, view); });
}

std::int32_t prune_image(const waybill_future *future, std::uint64_t index, waybill_key_view *view,
                         waybill_error *error) {
    return guarded(error, [&] { return pruned_image(future, index, view); });
}

std::int32_t future_cancel(waybill_future *future, waybill_error *error) {
    return guarded(error, [&] { return cancel(future); });
}

void future_free(waybill_future *future) {
    // In a child the parent's waiters look as if they waited still: it is left behind.
    guarded([&] {
        if (future && future->fork_generation == forked::generation())
            delete future;
    });
}

Status create_queue(waybill_queue **queue) {
    if (!queue)
        return invalid("queue", "NULL");
    forked::install();
    Result<std::shared_ptr<CompletionQueue>> created = CompletionQueue::create();
    if (!created.ok())
        return created.status();
    *queue = new waybill_queue{std::move(*created)};
    return {};
}

std::int32_t queue_create(waybill_queue **queue, waybill_error *error) {
    return guarded(error, [&] { return create_queue(queue); });
}

std::int32_t queue_fd(const waybill_queue *queue) { return queue ? queue->queue->fd() : -1; }

std::int32_t queue_attach(waybill_queue *queue, waybill_future *future, std::uint64_t token,
                          waybill_error *error) {
    return guarded(error, [&] { return attach(queue, future, token); });
}

Status drain_queue(waybill_queue *queue, waybill_completion *completions, std::uint32_t capacity,
                   std::uint32_t *count) {
    if (!queue)
        return invalid("queue", "NULL");
    if (!completions || !count)
        return invalid(completions ? "count" : "completions", "NULL");
    if (queue->fork_generation != forked::generation())
        return failure(Code::Forked, "the queue belongs to the parent process");
    *count = queue->queue->drain(completions, capacity);
    return {};
}

std::int32_t queue_drain(waybill_queue *queue, waybill_completion *completions,
                         std::uint32_t capacity, std::uint32_t *count, waybill_error *error) {
    return guarded(error, [&] { return drain_queue(queue, completions, capacity, count); });
}

void queue_free(waybill_queue *queue) {
    guarded([&] {
        if (queue && queue->fork_generation == forked::generation())
            delete queue;
    });
}

const void *extension(const char *) { return nullptr; }

constexpr waybill_api table = {
    sizeof(waybill_api),
    WAYBILL_ABI_VERSION,
    WAYBILL_PLUGIN_TYPE,
    WAYBILL_PLUGIN_ID,
    WAYBILL_VERSION,
    create,
    destroy,
    recover,
    refresh,
    accept_loss,
    put,
    get,
    remove,
    prune,
    import_oci,
    visit,
    report_by_name,
    text_free,
    image_free,
    image_view,
    image_layer,
    image_label,
    image_annotation,
    future_wait,
    future_status,
    future_then,
    future_result,
    prune_layer,
    prune_image,
    future_cancel,
    future_free,
    queue_create,
    queue_fd,
    queue_attach,
    queue_drain,
    queue_free,
    extension,
};

} // namespace
} // namespace waybill

extern "C" __attribute__((visibility("default"))) const waybill_api *
waybill_api_get(std::uint32_t abi_version) {
    return abi_version == WAYBILL_ABI_VERSION ? &waybill::table : nullptr;
}
