/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: Waybill contributors
 *
 * What the tests of the C API share: CHECK, the loaded table, and fixtures. A failed check prints
 * what was expected, where, and what the library said last, and aborts.
 */
#ifndef WAYBILL_TESTS_ABI_CHECK_H
#define WAYBILL_TESTS_ABI_CHECK_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include <waybill/waybill.h>

#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <poll.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/** The table under test. */
static const waybill_api *api;

/** What the library said last, to a call that was given error_slot(). */
static waybill_error last_error = {sizeof(waybill_error), 0, 0, 0, -1, "", ""};

/** last_error, emptied: for the error argument of a call. */
static inline waybill_error *error_slot(void) {
    memset(&last_error, 0, sizeof last_error);
    last_error.struct_size = sizeof last_error;
    last_error.position = -1;
    return &last_error;
}

static inline void check_failed(const char *expression, const char *file, int line) {
    fprintf(stderr, "%s:%d: failed: %s\n", file, line, expression);
    fprintf(stderr, "  the library said last: code %d, errno %d, field '%s', position %lld: %s\n",
            (int)last_error.code, (int)last_error.sys_errno, last_error.field,
            (long long)last_error.position, last_error.message);
    abort();
}

#define CHECK(expression) ((expression) ? (void)0 : check_failed(#expression, __FILE__, __LINE__))

typedef struct outcome_test {
    const char *name;
    void (*run)(void);
} outcome_test;

#define TEST(function)                                                                             \
    { #function, function }

/* --- directories ------------------------------------------------------------------------------ */

#define TEMP_DIRS_MAX 256

static char temp_dirs[TEMP_DIRS_MAX][128];
static int temp_dir_count;

/** A new directory, removed when the test program ends well. */
static inline const char *make_temp_dir(void) {
    const char *parent = getenv("TMPDIR");
    char *path = temp_dirs[temp_dir_count];
    CHECK(temp_dir_count < TEMP_DIRS_MAX);
    ++temp_dir_count;
    snprintf(path, sizeof temp_dirs[0], "%s/waybill-abi-XXXXXX", parent ? parent : "/tmp");
    CHECK(mkdtemp(path) != NULL);
    return path;
}

static inline int remove_entry(const char *path, const struct stat *found, int kind,
                               struct FTW *level) {
    (void)found, (void)kind, (void)level;
    (void)remove(path);
    return 0;
}

static inline void remove_temp_dirs(void) {
    while (temp_dir_count > 0)
        (void)nftw(temp_dirs[--temp_dir_count], remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

/** A text in one of a few buffers that are used in turn. */
__attribute__((format(printf, 1, 2))) static inline const char *text(const char *format, ...) {
    static char buffers[32][4600];
    static unsigned turn;
    char *buffer = buffers[turn++ % 32];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(buffer, sizeof buffers[0], format, arguments);
    va_end(arguments);
    return buffer;
}

static inline void write_file(const char *path, const void *bytes, size_t size) {
    FILE *file = fopen(path, "we");
    CHECK(file != NULL);
    CHECK(fwrite(bytes, 1, size, file) == size);
    CHECK(fclose(file) == 0);
}

/* --- loading and processes -------------------------------------------------------------------- */

static inline const waybill_api *load_table(const char *library, void **handle) {
    waybill_api_get_fn get;
    *handle = dlopen(library, RTLD_NOW | RTLD_LOCAL);
    if (!*handle)
        fprintf(stderr, "%s\n", dlerror());
    CHECK(*handle != NULL);
    *(void **)&get = dlsym(*handle, WAYBILL_API_SYMBOL);
    CHECK(get != NULL);
    CHECK(get(WAYBILL_ABI_VERSION) != NULL);
    return get(WAYBILL_ABI_VERSION);
}

/** Runs each test, by name; argv[1] is the library and argv[2], if given, the only test to run. */
static inline int run_tests(int argc, char **argv, const outcome_test *tests, size_t count) {
    void *handle;
    size_t i;
    if (argc < 2) {
        fprintf(stderr, "usage: %s LIBRARY [TEST]\n", argv[0]);
        return 2;
    }
    api = load_table(argv[1], &handle);
    for (i = 0; i < count; ++i) {
        if (argc > 2 && strcmp(argv[2], tests[i].name) != 0)
            continue;
        printf("%s\n", tests[i].name);
        fflush(stdout);
        tests[i].run();
    }
    remove_temp_dirs();
    CHECK(dlclose(handle) == 0);
    return 0;
}

/** Runs `body` in a child, which must come to a good end. */
static inline void run_in_child(void (*body)(void *payload), void *payload) {
    int status = 0;
    pid_t child;
    fflush(NULL);
    child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        body(payload);
        _exit(0);
    }
    CHECK(waitpid(child, &status, 0) == child);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static inline void pause_ms(long ms) {
    const struct timespec time = {ms / 1000, ms % 1000 * 1000000};
    (void)nanosleep(&time, NULL);
}

/* --- stores ----------------------------------------------------------------------------------- */

static inline int32_t wait_and_free(waybill_future *future) {
    const int32_t status = api->future_wait(future, -1, error_slot());
    api->future_free(future);
    return status;
}

/** The outcome of an operation that must have ended well; frees the future. The report is gone. */
static inline waybill_outcome outcome_of(waybill_future *future) {
    waybill_outcome outcome;
    memset(&outcome, 0, sizeof outcome);
    outcome.struct_size = sizeof outcome;
    CHECK(api->future_wait(future, -1, error_slot()) == WAYBILL_OK);
    CHECK(api->future_result(future, &outcome, error_slot()) == WAYBILL_OK);
    api->future_free(future);
    outcome.report_json = NULL;
    return outcome;
}

/** `members` follow the root in the configuration: `,"threads":1`. */
static inline waybill_store *create_store(const char *directory, const char *members,
                                          const waybill_host *host) {
    waybill_store *store = NULL;
    CHECK(api->create(text("{\"root\":\"%s\"%s}", directory, members), host, &store,
                      error_slot()) == WAYBILL_OK);
    CHECK(store != NULL);
    return store;
}

static inline uint64_t recover_store(waybill_store *store) {
    waybill_future *future = NULL;
    CHECK(api->recover(store, &future, error_slot()) == WAYBILL_OK);
    return outcome_of(future).image_count;
}

static inline waybill_store *open_store_as(const char *directory, const char *members) {
    waybill_store *store = create_store(directory, members, NULL);
    (void)recover_store(store);
    return store;
}

static inline waybill_store *open_store(const char *directory) {
    return open_store_as(directory, "");
}

static inline void close_store(waybill_store *store) {
    CHECK(api->destroy(store, error_slot()) == WAYBILL_OK);
}

/* --- images ----------------------------------------------------------------------------------- */

/** A digest with this number in it. */
static inline const char *digest(unsigned number) { return text("sha256:%064x", number); }

static inline waybill_layer layer_of(const char *layer_digest) {
    waybill_layer layer;
    memset(&layer, 0, sizeof layer);
    layer.struct_size = sizeof layer;
    layer.digest = layer_digest;
    return layer;
}

/** The smallest image: a name, a target and a layer. */
static inline waybill_image_spec image_spec(const char *reference) {
    static waybill_layer base;
    waybill_image_spec spec;
    base = layer_of("sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef");
    memset(&spec, 0, sizeof spec);
    spec.struct_size = sizeof spec;
    spec.reference = reference;
    spec.target_digest = "sha256:0000000000000000000000000000000000000000000000000000000000000abc";
    spec.layers = &base;
    spec.layer_count = 1;
    return spec;
}

/** Puts what must be accepted; its status from the future. */
static inline int32_t put_specs(waybill_store *store, const waybill_image_spec *specs,
                                uint32_t count) {
    waybill_future *future = NULL;
    CHECK(api->put(store, specs, count, &future, error_slot()) == WAYBILL_OK);
    return wait_and_free(future);
}

/** Puts the smallest image under a name. */
static inline void put_one(waybill_store *store, const char *reference) {
    const waybill_image_spec spec = image_spec(reference);
    CHECK(put_specs(store, &spec, 1) == WAYBILL_OK);
}

static inline waybill_image *get_image(waybill_store *store, const char *name_space,
                                       const char *reference) {
    waybill_image *image = NULL;
    CHECK(api->get(store, name_space, reference, 1, &image, error_slot()) == WAYBILL_OK);
    CHECK(image != NULL);
    return image;
}

static inline waybill_image_view view_of(const waybill_image *image) {
    waybill_image_view view;
    memset(&view, 0, sizeof view);
    view.struct_size = sizeof view;
    CHECK(api->image_view(image, &view, error_slot()) == WAYBILL_OK);
    return view;
}

static inline int holds(waybill_store *store, const char *name_space, const char *reference) {
    waybill_image *image = NULL;
    const int32_t status = api->get(store, name_space, reference, 1, &image, error_slot());
    CHECK(status == WAYBILL_OK || status == WAYBILL_ENOTFOUND);
    CHECK((status == WAYBILL_OK) == (image != NULL));
    api->image_free(image);
    return status == WAYBILL_OK;
}

static inline int32_t count_image(void *payload, waybill_image *image) {
    CHECK(image != NULL);
    ++*(unsigned *)payload;
    return WAYBILL_VISIT_NEXT;
}

static inline unsigned image_count(waybill_store *store) {
    unsigned count = 0;
    CHECK(api->visit(store, NULL, count_image, &count, error_slot()) == WAYBILL_OK);
    return count;
}

#endif
