/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: Waybill contributors
 *
 * Waiting, being called and being told through a queue; and what outlives what.
 */
#include "check.h"

#include <pthread.h>

/* --- a store that can be held up -------------------------------------------------------------- */

/** The host's clock, which stops the committer while it is shut; the main thread always passes. */
typedef struct gate {
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    pthread_t main_thread;
    int shut;
    int held_up;
} gate;

static gate the_gate = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0, 0, 0};

static int64_t gated_clock(void *payload) {
    gate *const at = payload;
    CHECK(pthread_mutex_lock(&at->mutex) == 0);
    if (!pthread_equal(pthread_self(), at->main_thread)) {
        at->held_up += at->shut;
        CHECK(pthread_cond_broadcast(&at->changed) == 0);
        while (at->shut)
            CHECK(pthread_cond_wait(&at->changed, &at->mutex) == 0);
        at->held_up = 0;
    }
    CHECK(pthread_mutex_unlock(&at->mutex) == 0);
    return INT64_C(1700000000000000000);
}

static void set_gate(int shut) {
    CHECK(pthread_mutex_lock(&the_gate.mutex) == 0);
    the_gate.shut = shut;
    CHECK(pthread_cond_broadcast(&the_gate.changed) == 0);
    CHECK(pthread_mutex_unlock(&the_gate.mutex) == 0);
}

static waybill_store *gated_store(void) {
    waybill_host host;
    waybill_store *store;
    memset(&host, 0, sizeof host);
    host.struct_size = sizeof host;
    host.payload = &the_gate;
    host.clock_ns = gated_clock;
    the_gate.main_thread = pthread_self();
    store = create_store(make_temp_dir(), "", &host);
    (void)recover_store(store);
    return store;
}

static waybill_future *start_put(waybill_store *store, const char *reference) {
    const waybill_image_spec spec = image_spec(reference);
    waybill_future *future = NULL;
    CHECK(api->put(store, &spec, 1, &future, error_slot()) == WAYBILL_OK);
    return future;
}

/** A put that has begun and does not end before the gate opens. */
static waybill_future *start_held_up_put(waybill_store *store, const char *reference) {
    waybill_future *future;
    set_gate(1);
    future = start_put(store, reference);
    CHECK(pthread_mutex_lock(&the_gate.mutex) == 0);
    while (!the_gate.held_up)
        CHECK(pthread_cond_wait(&the_gate.changed, &the_gate.mutex) == 0);
    CHECK(pthread_mutex_unlock(&the_gate.mutex) == 0);
    return future;
}

/** What a callback notes. */
typedef struct note {
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    int calls;
    waybill_future *future;
    pthread_t thread;
    waybill_store *store;
    waybill_future *pending;
} note;

#define EMPTY_NOTE                                                                                 \
    { PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0, NULL, 0, NULL, NULL }

static void called(void *payload, waybill_future *future) {
    note *const to = payload;
    CHECK(pthread_mutex_lock(&to->mutex) == 0);
    ++to->calls;
    to->future = future;
    to->thread = pthread_self();
    CHECK(pthread_cond_broadcast(&to->changed) == 0);
    CHECK(pthread_mutex_unlock(&to->mutex) == 0);
}

static void await_calls(note *of, int count) {
    CHECK(pthread_mutex_lock(&of->mutex) == 0);
    while (of->calls < count)
        CHECK(pthread_cond_wait(&of->changed, &of->mutex) == 0);
    CHECK(of->calls == count);
    CHECK(pthread_mutex_unlock(&of->mutex) == 0);
}

/* --- waiting ---------------------------------------------------------------------------------- */

static int64_t now_ms(void) {
    struct timespec now;
    CHECK(clock_gettime(CLOCK_MONOTONIC, &now) == 0);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void waiting_ends_when_the_time_is_over(void) {
    int64_t began_ms;
    waybill_store *store = gated_store();
    waybill_future *future = start_held_up_put(store, "busybox");
    waybill_outcome outcome = {0};
    waybill_blob_view blob = {0};
    waybill_key_view key = {0};
    outcome.struct_size = sizeof outcome;
    blob.struct_size = sizeof blob;
    key.struct_size = sizeof key;
    CHECK(api->future_wait(future, 0, error_slot()) == WAYBILL_ETIMEDOUT);
    began_ms = now_ms();
    CHECK(api->future_wait(future, 20, error_slot()) == WAYBILL_ETIMEDOUT);
    CHECK(now_ms() - began_ms >= 20);
    CHECK(api->future_status(future) == WAYBILL_EPENDING);
    CHECK(api->future_result(future, &outcome, error_slot()) == WAYBILL_EPENDING);
    CHECK(api->prune_layer(future, 0, 0, &blob, error_slot()) == WAYBILL_EPENDING);
    CHECK(api->prune_image(future, 0, &key, error_slot()) == WAYBILL_EPENDING);
    CHECK(!holds(store, NULL, "busybox"));
    set_gate(0);
    CHECK(api->future_wait(future, INT64_MAX, error_slot()) == WAYBILL_OK);
    CHECK(api->future_wait(future, 0, error_slot()) == WAYBILL_OK);
    CHECK(api->future_status(future) == WAYBILL_OK);
    CHECK(holds(store, NULL, "busybox"));
    api->future_free(future);
    close_store(store);
}

static void a_failed_operation_gives_its_error_each_time(void) {
    waybill_store *store = open_store(make_temp_dir());
    waybill_image_spec spec = image_spec("busybox");
    waybill_future *future = NULL;
    waybill_outcome outcome = {0};
    outcome.struct_size = sizeof outcome;
    put_one(store, "busybox");
    spec.condition = WAYBILL_PUT_IF_ABSENT;
    CHECK(api->put(store, &spec, 1, &future, error_slot()) == WAYBILL_OK);
    CHECK(api->future_wait(future, -1, error_slot()) == WAYBILL_EEXIST);
    CHECK(strstr(last_error.message, "busybox") != NULL);
    CHECK(api->future_wait(future, -1, error_slot()) == WAYBILL_EEXIST);
    CHECK(strstr(last_error.message, "busybox") != NULL);
    CHECK(api->future_status(future) == WAYBILL_EEXIST);
    CHECK(api->future_result(future, &outcome, error_slot()) == WAYBILL_EEXIST);
    CHECK(outcome.revision == 0);
    api->future_free(future);
    close_store(store);
}

/* --- cancelling ------------------------------------------------------------------------------- */

static void only_what_has_not_begun_can_be_cancelled(void) {
    waybill_store *store = gated_store();
    waybill_future *begun = start_held_up_put(store, "begun");
    waybill_future *queued = start_put(store, "queued");
    CHECK(api->future_cancel(begun, error_slot()) == WAYBILL_ESTATE);
    CHECK(api->future_cancel(queued, error_slot()) == WAYBILL_OK);
    CHECK(api->future_status(queued) == WAYBILL_ECANCELED);
    CHECK(api->future_wait(queued, -1, error_slot()) == WAYBILL_ECANCELED);
    CHECK(api->future_cancel(queued, error_slot()) == WAYBILL_ESTATE);
    set_gate(0);
    CHECK(wait_and_free(begun) == WAYBILL_OK);
    put_one(store, "later");
    CHECK(holds(store, NULL, "begun") && !holds(store, NULL, "queued"));
    api->future_free(queued);
    close_store(store);
}

/* --- callbacks -------------------------------------------------------------------------------- */

static void a_callback_comes_once_before_or_after_completion(void) {
    waybill_store *store = gated_store();
    waybill_future *future = start_held_up_put(store, "before");
    note before = EMPTY_NOTE, after = EMPTY_NOTE;
    CHECK(api->future_then(future, NULL, NULL, error_slot()) == WAYBILL_EINVAL);
    CHECK(api->future_then(future, called, &before, error_slot()) == WAYBILL_OK);
    CHECK(api->future_then(future, called, &before, error_slot()) == WAYBILL_ESTATE);
    CHECK(before.calls == 0);
    set_gate(0);
    await_calls(&before, 1);
    CHECK(before.future == future && !pthread_equal(before.thread, pthread_self()));
    CHECK(api->future_then(future, called, &before, error_slot()) == WAYBILL_ESTATE);
    api->future_free(future);
    future = start_put(store, "after");
    CHECK(api->future_wait(future, -1, error_slot()) == WAYBILL_OK);
    CHECK(api->future_then(future, called, &after, error_slot()) == WAYBILL_OK);
    await_calls(&after, 1);
    CHECK(after.future == future);
    api->future_free(future);
    close_store(store);
    CHECK(before.calls == 1 && after.calls == 1);
}

static void try_what_would_never_end(void *payload, waybill_future *future) {
    note *const to = payload;
    waybill_error error;
    memset(&error, 0, sizeof error);
    error.struct_size = sizeof error;
    CHECK(api->future_wait(to->pending, -1, &error) == WAYBILL_EDEADLK);
    CHECK(api->future_wait(to->pending, 1000, &error) == WAYBILL_EDEADLK);
    CHECK(error.code == WAYBILL_EDEADLK);
    CHECK(api->future_wait(to->pending, 0, &error) == WAYBILL_ETIMEDOUT);
    CHECK(api->destroy(to->store, &error) == WAYBILL_EDEADLK);
    CHECK(error.code == WAYBILL_EDEADLK);
    CHECK(api->future_wait(future, -1, &error) == WAYBILL_OK); /* It has ended. */
    called(payload, future);
}

static void waiting_and_destroying_inside_a_callback_are_refused(void) {
    waybill_store *store = gated_store();
    note to = EMPTY_NOTE;
    waybill_future *done = start_put(store, "done");
    CHECK(api->future_wait(done, -1, error_slot()) == WAYBILL_OK);
    to.store = store;
    to.pending = start_held_up_put(store, "pending");
    CHECK(api->future_then(done, try_what_would_never_end, &to, error_slot()) == WAYBILL_OK);
    await_calls(&to, 1);
    set_gate(0);
    CHECK(wait_and_free(to.pending) == WAYBILL_OK);
    api->future_free(done);
    put_one(store, "later"); /* The store lives on. */
    close_store(store);
}

static void free_own_future(void *payload, waybill_future *future) {
    api->future_free(future);
    called(payload, NULL);
}

static void a_callback_may_free_its_future(void) {
    waybill_store *store = open_store(make_temp_dir());
    note to = EMPTY_NOTE;
    int i;
    for (i = 0; i < 50; ++i) {
        waybill_future *future = start_put(store, "busybox");
        CHECK(api->future_then(future, free_own_future, &to, error_slot()) == WAYBILL_OK);
    }
    await_calls(&to, 50);
    close_store(store);
}

static void a_freed_future_still_calls_back(void) {
    waybill_store *store = gated_store();
    note to = EMPTY_NOTE;
    waybill_future *future = start_held_up_put(store, "busybox");
    CHECK(api->future_then(future, called, &to, error_slot()) == WAYBILL_OK);
    api->future_free(future);
    set_gate(0);
    await_calls(&to, 1);
    CHECK(holds(store, NULL, "busybox"));
    close_store(store);
}

static void a_slow_callback_holds_up_no_operation(void) {
    waybill_store *store = open_store(make_temp_dir());
    note to = EMPTY_NOTE;
    waybill_future *future = start_put(store, "busybox");
    CHECK(pthread_mutex_lock(&to.mutex) == 0); /* The callback waits for it. */
    CHECK(api->future_then(future, called, &to, error_slot()) == WAYBILL_OK);
    CHECK(wait_and_free(future) == WAYBILL_OK);
    put_one(store, "alpine");
    CHECK(pthread_mutex_unlock(&to.mutex) == 0);
    await_calls(&to, 1);
    close_store(store);
}

static void every_callback_has_come_when_destroy_returns(void) {
    waybill_store *store = open_store(make_temp_dir());
    note to = EMPTY_NOTE;
    waybill_future *futures[100];
    int i;
    for (i = 0; i < 100; ++i) {
        futures[i] = start_put(store, "busybox");
        CHECK(api->future_then(futures[i], called, &to, error_slot()) == WAYBILL_OK);
    }
    close_store(store);
    CHECK(to.calls == 100);
    for (i = 0; i < 100; ++i)
        api->future_free(futures[i]);
}

/* --- queues ----------------------------------------------------------------------------------- */

static int is_readable(waybill_queue *queue, int timeout_ms) {
    struct pollfd polled = {api->queue_fd(queue), POLLIN, 0};
    return poll(&polled, 1, timeout_ms) == 1 && (polled.revents & POLLIN) != 0;
}

static waybill_queue *make_queue(void) {
    waybill_queue *queue = NULL;
    CHECK(api->queue_create(&queue, error_slot()) == WAYBILL_OK);
    return queue;
}

static void a_queue_hands_out_completions_in_order(void) {
    waybill_store *store = gated_store();
    waybill_queue *queue = make_queue();
    waybill_completion completions[8];
    waybill_future *futures[5];
    uint32_t count = 9;
    int i;
    CHECK((fcntl(api->queue_fd(queue), F_GETFD) & FD_CLOEXEC) != 0);
    CHECK((fcntl(api->queue_fd(queue), F_GETFL) & O_NONBLOCK) != 0);
    futures[0] = start_held_up_put(store, "image:0");
    for (i = 1; i < 5; ++i)
        futures[i] = start_put(store, text("image:%d", i));
    for (i = 0; i < 5; ++i)
        CHECK(api->queue_attach(queue, futures[i], 100 + (uint64_t)i, error_slot()) == WAYBILL_OK);
    CHECK(api->queue_attach(queue, futures[0], 7, error_slot()) == WAYBILL_ESTATE);
    CHECK(!is_readable(queue, 0));
    CHECK(api->queue_drain(queue, completions, 8, &count, error_slot()) == WAYBILL_OK);
    CHECK(count == 0);
    set_gate(0);
    for (i = 0; i < 5; ++i)
        CHECK(api->future_wait(futures[i], -1, error_slot()) == WAYBILL_OK);
    put_one(store, "later"); /* Everything before it has been handed on. */
    CHECK(is_readable(queue, 10000));
    CHECK(api->queue_drain(queue, completions, 2, &count, error_slot()) == WAYBILL_OK);
    CHECK(count == 2 && is_readable(queue, 0));
    CHECK(completions[0].token == 100 && completions[1].token == 101);
    CHECK(completions[0].future == futures[0] && completions[0].status == WAYBILL_OK);
    CHECK(api->queue_drain(queue, completions, 0, &count, error_slot()) == WAYBILL_OK);
    CHECK(count == 0 && is_readable(queue, 0));
    CHECK(api->queue_drain(queue, completions, 8, &count, error_slot()) == WAYBILL_OK);
    CHECK(count == 3 && completions[0].token == 102 && completions[2].token == 104);
    CHECK(!is_readable(queue, 0));
    for (i = 0; i < 5; ++i)
        api->future_free(futures[i]);
    api->queue_free(queue);
    close_store(store);
}

static void attaching_after_completion_is_served_at_once(void) {
    waybill_store *store = open_store(make_temp_dir());
    waybill_queue *queue = make_queue(), *other = make_queue();
    waybill_image_spec spec = image_spec("busybox");
    waybill_future *future = NULL;
    waybill_completion completion;
    uint32_t count = 0;
    spec.condition = WAYBILL_PUT_IF_REVISION;
    CHECK(api->put(store, &spec, 1, &future, error_slot()) == WAYBILL_OK);
    CHECK(api->future_wait(future, -1, error_slot()) == WAYBILL_ECONFLICT);
    CHECK(api->queue_attach(queue, future, UINT64_MAX, error_slot()) == WAYBILL_OK);
    CHECK(api->queue_attach(other, future, 1, error_slot()) == WAYBILL_ESTATE);
    CHECK(is_readable(queue, 0) && !is_readable(other, 0));
    api->future_free(future); /* The queue hands out its address as a number. */
    CHECK(api->queue_drain(queue, &completion, 1, &count, error_slot()) == WAYBILL_OK);
    CHECK(count == 1 && completion.token == UINT64_MAX && completion.future == future);
    CHECK(completion.status == WAYBILL_ECONFLICT);
    api->queue_free(queue);
    api->queue_free(other);
    close_store(store);
}

static void a_queue_may_be_freed_before_its_completions_come(void) {
    waybill_store *store = gated_store();
    waybill_queue *queue = make_queue();
    waybill_future *future = start_held_up_put(store, "busybox");
    CHECK(api->queue_attach(queue, future, 1, error_slot()) == WAYBILL_OK);
    api->queue_free(queue);
    set_gate(0);
    CHECK(wait_and_free(future) == WAYBILL_OK);
    put_one(store, "later");
    close_store(store);
}

static void a_withdrawn_operation_reaches_queue_and_callback(void) {
    waybill_store *store = gated_store();
    waybill_queue *queue = make_queue();
    note to = EMPTY_NOTE;
    waybill_completion completion;
    uint32_t count = 0;
    waybill_future *begun = start_held_up_put(store, "begun");
    waybill_future *queued = start_put(store, "queued");
    CHECK(api->queue_attach(queue, queued, 5, error_slot()) == WAYBILL_OK);
    CHECK(api->future_then(queued, called, &to, error_slot()) == WAYBILL_OK);
    CHECK(api->future_cancel(queued, error_slot()) == WAYBILL_OK);
    CHECK(is_readable(queue, 10000));
    CHECK(api->queue_drain(queue, &completion, 1, &count, error_slot()) == WAYBILL_OK);
    CHECK(count == 1 && completion.token == 5 && completion.status == WAYBILL_ECANCELED);
    await_calls(&to, 1);
    set_gate(0);
    CHECK(wait_and_free(begun) == WAYBILL_OK);
    api->future_free(queued);
    api->queue_free(queue);
    close_store(store);
}

/* --- what outlives the store ------------------------------------------------------------------ */

static void futures_images_and_queues_outlive_the_store(void) {
    waybill_store *store = open_store(make_temp_dir());
    waybill_queue *queue = make_queue();
    note to = EMPTY_NOTE;
    waybill_future *put, *refreshed = NULL, *pruned = NULL;
    waybill_image *image;
    waybill_outcome outcome = {0};
    waybill_key_view key = {0};
    waybill_completion completion;
    uint32_t count = 0;
    outcome.struct_size = sizeof outcome;
    key.struct_size = sizeof key;
    put = start_put(store, "busybox");
    CHECK(api->queue_attach(queue, put, 3, error_slot()) == WAYBILL_OK);
    CHECK(api->future_wait(put, -1, error_slot()) == WAYBILL_OK);
    image = get_image(store, NULL, "busybox");
    CHECK(api->refresh(store, &refreshed, error_slot()) == WAYBILL_OK);
    CHECK(api->prune(store, NULL, NULL, 0, &pruned, error_slot()) == WAYBILL_OK);
    close_store(store);
    CHECK(strcmp(view_of(image).spelled, "busybox") == 0);
    CHECK(api->future_wait(put, -1, error_slot()) == WAYBILL_OK);
    CHECK(api->future_result(refreshed, &outcome, error_slot()) == WAYBILL_OK);
    CHECK(outcome.report_json != NULL && outcome.report_json[0] == '{');
    CHECK(api->prune_image(pruned, 0, &key, error_slot()) == WAYBILL_OK);
    CHECK(strcmp(key.reference, "docker.io/library/busybox:latest") == 0);
    CHECK(is_readable(queue, 0));
    CHECK(api->queue_drain(queue, &completion, 1, &count, error_slot()) == WAYBILL_OK);
    CHECK(count == 1 && completion.token == 3);
    CHECK(api->future_then(put, called, &to, error_slot()) == WAYBILL_OK);
    CHECK(to.calls == 1); /* No thread of the library is left: on this one. */
    CHECK(api->queue_attach(queue, pruned, 4, error_slot()) == WAYBILL_OK);
    CHECK(is_readable(queue, 0));
    CHECK(api->future_cancel(pruned, error_slot()) == WAYBILL_ESTATE);
    api->image_free(image);
    api->future_free(put);
    api->future_free(refreshed);
    api->future_free(pruned);
    api->queue_free(queue);
}

static void destroy_completes_every_accepted_put(void) {
    const char *directory = make_temp_dir();
    waybill_store *store = open_store(directory);
    static waybill_future *futures[1000];
    int i;
    for (i = 0; i < 1000; ++i)
        futures[i] = start_put(store, text("image:%d", i));
    close_store(store);
    for (i = 0; i < 1000; ++i) {
        CHECK(api->future_status(futures[i]) == WAYBILL_OK);
        api->future_free(futures[i]);
    }
    store = open_store(directory);
    CHECK(image_count(store) == 1000);
    close_store(store);
}

static void destroy_completes_a_recover_that_was_just_begun(void) {
    waybill_store *store = create_store(make_temp_dir(), "", NULL);
    waybill_future *future = NULL;
    CHECK(api->recover(store, &future, error_slot()) == WAYBILL_OK);
    close_store(store);
    CHECK(api->future_status(future) == WAYBILL_OK);
    api->future_free(future);
}

int main(int argc, char **argv) {
    static const outcome_test tests[] = {
        TEST(waiting_ends_when_the_time_is_over),
        TEST(a_failed_operation_gives_its_error_each_time),
        TEST(only_what_has_not_begun_can_be_cancelled),
        TEST(a_callback_comes_once_before_or_after_completion),
        TEST(waiting_and_destroying_inside_a_callback_are_refused),
        TEST(a_callback_may_free_its_future),
        TEST(a_freed_future_still_calls_back),
        TEST(a_slow_callback_holds_up_no_operation),
        TEST(every_callback_has_come_when_destroy_returns),
        TEST(a_queue_hands_out_completions_in_order),
        TEST(attaching_after_completion_is_served_at_once),
        TEST(a_queue_may_be_freed_before_its_completions_come),
        TEST(a_withdrawn_operation_reaches_queue_and_callback),
        TEST(futures_images_and_queues_outlive_the_store),
        TEST(destroy_completes_every_accepted_put),
        TEST(destroy_completes_a_recover_that_was_just_begun),
    };
    return run_tests(argc, argv, tests, sizeof tests / sizeof *tests);
}
