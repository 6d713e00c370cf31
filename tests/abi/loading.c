/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: Waybill contributors
 *
 * The table, and what loading, opening and closing cost over and over or when resources are short.
 */
#include "check.h"

#include <pthread.h>
#include <sys/resource.h>

static const char *library_path;

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1 /* Freed memory is held back for a while. */
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif
#ifndef SANITIZED
#define SANITIZED 0
#endif

static void only_the_one_version_has_a_table(void) {
    waybill_api_get_fn get;
    void *handle = dlopen(library_path, RTLD_NOW | RTLD_LOCAL);
    CHECK(handle != NULL);
    *(void **)&get = dlsym(handle, "waybill_api_get");
    CHECK(get != NULL);
    CHECK(get(0) == NULL && get(2) == NULL && get(UINT32_MAX) == NULL);
    CHECK(get(1) == api && get(1) == get(1));
    CHECK(dlclose(handle) == 0);
}

static void the_table_says_what_it_is(void) {
    unsigned major, minor, patch;
    char rest;
    CHECK(api->struct_size == sizeof *api);
    CHECK(api->abi_version == WAYBILL_ABI_VERSION);
    CHECK(strcmp(api->plugin_type, WAYBILL_PLUGIN_TYPE) == 0);
    CHECK(strcmp(api->plugin_id, WAYBILL_PLUGIN_ID) == 0);
    CHECK(sscanf(api->plugin_version, "%u.%u.%u%c", &major, &minor, &patch, &rest) == 3);
}

static void no_member_of_the_table_is_missing(void) {
    const char *const bytes = (const char *)api;
    size_t at;
    for (at = 2 * sizeof(uint32_t); at < sizeof *api; at += sizeof(void *)) {
        void *member;
        memcpy(&member, bytes + at, sizeof member);
        CHECK(member != NULL);
    }
}

static long count_fds(void) {
    long count = 0;
    DIR *directory = opendir("/proc/self/fd");
    CHECK(directory != NULL);
    while (readdir(directory))
        ++count;
    CHECK(closedir(directory) == 0);
    return count;
}

/** A number of /proc/self/status. */
static long status_number(const char *key) {
    char line[256];
    long number = -1;
    FILE *file = fopen("/proc/self/status", "re");
    CHECK(file != NULL);
    while (fgets(line, sizeof line, file))
        if (strncmp(line, key, strlen(key)) == 0)
            number = strtol(line + strlen(key), NULL, 10);
    CHECK(fclose(file) == 0 && number >= 0);
    return number;
}

static void run_cycle(const char *directory) {
    void *handle;
    waybill_store *store;
    CHECK(load_table(library_path, &handle) == api);
    store = open_store(directory);
    put_one(store, "busybox");
    CHECK(holds(store, NULL, "busybox"));
    close_store(store);
    CHECK(dlclose(handle) == 0);
}

static void a_thousand_cycles_leave_nothing_behind(void) {
    char *const directory = strdup(make_temp_dir());
    const long growth_kib_max = SANITIZED ? 512 * 1024 : 8 * 1024;
    long threads, fds, resident_kib;
    int cycle, patience;
    for (cycle = 0; cycle < 50; ++cycle)
        run_cycle(directory);
    threads = status_number("Threads:");
    fds = count_fds();
    resident_kib = status_number("VmRSS:");
    for (cycle = 0; cycle < 1000; ++cycle)
        run_cycle(directory);
    /* A thread that has been joined may stay in the list for a moment. */
    for (patience = 0; patience < 5000 && status_number("Threads:") > threads; ++patience)
        pause_ms(1);
    CHECK(status_number("Threads:") <= threads);
    CHECK(count_fds() == fds);
    CHECK(status_number("VmRSS:") - resident_kib <= growth_kib_max);
    free(directory);
}

/** Whatever the limit, each step works or says that something cannot be had now. */
static void check_short_of_descriptors(void *payload) {
    const char *directory = payload;
    struct rlimit limit;
    rlim_t more;
    int refused = 0, opened = 0;
    CHECK(getrlimit(RLIMIT_NOFILE, &limit) == 0);
    /* From what only the three standard streams fit into: a store takes but a few. */
    for (more = 0; more < 40; ++more) {
        waybill_store *store = NULL;
        waybill_future *future = NULL;
        const struct rlimit low = {3 + more, limit.rlim_max};
        int32_t status;
        CHECK(setrlimit(RLIMIT_NOFILE, &low) == 0);
        status = api->create(text("{\"root\":\"%s\"}", directory), NULL, &store, error_slot());
        CHECK(status == WAYBILL_OK || status == WAYBILL_EAGAIN);
        CHECK((status == WAYBILL_OK) == (store != NULL));
        if (!store) {
            CHECK(last_error.sys_errno == EMFILE);
            ++refused;
            continue;
        }
        ++opened;
        CHECK(api->recover(store, &future, error_slot()) == WAYBILL_OK);
        status = wait_and_free(future);
        CHECK(status == WAYBILL_OK || status == WAYBILL_EAGAIN);
        close_store(store);
    }
    CHECK(refused > 0 && opened > 0);
    CHECK(setrlimit(RLIMIT_NOFILE, &limit) == 0);
    run_cycle(directory);
}

static void too_few_descriptors_are_an_error_and_no_abort(void) {
    char *const directory = strdup(make_temp_dir());
    run_in_child(check_short_of_descriptors, directory);
    free(directory);
}

static void check_short_of_threads(void *payload) {
    const char *directory = payload;
    const struct rlimit few = {1, 1};
    waybill_store *store = NULL;
    if (geteuid() == 0)
        CHECK(setgid(65534) == 0 && setuid(65534) == 0);
    CHECK(setrlimit(RLIMIT_NPROC, &few) == 0);
    CHECK(api->create(text("{\"root\":\"%s\"}", directory), NULL, &store, error_slot()) ==
          WAYBILL_EAGAIN);
    CHECK(last_error.sys_errno == EAGAIN && store == NULL);
}

static void too_few_threads_are_an_error_and_no_abort(void) {
    char *const directory = strdup(make_temp_dir());
    if (geteuid() == 0)
        CHECK(chown(directory, 65534, 65534) == 0);
    run_in_child(check_short_of_threads, directory);
    if (geteuid() == 0)
        CHECK(chown(directory, 0, 0) == 0);
    run_cycle(directory); /* The refusal gave the lock back. */
    free(directory);
}

/** In a process of its own, which has not loaded the library yet. */
static int serve_after_keys(const char *directory, int taken) {
    char *const copy = strdup(directory);
    pthread_key_t key;
    void *handle;
    while (taken-- > 0 && pthread_key_create(&key, NULL) == 0) {
    }
    api = load_table(library_path, &handle);
    run_cycle(copy);
    free(copy);
    return 0;
}

static void begin_anew_after_keys(void *directory) {
    /* A later key takes memory in each thread. With none at all Qt does not load. */
    execl("/proc/self/exe", "abi_loading", library_path, "--after-keys", "40", directory,
          (char *)NULL);
    _exit(127);
}

static void a_host_that_has_taken_keys_of_threads_is_served(void) {
    char *const directory = strdup(make_temp_dir());
    run_in_child(begin_anew_after_keys, directory);
    free(directory);
}

int main(int argc, char **argv) {
    static const outcome_test tests[] = {
        TEST(only_the_one_version_has_a_table),
        TEST(the_table_says_what_it_is),
        TEST(no_member_of_the_table_is_missing),
        TEST(a_thousand_cycles_leave_nothing_behind),
        TEST(too_few_descriptors_are_an_error_and_no_abort),
        TEST(too_few_threads_are_an_error_and_no_abort),
        TEST(a_host_that_has_taken_keys_of_threads_is_served),
    };
    library_path = argc > 1 ? argv[1] : NULL;
    if (argc == 5 && strcmp(argv[2], "--after-keys") == 0)
        return serve_after_keys(argv[4], atoi(argv[3]));
    return run_tests(argc, argv, tests, sizeof tests / sizeof *tests);
}
