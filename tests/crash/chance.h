/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: Waybill contributors
 *
 * What the tests of hostile surroundings share beyond ../abi/check.h: chance that can be repeated,
 * the bounds of a run, and images whose every field tells by whom and when they were put.
 */
#ifndef WAYBILL_TESTS_CRASH_CHANCE_H
#define WAYBILL_TESTS_CRASH_CHANCE_H

#include "check.h"

#include <inttypes.h>
#include <sys/random.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif
#ifndef SANITIZED
#define SANITIZED 0
#endif

/** Of the run; printed first of all, so that it stands above every failure. */
static uint64_t seed;
/** Multiplies what a test does by default. */
static unsigned rounds_factor = 1;
static const char *library_path;

/** SplitMix64's finaliser. */
static inline uint64_t mixed(uint64_t value) {
    value = (value ^ (value >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    value = (value ^ (value >> 27)) * UINT64_C(0x94d049bb133111eb);
    return value ^ (value >> 31);
}

typedef struct chance {
    uint64_t state;
} chance;

static inline chance chance_of(uint64_t stream) {
    const chance made = {mixed(seed ^ mixed(stream + 1))};
    return made;
}

static inline uint64_t next_of(chance *of) {
    of->state += UINT64_C(0x9e3779b97f4a7c15);
    return mixed(of->state);
}

static inline unsigned below(chance *of, unsigned bound) { return (unsigned)(next_of(of) % bound); }

static inline void pause_us(long us) {
    const struct timespec time = {us / 1000000, us % 1000000 * 1000};
    (void)nanosleep(&time, NULL);
}

/** LIBRARY [--seed N] [--rounds FACTOR] [TEST]: runs each test by name, or the one. */
static inline int run_crash_tests(int argc, char **argv, const outcome_test *tests, size_t count) {
    const char *only = NULL;
    void *handle;
    size_t i;
    int at, found = 0;
    if (getrandom(&seed, sizeof seed, 0) != (ssize_t)sizeof seed)
        seed = (uint64_t)time(NULL);
    seed &= UINT32_MAX;
    for (at = 2; at < argc; ++at) {
        if (strcmp(argv[at], "--seed") == 0 && at + 1 < argc)
            seed = strtoull(argv[++at], NULL, 10);
        else if (strcmp(argv[at], "--rounds") == 0 && at + 1 < argc)
            rounds_factor = (unsigned)strtoul(argv[++at], NULL, 10);
        else
            only = argv[at];
    }
    if (argc < 2 || rounds_factor == 0) {
        fprintf(stderr, "usage: %s LIBRARY [--seed N] [--rounds FACTOR] [TEST]\n", argv[0]);
        return 2;
    }
    library_path = argv[1];
    printf("seed %" PRIu64 "\n", seed);
    api = load_table(library_path, &handle);
    for (i = 0; i < count; ++i) {
        if (only && strcmp(only, tests[i].name) != 0)
            continue;
        found = 1;
        printf("%s\n", tests[i].name);
        fflush(stdout);
        tests[i].run();
    }
    if (!found) {
        fprintf(stderr, "no test of the name %s\n", only);
        return 2;
    }
    remove_temp_dirs();
    return 0;
}

/* --- images that tell their story ------------------------------------------------------------- */

/** A text that only somebody who knows the seed could have written for this name and number. */
static inline void proof_of(char *out, size_t size, const char *name, uint64_t number) {
    uint64_t sum = mixed(seed ^ mixed(number));
    for (; *name; ++name)
        sum = mixed(sum ^ (unsigned char)*name);
    (void)snprintf(out, size, "%016" PRIx64, sum);
}

/** An image in the making, with all that its spec points at. */
typedef struct told_image {
    char name[64], number[24], proof[24], target[80], layer_digest[80];
    char *padding;
    waybill_pair labels[3];
    waybill_layer layer;
    waybill_image_spec spec;
} told_image;

/** `number` is what the image tells; `padding_bytes` more make it larger. */
static inline void tell(told_image *image, const char *name, uint64_t number,
                        unsigned padding_bytes) {
    memset(image, 0, sizeof *image);
    (void)snprintf(image->name, sizeof image->name, "%s", name);
    (void)snprintf(image->number, sizeof image->number, "%" PRIu64, number);
    proof_of(image->proof, sizeof image->proof, name, number);
    (void)snprintf(image->target, sizeof image->target, "sha256:%064" PRIx64, number);
    (void)snprintf(image->layer_digest, sizeof image->layer_digest, "sha256:%064" PRIx64, ~number);
    image->layer = layer_of(image->layer_digest);
    image->labels[0].key = "number", image->labels[0].value = image->number;
    image->labels[1].key = "proof", image->labels[1].value = image->proof;
    image->spec.struct_size = sizeof image->spec;
    image->spec.reference = image->name;
    image->spec.target_digest = image->target;
    image->spec.layers = &image->layer;
    image->spec.layer_count = 1;
    image->spec.labels = image->labels;
    image->spec.label_count = 2;
    if (padding_bytes > 0) {
        image->padding = malloc(padding_bytes + 1);
        CHECK(image->padding != NULL);
        memset(image->padding, 'p', padding_bytes);
        image->padding[padding_bytes] = '\0';
        image->labels[2].key = "padding", image->labels[2].value = image->padding;
        image->spec.label_count = 3;
    }
}

static inline void told(told_image *image) {
    free(image->padding);
    image->padding = NULL;
}

/** The number that an image tells, after every field has been found to agree with it. `name` is
 *  set to the name without registry and tag. */
static inline uint64_t number_told(const waybill_image *image, char *name, size_t size) {
    static const char *const before = "docker.io/library/", *const behind = ":latest";
    const waybill_image_view view = view_of(image);
    const size_t length = strlen(view.reference), skipped = strlen(before);
    waybill_pair pair = {NULL, NULL};
    waybill_layer_view layer;
    char proof[24];
    uint64_t number = 0;
    uint32_t i;
    CHECK(length > skipped + strlen(behind) && length - skipped < size);
    CHECK(strncmp(view.reference, before, skipped) == 0);
    (void)snprintf(name, size, "%s", view.reference + skipped);
    CHECK(strcmp(name + strlen(name) - strlen(behind), behind) == 0);
    name[strlen(name) - strlen(behind)] = '\0';
    for (i = 0; i < view.label_count; ++i) {
        CHECK(api->image_label(image, i, &pair, NULL) == WAYBILL_OK);
        if (strcmp(pair.key, "number") == 0)
            number = strtoull(pair.value, NULL, 10);
        else if (strcmp(pair.key, "padding") == 0)
            CHECK(strspn(pair.value, "p") == strlen(pair.value));
    }
    proof_of(proof, sizeof proof, name, number);
    for (i = 0; i < view.label_count; ++i) {
        CHECK(api->image_label(image, i, &pair, NULL) == WAYBILL_OK);
        CHECK(strcmp(pair.key, "proof") != 0 || strcmp(pair.value, proof) == 0);
    }
    memset(&layer, 0, sizeof layer);
    layer.struct_size = sizeof layer;
    CHECK(view.label_count >= 2 && view.layer_count == 1);
    CHECK(api->image_layer(image, 0, &layer, NULL) == WAYBILL_OK);
    CHECK(strcmp(view.target_digest, text("sha256:%064" PRIx64, number)) == 0);
    CHECK(strcmp(layer.digest, text("sha256:%064" PRIx64, ~number)) == 0);
    return number;
}

#endif
