/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: Waybill contributors
 */
#include "sequence.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

uint64_t next_random(uint64_t *state_of_row) {
    uint64_t z = (*state_of_row += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

/** The start of a row that belongs to these numbers alone. */
static uint64_t row(uint64_t seed, uint64_t writer, uint64_t slot, uint64_t version) {
    uint64_t at = seed;
    at = next_random(&at) ^ writer;
    at = next_random(&at) ^ slot;
    at = next_random(&at) ^ version;
    return next_random(&at);
}

operation operation_at(uint64_t seed, uint32_t writer, uint64_t number) {
    uint64_t random = row(seed, writer, SLOTS, number);
    const uint64_t kind = next_random(&random) % 100;
    uint32_t order[SLOTS], i, wanted;
    operation found = {PUT, 0, {0}};
    for (i = 0; i < SLOTS; ++i)
        order[i] = i;
    for (i = SLOTS - 1; i > 0; --i) {
        const uint32_t other = (uint32_t)(next_random(&random) % (i + 1));
        const uint32_t moved = order[i];
        order[i] = order[other];
        order[other] = moved;
    }
    if (kind < 50) {
        wanted = 1;
    } else if (kind < 76) {
        wanted = 2 + (uint32_t)(next_random(&random) % (BATCH_MAX - 1));
    } else if (kind < 94) {
        found.verb = REMOVE;
        wanted = 1;
    } else {
        found.verb = PRUNE;
        wanted = (uint32_t)(next_random(&random) % (SLOTS + 1));
    }
    memcpy(found.slots, order, wanted * sizeof order[0]);
    found.count = wanted;
    return found;
}

static int is_pinned(uint64_t seed, uint32_t writer, uint32_t slot, uint64_t version) {
    return row(seed, writer, slot, version) % 8 == 0;
}

state state_before(uint64_t seed, uint32_t writer) {
    state first;
    memset(&first, 0, sizeof first);
    first.seed = seed;
    first.writer = writer;
    return first;
}

static int goes_with(const state *now, const operation *prune, uint32_t slot) {
    uint32_t i;
    if (now->versions[slot] == 0 || is_pinned(now->seed, now->writer, slot, now->versions[slot]))
        return 0;
    for (i = 0; i < prune->count; ++i)
        if (prune->slots[i] == slot)
            return 0;
    return 1;
}

uint32_t pruned_by_next(const state *now) {
    const operation prune = operation_at(now->seed, now->writer, now->number + 1);
    uint32_t slot, count = 0;
    for (slot = 0; slot < SLOTS; ++slot)
        count += (uint32_t)goes_with(now, &prune, slot);
    return count;
}

void advance(state *now) {
    const operation next = operation_at(now->seed, now->writer, now->number + 1);
    uint32_t i;
    for (i = 0; next.verb == PRUNE && i < SLOTS; ++i)
        if (goes_with(now, &next, i))
            now->versions[i] = 0;
    for (i = 0; next.verb != PRUNE && i < next.count; ++i)
        now->versions[next.slots[i]] = next.verb == PUT ? now->number + 1 : 0;
    now->number += 1;
}

uint32_t images_in(const state *now) {
    uint32_t slot, count = 0;
    for (slot = 0; slot < SLOTS; ++slot)
        count += now->versions[slot] != 0;
    return count;
}

/* --- images ----------------------------------------------------------------------------------- */

const char *namespace_of_writer(uint32_t writer, char out[32]) {
    snprintf(out, 32, "writer-%u", (unsigned)writer);
    return out;
}

const char *reference_of_slot(uint32_t writer, uint32_t slot, char out[96]) {
    snprintf(out, 96, "registry.example/node/w%u/image-%u:latest", (unsigned)writer,
             (unsigned)slot);
    return out;
}

__attribute__((format(printf, 2, 3))) static const char *keep(sample *in, const char *format, ...) {
    char *text = in->text + in->used;
    va_list arguments;
    int length;
    va_start(arguments, format);
    length = vsnprintf(text, sizeof in->text - in->used, format, arguments);
    va_end(arguments);
    if (length < 0 || (size_t)length >= sizeof in->text - in->used)
        abort(); /* The buffer holds the largest sample there is. */
    in->used += (size_t)length + 1;
    return text;
}

static const char *keep_digest(sample *in, uint64_t *random) {
    const unsigned long long a = next_random(random), b = next_random(random),
                             c = next_random(random), d = next_random(random);
    return keep(in, "sha256:%016llx%016llx%016llx%016llx", a, b, c, d);
}

/** Printable text of up to `most` bytes. */
static const char *keep_words(sample *in, uint64_t *random, size_t most) {
    static const char letters[] = "abcdefghijklmnopqrstuvwxyz0123456789-_./ {}\":,";
    char words[2048];
    const size_t length = next_random(random) % (most + 1);
    size_t i;
    for (i = 0; i < length; ++i)
        words[i] = letters[next_random(random) % (sizeof letters - 1)];
    words[length] = '\0';
    return keep(in, "%s", words);
}

static uint32_t make_pairs(sample *in, waybill_pair *pairs, uint64_t *random, size_t bytes_most) {
    const uint32_t count = (uint32_t)(next_random(random) % (PAIRS_MAX + 1));
    uint32_t i;
    for (i = 0; i < count; ++i) {
        pairs[i].key = keep(in, "example.key/%u", (unsigned)i);
        pairs[i].value = keep_words(in, random, bytes_most);
    }
    return count;
}

void make_sample(sample *out, uint64_t seed, uint32_t writer, uint32_t slot, uint64_t version) {
    uint64_t random = row(seed, writer, slot, version) + 1;
    waybill_image_spec *spec = &out->spec;
    char name[96];
    uint32_t i;
    memset(spec, 0, sizeof *spec);
    out->used = 0;
    spec->struct_size = sizeof *spec;
    spec->pinned = (uint32_t)is_pinned(seed, writer, slot, version);
    spec->name_space = keep(out, "%s", namespace_of_writer(writer, name));
    spec->reference = keep(out, "%s", reference_of_slot(writer, slot, name));
    spec->target_digest = keep_digest(out, &random);
    spec->target_media_type =
        keep(out, "application/vnd.example.v%llu+json", (unsigned long long)version);
    spec->target_size_bytes = next_random(&random);
    spec->config_digest = keep_digest(out, &random);
    spec->layer_count = 1 + (uint32_t)(next_random(&random) % LAYERS_MAX);
    memset(out->layers, 0, sizeof out->layers);
    for (i = 0; i < spec->layer_count; ++i) {
        out->layers[i].struct_size = sizeof out->layers[i];
        out->layers[i].digest = keep_digest(out, &random);
        out->layers[i].size_bytes = next_random(&random);
        out->layers[i].media_type = i % 2 ? keep(out, "application/vnd.example.layer") : NULL;
        out->layers[i].id = i % 3 == 2 ? keep(out, "layer-%u", (unsigned)i) : NULL;
    }
    spec->layers = out->layers;
    spec->label_count = make_pairs(out, out->labels, &random, 1800);
    spec->labels = out->labels;
    spec->annotation_count = make_pairs(out, out->annotations, &random, 400);
    spec->annotations = out->annotations;
    spec->os = "linux";
    spec->architecture = version % 2 ? "amd64" : "arm64";
    spec->created_ns = (int64_t)(next_random(&random) >> 2) + 1;
    spec->updated_ns = (int64_t)version;
    spec->last_used_ns = (int64_t)(next_random(&random) >> 2) + 1;
}

static int same(const char *found, const char *given) {
    return strcmp(found, given ? given : "") == 0;
}

static const char *differing_layer(const waybill_api *api, const waybill_image *image,
                                   const waybill_image_spec *spec) {
    waybill_layer_view view;
    uint32_t i;
    for (i = 0; i < spec->layer_count; ++i) {
        const waybill_layer *given = &spec->layers[i];
        memset(&view, 0, sizeof view);
        view.struct_size = sizeof view;
        if (api->image_layer(image, i, &view, NULL) != WAYBILL_OK ||
            !same(view.id, given->id ? given->id : given->digest) ||
            !same(view.digest, given->digest) || !same(view.media_type, given->media_type) ||
            view.size_bytes != given->size_bytes)
            return "layers";
    }
    return NULL;
}

static const char *differing_pair(const waybill_api *api, const waybill_image *image,
                                  const waybill_image_spec *spec) {
    waybill_pair pair;
    uint32_t i;
    for (i = 0; i < spec->label_count; ++i)
        if (api->image_label(image, i, &pair, NULL) != WAYBILL_OK ||
            !same(pair.key, spec->labels[i].key) || !same(pair.value, spec->labels[i].value))
            return "labels";
    for (i = 0; i < spec->annotation_count; ++i)
        if (api->image_annotation(image, i, &pair, NULL) != WAYBILL_OK ||
            !same(pair.key, spec->annotations[i].key) ||
            !same(pair.value, spec->annotations[i].value))
            return "annotations";
    return NULL;
}

const char *difference(const waybill_api *api, const waybill_image *image, const sample *expected) {
    const waybill_image_spec *spec = &expected->spec;
    waybill_image_view view;
    const char *found;
    memset(&view, 0, sizeof view);
    view.struct_size = sizeof view;
    if (api->image_view(image, &view, NULL) != WAYBILL_OK)
        return "view";
    if (!same(view.media_type, spec->target_media_type))
        return "version"; /* It stands in the media type: first, since it says the most. */
    if (!same(view.name_space, spec->name_space) || !same(view.reference, spec->reference) ||
        !same(view.spelled, spec->reference))
        return "name";
    if (!same(view.target_digest, spec->target_digest) ||
        !same(view.config_digest, spec->config_digest) ||
        view.size_bytes != spec->target_size_bytes)
        return "digests";
    if (!same(view.os, spec->os) || !same(view.architecture, spec->architecture) ||
        !same(view.variant, NULL) || !same(view.os_version, NULL))
        return "platform";
    if (view.created_ns != spec->created_ns || view.updated_ns != spec->updated_ns ||
        view.last_used_ns != spec->last_used_ns)
        return "times";
    if (view.pinned != spec->pinned || view.layer_count != spec->layer_count ||
        view.label_count != spec->label_count || view.annotation_count != spec->annotation_count)
        return "counts";
    found = differing_layer(api, image, spec);
    if (!found)
        found = differing_pair(api, image, spec);
    return !found && view.state != 0 ? "state" : found;
}
