/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: Waybill contributors
 *
 * An endless sequence of operations that is known beforehand: who knows the seed, the writer and
 * the number of the last operation knows every byte that the store must hold. Each writer has a
 * namespace of its own, so that writers do not wait for each other.
 */
#ifndef WAYBILL_TESTS_CRASH_SEQUENCE_H
#define WAYBILL_TESTS_CRASH_SEQUENCE_H

#include <waybill/waybill.h>

#include <stddef.h>
#include <stdint.h>

#define SLOTS 20     /**< names of one writer */
#define BATCH_MAX 7  /**< images in one put */
#define LAYERS_MAX 5 /**< of one image */
#define PAIRS_MAX 3  /**< labels, and annotations */

typedef enum verb { PUT, REMOVE, PRUNE } verb;

/** One operation. For a put or remove `slots` are its names; for a prune those that are kept. */
typedef struct operation {
    verb verb;
    uint32_t count;
    uint32_t slots[SLOTS];
} operation;

/** What the names of one writer hold: the number of the operation that put it, or 0. */
typedef struct state {
    uint64_t seed;
    uint32_t writer;
    uint64_t number; /**< of the last operation */
    uint64_t versions[SLOTS];
} state;

/** An image as an operation puts it, with the memory of its texts. */
typedef struct sample {
    waybill_image_spec spec;
    waybill_layer layers[LAYERS_MAX];
    waybill_pair labels[PAIRS_MAX];
    waybill_pair annotations[PAIRS_MAX];
    size_t used;
    char text[16384];
} sample;

operation operation_at(uint64_t seed, uint32_t writer, uint64_t number);

/** The state before the first operation. */
state state_before(uint64_t seed, uint32_t writer);
/** Takes `now` one operation further. */
void advance(state *now);
/** How many images the operation that comes next will remove; only for a prune. */
uint32_t pruned_by_next(const state *now);
uint32_t images_in(const state *now);

const char *namespace_of_writer(uint32_t writer, char out[32]);
const char *reference_of_slot(uint32_t writer, uint32_t slot, char out[96]);

/** The image that operation `version` puts under the name. */
void make_sample(sample *out, uint64_t seed, uint32_t writer, uint32_t slot, uint64_t version);

/** NULL, or the name of the first member in which the image differs from what was put: "state" if
 *  nothing else does and it is uncertain, possibly resurrected or incomplete. */
const char *difference(const waybill_api *api, const waybill_image *image, const sample *expected);

/** The next number of a row of them (splitmix64). */
uint64_t next_random(uint64_t *state_of_row);

#endif
