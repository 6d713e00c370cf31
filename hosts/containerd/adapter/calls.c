/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: Waybill contributors
 */
#define _GNU_SOURCE
#include "calls.h"

#include <dlfcn.h>
#include <inttypes.h>
#include <link.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Exported by Go. */
void waybillLog(uintptr_t handle, int32_t severity, char *message);

/* --- the library --------------------------------------------------------------------------- */

static const waybill_api *fail_to_load(void *library, char *fault, size_t size, const char *why) {
    snprintf(fault, size, "%s", why != NULL ? why : "unknown fault of the loader");
    if (library != NULL)
        dlclose(library);
    return NULL;
}

const waybill_api *call_load(const char *path, char *place, size_t place_size, char *fault,
                             size_t fault_size) {
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (library == NULL)
        return fail_to_load(NULL, fault, fault_size, dlerror());
    waybill_api_get_fn get = NULL;
    *(void **)&get = dlsym(library, WAYBILL_API_SYMBOL);
    if (get == NULL)
        return fail_to_load(library, fault, fault_size, dlerror());
    const waybill_api *api = get(WAYBILL_ABI_VERSION);
    if (api == NULL)
        return fail_to_load(library, fault, fault_size, "it has no table of ABI version 1");
    if (api->struct_size < offsetof(waybill_api, extension))
        return fail_to_load(library, fault, fault_size,
                            "its table is shorter than this host needs");
    struct link_map *map = NULL;
    if (dlinfo(library, RTLD_DI_LINKMAP, &map) == 0 && map != NULL)
        snprintf(place, place_size, "%s", map->l_name);
    return api;
}

/* --- the store ----------------------------------------------------------------------------- */

static void forward_log(void *payload, int32_t severity, const char *message) {
    waybillLog((uintptr_t)payload, severity, (char *)message);
}

typedef struct opened {
    const waybill_api *api;
    waybill_store *store;
    waybill_queue *queue;
} opened;

static opened *of(call_store store) { return (opened *)store; }

static int32_t out_of_memory(waybill_error *error) {
    error->code = WAYBILL_ENOMEM;
    error->sys_errno = 0;
    error->position = -1;
    error->field[0] = '\0';
    snprintf(error->message, sizeof error->message, "the host ran out of memory");
    return WAYBILL_ENOMEM;
}

int32_t call_create(const waybill_api *api, const char *config, uintptr_t log_handle,
                    call_store *store, waybill_error *error) {
    opened *made = calloc(1, sizeof *made);
    if (made == NULL)
        return out_of_memory(error);
    made->api = api;
    waybill_host host = {.struct_size = sizeof host};
    host.payload = (void *)log_handle;
    host.log = forward_log;
    int32_t status = api->queue_create(&made->queue, error);
    if (status == WAYBILL_OK)
        status = api->create(config, &host, &made->store, error);
    if (status == WAYBILL_OK)
        *store = (call_store)made;
    else
        call_free((call_store)made);
    return status;
}

int32_t call_recover(call_store store, char **report, waybill_error *error) {
    const waybill_api *api = of(store)->api;
    waybill_future *future = NULL;
    int32_t status = api->recover(of(store)->store, &future, error);
    if (status != WAYBILL_OK)
        return status;
    status = api->future_wait(future, -1, error);
    waybill_outcome outcome = {.struct_size = sizeof outcome};
    if (status == WAYBILL_OK)
        status = api->future_result(future, &outcome, error);
    if (status == WAYBILL_OK) {
        *report = strdup(outcome.report_json != NULL ? outcome.report_json : "{}");
        if (*report == NULL)
            status = out_of_memory(error);
    }
    api->future_free(future);
    return status;
}

int32_t call_destroy(call_store store, waybill_error *error) {
    return of(store)->api->destroy(of(store)->store, error);
}

void call_free(call_store store) {
    of(store)->api->queue_free(of(store)->queue);
    free(of(store));
}

int32_t call_report(call_store store, const char *name, char **report, waybill_error *error) {
    opened *in = of(store);
    char *json = NULL;
    const int32_t status = in->api->report(in->store, name, NULL, &json, error);
    if (status != WAYBILL_OK)
        return status;
    *report = strdup(json);
    in->api->text_free(json);
    return *report != NULL ? WAYBILL_OK : out_of_memory(error);
}

void call_text_free(char *text) { free(text); }

/* --- images in ----------------------------------------------------------------------------- */

static const char *next_text(const char **texts) {
    const char *text = *texts;
    *texts += strlen(text) + 1;
    return text;
}

static const char *next_optional(const char **texts) {
    const char *text = next_text(texts);
    return *text != '\0' ? text : NULL;
}

static int answered(plain_outcome *now, int32_t status) {
    now->status = status;
    return 1;
}

static void take_outcome(const waybill_api *api, waybill_future *future, plain_outcome *out) {
    waybill_outcome outcome = {.struct_size = sizeof outcome};
    out->revision = 0;
    out->existed = 0;
    out->error.struct_size = sizeof out->error;
    out->status = api->future_result(future, &outcome, &out->error);
    if (out->status == WAYBILL_OK) {
        out->revision = outcome.revision;
        out->existed = outcome.existed;
    }
    api->future_free(future);
}

static int hand_over(opened *in, waybill_future *future, uint64_t token, plain_outcome *now) {
    if (in->api->queue_attach(in->queue, future, token, &now->error) == WAYBILL_OK)
        return 0;
    in->api->future_wait(future, -1, NULL); /* No memory for the queue; the operation goes on. */
    take_outcome(in->api, future, now);
    return 1;
}

int call_put(call_store store, uint64_t token, const plain_image *image,
             const uint64_t *layer_bytes, plain_outcome *now) {
    opened *in = of(store);
    const size_t pair_count = (size_t)image->label_count + image->annotation_count;
    waybill_pair *pairs = calloc(pair_count + 1, sizeof *pairs);
    waybill_layer *layers = calloc((size_t)image->layer_count + 1, sizeof *layers);
    if (pairs == NULL || layers == NULL) {
        free(pairs);
        free(layers);
        return answered(now, out_of_memory(&now->error));
    }
    const char *texts = (const char *)(image + 1);
    waybill_image_spec spec = {.struct_size = sizeof spec};
    spec.name_space = next_text(&texts);
    spec.reference = next_text(&texts);
    spec.target_digest = next_text(&texts);
    spec.target_media_type = next_optional(&texts);
    spec.config_digest = next_optional(&texts);
    for (size_t i = 0; i < pair_count; ++i) {
        pairs[i].key = next_text(&texts);
        pairs[i].value = next_text(&texts);
    }
    for (uint32_t i = 0; i < image->layer_count; ++i) {
        layers[i].struct_size = sizeof layers[i];
        layers[i].digest = next_text(&texts);
        layers[i].media_type = next_optional(&texts);
        layers[i].size_bytes = layer_bytes[i];
    }
    spec.target_size_bytes = image->target_bytes;
    spec.layers = layers;
    spec.layer_count = image->layer_count;
    spec.labels = pairs;
    spec.label_count = image->label_count;
    spec.annotations = pairs + image->label_count;
    spec.annotation_count = image->annotation_count;
    spec.condition = image->condition;
    spec.expected_revision = image->revision;
    spec.created_ns = image->created_ns;
    spec.updated_ns = image->updated_ns;
    waybill_future *future = NULL;
    const int32_t status = in->api->put(in->store, &spec, 1, &future, &now->error);
    free(pairs);
    free(layers);
    return status == WAYBILL_OK ? hand_over(in, future, token, now) : answered(now, status);
}

int call_remove(call_store store, uint64_t token, const char *name_space, const char *reference,
                plain_outcome *now) {
    opened *in = of(store);
    waybill_future *future = NULL;
    const int32_t status = in->api->remove(in->store, name_space, reference, &future, &now->error);
    return status == WAYBILL_OK ? hand_over(in, future, token, now) : answered(now, status);
}

int32_t call_queue_fd(call_store store) { return of(store)->api->queue_fd(of(store)->queue); }

uint32_t call_drain(call_store store, plain_outcome *outcomes, uint32_t capacity) {
    opened *in = of(store);
    waybill_completion taken[64];
    uint32_t count = 0;
    if (capacity > sizeof taken / sizeof *taken)
        capacity = sizeof taken / sizeof *taken;
    if (in->api->queue_drain(in->queue, taken, capacity, &count, NULL) != WAYBILL_OK)
        return 0;
    for (uint32_t i = 0; i < count; ++i) {
        outcomes[i].token = taken[i].token;
        take_outcome(in->api, taken[i].future, &outcomes[i]);
    }
    return count;
}

/* --- images out ---------------------------------------------------------------------------- */

/** Where plain images are written. Counts on when there is no room, so that the size is known. */
typedef struct page {
    char *bytes;
    size_t capacity;
    size_t length;
    int may_grow;
    int out_of_memory;
} page;

static void append(page *out, const void *bytes, size_t length) {
    if (out->may_grow && out->length + length > out->capacity && !out->out_of_memory) {
        const size_t capacity = (out->length + length) * 2 + 4096;
        char *grown = realloc(out->bytes, capacity);
        if (grown == NULL) {
            out->out_of_memory = 1;
        } else {
            out->bytes = grown;
            out->capacity = capacity;
        }
    }
    if (out->length + length <= out->capacity)
        memcpy(out->bytes + out->length, bytes, length);
    out->length += length;
}

static void append_text(page *out, const char *text) { append(out, text, strlen(text) + 1); }

static int32_t append_image(page *out, const waybill_api *api, const waybill_image *image,
                            uint32_t with_layers, waybill_error *error) {
    waybill_image_view view = {.struct_size = sizeof view};
    int32_t status = api->image_view(image, &view, error);
    if (status != WAYBILL_OK)
        return status;
    const size_t start = out->length;
    plain_image head = {.revision = view.revision,
                        .target_bytes = view.size_bytes,
                        .created_ns = view.created_ns,
                        .updated_ns = view.updated_ns,
                        .condition = view.state,
                        .label_count = view.label_count,
                        .annotation_count = view.annotation_count,
                        .layer_count = with_layers ? view.layer_count : 0};
    append(out, &head, sizeof head);
    append_text(out, view.name_space);
    append_text(out, view.reference);
    append_text(out, view.target_digest);
    append_text(out, view.media_type);
    append_text(out, view.config_digest);
    for (uint32_t i = 0; i < view.label_count + view.annotation_count; ++i) {
        waybill_pair pair;
        status = i < view.label_count
                     ? api->image_label(image, i, &pair, error)
                     : api->image_annotation(image, i - view.label_count, &pair, error);
        if (status != WAYBILL_OK)
            return status;
        append_text(out, pair.key);
        append_text(out, pair.value);
    }
    for (uint32_t i = 0; i < head.layer_count; ++i) {
        waybill_layer_view layer = {.struct_size = sizeof layer};
        status = api->image_layer(image, i, &layer, error);
        if (status != WAYBILL_OK)
            return status;
        char size[24];
        snprintf(size, sizeof size, "%" PRIu64, layer.size_bytes);
        append_text(out, layer.id);
        append_text(out, layer.media_type);
        append_text(out, size);
    }
    static const char zeros[8];
    append(out, zeros, -(out->length - start) % 8);
    head.bytes = out->length - start;
    if (out->length <= out->capacity)
        memcpy(out->bytes + start, &head.bytes, sizeof head.bytes);
    return WAYBILL_OK;
}

int32_t call_get(call_store store, const char *name_space, const char *reference,
                 uint32_t with_layers, char *out, size_t capacity, size_t *needed,
                 waybill_error *error) {
    opened *in = of(store);
    const waybill_api *api = in->api;
    waybill_image *image = NULL;
    int32_t status = api->get(in->store, name_space, reference, 1, &image, error);
    if (status != WAYBILL_OK)
        return status;
    page written = {.bytes = out, .capacity = capacity};
    status = append_image(&written, api, image, with_layers, error);
    *needed = written.length;
    api->image_free(image);
    return status;
}

typedef struct listing {
    page out;
    const waybill_api *api;
    uint32_t with_layers;
    int32_t status;
    waybill_error *error;
} listing;

static int32_t list_one(void *payload, waybill_image *image) {
    listing *list = payload;
    list->status = append_image(&list->out, list->api, image, list->with_layers, list->error);
    if (list->status == WAYBILL_OK && list->out.out_of_memory)
        list->status = out_of_memory(list->error);
    return list->status == WAYBILL_OK ? WAYBILL_VISIT_NEXT : WAYBILL_VISIT_STOP;
}

int32_t call_list(call_store store, const char *name_space, uint32_t with_layers, char **images,
                  size_t *bytes, waybill_error *error) {
    opened *in = of(store);
    listing list = {
        .out = {.may_grow = 1}, .api = in->api, .with_layers = with_layers, .error = error};
    const waybill_query query = {.struct_size = sizeof query, .name_space = name_space};
    int32_t status = in->api->visit(in->store, &query, list_one, &list, error);
    if (status == WAYBILL_OK)
        status = list.status;
    if (status != WAYBILL_OK) {
        free(list.out.bytes);
        return status;
    }
    *images = list.out.bytes;
    *bytes = list.out.length;
    return WAYBILL_OK;
}
