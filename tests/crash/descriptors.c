/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: Waybill contributors
 *
 * A host that closes descriptors which are not its own, as programs do that make themselves daemons
 * with closefrom(3), and that gets their numbers for files of its own.
 */
#include "chance.h"

enum { fds_max = 1024 };

static unsigned closed_count, kept_files;

/** Where a descriptor leads, or "". */
static const char *target_of(int fd) {
    static char target[4096];
    const ssize_t length = readlink(text("/proc/self/fd/%d", fd), target, sizeof target - 1);
    target[length > 0 ? length : 0] = '\0';
    return target;
}

/** The open descriptors of a directory and of everything in it whose path ends like this. */
static unsigned fds_beneath(const char *directory, const char *ending, int *fds) {
    unsigned count = 0;
    int fd;
    for (fd = 3; fd < fds_max; ++fd) {
        const char *const target = target_of(fd);
        const size_t length = strlen(target), end = strlen(ending);
        if (strncmp(target, directory, strlen(directory)) == 0 && length >= end &&
            strcmp(target + length - end, ending) == 0)
            fds[count++] = fd;
    }
    return count;
}

static unsigned close_beneath(const char *directory, const char *ending) {
    int fds[fds_max];
    unsigned i;
    const unsigned count = fds_beneath(directory, ending, fds);
    for (i = 0; i < count; ++i)
        CHECK(close(fds[i]) == 0);
    closed_count += count;
    return count;
}

static char *new_root(void) { return strdup(make_temp_dir()); }

static int32_t try_put(waybill_store *store, const char *name) {
    const waybill_image_spec spec = image_spec(name);
    waybill_future *future = NULL;
    const int32_t status = api->put(store, &spec, 1, &future, error_slot());
    return status == WAYBILL_OK ? wait_and_free(future) : status;
}

static int32_t try_create(const char *root, waybill_store **store) {
    return api->create(text("{\"root\":\"%s\"}", root), NULL, store, error_slot());
}

/* --- the lock --------------------------------------------------------------------------------- */

static void check_second_writer_is_refused(void *payload) {
    waybill_store *store = NULL;
    CHECK(try_create(payload, &store) == WAYBILL_ELOCKED);
    CHECK(strstr(last_error.message, text("process %ld", (long)getppid())) != NULL);
}

static void open_and_find(void *payload) {
    waybill_store *store = open_store(payload);
    CHECK(holds(store, NULL, "before") && holds(store, NULL, "after"));
    close_store(store);
}

static void a_store_whose_lock_was_closed_still_keeps_others_out(void) {
    char *const root = new_root();
    waybill_store *store = open_store(root), *second = NULL;
    put_one(store, "before");
    CHECK(close_beneath(root, "/LOCK") == 1);
    run_in_child(check_second_writer_is_refused, root);
    CHECK(try_create(root, &second) == WAYBILL_ELOCKED);
    put_one(store, "after");
    close_store(store);
    run_in_child(open_and_find, root); /* And nothing of it is left when the store is closed. */
    free(root);
}

static void a_child_keeps_no_lock_whose_descriptor_was_closed(void) {
    char *const root = new_root();
    waybill_store *store = open_store(root);
    int until[2], status = 0;
    pid_t child;
    put_one(store, "before");
    CHECK(close_beneath(root, "/LOCK") == 1);
    CHECK(pipe2(until, O_CLOEXEC) == 0);
    child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        char byte;
        close(until[1]);
        _exit(read(until[0], &byte, 1) == 0 ? 0 : 1);
    }
    close(until[0]);
    close_store(store);
    store = open_store(root);
    put_one(store, "after");
    close_store(store);
    close(until[1]);
    CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0);
    free(root);
}

/* --- the journal and the directory ------------------------------------------------------------ */

static void check_serves_reads_only(waybill_store *store) {
    CHECK(try_put(store, "late") == WAYBILL_EREADONLY);
    CHECK(holds(store, NULL, "before") && !holds(store, NULL, "late"));
    CHECK(image_count(store) == 1);
}

static void a_closed_journal_turns_the_store_read_only(void) {
    char *const root = new_root();
    waybill_store *store = open_store(root);
    put_one(store, "before");
    CHECK(close_beneath(root, "/journal.1") == 1);
    CHECK(try_put(store, "lost") == WAYBILL_EIO);
    CHECK(strstr(last_error.message, "journal.1") != NULL);
    check_serves_reads_only(store);
    close_store(store);
    store = open_store(root);
    CHECK(holds(store, NULL, "before") && image_count(store) == 1);
    put_one(store, "after");
    close_store(store);
    free(root);
}

/** Files of the host that came to stand at the numbers of a store's descriptors. */
typedef struct strangers {
    unsigned count;
    int fds[fds_max];
    char paths[8][160];
} strangers;

static const char *const own_text = "This file belongs to the host and to nobody else.\n";

/** In the place of each descriptor, at once: a directory in that of a directory. */
static strangers take_numbers(const char *root) {
    strangers made;
    const char *const directory = make_temp_dir();
    unsigned i;
    memset(&made, 0, sizeof made);
    made.count = fds_beneath(root, "", made.fds);
    CHECK(made.count == 3); /* Directory, LOCK, journal. */
    for (i = 0; i < made.count; ++i) {
        struct stat found;
        int own;
        CHECK(fstat(made.fds[i], &found) == 0);
        (void)snprintf(made.paths[i], sizeof made.paths[i], "%s/%u", directory, i);
        if (S_ISDIR(found.st_mode)) {
            CHECK(mkdir(made.paths[i], 0700) == 0);
            write_file(text("%s/journal.1", made.paths[i]), own_text, strlen(own_text));
            own = open(made.paths[i], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        } else {
            write_file(made.paths[i], own_text, strlen(own_text));
            own = open(made.paths[i], O_RDWR | O_CLOEXEC);
        }
        CHECK(own >= 0 && dup2(own, made.fds[i]) == made.fds[i] && close(own) == 0);
    }
    closed_count += made.count;
    return made;
}

static void check_untouched(const char *path) {
    char bytes[128] = {0};
    FILE *file = fopen(path, "re");
    CHECK(file != NULL);
    CHECK(fread(bytes, 1, sizeof bytes, file) == strlen(own_text));
    CHECK(strcmp(bytes, own_text) == 0 && fclose(file) == 0);
    ++kept_files;
}

/** Content, directory and the descriptors themselves. */
static void check_strangers(const strangers *of) {
    unsigned i;
    for (i = 0; i < of->count; ++i) {
        struct stat opened, named;
        CHECK(fstat(of->fds[i], &opened) == 0); /* Nobody closed it. */
        CHECK(stat(of->paths[i], &named) == 0 && opened.st_ino == named.st_ino);
        if (S_ISDIR(opened.st_mode)) {
            unsigned entries = 0;
            DIR *directory = opendir(of->paths[i]);
            CHECK(directory != NULL);
            while (readdir(directory))
                ++entries;
            CHECK(closedir(directory) == 0 && entries == 3);
            check_untouched(text("%s/journal.1", of->paths[i]));
        } else {
            check_untouched(of->paths[i]);
        }
    }
}

static void put_until_refused(waybill_store *store) {
    CHECK(try_put(store, "lost") == WAYBILL_EIO);
    check_serves_reads_only(store);
}

static void files_that_got_the_numbers_of_the_store_are_not_written(void) {
    char *const root = new_root();
    waybill_store *store = open_store(root);
    strangers in_place;
    unsigned i;
    put_one(store, "before");
    in_place = take_numbers(root);
    put_until_refused(store);
    check_strangers(&in_place);
    run_in_child(check_second_writer_is_refused, root);
    close_store(store);
    check_strangers(&in_place);
    for (i = 0; i < in_place.count; ++i)
        CHECK(close(in_place.fds[i]) == 0);
    store = open_store(root);
    CHECK(holds(store, NULL, "before") && image_count(store) == 1);
    close_store(store);
    free(root);
}

static void check_in_child(void *payload) {
    const strangers *const in_place = payload;
    unsigned i;
    for (i = 0; i < in_place->count; ++i)
        CHECK(fcntl(in_place->fds[i], F_GETFD) >= 0);
}

static void a_child_inherits_the_files_that_got_the_numbers(void) {
    char *const root = new_root();
    waybill_store *store = open_store(root);
    strangers in_place;
    unsigned i;
    put_one(store, "before");
    in_place = take_numbers(root);
    run_in_child(check_in_child, &in_place);
    close_store(store);
    for (i = 0; i < in_place.count; ++i)
        CHECK(close(in_place.fds[i]) == 0);
    free(root);
}

static void a_rotation_makes_no_file_in_another_directory(void) {
    char *const root = new_root();
    waybill_store *store = open_store_as(root, ",\"limits\":{\"journalBytes\":65536}");
    char *const elsewhere = new_root();
    int fds[fds_max], own;
    unsigned i, entries = 0;
    DIR *directory;
    CHECK(fds_beneath(root, "", fds) == 3);
    for (i = 0; i < 3 && strcmp(target_of(fds[i]), root) != 0; ++i)
        continue;
    CHECK(i < 3);
    own = open(elsewhere, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    CHECK(own >= 0 && dup2(own, fds[i]) == fds[i] && close(own) == 0);
    for (i = 0; i < 400; ++i)
        put_one(store, text("image%u", i % 10)); /* More than one rotation would take. */
    close_store(store);
    directory = opendir(elsewhere);
    CHECK(directory != NULL);
    while (readdir(directory))
        ++entries;
    CHECK(entries == 2 && closedir(directory) == 0);
    store = open_store(root);
    CHECK(image_count(store) == 10);
    close_store(store);
    free(root), free(elsewhere);
}

/* --- everything at once ----------------------------------------------------------------------- */

static void become_daemon(void *payload) {
    char *const one_root = payload, *const other_root = new_root();
    waybill_store *one = open_store(one_root), *other, *again = NULL;
    put_one(one, "before");
    CHECK(close_range(3, ~0U, 0) == 0);
    /* The same numbers, for the same kinds of files. */
    other = open_store(other_root);
    put_one(other, "other");
    CHECK(try_put(one, "lost") == WAYBILL_EIO);
    check_serves_reads_only(one);
    CHECK(try_create(one_root, &again) == WAYBILL_ELOCKED);
    close_store(one);
    put_one(other, "more");
    one = open_store(one_root);
    CHECK(holds(one, NULL, "before") && image_count(one) == 1);
    put_one(one, "after");
    close_store(one);
    put_one(other, "most");
    close_store(other);
    other = open_store(other_root);
    CHECK(image_count(other) == 3);
    close_store(other);
    closed_count += 3;
}

static void a_host_that_becomes_a_daemon_may_open_its_stores_again(void) {
    char *const root = new_root();
    run_in_child(become_daemon, root);
    free(root);
}

static void a_closed_descriptor_of_a_reader_harms_neither_side(void) {
    char *const root = new_root();
    waybill_store *writer = open_store(root);
    waybill_store *reader;
    waybill_future *future = NULL;
    int fds[fds_max];
    unsigned before, i;
    put_one(writer, "before");
    before = fds_beneath(root, "", fds);
    reader = open_store_as(root, ",\"readOnly\":true");
    CHECK(fds_beneath(root, "", fds) == before + 1);
    for (i = 0; i <= before; ++i)
        if (strcmp(target_of(fds[i]), root) == 0 && i + 1 > before)
            CHECK(close(fds[i]) == 0);
    CHECK(api->refresh(reader, &future, error_slot()) == WAYBILL_OK);
    CHECK(wait_and_free(future) == WAYBILL_EIO);
    CHECK(holds(reader, NULL, "before"));
    put_one(writer, "after");
    close_store(reader);
    put_one(writer, "later");
    close_store(writer);
    free(root);
}

static void print_figures(void) {
    printf("%u descriptors closed behind the store's back: %u files of the host compared, "
           "changed: 0; acknowledged and lost: 0\n",
           closed_count, kept_files);
}

int main(int argc, char **argv) {
    static const outcome_test tests[] = {
        TEST(a_store_whose_lock_was_closed_still_keeps_others_out),
        TEST(a_child_keeps_no_lock_whose_descriptor_was_closed),
        TEST(a_closed_journal_turns_the_store_read_only),
        TEST(files_that_got_the_numbers_of_the_store_are_not_written),
        TEST(a_child_inherits_the_files_that_got_the_numbers),
        TEST(a_rotation_makes_no_file_in_another_directory),
        TEST(a_host_that_becomes_a_daemon_may_open_its_stores_again),
        TEST(a_closed_descriptor_of_a_reader_harms_neither_side),
    };
    const int result = run_crash_tests(argc, argv, tests, sizeof tests / sizeof *tests);
    if (result == 0)
        print_figures();
    return result;
}
