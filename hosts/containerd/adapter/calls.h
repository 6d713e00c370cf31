/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: Waybill contributors
 *
 * What Go calls. Go cannot call through C's function pointers, and each crossing costs more than a
 * lookup in the store; so there is one function for each of the adapter's operations, which takes
 * and gives whole images as plain bytes.
 * Invariants: nothing here keeps a pointer of Go's; nothing here decides anything.
 */
#ifndef WAYBILL_CONTAINERD_CALLS_H
#define WAYBILL_CONTAINERD_CALLS_H

#include <waybill/waybill.h>

#include <stddef.h>
#include <stdint.h>

/** Loads the library and returns its table, or NULL and why. `place` becomes the file's path. */
const waybill_api *call_load(const char *path, char *place, size_t place_size, char *fault,
                             size_t fault_size);

/** A store, the table that it is reached by, and the queue of what is under way. A number: at each
 *  call cgo would look for pointers of Go's behind an address. */
typedef uintptr_t call_store;

int32_t call_create(const waybill_api *api, const char *config, uintptr_t log_handle,
                    call_store *store, waybill_error *error);
/** Waits. `*report` is freed with call_text_free. */
int32_t call_recover(call_store store, char **report, waybill_error *error);
/** Completes what is under way. The queue goes on to be drained until call_free. */
int32_t call_destroy(call_store store, waybill_error *error);
void call_free(call_store store);
int32_t call_report(call_store store, const char *name, char **report, waybill_error *error);
void call_text_free(char *text);

/** An image on its way out or in. Behind it stand its texts, each NUL-terminated: namespace,
 *  reference, target's digest, target's media type, config's digest; then the labels, the
 *  annotations, key and value in turn; then for each layer digest, media type and, on the way out,
 *  size.
 *  A text that is not given is empty. */
typedef struct plain_image {
    uint64_t bytes;    /**< of this head and its texts, rounded up to 8 */
    uint64_t revision; /**< in: expected */
    uint64_t target_bytes;
    int64_t created_ns;
    int64_t updated_ns;
    uint32_t condition; /**< in: WAYBILL_PUT_…; out: WAYBILL_IMAGE_… */
    uint32_t label_count;
    uint32_t annotation_count;
    uint32_t layer_count;
} plain_image;

/** What an operation came to. `error` is filled if `status` is none of WAYBILL_OK. */
typedef struct plain_outcome {
    uint64_t token;
    uint64_t revision;
    int32_t status;
    uint32_t existed;
    waybill_error error;
} plain_outcome;

/** Both submit. 0: the outcome will come out of the queue under `token`. 1: it is in `*now`. */
int call_put(call_store store, uint64_t token, const plain_image *image,
             const uint64_t *layer_bytes, plain_outcome *now);
int call_remove(call_store store, uint64_t token, const char *name_space, const char *reference,
                plain_outcome *now);

/** Readable as long as there is something to drain. */
int32_t call_queue_fd(call_store store);
/** Takes finished operations, and returns how many. */
uint32_t call_drain(call_store store, plain_outcome *outcomes, uint32_t capacity);

/** Writes the image to `out`, or only its size to `*needed` if there is no room. */
int32_t call_get(call_store store, const char *name_space, const char *reference,
                 uint32_t with_layers, char *out, size_t capacity, size_t *needed,
                 waybill_error *error);

/** All images of a namespace (NULL: of all), one behind the other, in memory for call_text_free. */
int32_t call_list(call_store store, const char *name_space, uint32_t with_layers, char **images,
                  size_t *bytes, waybill_error *error);

#endif
