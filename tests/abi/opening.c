/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: Waybill contributors
 *
 * Who may open a store beside whom, across processes and fork; and what a store leaves behind.
 */
#include "check.h"

#include <signal.h>

/* --- one writer ------------------------------------------------------------------------------- */

static void check_locked(void *payload) {
    const char *directory = payload;
    waybill_store *store = NULL;
    CHECK(api->create(text("{\"root\":\"%s\"}", directory), NULL, &store, error_slot()) ==
          WAYBILL_ELOCKED);
    CHECK(store == NULL);
    CHECK(strstr(last_error.message, getenv("WAYBILL_TEST_HOLDER")) != NULL);
}

static void name_holder(pid_t holder) {
    CHECK(setenv("WAYBILL_TEST_HOLDER", text("process %ld", (long)holder), 1) == 0);
}

static void a_second_writer_is_refused_in_this_process_and_others(void) {
    char *const directory = strdup(make_temp_dir());
    waybill_store *store = open_store(directory);
    name_holder(getpid());
    check_locked(directory);
    run_in_child(check_locked, directory);
    put_one(store, "busybox");
    close_store(store);
    close_store(open_store(directory));
    free(directory);
}

static void the_lock_goes_with_a_killed_process(void) {
    char *const directory = strdup(make_temp_dir());
    waybill_store *store;
    int ready[2];
    char byte;
    pid_t child;
    CHECK(pipe2(ready, O_CLOEXEC) == 0);
    child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        store = open_store(directory);
        put_one(store, "busybox");
        CHECK(write(ready[1], "x", 1) == 1);
        for (;;)
            pause();
    }
    close(ready[1]);
    CHECK(read(ready[0], &byte, 1) == 1);
    close(ready[0]);
    name_holder(child);
    check_locked(directory);
    CHECK(kill(child, SIGKILL) == 0 && waitpid(child, NULL, 0) == child);
    store = open_store(directory);
    CHECK(holds(store, NULL, "busybox"));
    close_store(store);
    free(directory);
}

/* --- readers ---------------------------------------------------------------------------------- */

static void follow_a_writer(void *payload) {
    int *const pipes = payload; /* from the writer, to it */
    const char *directory = getenv("WAYBILL_TEST_ROOT");
    waybill_store *reader = open_store_as(directory, ",\"readOnly\":true");
    const waybill_image_spec spec = image_spec("mine");
    waybill_future *future = NULL;
    char byte;
    CHECK(holds(reader, NULL, "first") && image_count(reader) == 1);
    CHECK(api->put(reader, &spec, 1, &future, error_slot()) == WAYBILL_EREADONLY);
    CHECK(api->remove(reader, NULL, "first", &future, error_slot()) == WAYBILL_EREADONLY);
    CHECK(api->prune(reader, NULL, NULL, 0, &future, error_slot()) == WAYBILL_EREADONLY);
    CHECK(api->import_oci(reader, NULL, "/x", NULL, &future, error_slot()) == WAYBILL_EREADONLY);
    CHECK(api->accept_loss(reader, &future, error_slot()) == WAYBILL_EREADONLY);
    CHECK(future == NULL);
    CHECK(write(pipes[3], "x", 1) == 1 && read(pipes[0], &byte, 1) == 1);
    CHECK(!holds(reader, NULL, "second"));
    CHECK(api->refresh(reader, &future, error_slot()) == WAYBILL_OK);
    CHECK(outcome_of(future).image_count == 1);
    CHECK(holds(reader, NULL, "second") && !holds(reader, NULL, "first"));
    close_store(reader);
}

static void a_reader_follows_the_writer_when_it_refreshes(void) {
    const char *directory = make_temp_dir();
    waybill_store *writer;
    waybill_future *future = NULL;
    int pipes[4], status = 0;
    char byte;
    pid_t child;
    CHECK(setenv("WAYBILL_TEST_ROOT", directory, 1) == 0);
    writer = open_store(directory);
    put_one(writer, "first");
    CHECK(pipe2(pipes, O_CLOEXEC) == 0 && pipe2(pipes + 2, O_CLOEXEC) == 0);
    child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        follow_a_writer(pipes);
        _exit(0);
    }
    close(pipes[3]);
    CHECK(read(pipes[2], &byte, 1) == 1);
    put_one(writer, "second");
    CHECK(api->remove(writer, NULL, "first", &future, error_slot()) == WAYBILL_OK);
    CHECK(wait_and_free(future) == WAYBILL_OK);
    CHECK(write(pipes[1], "x", 1) == 1);
    CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0);
    close(pipes[0]), close(pipes[1]), close(pipes[2]);
    put_one(writer, "third");
    close_store(writer);
}

static void a_reader_makes_no_store(void) {
    const char *directory = make_temp_dir();
    waybill_store *store = NULL;
    CHECK(api->create(text("{\"root\":\"%s\",\"readOnly\":true}", directory), NULL, &store,
                      error_slot()) == WAYBILL_ENOTSTORE);
    CHECK(api->create(text("{\"root\":\"%s/none\",\"readOnly\":true}", directory), NULL, &store,
                      error_slot()) == WAYBILL_ENOTFOUND);
    CHECK(store == NULL && rmdir(directory) == 0);
}

/* --- fork ------------------------------------------------------------------------------------- */

typedef struct inheritance {
    waybill_store *store;
    waybill_future *future;
    waybill_queue *queue;
} inheritance;

static void never_called(void *payload, waybill_future *future) {
    (void)payload, (void)future;
    CHECK(!"called in the wrong process");
}

static void check_forked(void *payload) {
    const inheritance *const of = payload;
    const waybill_image_spec spec = image_spec("child");
    waybill_future *future = NULL;
    waybill_image *image = NULL;
    waybill_completion completion;
    waybill_outcome outcome = {0};
    waybill_blob_view blob = {0};
    waybill_key_view key = {0};
    waybill_store *own;
    uint32_t drained = 7;
    unsigned count = 0;
    char *json = NULL;
    outcome.struct_size = sizeof outcome;
    blob.struct_size = sizeof blob;
    key.struct_size = sizeof key;
    CHECK(api->recover(of->store, &future, error_slot()) == WAYBILL_EFORKED);
    CHECK(api->refresh(of->store, &future, error_slot()) == WAYBILL_EFORKED);
    CHECK(api->accept_loss(of->store, &future, error_slot()) == WAYBILL_EFORKED);
    CHECK(api->put(of->store, &spec, 1, &future, error_slot()) == WAYBILL_EFORKED);
    CHECK(api->get(of->store, NULL, "parent", 1, &image, error_slot()) == WAYBILL_EFORKED);
    CHECK(api->remove(of->store, NULL, "parent", &future, error_slot()) == WAYBILL_EFORKED);
    CHECK(api->prune(of->store, NULL, NULL, 0, &future, error_slot()) == WAYBILL_EFORKED);
    CHECK(api->import_oci(of->store, NULL, "/x", NULL, &future, error_slot()) == WAYBILL_EFORKED);
    CHECK(api->visit(of->store, NULL, count_image, &count, error_slot()) == WAYBILL_EFORKED);
    CHECK(api->report(of->store, "stats", NULL, &json, error_slot()) == WAYBILL_EFORKED);
    CHECK(api->future_wait(of->future, -1, error_slot()) == WAYBILL_EFORKED);
    CHECK(api->future_status(of->future) == WAYBILL_EFORKED);
    CHECK(api->future_then(of->future, never_called, NULL, error_slot()) == WAYBILL_EFORKED);
    CHECK(api->future_result(of->future, &outcome, error_slot()) == WAYBILL_EFORKED);
    CHECK(api->prune_layer(of->future, 0, 0, &blob, error_slot()) == WAYBILL_EFORKED);
    CHECK(api->prune_image(of->future, 0, &key, error_slot()) == WAYBILL_EFORKED);
    CHECK(api->future_cancel(of->future, error_slot()) == WAYBILL_EFORKED);
    CHECK(api->queue_attach(of->queue, of->future, 1, error_slot()) == WAYBILL_EFORKED);
    CHECK(api->queue_drain(of->queue, &completion, 1, &drained, error_slot()) == WAYBILL_EFORKED);
    CHECK(api->destroy(of->store, error_slot()) == WAYBILL_EFORKED);
    CHECK(future == NULL && image == NULL && json == NULL && count == 0 && drained == 7);
    api->future_free(of->future);
    api->queue_free(of->queue);
    own = open_store(make_temp_dir());
    put_one(own, "child");
    CHECK(holds(own, NULL, "child"));
    close_store(own);
    remove_temp_dirs();
}

static void check_forked_in_new_directory(void *payload) {
    temp_dir_count = 0; /* The parent removes its own. */
    check_forked(payload);
}

static void a_child_owns_nothing_of_its_parent(void) {
    char *const directory = strdup(make_temp_dir());
    inheritance of = {NULL, NULL, NULL};
    const waybill_image_spec spec = image_spec("parent");
    of.store = open_store(directory);
    CHECK(api->queue_create(&of.queue, error_slot()) == WAYBILL_OK);
    CHECK(api->put(of.store, &spec, 1, &of.future, error_slot()) == WAYBILL_OK);
    CHECK(api->future_wait(of.future, -1, error_slot()) == WAYBILL_OK);
    run_in_child(check_forked_in_new_directory, &of);
    CHECK(holds(of.store, NULL, "parent"));
    put_one(of.store, "afterwards");
    CHECK(image_count(of.store) == 2);
    CHECK(api->future_status(of.future) == WAYBILL_OK);
    api->future_free(of.future);
    api->queue_free(of.queue);
    close_store(of.store);
    free(directory);
}

static void a_child_keeps_no_lock_of_its_parent(void) {
    char *const directory = strdup(make_temp_dir());
    waybill_store *store = open_store(directory);
    int until[2];
    char byte;
    int status = 0;
    pid_t child;
    CHECK(pipe2(until, O_CLOEXEC) == 0);
    child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        close(until[1]);
        CHECK(read(until[0], &byte, 1) == 0);
        _exit(0);
    }
    close(until[0]);
    close_store(store);
    store = open_store(directory);
    put_one(store, "busybox");
    close_store(store);
    close(until[1]);
    CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0);
    free(directory);
}

/* --- what is left behind ---------------------------------------------------------------------- */

static int check_mode(const char *path, const struct stat *found, int kind, struct FTW *level) {
    (void)path, (void)level;
    CHECK(kind != FTW_D || (found->st_mode & 07777) == 0700);
    CHECK(kind != FTW_F || (found->st_mode & 07777) == 0600);
    CHECK(kind == FTW_D || kind == FTW_F);
    return 0;
}

static void nobody_else_can_read_the_files_whatever_the_umask(void) {
    char *const root = strdup(text("%s/above/store", make_temp_dir()));
    const mode_t before = umask(0);
    waybill_store *store = open_store(root);
    put_one(store, "busybox");
    close_store(store);
    close_store(open_store(root));
    CHECK(umask(before) == 0); /* Untouched by the library. */
    CHECK(nftw(root, check_mode, 16, FTW_PHYS) == 0);
    *strrchr(root, '/') = '\0';
    CHECK(nftw(root, check_mode, 16, FTW_PHYS) == 0);
    free(root);
}

static void every_descriptor_is_closed_on_exec(void) {
    char before[1024] = {0};
    waybill_queue *queue = NULL;
    waybill_store *store, *reader;
    const char *directory = make_temp_dir();
    int fd, opened = 0;
    close_store(open_store(directory)); /* What is opened once in a process stays. */
    for (fd = 0; fd < 1024; ++fd)
        before[fd] = fcntl(fd, F_GETFD) >= 0;
    store = open_store(directory);
    put_one(store, "busybox");
    reader = open_store_as(directory, ",\"readOnly\":true");
    CHECK(api->queue_create(&queue, error_slot()) == WAYBILL_OK);
    for (fd = 0; fd < 1024; ++fd) {
        const int flags = fcntl(fd, F_GETFD);
        if (before[fd] || flags < 0)
            continue;
        ++opened;
        CHECK((flags & FD_CLOEXEC) != 0);
    }
    CHECK(opened >= 3);
    api->queue_free(queue);
    close_store(reader);
    close_store(store);
    for (fd = 0; fd < 1024; ++fd)
        CHECK(before[fd] == (fcntl(fd, F_GETFD) >= 0));
}

static void make_noise(void *payload) {
    const char *directory = payload;
    const int output = open(text("%s/output", directory), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    waybill_store *store, *second = NULL;
    waybill_image_spec spec = image_spec("bad reference");
    waybill_future *future = NULL;
    struct stat found;
    CHECK(output >= 0 && dup2(output, 1) == 1 && dup2(output, 2) == 2);
    store = open_store(text("%s/store", directory));
    CHECK(api->create("{", NULL, &second, error_slot()) < 0);
    CHECK(api->create("{\"root\":\"/proc/waybill\"}", NULL, &second, error_slot()) < 0);
    CHECK(api->create(text("{\"root\":\"%s/store\"}", directory), NULL, &second, error_slot()) < 0);
    CHECK(api->put(store, &spec, 1, &future, error_slot()) < 0);
    CHECK(api->import_oci(store, NULL, directory, NULL, &future, error_slot()) == WAYBILL_OK);
    CHECK(wait_and_free(future) < 0);
    put_one(store, "busybox");
    close_store(store);
    write_file(text("%s/store/journal.1", directory), "damage", 6);
    store = open_store(text("%s/store", directory)); /* Degraded, and says so to the log only. */
    close_store(store);
    fflush(NULL);
    CHECK(fstat(output, &found) == 0 && found.st_size == 0);
}

static void nothing_is_printed(void) {
    char *const directory = strdup(make_temp_dir());
    run_in_child(make_noise, directory);
    free(directory);
}

/* --- reference modes -------------------------------------------------------------------------- */

static void the_reference_mode_is_fixed_when_the_store_is_made(void) {
    const char *directory = make_temp_dir();
    waybill_store *store = open_store_as(directory, ",\"references\":\"opaque\"");
    waybill_future *future = NULL;
    put_one(store, "Any Name");
    close_store(store);
    store = create_store(directory, ",\"references\":\"canonical\"", NULL);
    CHECK(api->recover(store, &future, error_slot()) == WAYBILL_OK);
    CHECK(wait_and_free(future) == WAYBILL_EMODE);
    CHECK(strcmp(last_error.field, "config.references") == 0);
    CHECK(strstr(last_error.message, "opaque") && strstr(last_error.message, "canonical"));
    close_store(store);
    store = open_store(directory); /* Not given: as the store is. */
    CHECK(holds(store, NULL, "Any Name"));
    close_store(store);
}

static void opaque_names_are_kept_byte_for_byte(void) {
    waybill_store *store = open_store_as(make_temp_dir(), ",\"references\":\"opaque\"");
    waybill_image_spec spec = image_spec("");
    waybill_future *future = NULL;
    put_one(store, "busybox");
    put_one(store, "busybox:latest");
    put_one(store, "Gr\xc3\xbc\xc3\x9f"
                   "e//:@ ");
    CHECK(image_count(store) == 3);
    CHECK(holds(store, NULL,
                "Gr\xc3\xbc\xc3\x9f"
                "e//:@ "));
    CHECK(!holds(store, NULL, "docker.io/library/busybox:latest"));
    CHECK(api->put(store, &spec, 1, &future, error_slot()) == WAYBILL_EINVAL);
    spec.reference = "a\xff";
    CHECK(api->put(store, &spec, 1, &future, error_slot()) == WAYBILL_EINVAL);
    CHECK(last_error.position == 1 && future == NULL);
    close_store(store);
}

static void mesos_names_are_told_apart_as_mesos_does(void) {
    waybill_store *store = open_store_as(make_temp_dir(), ",\"references\":\"mesos\"");
    waybill_image *image;
    put_one(store, "registry.example:5000/a/b:tag");
    put_one(store, "busybox");
    put_one(store, "library/busybox");
    CHECK(image_count(store) == 3);
    image = get_image(store, NULL, "registry.example:5000/a/b:tag");
    CHECK(strcmp(view_of(image).reference, "registry.example:5000/a/b:tag") == 0);
    api->image_free(image);
    CHECK(!holds(store, NULL, "docker.io/library/busybox"));
    close_store(store);
}

int main(int argc, char **argv) {
    static const outcome_test tests[] = {
        TEST(a_second_writer_is_refused_in_this_process_and_others),
        TEST(the_lock_goes_with_a_killed_process),
        TEST(a_reader_follows_the_writer_when_it_refreshes),
        TEST(a_reader_makes_no_store),
        TEST(a_child_owns_nothing_of_its_parent),
        TEST(a_child_keeps_no_lock_of_its_parent),
        TEST(nobody_else_can_read_the_files_whatever_the_umask),
        TEST(every_descriptor_is_closed_on_exec),
        TEST(nothing_is_printed),
        TEST(the_reference_mode_is_fixed_when_the_store_is_made),
        TEST(opaque_names_are_kept_byte_for_byte),
        TEST(mesos_names_are_told_apart_as_mesos_does),
    };
    return run_tests(argc, argv, tests, sizeof tests / sizeof *tests);
}
