/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: Waybill contributors
 *
 * Descriptors, threads and memory that run out at create, at recover, at a rotation, at an import
 * and under load; and what the same store does when they are back. Each case has a process of its
 * own. The limit on threads needs root, since it does not hold for root.
 */
#include "chance.h"

#include "oci_fixture.h"

#include <grp.h>
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>

enum { somebody = 61235 }; /* a user and group without files or processes */

static const char *const rotating = ",\"limits\":{\"journalBytes\":65536}";

/** Shared with the children: what they met. */
typedef struct figures {
    unsigned limits_tried, refused, served;
} figures;

static figures *met;

static void set_limit(int resource, rlim_t value) {
    struct rlimit limit;
    CHECK(getrlimit(resource, &limit) == 0);
    limit.rlim_cur = value;
    CHECK(setrlimit(resource, &limit) == 0);
}

static void lift_limit(int resource) {
    struct rlimit limit;
    CHECK(getrlimit(resource, &limit) == 0);
    limit.rlim_cur = limit.rlim_max;
    CHECK(setrlimit(resource, &limit) == 0);
}

static long stat_of(waybill_store *store, const char *key) {
    char *json = NULL;
    const char *found;
    long number;
    CHECK(api->report(store, "stats", NULL, &json, error_slot()) == WAYBILL_OK);
    found = strstr(json, text("\"%s\":", key));
    CHECK(found != NULL);
    number = strtol(found + strlen(key) + 3, NULL, 10);
    api->text_free(json);
    return number;
}

static int32_t try_create(const char *root, const char *members, waybill_store **store) {
    *store = NULL;
    return api->create(text("{\"root\":\"%s\"%s}", root, members), NULL, store, error_slot());
}

static int32_t try_recover(waybill_store *store) {
    waybill_future *future = NULL;
    const int32_t status = api->recover(store, &future, error_slot());
    return status == WAYBILL_OK ? wait_and_free(future) : status;
}

static char *filled_store(unsigned images) {
    char *const root = strdup(make_temp_dir());
    waybill_store *store = open_store(root);
    unsigned i;
    for (i = 0; i < images; ++i)
        put_one(store, text("image%u", i));
    close_store(store);
    return root;
}

/* --- descriptors ------------------------------------------------------------------------------ */

/** Leaves so many descriptors to be had. What lies between the open ones is filled. */
static void leave_fds(unsigned count) {
    int fd, highest = 2;
    for (fd = 3; fd < 1024; ++fd)
        highest = fcntl(fd, F_GETFD) >= 0 ? fd : highest;
    for (fd = 3; fd < highest; ++fd)
        if (fcntl(fd, F_GETFD) < 0) {
            const int filler = open("/dev/null", O_RDONLY | O_CLOEXEC);
            CHECK(filler >= 0 && filler <= highest);
        }
    set_limit(RLIMIT_NOFILE, (rlim_t)highest + 1 + count);
    ++met->limits_tried;
}

static void create_with_few_fds(void *payload) {
    const char *root = payload;
    waybill_store *store;
    unsigned count;
    int32_t status = WAYBILL_EAGAIN;
    close_store(open_store(make_temp_dir())); /* What is opened once in a process stays. */
    for (count = 0; status != WAYBILL_OK; ++count) {
        leave_fds(count);
        status = try_create(root, "", &store);
        CHECK(status == WAYBILL_OK || status == WAYBILL_EAGAIN);
        CHECK((status == WAYBILL_OK) == (store != NULL));
        met->refused += status != WAYBILL_OK;
        CHECK(count < 100);
    }
    CHECK(count > 2); /* The directory and LOCK at least. */
    lift_limit(RLIMIT_NOFILE);
    CHECK(recover_store(store) == 0);
    put_one(store, "after");
    close_store(store);
    remove_temp_dirs();
}

static void run_alone(void (*body)(void *payload), void *payload);

static void create_without_descriptors_is_refused_and_works_later(void) {
    char *const root = strdup(text("%s/made", make_temp_dir()));
    waybill_store *store;
    run_alone(create_with_few_fds, root);
    store = open_store(root);
    CHECK(holds(store, NULL, "after"));
    close_store(store);
    free(root);
}

static void recover_with_few_fds(void *payload) {
    unsigned count;
    for (count = 0; count < 8; ++count) {
        waybill_store *store;
        int32_t status;
        CHECK(try_create(payload, "", &store) == WAYBILL_OK);
        leave_fds(count);
        status = try_recover(store);
        CHECK(status == WAYBILL_OK || status == WAYBILL_EAGAIN);
        CHECK(status == WAYBILL_OK || count < 7);
        met->refused += status != WAYBILL_OK;
        lift_limit(RLIMIT_NOFILE);
        if (status != WAYBILL_OK)
            CHECK(recover_store(store) == 20);
        CHECK(image_count(store) == 20);
        close_store(store);
    }
}

static void recover_without_descriptors_is_refused_and_works_later(void) {
    char *const root = filled_store(20);
    run_alone(recover_with_few_fds, root);
    free(root);
}

static void recover_new_with_few_fds(void *payload) {
    unsigned count;
    for (count = 0; count < 8; ++count) {
        const char *const root = text("%s/%u", (const char *)payload, count);
        waybill_store *store;
        int32_t status;
        CHECK(try_create(root, "", &store) == WAYBILL_OK);
        leave_fds(count);
        status = try_recover(store);
        CHECK(status == WAYBILL_OK || status == WAYBILL_EAGAIN);
        CHECK(status == WAYBILL_OK || count < 7);
        met->refused += status != WAYBILL_OK;
        lift_limit(RLIMIT_NOFILE);
        if (status != WAYBILL_OK)
            CHECK(recover_store(store) == 0);
        put_one(store, "after");
        close_store(store);
        store = open_store(root);
        CHECK(image_count(store) == 1 && holds(store, NULL, "after"));
        close_store(store);
    }
}

static void a_store_that_could_not_be_made_for_want_of_descriptors_is_made_later(void) {
    char *const root = strdup(make_temp_dir());
    run_alone(recover_new_with_few_fds, root);
    free(root);
}

static void rotate_with_few_fds(void *payload) {
    unsigned count, i;
    waybill_store *store = open_store_as(payload, rotating);
    for (count = 0; count < 4; ++count) {
        const long before = stat_of(store, "snapshots") + stat_of(store, "snapshotFailures");
        leave_fds(count);
        for (i = 0; stat_of(store, "snapshots") + stat_of(store, "snapshotFailures") == before; ++i)
            put_one(store, text("turn%u", i % 10));
        met->served += i;
        CHECK(image_count(store) >= 10);
        lift_limit(RLIMIT_NOFILE);
    }
    CHECK(stat_of(store, "snapshotFailures") > 0);
    met->refused += (unsigned)stat_of(store, "snapshotFailures");
    /* A failure has the next one wait for twice the journal, so this ends. */
    for (i = 0; stat_of(store, "snapshots") < 2; ++i)
        put_one(store, text("turn%u", i % 10));
    met->served += i;
    put_one(store, "after");
    close_store(store);
}

static void a_rotation_without_descriptors_holds_up_no_put(void) {
    char *const root = strdup(make_temp_dir());
    waybill_store *store;
    run_alone(rotate_with_few_fds, root);
    store = open_store(root);
    CHECK(image_count(store) == 11 && holds(store, NULL, "after"));
    close_store(store);
    free(root);
}

static void follow_with_few_fds(void *payload) {
    waybill_store *const writer = open_store(payload);
    waybill_store *const reader = open_store_as(payload, ",\"readOnly\":true");
    waybill_future *future = NULL;
    waybill_queue *queue = NULL;
    const long before = (long)image_count(reader);
    unsigned count;
    put_one(writer, "new");
    for (count = 0; count < 6; ++count) {
        int32_t status;
        leave_fds(count);
        CHECK(api->refresh(reader, &future, error_slot()) == WAYBILL_OK);
        status = wait_and_free(future);
        CHECK(status == WAYBILL_OK || (status == WAYBILL_EAGAIN && count < 5));
        CHECK(image_count(reader) == before + (status == WAYBILL_OK || count > 5));
        met->refused += status != WAYBILL_OK;
        if (count == 0)
            CHECK(api->queue_create(&queue, error_slot()) == WAYBILL_EAGAIN && queue == NULL);
        lift_limit(RLIMIT_NOFILE);
        if (status == WAYBILL_OK)
            break;
    }
    CHECK(count > 0);
    close_store(reader);
    close_store(writer);
}

static void a_reader_without_descriptors_keeps_what_it_has_seen(void) {
    char *const root = filled_store(5);
    run_alone(follow_with_few_fds, root);
    free(root);
}

typedef struct import_case {
    const char *root;
    oci_fixture layout;
} import_case;

static int32_t try_import(waybill_store *store, const oci_fixture *layout) {
    waybill_future *future = NULL;
    CHECK(api->import_oci(store, NULL, layout->directory, "registry.example/a:b", &future,
                          error_slot()) == WAYBILL_OK);
    return wait_and_free(future);
}

static void import_with_few_fds(void *payload) {
    const import_case *const of = payload;
    waybill_store *const store = open_store(of->root);
    int32_t status = WAYBILL_EAGAIN;
    unsigned count;
    for (count = 0; status != WAYBILL_OK; ++count) {
        leave_fds(count);
        status = try_import(store, &of->layout);
        CHECK(status == WAYBILL_OK || (status == WAYBILL_EAGAIN && count < 10));
        CHECK(image_count(store) == (status == WAYBILL_OK));
        met->refused += status != WAYBILL_OK;
        lift_limit(RLIMIT_NOFILE);
    }
    CHECK(count > 1);
    close_store(store);
}

static void an_import_without_descriptors_is_refused_and_works_later(void) {
    import_case of;
    waybill_store *store;
    of.root = strdup(make_temp_dir());
    of.layout = make_layout("tag");
    run_alone(import_with_few_fds, &of);
    store = open_store(of.root);
    CHECK(image_count(store) == 1);
    close_store(store);
    free((void *)(uintptr_t)of.root);
}

/* --- threads ---------------------------------------------------------------------------------- */

static void create_with_few_threads(void *payload) {
    waybill_store *store;
    int32_t status = WAYBILL_EAGAIN;
    unsigned count;
    CHECK(setgroups(0, NULL) == 0 && setgid(somebody) == 0 && setuid(somebody) == 0);
    for (count = 1; status != WAYBILL_OK; ++count) {
        set_limit(RLIMIT_NPROC, count);
        ++met->limits_tried;
        status = try_create(payload, "", &store);
        CHECK(status == WAYBILL_OK || status == WAYBILL_EAGAIN);
        CHECK((status == WAYBILL_OK) == (store != NULL));
        met->refused += status != WAYBILL_OK;
        CHECK(count < 100);
    }
    CHECK(count > 4);
    /* None is started later: none is missed now. */
    set_limit(RLIMIT_NPROC, 1);
    CHECK(recover_store(store) == 0);
    put_one(store, "after");
    lift_limit(RLIMIT_NPROC);
    close_store(store);
    close_store(open_store(payload));
}

static void create_without_threads_is_refused_and_works_later(void) {
    char *const above = strdup(make_temp_dir());
    char *const root = strdup(text("%s/store", above));
    waybill_store *store;
    if (geteuid() != 0) {
        fprintf(stderr, "crash_scarcity must run as root: a limit on threads does not hold for "
                        "root, and it has to become somebody else\n");
        abort();
    }
    CHECK(chmod(above, 0777) == 0);
    run_alone(create_with_few_threads, root);
    store = open_store(root);
    CHECK(holds(store, NULL, "after"));
    close_store(store);
    free(above), free(root);
}

#if !SANITIZED /* Sanitizers map terabytes. */
/* --- memory ----------------------------------------------------------------------------------- */

/** A size from /proc/self/status. */
static rlim_t own_bytes(const char *key) {
    char line[256];
    rlim_t bytes = 0;
    FILE *file = fopen("/proc/self/status", "re");
    CHECK(file != NULL);
    while (fgets(line, sizeof line, file))
        if (strncmp(line, key, strlen(key)) == 0)
            bytes = (rlim_t)strtoul(line + strlen(key), NULL, 10) << 10;
    CHECK(fclose(file) == 0 && bytes > 0);
    return bytes;
}

/** Leaves so much to be had: of addresses, and of data, since threads have 64 MB of addresses in
 *  hand when they start. */
static void leave_memory(rlim_t bytes) {
    set_limit(RLIMIT_AS, own_bytes("VmSize:") + bytes);
    set_limit(RLIMIT_DATA, own_bytes("VmData:") + bytes);
    ++met->limits_tried;
}

static void lift_memory(void) {
    lift_limit(RLIMIT_AS);
    lift_limit(RLIMIT_DATA);
}

static int is_shortage(int32_t status) {
    return status == WAYBILL_ENOMEM || status == WAYBILL_EAGAIN;
}

typedef struct tight {
    const char *root;
    unsigned kib;
} tight;

static void create_with_little_memory(void *payload) {
    const tight *const of = payload;
    waybill_store *store;
    int32_t status;
    leave_memory((rlim_t)of->kib << 10);
    status = try_create(of->root, "", &store);
    CHECK(status == WAYBILL_OK || is_shortage(status));
    lift_memory();
    if (status != WAYBILL_OK) {
        ++met->refused;
        CHECK(store == NULL && try_create(of->root, "", &store) == WAYBILL_OK);
    }
    (void)recover_store(store);
    put_one(store, "after");
    close_store(store);
}

static void create_without_memory_is_refused_and_works_later(void) {
    const unsigned step = rounds_factor > 1 ? 64 / rounds_factor + 4 : 512;
    tight of;
    char *const root = strdup(make_temp_dir());
    of.root = root;
    for (of.kib = 0; of.kib < 48 << 10; of.kib += of.kib < 2048 ? 64 : step)
        run_alone(create_with_little_memory, &of);
    free(root);
}

static void recover_with_little_memory(void *payload) {
    const tight *const of = payload;
    waybill_store *store;
    int32_t status;
    CHECK(try_create(of->root, "", &store) == WAYBILL_OK);
    leave_memory((rlim_t)of->kib << 10);
    status = try_recover(store);
    CHECK(status == WAYBILL_OK || is_shortage(status));
    lift_memory();
    if (status != WAYBILL_OK) {
        ++met->refused;
        CHECK(recover_store(store) == 3000);
    }
    CHECK(image_count(store) == 3000);
    put_one(store, "image0");
    close_store(store);
}

static char *large_store(void) {
    char *const root = strdup(make_temp_dir());
    waybill_store *store = open_store(root);
    char names[100][16];
    waybill_image_spec specs[100];
    unsigned i, of;
    for (i = 0; i < 30; ++i) {
        for (of = 0; of < 100; ++of) {
            (void)snprintf(names[of], sizeof names[of], "image%u", i * 100 + of);
            specs[of] = image_spec(names[of]);
        }
        CHECK(put_specs(store, specs, 100) == WAYBILL_OK);
    }
    close_store(store);
    return root;
}

static void recover_without_memory_is_refused_and_works_later(void) {
    tight of;
    char *const root = large_store();
    of.root = root;
    for (of.kib = 0; of.kib <= 6144; of.kib += rounds_factor > 1 ? 16 : 128)
        run_alone(recover_with_little_memory, &of);
    free(root);
}

/** Takes what there is to the last block. Nobody has an arena of his own to take more from. */
static void take_all_memory(void) {
    size_t bytes;
    for (bytes = 1 << 20; bytes >= 16; bytes /= 2)
        while (malloc(bytes)) {
        }
}

static void starve(void) {
    leave_memory(0);
    take_all_memory();
}

/** What a host calls on a thread when there is no memory at all, and what it hears. */
typedef struct first_call {
    const char *name;
    void (*call)(const struct first_call *of);
    int has_called; /**< before memory ran out, which threw nothing */
    waybill_store *store;
    waybill_image *image;
    waybill_future *ended, *pending;
} first_call;

static void call_get(const first_call *of) {
    waybill_image *image = NULL;
    CHECK(api->get(of->store, NULL, "name", 1, &image, error_slot()) == WAYBILL_ENOMEM);
    CHECK(api->get(of->store, NULL, "no name", 0, &image, error_slot()) == WAYBILL_ENOMEM);
}

static void call_put(const first_call *of) {
    const waybill_image_spec spec = image_spec("other");
    waybill_future *future = NULL;
    CHECK(api->put(of->store, &spec, 1, &future, error_slot()) == WAYBILL_ENOMEM);
}

static void call_remove(const first_call *of) {
    waybill_future *future = NULL;
    CHECK(api->remove(of->store, NULL, "image0", &future, error_slot()) == WAYBILL_ENOMEM);
}

static void call_visit(const first_call *of) {
    unsigned count = 0;
    CHECK(api->visit(of->store, NULL, count_image, &count, error_slot()) == WAYBILL_ENOMEM);
}

/** What an operation came to does not hang on who asks. */
static void ask_for_the_end(const first_call *of) {
    CHECK(api->future_wait(of->ended, -1, error_slot()) == WAYBILL_ECONFLICT);
    CHECK(api->future_status(of->ended) == WAYBILL_ECONFLICT);
}

static void wait_for_the_end(const first_call *of) {
    CHECK(api->future_wait(of->pending, 0, error_slot()) == WAYBILL_ETIMEDOUT);
    CHECK(api->future_status(of->pending) == WAYBILL_EPENDING);
}

static void ask_for_nothing(const first_call *of) {
    (void)of;
    CHECK(api->future_wait(NULL, 0, error_slot()) == WAYBILL_EINVAL);
    CHECK(api->future_status(NULL) == WAYBILL_EINVAL);
}

/** Its store is gone, and another image is held still. */
static void free_image(const first_call *of) { api->image_free(of->image); }

static void free_future(const first_call *of) { api->future_free(of->ended); }

static const first_call first_calls[] = {
    {"get", call_get, 0, NULL, NULL, NULL, NULL},
    {"put", call_put, 0, NULL, NULL, NULL, NULL},
    {"remove", call_remove, 0, NULL, NULL, NULL, NULL},
    {"visit", call_visit, 0, NULL, NULL, NULL, NULL},
    {"ask for the end", ask_for_the_end, 0, NULL, NULL, NULL, NULL},
    {"wait for the end", wait_for_the_end, 0, NULL, NULL, NULL, NULL},
    {"ask for nothing", ask_for_nothing, 0, NULL, NULL, NULL, NULL},
    {"free an image", free_image, 0, NULL, NULL, NULL, NULL},
    {"free a future", free_future, 0, NULL, NULL, NULL, NULL},
};

static void *call_without_memory(void *payload) {
    const first_call *const of = payload;
    waybill_image_view view;
    memset(&view, 0, sizeof view);
    view.struct_size = sizeof view;
    if (of->has_called)
        CHECK(api->image_view(of->image, &view, error_slot()) == WAYBILL_OK);
    starve();
    of->call(of);
    lift_memory();
    return NULL;
}

/** Holds up the operation that asks. */
static int32_t wait_for_ever(void *payload, const char *layer_id) {
    (void)payload, (void)layer_id;
    for (;;)
        (void)pause();
    return WAYBILL_LAYER_PRESENT;
}

static void make_first_call(void *payload) {
    first_call of = *(const first_call *)payload;
    waybill_image_spec conflicting = image_spec("image0");
    char *const root = filled_store(1);
    waybill_store *held_up;
    waybill_host host;
    pthread_t thread;
    memset(&host, 0, sizeof host);
    host.struct_size = sizeof host;
    host.layer_present = wait_for_ever;
    held_up = create_store(root, "", &host);
    CHECK(api->recover(held_up, &of.pending, error_slot()) == WAYBILL_OK);
    of.store = open_store(make_temp_dir());
    put_one(of.store, "image0");
    of.image = get_image(of.store, NULL, "image0");
    (void)get_image(of.store, NULL, "image0"); /* Held for ever. */
    conflicting.condition = WAYBILL_PUT_IF_REVISION;
    conflicting.expected_revision = 12345;
    CHECK(api->put(of.store, &conflicting, 1, &of.ended, error_slot()) == WAYBILL_OK);
    CHECK(api->future_wait(of.ended, -1, error_slot()) == WAYBILL_ECONFLICT);
    if (of.call == free_image)
        close_store(of.store);
    CHECK(pthread_create(&thread, NULL, call_without_memory, &of) == 0);
    CHECK(pthread_join(thread, NULL) == 0);
    remove_temp_dirs();
}

/** The C++ runtime has glibc allocate what it keeps for a thread at the thread's first exception,
 *  and glibc ends the process when there is no memory for it. */
static void a_thread_without_memory_for_its_first_exception_hears_of_it(void) {
    size_t i;
    int has_called;
    CHECK(mallopt(M_ARENA_MAX, 1) == 1); /* Else each thread has some memory in hand. */
    for (i = 0; i < sizeof first_calls / sizeof *first_calls; ++i)
        for (has_called = 0; has_called <= 1; ++has_called) {
            first_call of = first_calls[i];
            of.has_called = has_called;
            printf("  %s%s\n", of.name, has_called ? ", after a call" : "");
            run_alone(make_first_call, &of);
        }
}

static int32_t starve_worker(void *payload, const char *layer_id) {
    (void)payload, (void)layer_id;
    starve();
    return WAYBILL_LAYER_PRESENT;
}

static int64_t starve_committer(void *payload) {
    if (*(const int *)payload)
        starve();
    return 1;
}

static void starve_notifier(void *payload, waybill_future *future) {
    waybill_image *image = NULL;
    (void)future;
    starve();
    CHECK(api->get(payload, NULL, "no name", 0, &image, error_slot()) == WAYBILL_ENOMEM);
    lift_memory();
}

static void starve_threads_of_a_store(void *payload) {
    int is_committers_turn = 0;
    waybill_future *future = NULL;
    waybill_image_spec specs[2];
    waybill_store *store;
    waybill_host host;
    int32_t status;
    memset(&host, 0, sizeof host);
    host.struct_size = sizeof host;
    host.payload = &is_committers_turn;
    host.layer_present = starve_worker;
    host.clock_ns = starve_committer;
    store = create_store(payload, "", &host);
    CHECK(api->recover(store, &future, error_slot()) == WAYBILL_OK);
    status = api->future_wait(future, -1, NULL);
    lift_memory();
    met->refused += status != WAYBILL_OK;
    CHECK(status == WAYBILL_OK || is_shortage(status));
    if (status != WAYBILL_OK) {
        close_store(store);
        host.layer_present = NULL;
        store = create_store(payload, "", &host);
        CHECK(recover_store(store) == 1);
    }
    specs[0] = image_spec("image1"), specs[1] = image_spec("image2");
    CHECK(api->put(store, specs, 2, &future, error_slot()) == WAYBILL_OK);
    CHECK(api->future_then(future, starve_notifier, store, error_slot()) == WAYBILL_OK);
    CHECK(wait_and_free(future) == WAYBILL_OK);
    CHECK(api->destroy(store, error_slot()) == WAYBILL_OK); /* The callback has ended. */
    store = create_store(payload, "", &host);
    (void)recover_store(store);
    is_committers_turn = 1;
    CHECK(api->remove(store, NULL, "image1", &future, error_slot()) == WAYBILL_OK);
    status = api->future_wait(future, -1, NULL);
    lift_memory();
    met->refused += status != WAYBILL_OK;
    CHECK(status == WAYBILL_OK || is_shortage(status));
    is_committers_turn = 0;
    CHECK(image_count(store) == (status == WAYBILL_OK ? 2 : 3));
    close_store(store);
}

static void a_thread_of_the_store_without_memory_for_its_first_exception_lives_on(void) {
    char *const root = filled_store(1);
    CHECK(mallopt(M_ARENA_MAX, 1) == 1); /* Else each thread has some memory in hand. */
    run_alone(starve_threads_of_a_store, root);
    free(root);
}

/** What a store holds: names and numbers. */
static int32_t sum_image(void *payload, waybill_image *image) {
    char name[64];
    const uint64_t number = number_told(image, name, sizeof name);
    uint64_t sum = mixed(number);
    const char *at;
    for (at = name; *at; ++at)
        sum = mixed(sum ^ (unsigned char)*at);
    *(uint64_t *)payload += sum;
    return WAYBILL_VISIT_NEXT;
}

static uint64_t sum_of(waybill_store *store) {
    uint64_t sum = 0;
    CHECK(api->visit(store, NULL, sum_image, &sum, error_slot()) == WAYBILL_OK);
    return sum;
}

enum { large_puts = 24, large_labels = 500 };

/** An image of 2 MB: many labels with one value between them. */
typedef struct large_image {
    told_image told;
    waybill_pair labels[large_labels];
    char keys[large_labels][8];
} large_image;

static void tell_large(large_image *image, const char *name, uint64_t number) {
    unsigned i;
    tell(&image->told, name, number, 4000);
    memcpy(image->labels, image->told.labels, sizeof image->told.labels);
    for (i = 3; i < large_labels; ++i) {
        (void)snprintf(image->keys[i], sizeof image->keys[i], "more%u", i);
        image->labels[i].key = image->keys[i];
        image->labels[i].value = image->told.padding;
    }
    image->told.spec.labels = image->labels;
    image->told.spec.label_count = large_labels;
}

static int32_t try_put(waybill_store *store, const waybill_image_spec *spec) {
    waybill_future *future = NULL;
    const int32_t status = api->put(store, spec, 1, &future, error_slot());
    return status == WAYBILL_OK ? wait_and_free(future) : status;
}

static void put_with_little_memory(void *payload) {
    const tight *const of = payload;
    waybill_store *store = open_store_as(of->root, rotating);
    large_image *const images = calloc(large_puts, sizeof *images);
    uint64_t in_memory;
    int32_t status;
    unsigned i;
    int unknown = 0;
    CHECK(images != NULL);
    for (i = 0; i < large_puts; ++i)
        tell_large(&images[i], text("large%u", i % 4), (uint64_t)of->kib * large_puts + i + 1);
    leave_memory((rlim_t)of->kib << 10);
    for (i = 0; i < large_puts; ++i) {
        waybill_image *image = NULL;
        status = try_put(store, &images[i].told.spec);
        CHECK(status == WAYBILL_OK || is_shortage(status) || status == WAYBILL_EIO ||
              status == WAYBILL_EREADONLY);
        unknown |= status == WAYBILL_EIO;
        *(status == WAYBILL_OK ? &met->served : &met->refused) += 1;
        status = api->get(store, NULL, "image0", 1, &image, error_slot());
        CHECK(status == WAYBILL_OK || is_shortage(status));
        api->image_free(image);
    }
    lift_memory();
    CHECK(holds(store, NULL, "image0"));
    /* The store works again, or has said that it is read-only. */
    status = try_put(store, &images[0].told.spec);
    CHECK(status == WAYBILL_OK || (unknown && status == WAYBILL_EREADONLY));
    in_memory = sum_of(store);
    close_store(store);
    store = open_store(of->root);
    /* After WAYBILL_EIO the outcome was unknown until now. */
    CHECK(sum_of(store) == in_memory || unknown);
    close_store(store);
    for (i = 0; i < large_puts; ++i)
        told(&images[i].told);
    free(images);
}

static void puts_without_memory_are_refused_and_memory_is_what_the_disk_is(void) {
    tight of;
    char *const root = strdup(make_temp_dir());
    waybill_store *store = open_store(root);
    told_image first;
    tell(&first, "image0", 1, 0);
    CHECK(put_specs(store, &first.spec, 1) == WAYBILL_OK);
    close_store(store);
    of.root = root;
    for (of.kib = 0; of.kib <= 24 << 10; of.kib += rounds_factor > 1 ? 64 : 768)
        run_alone(put_with_little_memory, &of);
    free(root);
}

#endif

/* --- running ---------------------------------------------------------------------------------- */

static void run_alone(void (*body)(void *payload), void *payload) {
    int status = 0;
    pid_t child;
    fflush(NULL);
    child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        temp_dir_count = 0; /* The parent removes its own. */
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        body(payload);
        _exit(0);
    }
    CHECK(waitpid(child, &status, 0) == child);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
        fprintf(stderr, "the child ended with status 0x%x after %u limits\n", (unsigned)status,
                met->limits_tried);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

/** Everything once, with plenty of everything: what happens at the first time only, such as that
 *  UndefinedBehaviorSanitizer looks at a type through a pipe, is none of the store's. */
static void with_plenty_everything_works(void) {
    char *const root = strdup(make_temp_dir());
    waybill_store *store = open_store_as(root, rotating), *reader;
    waybill_future *future = NULL;
    waybill_queue *queue = NULL;
    oci_fixture layout;
    unsigned i;
    for (i = 0; stat_of(store, "snapshots") < 1; ++i)
        put_one(store, text("turn%u", i % 10));
    reader = open_store_as(root, ",\"readOnly\":true");
    CHECK(api->refresh(reader, &future, error_slot()) == WAYBILL_OK);
    CHECK(wait_and_free(future) == WAYBILL_OK);
    close_store(reader);
    CHECK(api->queue_create(&queue, error_slot()) == WAYBILL_OK);
    api->queue_free(queue);
    layout = make_layout("tag");
    CHECK(try_import(store, &layout) == WAYBILL_OK);
    close_store(store);
    close_store(open_store(root));
    free(root);
}

int main(int argc, char **argv) {
    static const outcome_test tests[] = {
        TEST(with_plenty_everything_works),
        TEST(create_without_descriptors_is_refused_and_works_later),
        TEST(recover_without_descriptors_is_refused_and_works_later),
        TEST(a_store_that_could_not_be_made_for_want_of_descriptors_is_made_later),
        TEST(a_rotation_without_descriptors_holds_up_no_put),
        TEST(a_reader_without_descriptors_keeps_what_it_has_seen),
        TEST(an_import_without_descriptors_is_refused_and_works_later),
        TEST(create_without_threads_is_refused_and_works_later),
#if !SANITIZED
        TEST(create_without_memory_is_refused_and_works_later),
        TEST(recover_without_memory_is_refused_and_works_later),
        TEST(puts_without_memory_are_refused_and_memory_is_what_the_disk_is),
        TEST(a_thread_without_memory_for_its_first_exception_hears_of_it),
        TEST(a_thread_of_the_store_without_memory_for_its_first_exception_lives_on),
#endif
    };
    int result;
    met = mmap(NULL, sizeof *met, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(met != MAP_FAILED);
    result = run_crash_tests(argc, argv, tests, sizeof tests / sizeof *tests);
    if (result == 0)
        printf("%u limits: %u operations refused for want of something, %u served meanwhile, "
               "lost: 0\n",
               met->limits_tried, met->refused, met->served);
    return result;
}
