/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: Waybill contributors
 *
 * Hosts that fork at any moment, load the library twice, are interrupted by signals all the time,
 * set their clock back, and cancel, wait for and free futures while a store goes away.
 */
#include "chance.h"

#include "oci_fixture.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/syscall.h>
#include <sys/time.h>

static const char *const rotating = ",\"limits\":{\"journalBytes\":65536}";

static unsigned forks, operations, races;

static int32_t try_put(waybill_store *store, const char *name) {
    const waybill_image_spec spec = image_spec(name);
    waybill_future *future = NULL;
    const int32_t status = api->put(store, &spec, 1, &future, error_slot());
    return status == WAYBILL_OK ? wait_and_free(future) : status;
}

/* --- fork ------------------------------------------------------------------------------------- */

enum { putters = 4 };

typedef struct putter {
    pthread_t thread;
    waybill_store *store;
    unsigned which, count;
} putter;

static _Atomic int enough;

static void *put_until_enough(void *payload) {
    putter *const self = payload;
    while (!atomic_load(&enough)) {
        waybill_future *future = NULL;
        told_image image;
        char name[32];
        (void)snprintf(name, sizeof name, "t%u-%u", self->which, self->count % 50);
        tell(&image, name, self->count + 1, self->count % 3 ? 0 : 1500);
        if (api->put(self->store, &image.spec, 1, &future, NULL) != WAYBILL_OK ||
            api->future_wait(future, -1, NULL) != WAYBILL_OK)
            abort();
        api->future_free(future);
        told(&image);
        ++self->count;
    }
    return NULL;
}

/** What every thread has put last is there. */
static void check_puts(waybill_store *store, const putter *all) {
    unsigned i, back;
    for (i = 0; i < putters; ++i)
        for (back = 0; back < 50 && back < all[i].count; ++back) {
            const unsigned turn = all[i].count - 1 - back;
            char name[64];
            waybill_image *image = get_image(store, NULL, text("t%u-%u", i, turn % 50));
            CHECK(number_told(image, name, sizeof name) == turn + 1);
            api->image_free(image);
        }
}

/** In the child: the parent's objects are refused, and a store of one's own works. */
static void check_child(waybill_store *of_parent, waybill_future *future) {
    const waybill_image_spec spec = image_spec("child");
    waybill_future *made = NULL;
    waybill_image *image = NULL;
    waybill_store *own;
    if (SANITIZED)
        return; /* A sanitizer's allocator is locked for ever if another thread was in it. */
    CHECK(api->put(of_parent, &spec, 1, &made, error_slot()) == WAYBILL_EFORKED);
    CHECK(api->get(of_parent, NULL, "t0-0", 1, &image, error_slot()) == WAYBILL_EFORKED);
    CHECK(api->refresh(of_parent, &made, error_slot()) == WAYBILL_EFORKED);
    CHECK(api->destroy(of_parent, error_slot()) == WAYBILL_EFORKED);
    CHECK(api->future_wait(future, -1, error_slot()) == WAYBILL_EFORKED);
    api->future_free(future);
    temp_dir_count = 0; /* The parent removes its own. */
    own = open_store(make_temp_dir());
    put_one(own, "child");
    CHECK(holds(own, NULL, "child"));
    close_store(own);
    remove_temp_dirs();
}

static void leave_child(unsigned how) {
    if (how == 0 || (SANITIZED && how == 1))
        _exit(0);
    if (how == 1)
        exit(0); /* With all that runs at exit. */
    (void)execl("/proc/self/exe", "hostile_hosts", "--child", library_path, (char *)NULL);
    _exit(127);
}

static void expect_good_end(pid_t child) {
    int status = 0;
    CHECK(waitpid(child, &status, 0) == child);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
        fprintf(stderr, "the child ended with status 0x%x\n", (unsigned)status);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    ++forks;
}

static void start_putters(putter *all, waybill_store *store) {
    unsigned i;
    memset(all, 0, putters * sizeof *all);
    atomic_store(&enough, 0);
    for (i = 0; i < putters; ++i) {
        all[i].store = store;
        all[i].which = i;
        CHECK(pthread_create(&all[i].thread, NULL, put_until_enough, &all[i]) == 0);
    }
}

static void stop_putters(putter *all) {
    unsigned i;
    atomic_store(&enough, 1);
    for (i = 0; i < putters; ++i) {
        CHECK(pthread_join(all[i].thread, NULL) == 0);
        operations += all[i].count;
    }
}

static void forks_amid_puts_cost_the_parent_nothing(void) {
    const unsigned rounds = (SANITIZED ? 20 : 60) * rounds_factor;
    char *const root = strdup(make_temp_dir());
    waybill_store *store = open_store_as(root, rotating);
    chance of = chance_of(1);
    putter all[putters];
    unsigned round;
    start_putters(all, store);
    for (round = 0; round < rounds; ++round) {
        const unsigned how = below(&of, 3);
        waybill_future *future = NULL;
        const waybill_image_spec spec = image_spec("main");
        pid_t child;
        CHECK(api->put(store, &spec, 1, &future, error_slot()) == WAYBILL_OK);
        fflush(NULL);
        child = fork();
        CHECK(child >= 0);
        if (child == 0) {
            check_child(store, future);
            leave_child(how);
        }
        CHECK(wait_and_free(future) == WAYBILL_OK);
        expect_good_end(child);
        pause_us(below(&of, 2000));
    }
    stop_putters(all);
    check_puts(store, all);
    close_store(store);
    store = open_store(root);
    check_puts(store, all);
    CHECK(holds(store, NULL, "main"));
    close_store(store);
    free(root);
}

#if !SANITIZED
/** Opens and closes stores, so that forks fall into the starting and ending of threads. */
static void *open_until_enough(void *payload) {
    while (!atomic_load(&enough)) {
        waybill_store *store = NULL;
        waybill_future *future = NULL;
        if (api->create(payload, NULL, &store, NULL) != WAYBILL_OK ||
            api->recover(store, &future, NULL) != WAYBILL_OK ||
            api->future_wait(future, -1, NULL) != WAYBILL_OK)
            abort();
        api->future_free(future);
        if (api->destroy(store, NULL) != WAYBILL_OK)
            abort();
    }
    return NULL;
}

static void forks_amid_openings_leave_a_child_that_can_open(void) {
    const unsigned rounds = 100 * rounds_factor;
    char *const config = strdup(text("{\"root\":\"%s\"}", make_temp_dir()));
    waybill_store *store = open_store(make_temp_dir());
    pthread_t opener;
    chance of = chance_of(2);
    unsigned round;
    atomic_store(&enough, 0);
    CHECK(pthread_create(&opener, NULL, open_until_enough, config) == 0);
    for (round = 0; round < rounds; ++round) {
        waybill_future *future = NULL;
        const waybill_image_spec spec = image_spec("main");
        pid_t child;
        CHECK(api->put(store, &spec, 1, &future, error_slot()) == WAYBILL_OK);
        fflush(NULL);
        child = fork();
        CHECK(child >= 0);
        if (child == 0) {
            check_child(store, future);
            _exit(0);
        }
        CHECK(wait_and_free(future) == WAYBILL_OK);
        expect_good_end(child);
        pause_us(below(&of, 1000));
    }
    atomic_store(&enough, 1);
    CHECK(pthread_join(opener, NULL) == 0);
    close_store(store);
    free(config);
}
#endif

static void forks_amid_recover_cost_the_parent_nothing(void) {
    const unsigned rounds = 20 * rounds_factor;
    char *const root = strdup(make_temp_dir());
    waybill_store *store = open_store(root);
    chance of = chance_of(3);
    unsigned round, i;
    for (i = 0; i < 300; ++i)
        put_one(store, text("image%u", i));
    close_store(store);
    for (round = 0; round < rounds; ++round) {
        waybill_future *future = NULL;
        pid_t child;
        store = create_store(root, "", NULL);
        CHECK(api->recover(store, &future, error_slot()) == WAYBILL_OK);
        pause_us(below(&of, 500));
        fflush(NULL);
        child = fork();
        CHECK(child >= 0);
        if (child == 0) {
            check_child(store, future);
            _exit(0);
        }
        CHECK(outcome_of(future).image_count == 300);
        expect_good_end(child);
        CHECK(image_count(store) == 300);
        put_one(store, "image0");
        close_store(store);
    }
    free(root);
}

/** A child of which no fork handler is told, and that has every descriptor until `until` ends. */
static pid_t bare_child(waybill_store *store, int *until) {
    int ends[2];
    pid_t child;
    waybill_image *image = NULL;
    CHECK(pipe2(ends, O_CLOEXEC) == 0);
    fflush(NULL);
    child = (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
    CHECK(child >= 0);
    if (child == 0) {
        char byte;
        (void)close(ends[1]);
        if (api->get(store, NULL, "before", 1, &image, NULL) != WAYBILL_EFORKED ||
            api->destroy(store, NULL) != WAYBILL_EFORKED)
            _exit(1);
        _exit(read(ends[0], &byte, 1) == 0 ? 0 : 2);
    }
    CHECK(close(ends[0]) == 0);
    *until = ends[1];
    ++forks;
    return child;
}

static void a_child_with_every_descriptor_does_not_keep_the_lock_of_a_closed_store(void) {
    char *const root = strdup(make_temp_dir());
    waybill_store *store = open_store(root);
    int until, status = 0;
    pid_t child;
    put_one(store, "before");
    child = bare_child(store, &until);
    close_store(store);
    store = open_store(root);
    put_one(store, "after");
    close_store(store);
    CHECK(close(until) == 0);
    CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0);
    store = open_store(root);
    CHECK(image_count(store) == 2);
    close_store(store);
    free(root);
}

static void a_killed_parent_leaves_no_lock_with_its_child(void) {
    char *const root = strdup(make_temp_dir());
    waybill_store *store;
    int ready[2], status = 0;
    pid_t parent, grandchild = 0;
    CHECK(pipe2(ready, O_CLOEXEC) == 0);
    fflush(NULL);
    parent = fork();
    CHECK(parent >= 0);
    if (parent == 0) {
        store = open_store(root);
        put_one(store, "before");
        if (fork() == 0) {
            /* Its descriptors are closed by now, not when fork returns to its parent. */
            grandchild = getpid();
            alarm(120); /* If nobody is left to end it. */
            CHECK(write(ready[1], &grandchild, sizeof grandchild) == (ssize_t)sizeof grandchild);
        }
        for (;;)
            pause();
    }
    CHECK(read(ready[0], &grandchild, sizeof grandchild) == (ssize_t)sizeof grandchild);
    CHECK(kill(parent, SIGKILL) == 0 && waitpid(parent, &status, 0) == parent);
    store = open_store(root); /* The grandchild lives. */
    CHECK(kill(grandchild, 0) == 0);
    CHECK(holds(store, NULL, "before"));
    close_store(store);
    CHECK(kill(grandchild, SIGKILL) == 0 && close(ready[0]) == 0 && close(ready[1]) == 0);
    forks += 2;
    free(root);
}

/* --- two copies of the library ---------------------------------------------------------------- */

static const waybill_api *table_of(void *handle) {
    waybill_api_get_fn get;
    if (!handle)
        fprintf(stderr, "%s\n", dlerror());
    CHECK(handle != NULL);
    *(void **)&get = dlsym(handle, WAYBILL_API_SYMBOL);
    CHECK(get != NULL && get(WAYBILL_ABI_VERSION) != NULL);
    return get(WAYBILL_ABI_VERSION);
}

/** Works with two stores through two tables at once, and with one directory through both. */
static void check_two_tables(const waybill_api *one, const waybill_api *other) {
    char *const first = strdup(make_temp_dir()), *const second = strdup(make_temp_dir());
    const waybill_api *const before = api;
    waybill_store *stores[2], *refused = NULL;
    unsigned i;
    CHECK(one != other);
    api = one;
    stores[0] = open_store(first);
    api = other;
    CHECK(api->create(text("{\"root\":\"%s\"}", first), NULL, &refused, error_slot()) ==
          WAYBILL_ELOCKED);
    CHECK(strstr(last_error.message, text("process %ld", (long)getpid())) && refused == NULL);
    stores[1] = open_store(second);
    for (i = 0; i < 200; ++i) {
        api = i % 2 ? other : one;
        put_one(stores[i % 2], text("image%u", i));
        CHECK(holds(stores[i % 2], NULL, text("image%u", i)));
    }
    for (i = 0; i < 2; ++i) {
        api = i ? other : one;
        CHECK(image_count(stores[i]) == 100);
        close_store(stores[i]);
    }
    /* What one has written the other reads. */
    api = other;
    stores[0] = open_store(first);
    api = one;
    stores[1] = open_store(second);
    CHECK(image_count(stores[1]) == 100);
    close_store(stores[1]);
    api = other;
    CHECK(image_count(stores[0]) == 100);
    close_store(stores[0]);
    api = before;
    operations += 200;
    free(first), free(second);
}

static void copy_file(const char *from, const char *to) {
    static char bytes[1 << 16];
    FILE *in = fopen(from, "re"), *out = fopen(to, "we");
    size_t got;
    CHECK(in != NULL && out != NULL);
    while ((got = fread(bytes, 1, sizeof bytes, in)) > 0)
        CHECK(fwrite(bytes, 1, got, out) == got);
    CHECK(!ferror(in) && fclose(in) == 0 && fclose(out) == 0);
}

static void two_copies_under_two_paths_lock_each_other_out(void) {
    const char *const copy = text("%s/libcopy.so.1", make_temp_dir());
    copy_file(library_path, copy);
    check_two_tables(api, table_of(dlopen(copy, RTLD_NOW | RTLD_LOCAL)));
}

static void fork_with_two_copies(void *payload) {
    const waybill_api *const *const tables = payload;
    waybill_image *image = NULL;
    waybill_store *stores[2];
    unsigned i;
    int status = 0;
    pid_t child;
    for (i = 0; i < 2; ++i) {
        api = tables[i];
        stores[i] = open_store(make_temp_dir());
        put_one(stores[i], "parent");
    }
    fflush(NULL);
    child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        for (i = 0; i < 2; ++i)
            CHECK(tables[i]->get(stores[i], NULL, "parent", 1, &image, error_slot()) ==
                  WAYBILL_EFORKED);
        _exit(0);
    }
    CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0);
    for (i = 0; i < 2; ++i) {
        api = tables[i];
        put_one(stores[i], "after");
        close_store(stores[i]);
    }
    ++forks;
}

static void both_copies_hear_of_a_fork(void) {
    const char *const copy = text("%s/libcopy.so.1", make_temp_dir());
    const waybill_api *const before = api;
    const waybill_api *tables[2];
    copy_file(library_path, copy);
    tables[0] = api;
    tables[1] = table_of(dlopen(copy, RTLD_NOW | RTLD_LOCAL));
    fork_with_two_copies(tables);
    api = before;
}

#if !SANITIZED /* A sanitizer cannot be in a process twice. */
static void two_copies_in_two_namespaces_lock_each_other_out(void) {
    check_two_tables(api, table_of(dlmopen(LM_ID_NEWLM, library_path, RTLD_NOW | RTLD_LOCAL)));
}

static void a_copy_in_a_namespace_of_its_own_hears_of_a_fork(void) {
    const waybill_api *const before = api;
    const waybill_api *tables[2];
    tables[0] = api;
    tables[1] = table_of(dlmopen(LM_ID_NEWLM, library_path, RTLD_NOW | RTLD_LOCAL));
    fork_with_two_copies(tables);
    api = before;
}
#endif

/* --- signals ---------------------------------------------------------------------------------- */

static _Atomic unsigned alarms;

static void count_alarm(int signal_number) {
    (void)signal_number;
    atomic_fetch_add(&alarms, 1);
}

static void set_alarm_every_us(long us) {
    const struct itimerval timer = {{0, us}, {0, us}};
    CHECK(setitimer(ITIMER_REAL, &timer, NULL) == 0);
}

static void work_through_everything(const char *root, const oci_fixture *layout) {
    waybill_store *store = open_store_as(root, rotating), *reader;
    waybill_queue *queue = NULL;
    waybill_future *future = NULL;
    waybill_completion done;
    uint32_t count = 0;
    unsigned i;
    for (i = 0; i < 300; ++i)
        put_one(store, text("image%u", i % 20));
    CHECK(api->import_oci(store, NULL, layout->directory, "registry.example/a:b", &future,
                          error_slot()) == WAYBILL_OK);
    CHECK(wait_and_free(future) == WAYBILL_OK);
    CHECK(api->queue_create(&queue, error_slot()) == WAYBILL_OK);
    CHECK(api->remove(store, NULL, "image19", &future, error_slot()) == WAYBILL_OK);
    CHECK(api->queue_attach(queue, future, 7, error_slot()) == WAYBILL_OK);
    while (count == 0) {
        struct pollfd ready = {api->queue_fd(queue), POLLIN, 0};
        CHECK(poll(&ready, 1, -1) >= 0 || errno == EINTR);
        CHECK(api->queue_drain(queue, &done, 1, &count, error_slot()) == WAYBILL_OK);
    }
    CHECK(done.status == WAYBILL_OK && done.token == 7);
    api->future_free(future);
    api->queue_free(queue);
    reader = open_store_as(root, ",\"readOnly\":true");
    CHECK(image_count(reader) == 20);
    close_store(reader);
    CHECK(api->prune(store, NULL, NULL, 0, &future, error_slot()) == WAYBILL_OK);
    CHECK(wait_and_free(future) == WAYBILL_OK);
    CHECK(image_count(store) == 0);
    close_store(store);
    operations += 303;
}

static void signals_at_every_moment_change_nothing(void) {
    char *const root = strdup(make_temp_dir());
    const oci_fixture layout = make_layout("tag");
    struct sigaction action, before;
    unsigned i;
    memset(&action, 0, sizeof action);
    action.sa_handler = count_alarm; /* Without SA_RESTART: every call may be interrupted. */
    CHECK(sigaction(SIGALRM, &action, &before) == 0);
    set_alarm_every_us(100);
    for (i = 0; i < 5 * rounds_factor; ++i)
        work_through_everything(root, &layout);
    set_alarm_every_us(0);
    CHECK(sigaction(SIGALRM, &before, NULL) == 0);
    CHECK(atomic_load(&alarms) > 0);
    free(root);
}

/* --- the clock -------------------------------------------------------------------------------- */

static _Atomic int64_t now_ns;

static int64_t own_clock(void *payload) {
    (void)payload;
    return atomic_load(&now_ns);
}

static waybill_image_view put_and_view(waybill_store *store, const char *name) {
    waybill_image *image;
    waybill_image_view view;
    put_one(store, name);
    ++operations;
    image = get_image(store, NULL, name);
    view = view_of(image);
    view.name_space = view.reference = view.spelled = view.media_type = NULL; /* Go with it. */
    api->image_free(image);
    return view;
}

static void revisions_go_up_when_the_clock_goes_back(void) {
    static const int64_t second = INT64_C(1000000000);
    waybill_host host;
    waybill_image_view first, again, fresh;
    char *const root = strdup(make_temp_dir());
    waybill_store *store;
    uint64_t revision = 0;
    unsigned i;
    memset(&host, 0, sizeof host);
    host.struct_size = sizeof host;
    host.clock_ns = own_clock;
    atomic_store(&now_ns, 2000 * second);
    store = create_store(root, rotating, &host);
    CHECK(recover_store(store) == 0);
    first = put_and_view(store, "old");
    CHECK(first.created_ns == 2000 * second && first.updated_ns == 2000 * second);
    atomic_store(&now_ns, 1000 * second); /* Back. */
    again = put_and_view(store, "old");
    CHECK(again.created_ns == 2000 * second && again.updated_ns == 1000 * second);
    CHECK(again.revision > first.revision);
    fresh = put_and_view(store, "new");
    CHECK(fresh.created_ns == 1000 * second && fresh.updated_ns == 1000 * second);
    CHECK(fresh.revision > again.revision);
    for (revision = fresh.revision, i = 0; i < 500; ++i) { /* Through rotations, ever back. */
        atomic_fetch_sub(&now_ns, second);
        fresh = put_and_view(store, text("image%u", i % 10));
        CHECK(fresh.revision == revision + 1);
        CHECK(fresh.updated_ns == atomic_load(&now_ns));
        revision = fresh.revision;
    }
    close_store(store);
    store = create_store(root, rotating, &host);
    CHECK(recover_store(store) == 12);
    fresh = put_and_view(store, "old");
    CHECK(fresh.created_ns == 2000 * second && fresh.revision == revision + 1);
    close_store(store);
    free(root);
}

static void a_clock_that_says_anything_loses_no_image(void) {
    static const int64_t times[] = {INT64_MIN, INT64_MIN + 1, -1, 0, 1, INT64_MAX - 1, INT64_MAX};
    waybill_host host;
    char *const root = strdup(make_temp_dir());
    waybill_store *store;
    unsigned i;
    memset(&host, 0, sizeof host);
    host.struct_size = sizeof host;
    host.clock_ns = own_clock;
    store = create_store(root, "", &host);
    CHECK(recover_store(store) == 0);
    for (i = 0; i < sizeof times / sizeof *times; ++i) {
        waybill_image_view view;
        atomic_store(&now_ns, times[i]);
        view = put_and_view(store, text("image%u", i));
        CHECK(view.created_ns == times[i] && view.updated_ns == times[i]);
    }
    close_store(store);
    store = open_store(root);
    for (i = 0; i < sizeof times / sizeof *times; ++i) {
        waybill_image *const image = get_image(store, NULL, text("image%u", i));
        CHECK(view_of(image).created_ns == times[i]);
        api->image_free(image);
    }
    close_store(store);
    free(root);
}

/* --- cancel, wait, free and destroy ----------------------------------------------------------- */

enum { racers = 4, slots = 64 };

typedef struct race {
    pthread_rwlock_t alive; /* Read by whoever uses the store, written to end it. */
    waybill_store *store;
    _Atomic(waybill_future *) futures[slots];
    waybill_queue *queue;
    _Atomic unsigned submitted, stored, withdrawn, called, drained, other;
    _Atomic int over;
} race;

static void note_call(void *payload, waybill_future *future) {
    (void)future;
    atomic_fetch_add((_Atomic unsigned *)payload, 1);
}

static void submit_one(race *of, chance *dice) {
    waybill_future *future = NULL, *before;
    waybill_image_spec spec;
    told_image image;
    const unsigned which = below(dice, 1000);
    char name[32];
    (void)snprintf(name, sizeof name, "image%u", which);
    tell(&image, name, which + 1, 0);
    spec = image.spec;
    CHECK(pthread_rwlock_rdlock(&of->alive) == 0);
    if (of->store && api->put(of->store, &spec, 1, &future, NULL) == WAYBILL_OK)
        atomic_fetch_add(&of->submitted, 1);
    CHECK(pthread_rwlock_unlock(&of->alive) == 0);
    told(&image);
    if (!future)
        return;
    if (below(dice, 4) == 0)
        CHECK(api->future_then(future, note_call, &of->called, NULL) == WAYBILL_OK);
    if (below(dice, 4) == 0)
        CHECK(api->queue_attach(of->queue, future, which, NULL) == WAYBILL_OK);
    before = atomic_exchange(&of->futures[below(dice, slots)], future);
    api->future_free(before);
}

static void note_status(race *of, int32_t status) {
    if (status == WAYBILL_OK)
        atomic_fetch_add(&of->stored, 1);
    else if (status == WAYBILL_ECANCELED)
        atomic_fetch_add(&of->withdrawn, 1);
    else
        CHECK(status == WAYBILL_ETIMEDOUT);
}

/** Whoever takes a future out of its slot has it alone. */
static void use_one(race *of, chance *dice) {
    waybill_future *const future = atomic_exchange(&of->futures[below(dice, slots)], NULL);
    int32_t status;
    if (!future)
        return;
    switch (below(dice, 4)) {
    case 0:
        status = api->future_cancel(future, NULL);
        CHECK(status == WAYBILL_OK || status == WAYBILL_ESTATE);
        CHECK(status != WAYBILL_OK || api->future_status(future) == WAYBILL_ECANCELED);
        note_status(of, api->future_wait(future, -1, NULL));
        break;
    case 1:
        note_status(of, api->future_wait(future, below(dice, 2), NULL));
        break;
    case 2:
        note_status(of, api->future_wait(future, -1, NULL));
        break;
    default:
        break;
    }
    api->future_free(future);
}

typedef struct racer {
    pthread_t thread;
    race *of;
    unsigned which;
} racer;

static void *race_on(void *payload) {
    const racer *const self = payload;
    chance dice = chance_of(UINT64_C(9) << 32 | (uint64_t)self->which << 16 | races);
    while (!atomic_load(&self->of->over)) {
        waybill_completion done[4];
        uint32_t count = 0, i;
        if (self->which % 2)
            submit_one(self->of, &dice);
        use_one(self->of, &dice);
        CHECK(api->queue_drain(self->of->queue, done, 4, &count, NULL) == WAYBILL_OK);
        for (i = 0; i < count; ++i)
            CHECK(done[i].status == WAYBILL_OK || done[i].status == WAYBILL_ECANCELED);
        atomic_fetch_add(&self->of->drained, count);
    }
    return NULL;
}

static void race_once(const char *root, chance *dice) {
    racer all[racers];
    race of;
    unsigned i;
    memset(&of, 0, sizeof of);
    CHECK(pthread_rwlock_init(&of.alive, NULL) == 0);
    of.store = open_store_as(root, rotating);
    CHECK(api->queue_create(&of.queue, error_slot()) == WAYBILL_OK);
    for (i = 0; i < racers; ++i) {
        all[i].of = &of;
        all[i].which = i;
        CHECK(pthread_create(&all[i].thread, NULL, race_on, &all[i]) == 0);
    }
    pause_us(below(dice, 8000));
    CHECK(pthread_rwlock_wrlock(&of.alive) == 0);
    close_store(of.store); /* While others wait, cancel, are called and free. */
    of.store = NULL;
    CHECK(pthread_rwlock_unlock(&of.alive) == 0);
    pause_us(below(dice, 500));
    atomic_store(&of.over, 1);
    for (i = 0; i < racers; ++i)
        CHECK(pthread_join(all[i].thread, NULL) == 0);
    for (i = 0; i < slots; ++i) {
        waybill_future *const future = atomic_load(&of.futures[i]);
        if (future)
            note_status(&of, api->future_wait(future, 0, error_slot())); /* All have ended. */
        CHECK(!future || api->future_status(future) != WAYBILL_EPENDING);
        api->future_free(future);
    }
    api->queue_free(of.queue);
    CHECK(pthread_rwlock_destroy(&of.alive) == 0);
    operations += atomic_load(&of.submitted);
    ++races;
}

static void futures_survive_every_race_with_destroy(void) {
    const unsigned rounds = (SANITIZED ? 60 : 150) * rounds_factor;
    char *const root = strdup(make_temp_dir());
    chance dice = chance_of(4);
    waybill_store *store;
    unsigned round;
    for (round = 0; round < rounds; ++round)
        race_once(root, &dice);
    store = open_store(root);
    CHECK(image_count(store) > 0);
    close_store(store);
    free(root);
}

/* --- running ---------------------------------------------------------------------------------- */

/** After exec: no descriptor of a store or a thread was inherited, and everything works. */
static int be_child(const char *library) {
    void *handle;
    waybill_store *store;
    int fd;
    for (fd = 3; fd < 1024; ++fd) {
        char target[4096] = "";
        if (readlink(text("/proc/self/fd/%d", fd), target, sizeof target - 1) > 0)
            CHECK(!strstr(target, "waybill-abi-") && !strstr(target, "eventfd"));
    }
    api = load_table(library, &handle);
    store = open_store(make_temp_dir());
    CHECK(try_put(store, "child") == WAYBILL_OK);
    close_store(store);
    remove_temp_dirs();
    return 0;
}

int main(int argc, char **argv) {
    static const outcome_test tests[] = {
        TEST(forks_amid_puts_cost_the_parent_nothing),
#if !SANITIZED
        TEST(forks_amid_openings_leave_a_child_that_can_open),
#endif
        TEST(forks_amid_recover_cost_the_parent_nothing),
        TEST(a_child_with_every_descriptor_does_not_keep_the_lock_of_a_closed_store),
        TEST(a_killed_parent_leaves_no_lock_with_its_child),
        TEST(two_copies_under_two_paths_lock_each_other_out),
        TEST(both_copies_hear_of_a_fork),
#if !SANITIZED
        TEST(two_copies_in_two_namespaces_lock_each_other_out),
        TEST(a_copy_in_a_namespace_of_its_own_hears_of_a_fork),
#endif
        TEST(signals_at_every_moment_change_nothing),
        TEST(revisions_go_up_when_the_clock_goes_back),
        TEST(a_clock_that_says_anything_loses_no_image),
        TEST(futures_survive_every_race_with_destroy),
    };
    int result;
    if (argc == 3 && strcmp(argv[1], "--child") == 0)
        return be_child(argv[2]);
    result = run_crash_tests(argc, argv, tests, sizeof tests / sizeof *tests);
    if (result == 0)
        printf("%u forks, %u signals, %u races with destroy: %u operations acknowledged, lost: 0\n",
               forks, atomic_load(&alarms), races, operations);
    return result;
}
