/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: Waybill contributors
 *
 * A thread that waits comes out of it as it went in, and nothing is done on it that was not asked.
 */
#include "check.h"

#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>

static int32_t put_and_wait(waybill_store *store, const char *reference) {
    const waybill_image_spec spec = image_spec(reference);
    return put_specs(store, &spec, 1);
}

/* --- signals ---------------------------------------------------------------------------------- */

static int signals_seen; /* By the atomic builtins: a signal handler and two threads share it. */
static int strangers_signalled;
static pthread_t signalled;

static void count_signal(int number) {
    (void)number;
    (void)__atomic_add_fetch(&strangers_signalled, !pthread_equal(pthread_self(), signalled),
                             __ATOMIC_SEQ_CST);
    (void)__atomic_add_fetch(&signals_seen, 1, __ATOMIC_SEQ_CST);
}

typedef struct putting {
    waybill_store *store;
    int stop;
    int puts;
} putting;

static void *put_until_stopped(void *payload) {
    putting *const work = payload;
    sigset_t before, after;
    int i;
    CHECK(pthread_sigmask(SIG_SETMASK, NULL, &before) == 0);
    while (!__atomic_load_n(&work->stop, __ATOMIC_SEQ_CST)) {
        CHECK(put_and_wait(work->store, text("image:%d", work->puts % 50)) == WAYBILL_OK);
        ++work->puts;
        CHECK(pthread_sigmask(SIG_SETMASK, NULL, &after) == 0);
        for (i = 1; i < SIGRTMIN; ++i)
            CHECK(sigismember(&before, i) == sigismember(&after, i));
    }
    return NULL;
}

static void a_waiting_thread_gets_its_signals(void) {
    waybill_store *store = open_store(make_temp_dir());
    putting work = {store, 0, 0};
    struct sigaction action;
    int i;
    memset(&action, 0, sizeof action);
    action.sa_handler = count_signal;
    CHECK(sigaction(SIGUSR1, &action, NULL) == 0);
    CHECK(pthread_create(&signalled, NULL, put_until_stopped, &work) == 0);
    for (i = 0; i < 200; ++i) {
        CHECK(pthread_kill(signalled, SIGUSR1) == 0);
        while (__atomic_load_n(&signals_seen, __ATOMIC_SEQ_CST) == i)
            pause_ms(1);
    }
    __atomic_store_n(&work.stop, 1, __ATOMIC_SEQ_CST);
    CHECK(pthread_join(signalled, NULL) == 0);
    CHECK(signals_seen == 200);
    CHECK(strangers_signalled == 0);
    CHECK(work.puts > 0);
    close_store(store);
}

static void a_file_size_limit_does_not_end_the_host(void) {
    waybill_store *store = open_store(make_temp_dir());
    struct rlimit limit, lowered;
    int32_t code = WAYBILL_OK;
    int i;
    CHECK(getrlimit(RLIMIT_FSIZE, &limit) == 0);
    lowered = limit;
    lowered.rlim_cur = 128u << 10;
    CHECK(setrlimit(RLIMIT_FSIZE, &lowered) == 0); /* SIGXFSZ ends who does not ask for it. */
    for (i = 0; i < 10000 && code == WAYBILL_OK; ++i)
        code = put_and_wait(store, text("image:%d", i));
    CHECK(code == WAYBILL_ENOSPC);
    CHECK(setrlimit(RLIMIT_FSIZE, &limit) == 0);
    CHECK(put_and_wait(store, "again") == WAYBILL_OK);
    close_store(store);
}

/* --- callbacks -------------------------------------------------------------------------------- */

typedef struct listener {
    pthread_t host;
    int lines;
    int lines_on_the_host;
    int times;
    int times_on_the_host;
} listener;

static int64_t note_clock(void *payload) {
    listener *const to = payload;
    ++to->times;
    to->times_on_the_host += pthread_equal(pthread_self(), to->host) != 0;
    return INT64_C(1700000000000000000);
}

static void note_line(void *payload, int32_t severity, const char *message) {
    listener *const to = payload;
    (void)severity;
    (void)message;
    ++to->lines;
    to->lines_on_the_host += pthread_equal(pthread_self(), to->host) != 0;
}

static void nothing_is_committed_or_logged_on_the_waiting_thread(void) {
    const char *directory = make_temp_dir();
    listener listening = {0, 0, 0, 0, 0};
    waybill_host host;
    waybill_store *store;
    int i;
    memset(&host, 0, sizeof host);
    listening.host = pthread_self();
    host.struct_size = sizeof host;
    host.payload = &listening;
    host.log = note_line;
    host.clock_ns = note_clock; /* Each commit asks for the time. */
    store = create_store(directory, "", &host);
    (void)recover_store(store);
    for (i = 0; i < 200; ++i)
        CHECK(put_and_wait(store, "busybox") == WAYBILL_OK);
    CHECK(unlink(text("%s/journal.1", directory)) == 0);
    CHECK(put_and_wait(store, "busybox") == WAYBILL_EIO);
    close_store(store);
    CHECK(listening.lines > 0);
    CHECK(listening.lines_on_the_host == 0);
    CHECK(listening.times > 200);
    CHECK(listening.times_on_the_host == 0);
}

static void *wait_for_it(void *future) {
    CHECK(api->future_wait(future, -1, NULL) == WAYBILL_OK);
    return NULL;
}

/** Threads that wait for the same and for different puts, while others only start some. */
static void everybody_who_waits_is_told(void) {
    enum { rounds = 200, waiters = 4 };
    waybill_store *store = open_store(make_temp_dir());
    int round;
    for (round = 0; round < rounds; ++round) {
        waybill_future *futures[waiters];
        pthread_t threads[2 * waiters];
        int i;
        for (i = 0; i < waiters; ++i) {
            const waybill_image_spec spec = image_spec(text("image:%d", i));
            CHECK(api->put(store, &spec, 1, &futures[i], error_slot()) == WAYBILL_OK);
        }
        for (i = 0; i < 2 * waiters; ++i)
            CHECK(pthread_create(&threads[i], NULL, wait_for_it, futures[i % waiters]) == 0);
        for (i = 0; i < 2 * waiters; ++i)
            CHECK(pthread_join(threads[i], NULL) == 0);
        for (i = 0; i < waiters; ++i)
            api->future_free(futures[i]);
    }
    close_store(store);
}

/** Among others that are waited for. */
static void a_put_that_nobody_waits_for_ends_all_the_same(void) {
    waybill_store *store = open_store(make_temp_dir());
    int round, i;
    for (round = 0; round < 20; ++round) {
        const waybill_image_spec spec = image_spec("unattended");
        waybill_future *future = NULL;
        for (i = 0; i < 5; ++i)
            CHECK(put_and_wait(store, "attended") == WAYBILL_OK);
        CHECK(api->put(store, &spec, 1, &future, error_slot()) == WAYBILL_OK);
        while (api->future_status(future) == WAYBILL_EPENDING)
            pause_ms(1);
        CHECK(api->future_status(future) == WAYBILL_OK);
        api->future_free(future);
        CHECK(holds(store, NULL, "unattended"));
    }
    close_store(store);
}

static void images_are_held_while_replaced_and_after_destroy(void) {
    enum { held = 300 };
    waybill_store *store = open_store(make_temp_dir());
    waybill_image *images[held];
    uint64_t revisions[held];
    int i;
    for (i = 0; i < held; ++i) {
        CHECK(put_and_wait(store, "busybox") == WAYBILL_OK);
        images[i] = get_image(store, NULL, "busybox");
        revisions[i] = view_of(images[i]).revision;
        if (i % 3 == 0) { /* Some go early. */
            api->image_free(images[i]);
            images[i] = NULL;
        }
    }
    for (i = 0; i < held; ++i)
        CHECK(images[i] == NULL || view_of(images[i]).revision == revisions[i]);
    close_store(store);
    for (i = 0; i < held; ++i) {
        CHECK(images[i] == NULL || view_of(images[i]).revision == revisions[i]);
        api->image_free(images[i]);
    }
}

int main(int argc, char **argv) {
    static const outcome_test tests[] = {
        TEST(a_waiting_thread_gets_its_signals),
        TEST(a_file_size_limit_does_not_end_the_host),
        TEST(nothing_is_committed_or_logged_on_the_waiting_thread),
        TEST(everybody_who_waits_is_told),
        TEST(a_put_that_nobody_waits_for_ends_all_the_same),
        TEST(images_are_held_while_replaced_and_after_destroy),
    };
    return run_tests(argc, argv, tests, sizeof tests / sizeof *tests);
}
