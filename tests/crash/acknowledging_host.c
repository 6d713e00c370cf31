/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: Waybill contributors
 *
 * A host that is made to be killed.
 *
 *   crash_host LIBRARY work ROOT SEED SOCKET OPERATIONS NUMBER…
 *     One writer for each NUMBER goes on with its sequence behind that operation, one operation
 *     after the other, and says through the socket which was acknowledged, after it was.
 *     OPERATIONS of each writer, 0: without end. SOCKET may be -: says it on stdout, waits for
 *     nobody.
 *   crash_host LIBRARY check ROOT SEED REVISION FIRST-LAST…
 *   crash_host LIBRARY look ROOT SEED REVISION FIRST-LAST…
 *     Opens the store, `look` read-only, and compares every byte of it with the sequences: each
 *     writer's state must be the one after operation FIRST, after LAST + 1, which was under way, or
 *     after one between them. Prints the store's revision and which numbers they were.
 */
#include "../abi/check.h"
#include "acknowledgement.h"
#include "sequence.h"

#include <inttypes.h>
#include <pthread.h>
#include <sys/prctl.h>
#include <sys/socket.h>

/** The smallest there is: rotations come often. */
static const char *const often_rotated = ",\"limits\":{\"journalBytes\":65536}";

typedef struct writer {
    pthread_t thread;
    waybill_store *store;
    state now;
    uint64_t operations;
    int socket;
} writer;

static void say(int socket, uint32_t said, const writer *by, int32_t status, uint64_t revision) {
    acknowledgement packet;
    memset(&packet, 0, sizeof packet);
    packet.said = said;
    packet.writer = by ? by->now.writer : 0;
    packet.number = by ? by->now.number : 0;
    packet.status = status;
    packet.revision = revision;
    if (socket >= 0 ? send(socket, &packet, sizeof packet, MSG_NOSIGNAL) != sizeof packet
                    : write(STDOUT_FILENO, &packet, sizeof packet) != sizeof packet)
        _exit(4); /* Nobody is left who could be told. */
}

/** The library broke its word while nothing had happened to it. */
static void end_as_wrong(const writer *by, const char *what, const waybill_error *error) {
    fprintf(stderr, "writer %u after operation %" PRIu64 ": %s: code %d, errno %d: %s\n",
            (unsigned)by->now.writer, by->now.number, what, (int)error->code, (int)error->sys_errno,
            error->message);
    say(by->socket, SAID_WRONG, by, error->code, 0);
    _exit(3);
}

/* --- work ------------------------------------------------------------------------------------- */

static int32_t submit(writer *by, const operation *next, waybill_future **future,
                      waybill_error *error) {
    const uint64_t number = by->now.number + 1;
    waybill_image_spec specs[BATCH_MAX];
    const char *kept[SLOTS];
    char names[SLOTS][96], name_space[32];
    sample *samples;
    uint32_t i;
    int32_t status;
    namespace_of_writer(by->now.writer, name_space);
    for (i = 0; i < next->count; ++i)
        kept[i] = reference_of_slot(by->now.writer, next->slots[i], names[i]);
    if (next->verb == REMOVE)
        return api->remove(by->store, name_space, kept[0], future, error);
    if (next->verb == PRUNE)
        return api->prune(by->store, name_space, kept, next->count, future, error);
    samples = malloc(next->count * sizeof *samples);
    if (!samples)
        abort();
    for (i = 0; i < next->count; ++i) {
        make_sample(&samples[i], by->now.seed, by->now.writer, next->slots[i], number);
        specs[i] = samples[i].spec;
    }
    status = api->put(by->store, specs, next->count, future, error);
    free(samples);
    return status;
}

/** Whether the outcome is what the state before the operation says that it must be. */
static const char *wrong_outcome(const writer *by, const operation *next,
                                 const waybill_outcome *outcome) {
    const int held = by->now.versions[next->slots[0]] != 0;
    if (next->verb == REMOVE && outcome->existed != (uint32_t)held)
        return "remove did not know whether the image existed";
    if (next->verb == PRUNE && outcome->image_count != pruned_by_next(&by->now))
        return "prune removed other images than it should";
    if (next->verb == PUT && outcome->image_count != next->count)
        return "put stored another number of images";
    return NULL;
}

/** Every name of the writer must be as its last acknowledged operation left it. */
static void check_gets(const writer *by) {
    waybill_error error;
    uint32_t slot;
    sample *expected = malloc(sizeof *expected);
    if (!expected)
        abort();
    memset(&error, 0, sizeof error);
    error.struct_size = sizeof error;
    for (slot = 0; slot < SLOTS; ++slot) {
        const uint64_t version = by->now.versions[slot];
        char name_space[32], reference[96];
        const char *differs = NULL;
        waybill_image *image = NULL;
        const int32_t status =
            api->get(by->store, namespace_of_writer(by->now.writer, name_space),
                     reference_of_slot(by->now.writer, slot, reference), 1, &image, &error);
        if (status != (version ? WAYBILL_OK : WAYBILL_ENOTFOUND))
            end_as_wrong(by, "a get answered otherwise than the state demands", &error);
        if (image) {
            make_sample(expected, by->now.seed, by->now.writer, slot, version);
            differs = difference(api, image, expected);
            api->image_free(image);
        }
        if (differs)
            end_as_wrong(by, differs, &error);
    }
    free(expected);
}

static void *run_writer(void *payload) {
    writer *by = payload;
    waybill_error error;
    uint64_t done;
    memset(&error, 0, sizeof error);
    error.struct_size = sizeof error;
    for (done = 0; by->operations == 0 || done < by->operations; ++done) {
        const operation next = operation_at(by->now.seed, by->now.writer, by->now.number + 1);
        waybill_future *future = NULL;
        waybill_outcome outcome;
        const char *wrong;
        int32_t status = submit(by, &next, &future, &error);
        memset(&outcome, 0, sizeof outcome);
        outcome.struct_size = sizeof outcome;
        if (status == WAYBILL_OK)
            status = api->future_wait(future, -1, &error);
        if (status == WAYBILL_OK)
            status = api->future_result(future, &outcome, &error);
        api->future_free(future);
        if (status == WAYBILL_EIO || status == WAYBILL_EREADONLY) {
            check_gets(by);
            say(by->socket, SAID_REFUSED, by, status, 0);
            return NULL;
        }
        if (status != WAYBILL_OK)
            end_as_wrong(by, "an operation failed", &error);
        wrong = wrong_outcome(by, &next, &outcome);
        if (wrong)
            end_as_wrong(by, wrong, &error);
        advance(&by->now);
        if (by->now.number % 16 == 0)
            check_gets(by);
        say(by->socket, SAID_ACKNOWLEDGED, by, status, outcome.revision);
    }
    return NULL;
}

/** Recovers; a disk that failed meanwhile is no fault of the library's. */
static waybill_store *open_to_work(const char *root, int socket) {
    waybill_store *store = NULL;
    waybill_future *future = NULL;
    const char *config = text("{\"root\":\"%s\"%s}", root, often_rotated);
    int32_t status = api->create(config, NULL, &store, error_slot());
    if (status == WAYBILL_OK)
        status = api->recover(store, &future, error_slot());
    if (status == WAYBILL_OK)
        status = wait_and_free(future);
    if (status == WAYBILL_OK)
        return store;
    if (last_error.sys_errno == EIO) {
        char end;
        say(socket, SAID_REFUSED, NULL, status, 0);
        (void)recv(socket, &end, sizeof end, 0);
    }
    fprintf(stderr, "the store did not open: code %d: %s\n", (int)status, last_error.message);
    say(socket, SAID_WRONG, NULL, status, 0);
    exit(3);
}

static int work(const char *root, uint64_t seed, int socket, uint64_t operations, char **numbers,
                uint32_t count) {
    static writer writers[WRITERS_MAX];
    waybill_store *store;
    char go;
    uint32_t i;
    (void)prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY, 0, 0, 0);
    say(socket, SAID_LOADED, NULL, 0, 0);
    if (socket >= 0 && recv(socket, &go, sizeof go, 0) != sizeof go)
        return 4;
    store = open_to_work(root, socket);
    say(socket, SAID_OPEN, NULL, 0, 0);
    for (i = 0; i < count; ++i) {
        const uint64_t number = strtoull(numbers[i], NULL, 10);
        writers[i].store = store;
        writers[i].socket = socket;
        writers[i].operations = operations;
        writers[i].now = state_before(seed, i);
        while (writers[i].now.number < number)
            advance(&writers[i].now);
    }
    if (count == 1) /* The system calls of one thread are easier to follow. */
        (void)run_writer(&writers[0]);
    for (i = 0; count > 1 && i < count; ++i)
        CHECK(pthread_create(&writers[i].thread, NULL, run_writer, &writers[i]) == 0);
    for (i = 0; count > 1 && i < count; ++i)
        CHECK(pthread_join(writers[i].thread, NULL) == 0);
    if (operations == 0) /* Refused: wait for the end that was meant. */
        (void)recv(socket, &go, sizeof go, 0);
    close_store(store);
    return 0;
}

/* --- check ------------------------------------------------------------------------------------ */

/** NULL if the store holds exactly this state; otherwise what is different. */
static const char *departure(waybill_store *store, const state *expected, sample *memory) {
    uint32_t slot;
    for (slot = 0; slot < SLOTS; ++slot) {
        char name_space[32], reference[96];
        const char *differs = NULL;
        waybill_image *image = NULL;
        const int32_t status =
            api->get(store, namespace_of_writer(expected->writer, name_space),
                     reference_of_slot(expected->writer, slot, reference), 1, &image, error_slot());
        CHECK(status == WAYBILL_OK || status == WAYBILL_ENOTFOUND);
        if ((expected->versions[slot] != 0) != (image != NULL))
            differs = image ? "it is there" : "it is not there";
        if (!differs && image) {
            make_sample(memory, expected->seed, expected->writer, slot, expected->versions[slot]);
            differs = difference(api, image, memory);
        }
        if (differs) {
            const char *held = image ? view_of(image).media_type : "nothing";
            const char *said = text("%s: %s; expected version %" PRIu64 ", found %s", reference,
                                    differs, expected->versions[slot], held);
            api->image_free(image);
            return said;
        }
        api->image_free(image);
    }
    return NULL;
}

static uint64_t number_in(const char *json, const char *member) {
    const char *found = strstr(json, member);
    CHECK(found != NULL);
    return strtoull(found + strlen(member), NULL, 10);
}

/** The revision that recovery says; nothing may be damaged or degraded. */
static uint64_t recovered_revision(waybill_store *store, uint64_t *images) {
    waybill_future *future = NULL;
    waybill_outcome outcome;
    uint64_t revision;
    memset(&outcome, 0, sizeof outcome);
    outcome.struct_size = sizeof outcome;
    CHECK(api->recover(store, &future, error_slot()) == WAYBILL_OK);
    if (api->future_wait(future, -1, error_slot()) != WAYBILL_OK ||
        api->future_result(future, &outcome, error_slot()) != WAYBILL_OK) {
        fprintf(stderr, "recover: code %d: %s\n", (int)last_error.code, last_error.message);
        exit(1);
    }
    if (!strstr(outcome.report_json, "\"damage\":[]") ||
        !strstr(outcome.report_json, "\"degraded\":false") ||
        strstr(outcome.report_json, "notMendedYet")) {
        fprintf(stderr, "recovery reports damage: %s\n", outcome.report_json);
        exit(1);
    }
    revision = number_in(outcome.report_json, "\"revision\":");
    *images = outcome.image_count;
    api->future_free(future);
    return revision;
}

/** Takes `now` to the state that the store holds, between `first` and the one behind `last`. */
static void settle(waybill_store *store, state *now, uint64_t first, uint64_t last,
                   sample *memory) {
    const char *departs = "";
    char from_first[512];
    while (now->number < first)
        advance(now);
    for (;; advance(now)) {
        departs = departure(store, now, memory);
        if (!departs)
            return;
        if (now->number == first)
            snprintf(from_first, sizeof from_first, "%s", departs);
        if (now->number == last + 1)
            break;
    }
    fprintf(stderr,
            "writer %u: the state is not that after operation %" PRIu64 " (%s), nor up to %" PRIu64
            " (%s)\n",
            (unsigned)now->writer, first, from_first, last + 1, departs);
    exit(1);
}

static int check(const char *root, uint64_t seed, uint64_t revision_least, char **numbers,
                 uint32_t count, int read_only) {
    waybill_store *store =
        create_store(root, read_only ? ",\"readOnly\":true" : often_rotated, NULL);
    uint64_t images = 0, expected = 0;
    const uint64_t revision = recovered_revision(store, &images);
    sample *memory = malloc(sizeof *memory);
    uint32_t i;
    CHECK(memory != NULL);
    if (revision < revision_least) {
        fprintf(stderr, "revision %" PRIu64 " was acknowledged, %" PRIu64 " was recovered\n",
                revision_least, revision);
        return 1;
    }
    printf("%" PRIu64, revision);
    for (i = 0; i < count; ++i) {
        state now = state_before(seed, i);
        char *last = NULL;
        const uint64_t first = strtoull(numbers[i], &last, 10);
        CHECK(*last == '-');
        settle(store, &now, first, strtoull(last + 1, NULL, 10), memory);
        expected += images_in(&now);
        printf(" %" PRIu64, now.number);
    }
    printf("\n");
    if (images != expected || image_count(store) != expected) {
        fprintf(stderr, "%" PRIu64 " images where %" PRIu64 " were put\n", images, expected);
        return 1;
    }
    free(memory);
    close_store(store);
    return 0;
}

int main(int argc, char **argv) {
    void *handle;
    const char *role = argc > 2 ? argv[2] : "";
    const int working = strcmp(role, "work") == 0, looking = strcmp(role, "look") == 0;
    const int first = working ? 7 : 6;
    if ((!working && !looking && strcmp(role, "check") != 0) || argc <= first ||
        argc - first > WRITERS_MAX) {
        fprintf(stderr,
                "usage: %s LIBRARY work ROOT SEED SOCKET OPERATIONS NUMBER...\n"
                "       %s LIBRARY check|look ROOT SEED REVISION FIRST-LAST...\n",
                argv[0], argv[0]);
        return 2;
    }
    api = load_table(argv[1], &handle);
    if (working)
        return work(argv[3], strtoull(argv[4], NULL, 10),
                    strcmp(argv[5], "-") == 0 ? -1 : atoi(argv[5]), strtoull(argv[6], NULL, 10),
                    argv + first, (uint32_t)(argc - first));
    return check(argv[3], strtoull(argv[4], NULL, 10), strtoull(argv[5], NULL, 10), argv + first,
                 (uint32_t)(argc - first), looking);
}
