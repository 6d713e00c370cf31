/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: Waybill contributors
 *
 * A directory that is moved, replaced, deleted or given to somebody else while a store lives in it.
 * Needs to run as root, to become somebody else.
 */
#include "chance.h"

#include <grp.h>
#include <sys/file.h>

enum { somebody = 61234 }; /* a user and group without files or processes */

static const char *const rotating = ",\"limits\":{\"journalBytes\":65536}";
static unsigned acknowledged;

static int32_t try_put(waybill_store *store, const char *name) {
    const waybill_image_spec spec = image_spec(name);
    waybill_future *future = NULL;
    const int32_t status = api->put(store, &spec, 1, &future, error_slot());
    return status == WAYBILL_OK ? wait_and_free(future) : status;
}

static void put_acknowledged(waybill_store *store, const char *name) {
    put_one(store, name);
    ++acknowledged;
}

/** A number of the report "stats". */
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

/** Puts until the journal has been replaced and the snapshot is written, which is what would go to
 *  the wrong place. */
static void put_through_a_rotation(waybill_store *store) {
    const long before = stat_of(store, "snapshots");
    unsigned i;
    for (i = 0; stat_of(store, "snapshots") < before + 2; ++i)
        put_acknowledged(store, text("turn%u", i % 10));
}

static void check_holds_all(waybill_store *store) {
    CHECK(holds(store, NULL, "before") && holds(store, NULL, "after"));
    CHECK(image_count(store) == 12);
}

static unsigned entries_of(const char *path) {
    unsigned count = 0;
    DIR *directory = opendir(path);
    CHECK(directory != NULL);
    while (readdir(directory))
        ++count;
    CHECK(closedir(directory) == 0 && count >= 2);
    return count - 2;
}

/* --- moved ------------------------------------------------------------------------------------ */

static void a_store_whose_directory_is_renamed_goes_on_in_it(void) {
    const char *const above = make_temp_dir();
    char *const old_name = strdup(text("%s/old", above)), *const name =
                                                              strdup(text("%s/new", above));
    waybill_store *store = open_store_as(old_name, rotating), *second = NULL;
    put_acknowledged(store, "before");
    CHECK(rename(old_name, name) == 0);
    put_acknowledged(store, "after");
    put_through_a_rotation(store);
    CHECK(api->create(text("{\"root\":\"%s\"}", name), NULL, &second, error_slot()) ==
          WAYBILL_ELOCKED);
    CHECK(access(old_name, F_OK) != 0 && errno == ENOENT);
    close_store(store);
    store = open_store(name);
    check_holds_all(store);
    close_store(store);
    free(old_name), free(name);
}

static void a_link_in_the_place_of_the_directory_leads_no_write_astray(void) {
    const char *const above = make_temp_dir();
    char *const name = strdup(text("%s/store", above)), *const moved =
                                                            strdup(text("%s/moved", above));
    char *const other = strdup(text("%s/other", above));
    waybill_store *store = open_store_as(name, rotating);
    put_acknowledged(store, "before");
    CHECK(mkdir(other, 0700) == 0);
    CHECK(rename(name, moved) == 0 && symlink(other, name) == 0);
    put_acknowledged(store, "after");
    put_through_a_rotation(store);
    close_store(store);
    CHECK(entries_of(other) == 0);
    store = open_store(moved);
    check_holds_all(store);
    close_store(store);
    free(name), free(moved), free(other);
}

static void a_new_store_in_the_place_of_a_moved_one_is_another(void) {
    const char *const above = make_temp_dir();
    char *const name = strdup(text("%s/store", above)), *const moved =
                                                            strdup(text("%s/moved", above));
    waybill_store *store = open_store_as(name, rotating), *fresh;
    put_acknowledged(store, "before");
    CHECK(rename(name, moved) == 0 && mkdir(name, 0700) == 0);
    fresh = open_store_as(name, rotating);
    put_acknowledged(store, "after");
    put_acknowledged(fresh, "fresh");
    put_through_a_rotation(store);
    put_through_a_rotation(fresh);
    close_store(store);
    close_store(fresh);
    store = open_store(moved);
    check_holds_all(store);
    close_store(store);
    fresh = open_store(name);
    CHECK(holds(fresh, NULL, "fresh") && image_count(fresh) == 11);
    close_store(fresh);
    free(name), free(moved);
}

static void a_recover_after_the_move_reads_the_directory_that_was_opened(void) {
    const char *const above = make_temp_dir();
    char *const name = strdup(text("%s/store", above)), *const moved =
                                                            strdup(text("%s/moved", above));
    waybill_store *store = open_store(name);
    put_acknowledged(store, "before");
    close_store(store);
    store = create_store(name, "", NULL);
    CHECK(rename(name, moved) == 0 && mkdir(name, 0700) == 0);
    CHECK(recover_store(store) == 1);
    put_acknowledged(store, "after");
    close_store(store);
    CHECK(entries_of(name) == 0);
    store = open_store(moved);
    CHECK(holds(store, NULL, "before") && holds(store, NULL, "after"));
    close_store(store);
    free(name), free(moved);
}

/* --- deleted ---------------------------------------------------------------------------------- */

static void delete_beneath(const char *path) {
    CHECK(nftw(path, remove_entry, 16, FTW_DEPTH | FTW_PHYS) == 0);
    CHECK(access(path, F_OK) != 0);
}

static void nothing_is_acknowledged_into_a_deleted_directory(void) {
    char *const name = strdup(text("%s/store", make_temp_dir()));
    waybill_store *store = open_store(name), *fresh;
    waybill_future *future = NULL;
    put_one(store, "before");
    delete_beneath(name);
    CHECK(try_put(store, "lost") == WAYBILL_EIO);
    CHECK(strstr(last_error.message, "journal.1") != NULL);
    CHECK(try_put(store, "lost") == WAYBILL_EREADONLY);
    CHECK(api->remove(store, NULL, "before", &future, error_slot()) == WAYBILL_EREADONLY);
    CHECK(holds(store, NULL, "before") && !holds(store, NULL, "lost"));
    fresh = open_store(name); /* A new one in its place has nothing to do with it. */
    put_one(fresh, "fresh");
    close_store(store);
    close_store(fresh);
    fresh = open_store(name);
    CHECK(image_count(fresh) == 1 && holds(fresh, NULL, "fresh"));
    close_store(fresh);
    free(name);
}

static void a_deleted_journal_takes_no_acknowledgement(void) {
    char *const name = strdup(make_temp_dir());
    waybill_store *store = open_store(name);
    put_one(store, "before");
    CHECK(unlink(text("%s/journal.1", name)) == 0);
    CHECK(try_put(store, "lost") == WAYBILL_EIO);
    CHECK(holds(store, NULL, "before"));
    close_store(store);
    free(name);
}

static void a_deleted_snapshot_costs_nothing_that_the_journal_has(void) {
    char *const name = strdup(make_temp_dir());
    waybill_store *store = open_store(name);
    put_acknowledged(store, "before");
    CHECK(unlink(text("%s/snapshot", name)) == 0);
    put_acknowledged(store, "after");
    close_store(store);
    store = open_store(name);
    CHECK(holds(store, NULL, "before") && holds(store, NULL, "after"));
    close_store(store);
    free(name);
}

static void a_deleted_lock_lets_nobody_in(void) {
    char *const name = strdup(make_temp_dir());
    waybill_store *store = open_store(name), *second = NULL;
    put_acknowledged(store, "before");
    CHECK(unlink(text("%s/LOCK", name)) == 0);
    CHECK(api->create(text("{\"root\":\"%s\"}", name), NULL, &second, error_slot()) ==
          WAYBILL_ENOTSTORE);
    put_acknowledged(store, "after");
    close_store(store);
    free(name);
}

/* --- somebody else ---------------------------------------------------------------------------- */

static void become_somebody(void) {
    CHECK(setgroups(0, NULL) == 0 && setgid(somebody) == 0 && setuid(somebody) == 0);
}

/** A store with a journal, a snapshot and an image, in a directory that everybody can reach. */
static char *store_of(uid_t owner) {
    const char *const above = make_temp_dir();
    char *const name = strdup(text("%s/store", above));
    static const char *const files[] = {"", "/LOCK", "/snapshot", "/journal.1"};
    waybill_store *store;
    unsigned i;
    if (geteuid() != 0) {
        fprintf(stderr, "crash_places must run as root, to become somebody else\n");
        abort();
    }
    CHECK(chmod(above, 0755) == 0);
    store = open_store(name);
    put_acknowledged(store, "before");
    close_store(store);
    for (i = 0; i < sizeof files / sizeof *files; ++i)
        CHECK(chown(text("%s%s", name, files[i]), owner, (gid_t)owner) == 0);
    return name;
}

static uint64_t fingerprint_sum;

/** Of names, modes, owners and bytes, but for the line in LOCK that names who opened it last. */
static int add_fingerprint(const char *path, const struct stat *found, int kind,
                           struct FTW *level) {
    uint64_t sum = mixed(found->st_mode ^ mixed(found->st_uid ^ mixed((uint64_t)found->st_ino)));
    const char *base = path + level->base;
    if (kind == FTW_F) {
        FILE *file = fopen(path, "re");
        int byte, left = strcmp(base, "LOCK") == 0 ? 64 : INT32_MAX;
        CHECK(file != NULL);
        while (left-- > 0 && (byte = fgetc(file)) != EOF)
            sum = mixed(sum ^ (uint64_t)(unsigned)byte);
        CHECK(!ferror(file) && fclose(file) == 0);
    }
    for (; *base; ++base)
        sum = mixed(sum ^ (unsigned char)*base);
    fingerprint_sum += sum;
    return 0;
}

static uint64_t fingerprint(const char *path) {
    fingerprint_sum = 0;
    CHECK(nftw(path, add_fingerprint, 16, FTW_PHYS) == 0);
    return fingerprint_sum;
}

static int32_t open_status(const char *name, const char *members) {
    waybill_store *store = NULL;
    waybill_future *future = NULL;
    int32_t status =
        api->create(text("{\"root\":\"%s\"%s}", name, members), NULL, &store, error_slot());
    if (status != WAYBILL_OK)
        return status;
    CHECK(api->recover(store, &future, error_slot()) == WAYBILL_OK);
    status = wait_and_free(future);
    {
        const waybill_error said = last_error;
        close_store(store);
        last_error = said;
    }
    return status;
}

/** What somebody may and may not do: statuses of opening for writing and for reading. */
typedef struct expectation {
    const char *name;
    int32_t writing, reading;
    const char *said; /* in the message of the refusal to write */
} expectation;

static void check_as_somebody(void *payload) {
    const expectation *const of = payload;
    become_somebody();
    CHECK(open_status(of->name, "") == of->writing);
    if (of->writing != WAYBILL_OK)
        CHECK(strstr(last_error.message, of->said) && last_error.sys_errno == EACCES);
    CHECK(open_status(of->name, ",\"readOnly\":true") == of->reading);
}

static void check_refused(char *name, int32_t reading, const char *said) {
    expectation of = {name, WAYBILL_EACCES, reading, said};
    const uint64_t before = fingerprint(name);
    waybill_store *store;
    run_in_child(check_as_somebody, &of);
    CHECK(fingerprint(name) == before);
    store = open_store(name); /* Root gets in. */
    CHECK(holds(store, NULL, "before") && image_count(store) == 1);
    close_store(store);
    free(name);
}

static void a_store_of_another_user_is_refused_and_unchanged(void) {
    check_refused(store_of(0), WAYBILL_EACCES, "store");
}

static void files_of_another_user_are_refused_and_unchanged(void) {
    char *const name = store_of(0);
    CHECK(chmod(name, 0755) == 0);
    check_refused(name, WAYBILL_EACCES, "LOCK");
}

static void check_refused_with(const char *file) {
    char *const name = store_of(somebody);
    CHECK(chown(text("%s/%s", name, file), 0, 0) == 0);
    check_refused(name, WAYBILL_EACCES, file);
}

static void a_snapshot_of_another_user_is_refused_and_unchanged(void) {
    check_refused_with("snapshot");
}

static void a_journal_of_another_user_is_refused_and_unchanged(void) {
    check_refused_with("journal.1");
}

static void a_lock_of_another_user_is_refused_and_unchanged(void) { check_refused_with("LOCK"); }

static void a_store_that_others_may_read_is_read_by_others(void) {
    char *const name = store_of(0);
    CHECK(chmod(name, 0755) == 0 && chmod(text("%s/LOCK", name), 0644) == 0);
    CHECK(chmod(text("%s/snapshot", name), 0644) == 0);
    CHECK(chmod(text("%s/journal.1", name), 0644) == 0);
    check_refused(name, WAYBILL_OK, "LOCK");
}

static void recover_when_given_back(void *payload) {
    char *const name = payload;
    waybill_store *store;
    waybill_future *future = NULL;
    CHECK(seteuid(somebody) == 0);
    store = create_store(name, "", NULL);
    CHECK(api->recover(store, &future, error_slot()) == WAYBILL_OK);
    CHECK(wait_and_free(future) == WAYBILL_EACCES);
    CHECK(seteuid(0) == 0);
    CHECK(chown(text("%s/snapshot", name), somebody, somebody) == 0);
    CHECK(seteuid(somebody) == 0);
    CHECK(recover_store(store) == 1); /* A failed recover may be tried again. */
    put_one(store, "after");
    close_store(store);
}

static void a_snapshot_that_is_given_back_is_recovered_by_the_same_store(void) {
    char *const name = store_of(somebody);
    waybill_store *store;
    CHECK(chown(text("%s/snapshot", name), 0, 0) == 0);
    run_in_child(recover_when_given_back, name);
    store = open_store(name);
    CHECK(image_count(store) == 2);
    close_store(store);
    free(name);
}

static void put_where_no_file_can_be_made(void *payload) {
    waybill_store *store;
    unsigned i;
    become_somebody();
    store = open_store_as(payload, rotating);
    for (i = 0; i < 300; ++i) /* Enough for a rotation, which cannot be. */
        put_one(store, text("turn%u", i % 10));
    CHECK(stat_of(store, "snapshots") == 0 && stat_of(store, "snapshotFailures") > 0);
    put_one(store, "after");
    close_store(store);
}

static void a_directory_of_another_user_holds_up_rotations_but_no_put(void) {
    char *const name = store_of(somebody);
    waybill_store *store;
    CHECK(chown(name, 0, 0) == 0 && chmod(name, 0755) == 0);
    run_in_child(put_where_no_file_can_be_made, name);
    acknowledged += 301;
    store = open_store(name);
    check_holds_all(store);
    close_store(store);
    free(name);
}

static int check_new_mode(const char *path, const struct stat *found, int kind, struct FTW *level) {
    const char *const base = path + level->base;
    if (kind == FTW_D)
        CHECK((found->st_mode & 07777) == 0777); /* Left as its owner wants it. */
    else if (strcmp(base, "LOCK") == 0)
        CHECK((found->st_mode & 07777) == 0666);
    else
        CHECK((found->st_mode & 07777) == 0600);
    return 0;
}

static void new_files_are_private_in_a_directory_that_is_open_to_all(void) {
    char *const name = store_of(0);
    waybill_store *store;
    CHECK(chmod(name, 0777) == 0 && chmod(text("%s/LOCK", name), 0666) == 0);
    CHECK(chmod(text("%s/snapshot", name), 0666) == 0);
    CHECK(chmod(text("%s/journal.1", name), 0666) == 0);
    store = open_store_as(name, rotating);
    put_acknowledged(store, "after");
    put_through_a_rotation(store);
    close_store(store);
    CHECK(nftw(name, check_new_mode, 16, FTW_PHYS) == 0);
    store = open_store(name);
    check_holds_all(store);
    close_store(store);
    free(name);
}

static void print_figures(void) {
    printf("directories moved, replaced, deleted and given away: %u operations acknowledged, "
           "lost: 0\n",
           acknowledged);
}

int main(int argc, char **argv) {
    static const outcome_test tests[] = {
        TEST(a_store_whose_directory_is_renamed_goes_on_in_it),
        TEST(a_link_in_the_place_of_the_directory_leads_no_write_astray),
        TEST(a_new_store_in_the_place_of_a_moved_one_is_another),
        TEST(a_recover_after_the_move_reads_the_directory_that_was_opened),
        TEST(nothing_is_acknowledged_into_a_deleted_directory),
        TEST(a_deleted_journal_takes_no_acknowledgement),
        TEST(a_deleted_snapshot_costs_nothing_that_the_journal_has),
        TEST(a_deleted_lock_lets_nobody_in),
        TEST(a_store_of_another_user_is_refused_and_unchanged),
        TEST(files_of_another_user_are_refused_and_unchanged),
        TEST(a_snapshot_of_another_user_is_refused_and_unchanged),
        TEST(a_journal_of_another_user_is_refused_and_unchanged),
        TEST(a_lock_of_another_user_is_refused_and_unchanged),
        TEST(a_store_that_others_may_read_is_read_by_others),
        TEST(a_snapshot_that_is_given_back_is_recovered_by_the_same_store),
        TEST(a_directory_of_another_user_holds_up_rotations_but_no_put),
        TEST(new_files_are_private_in_a_directory_that_is_open_to_all),
    };
    const int result = run_crash_tests(argc, argv, tests, sizeof tests / sizeof *tests);
    if (result == 0)
        print_figures();
    return result;
}
