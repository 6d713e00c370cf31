/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: Waybill contributors
 *
 * One directory, two processes that want to write to it and eight that read, all of them killed,
 * stopped and continued at any moment. Whoever has the lock does the next operation of a sequence
 * that follows from the seed, so that everybody can say what the store must hold.
 */
#include "chance.h"

#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/prctl.h>

enum { readers = 8, writers = 2, singles = 24, groups = 3, group_size = 5 };
enum { names = singles + groups * group_size };

/** What the processes know of each other. Counts are of all the processes that there have been. */
typedef struct shared {
    _Atomic uint64_t submitted, acknowledged; /* numbers of operations */
    _Atomic long holder;                      /* process that has opened the store last */
    _Atomic int stop;
    sem_t news; /* one for each acknowledgement */
    _Atomic uint64_t refreshes, refused_refreshes, visits, images_seen, gets, openings, refused;
} shared;

static shared *common;
static char root[128];

/* --- the sequence ----------------------------------------------------------------------------- */

typedef struct operation {
    enum { op_put, op_put_group, op_put_if_absent, op_remove, op_prune } verb;
    unsigned which;   /* single or group */
    unsigned padding; /* bytes */
    uint64_t kept;    /* prune: singles by bit; groups behind them */
} operation;

static operation operation_of(uint64_t number) {
    chance of = chance_of(number);
    operation made = {op_put, 0, 0, 0};
    const unsigned dice = below(&of, 16);
    made.which = below(&of, singles);
    made.padding = below(&of, 8) == 0 ? 1 + below(&of, 4000) : 0;
    if (dice >= 14)
        made.verb = op_put_if_absent;
    else if (dice == 13)
        made.verb = op_prune;
    else if (dice >= 10)
        made.verb = op_remove;
    else if (dice >= 7) {
        made.verb = op_put_group;
        made.which = below(&of, groups);
    }
    made.kept = next_of(&of) | next_of(&of); /* Three of four. */
    return made;
}

static const char *single_name(unsigned which) { return text("single%02u", which); }
static const char *member_name(unsigned group, unsigned member) {
    return text("group%u-%u", group, member);
}

/** The number that each name tells, 0 where there is no such image. */
typedef struct model {
    uint64_t single[singles], group[groups];
} model;

static void apply(model *to, uint64_t number) {
    const operation op = operation_of(number);
    unsigned i;
    switch (op.verb) {
    case op_put:
        to->single[op.which] = number;
        break;
    case op_put_if_absent:
        to->single[op.which] = to->single[op.which] ? to->single[op.which] : number;
        break;
    case op_put_group:
        to->group[op.which] = number;
        break;
    case op_remove:
        to->single[op.which] = 0;
        break;
    case op_prune:
        for (i = 0; i < singles; ++i)
            to->single[i] = op.kept >> i & 1 ? to->single[i] : 0;
        for (i = 0; i < groups; ++i)
            to->group[i] = op.kept >> (singles + i) & 1 ? to->group[i] : 0;
        break;
    }
}

static model state_after(uint64_t last) {
    model made;
    uint64_t number;
    memset(&made, 0, sizeof made);
    for (number = 1; number <= last; ++number)
        apply(&made, number);
    return made;
}

/** Reads name and number of an image into what is held. */
typedef struct sight {
    model held;
    uint64_t revision[names]; /* of each name; 0 where there is no image */
    unsigned count[groups];
} sight;

static void see(sight *seen, const waybill_image *image) {
    const uint64_t revision = view_of(image).revision;
    unsigned which, member;
    char name[64];
    const uint64_t number = number_told(image, name, sizeof name);
    CHECK(number > 0 && number <= atomic_load(&common->submitted));
    if (sscanf(name, "single%u", &which) == 1) {
        CHECK(which < singles);
        seen->held.single[which] = number;
        seen->revision[which] = revision;
        return;
    }
    CHECK(sscanf(name, "group%u-%u", &which, &member) == 2);
    CHECK(which < groups && member < group_size);
    /* A transaction is there whole or not at all. */
    CHECK(seen->count[which] == 0 || seen->held.group[which] == number);
    seen->held.group[which] = number;
    seen->revision[singles + which * group_size + member] = revision;
    ++seen->count[which];
}

static int32_t see_image(void *payload, waybill_image *image) {
    see(payload, image);
    return WAYBILL_VISIT_NEXT;
}

static sight look(waybill_store *store) {
    sight seen;
    unsigned i;
    memset(&seen, 0, sizeof seen);
    CHECK(api->visit(store, NULL, see_image, &seen, error_slot()) == WAYBILL_OK);
    for (i = 0; i < groups; ++i)
        CHECK(seen.count[i] == 0 || seen.count[i] == group_size);
    return seen;
}

static int same(const model *one, const model *other) {
    return memcmp(one, other, sizeof *one) == 0;
}

/* --- writers ---------------------------------------------------------------------------------- */

static int32_t put_single(waybill_store *store, uint64_t number, const operation *op) {
    told_image image;
    int32_t status;
    tell(&image, single_name(op->which), number, op->padding);
    image.spec.condition = op->verb == op_put_if_absent ? WAYBILL_PUT_IF_ABSENT : WAYBILL_PUT_ANY;
    status = put_specs(store, &image.spec, 1);
    told(&image);
    return status == WAYBILL_EEXIST && op->verb == op_put_if_absent ? WAYBILL_OK : status;
}

static int32_t put_group(waybill_store *store, uint64_t number, const operation *op) {
    told_image members[group_size];
    waybill_image_spec specs[group_size];
    int32_t status;
    unsigned i;
    for (i = 0; i < group_size; ++i) {
        tell(&members[i], member_name(op->which, i), number, op->padding);
        specs[i] = members[i].spec;
    }
    status = put_specs(store, specs, group_size);
    for (i = 0; i < group_size; ++i)
        told(&members[i]);
    return status;
}

static int32_t prune(waybill_store *store, const operation *op) {
    char keep[names][32];
    const char *kept[names];
    waybill_future *future = NULL;
    uint32_t count = 0;
    unsigned i, member;
    for (i = 0; i < singles; ++i)
        if (op->kept >> i & 1)
            (void)snprintf(keep[count++], sizeof keep[0], "%s", single_name(i));
    for (i = 0; i < groups; ++i)
        for (member = 0; member < group_size && (op->kept >> (singles + i) & 1); ++member)
            (void)snprintf(keep[count++], sizeof keep[0], "%s", member_name(i, member));
    for (i = 0; i < count; ++i)
        kept[i] = keep[i];
    CHECK(api->prune(store, NULL, kept, count, &future, error_slot()) == WAYBILL_OK);
    return wait_and_free(future);
}

static int32_t perform(waybill_store *store, uint64_t number) {
    const operation op = operation_of(number);
    waybill_future *future = NULL;
    switch (op.verb) {
    case op_put:
    case op_put_if_absent:
        return put_single(store, number, &op);
    case op_put_group:
        return put_group(store, number, &op);
    case op_prune:
        return prune(store, &op);
    case op_remove:
        CHECK(api->remove(store, NULL, single_name(op.which), &future, error_slot()) == WAYBILL_OK);
        return wait_and_free(future);
    }
    return WAYBILL_EINTERNAL;
}

static void recover_undamaged(waybill_store *store) {
    waybill_future *future = NULL;
    waybill_outcome outcome;
    memset(&outcome, 0, sizeof outcome);
    outcome.struct_size = sizeof outcome;
    CHECK(api->recover(store, &future, error_slot()) == WAYBILL_OK);
    CHECK(api->future_wait(future, -1, error_slot()) == WAYBILL_OK);
    CHECK(api->future_result(future, &outcome, error_slot()) == WAYBILL_OK);
    if (!strstr(outcome.report_json, "\"damage\":[]") ||
        !strstr(outcome.report_json, "\"degraded\":false"))
        fprintf(stderr, "%s\n", outcome.report_json);
    CHECK(strstr(outcome.report_json, "\"damage\":[]") != NULL);
    CHECK(strstr(outcome.report_json, "\"degraded\":false") != NULL);
    api->future_free(future);
}

/** The number of the last operation that the store holds: the last that was acknowledged, or the
 *  one behind it, whose word may not have come through. */
static uint64_t check_nothing_is_lost(waybill_store *store) {
    const uint64_t acknowledged = atomic_load(&common->acknowledged);
    const sight seen = look(store);
    model wanted = state_after(acknowledged);
    if (same(&seen.held, &wanted))
        return acknowledged;
    CHECK(atomic_load(&common->submitted) == acknowledged + 1);
    apply(&wanted, acknowledged + 1);
    CHECK(same(&seen.held, &wanted));
    return acknowledged + 1;
}

static void hold_and_write(waybill_store *store, chance *of) {
    const long me = (long)getpid();
    const unsigned turns = 200 + below(of, 4000);
    uint64_t number;
    unsigned i;
    atomic_store(&common->holder, me);
    recover_undamaged(store);
    number = check_nothing_is_lost(store);
    atomic_store(&common->acknowledged, number);
    for (i = 0; i < turns && !atomic_load(&common->stop); ++i) {
        atomic_store(&common->submitted, ++number);
        CHECK(perform(store, number) == WAYBILL_OK);
        CHECK(atomic_load(&common->holder) == me); /* Two that write would fail here. */
        atomic_store(&common->acknowledged, number);
        CHECK(sem_post(&common->news) == 0);
    }
    CHECK(atomic_load(&common->holder) == me);
    close_store(store);
}

static void be_writer(unsigned which) {
    chance of = chance_of(UINT64_C(1) << 40 | (uint64_t)getpid() << 8 | which);
    while (!atomic_load(&common->stop)) {
        waybill_store *store = NULL;
        const int32_t status =
            api->create(text("{\"root\":\"%s\",\"limits\":{\"journalBytes\":65536}}", root), NULL,
                        &store, error_slot());
        CHECK(status == WAYBILL_OK || status == WAYBILL_ELOCKED);
        if (status == WAYBILL_OK) {
            atomic_fetch_add(&common->openings, 1);
            hold_and_write(store, &of);
        } else {
            CHECK(strstr(last_error.message, "process") && store == NULL);
            atomic_fetch_add(&common->refused, 1);
            pause_us(below(&of, 3000));
        }
    }
}

/* --- readers ---------------------------------------------------------------------------------- */

static uint64_t refresh(waybill_store *store, uint64_t before) {
    waybill_future *future = NULL;
    waybill_outcome outcome;
    memset(&outcome, 0, sizeof outcome);
    outcome.struct_size = sizeof outcome;
    CHECK(api->refresh(store, &future, error_slot()) == WAYBILL_OK);
    CHECK(api->future_wait(future, -1, error_slot()) == WAYBILL_OK);
    CHECK(api->future_result(future, &outcome, error_slot()) == WAYBILL_OK);
    if (!strstr(outcome.report_json, "\"damage\":[]") ||
        !strstr(outcome.report_json, "\"degraded\":false"))
        fprintf(stderr, "%s\n", outcome.report_json);
    CHECK(strstr(outcome.report_json, "\"damage\":[]") != NULL);
    CHECK(strstr(outcome.report_json, "\"degraded\":false") != NULL);
    CHECK(outcome.revision >= before);
    api->future_free(future);
    atomic_fetch_add(&common->refreshes, 1);
    return outcome.revision;
}

static void check_sight(const sight *now, sight *before) {
    unsigned i;
    for (i = 0; i < names; ++i) {
        if (now->revision[i] == 0)
            continue; /* Removed; what was seen before still counts. */
        CHECK(now->revision[i] >= before->revision[i]);
        before->revision[i] = now->revision[i];
        atomic_fetch_add(&common->images_seen, 1);
    }
    atomic_fetch_add(&common->visits, 1);
}

static void check_get(waybill_store *store, unsigned which, const sight *seen) {
    waybill_image *image = NULL;
    sight one;
    const int32_t status = api->get(store, NULL, single_name(which), 1, &image, error_slot());
    CHECK(status == (seen->held.single[which] ? WAYBILL_OK : WAYBILL_ENOTFOUND));
    atomic_fetch_add(&common->gets, 1);
    if (!image)
        return;
    memset(&one, 0, sizeof one);
    see(&one, image);
    CHECK(one.held.single[which] == seen->held.single[which]);
    api->image_free(image);
}

static void be_reader(unsigned which) {
    chance of = chance_of(UINT64_C(2) << 40 | (uint64_t)getpid() << 8 | which);
    sight before;
    memset(&before, 0, sizeof before);
    while (!atomic_load(&common->stop)) {
        const unsigned turns = 1 + below(&of, 200);
        uint64_t revision = 0;
        unsigned i;
        waybill_store *store = create_store(root, ",\"readOnly\":true,\"threads\":1", NULL);
        recover_undamaged(store);
        for (i = 0; i < turns && !atomic_load(&common->stop); ++i) {
            sight seen;
            revision = refresh(store, revision);
            seen = look(store);
            check_sight(&seen, &before);
            check_get(store, below(&of, singles), &seen);
            pause_us(below(&of, 2000));
        }
        close_store(store);
    }
}

/* --- the one who kills ------------------------------------------------------------------------ */

typedef struct neighbour {
    pid_t process;
    void (*body)(unsigned which);
    unsigned which;
    int stopped;
} neighbour;

static neighbour all[readers + writers];

/** Nobody outlives a failure, not even one that was stopped before it could ask for
 *  that itself. A number that has been waited for may be somebody else's, and is forgotten. */
static void kill_all(int signal_number) {
    unsigned i;
    (void)signal_number;
    for (i = 0; i < readers + writers; ++i)
        if (all[i].process > 0)
            (void)kill(all[i].process, SIGKILL);
}

static void start(neighbour *each) {
    const pid_t parent = getpid();
    fflush(NULL);
    each->stopped = 0;
    each->process = fork();
    CHECK(each->process >= 0);
    if (each->process > 0)
        return;
    CHECK(signal(SIGABRT, SIG_DFL) != SIG_ERR); /* The others are not its own. */
    CHECK(prctl(PR_SET_PDEATHSIG, SIGKILL) == 0);
    if (getppid() != parent)
        _exit(0);       /* It has failed before the line above. */
    temp_dir_count = 0; /* The parent removes its own. */
    each->body(each->which);
    _exit(0);
}

static void check_came_to_no_harm(int status) {
    if (WIFSIGNALED(status) && WTERMSIG(status) != SIGKILL)
        fprintf(stderr, "a neighbour ended by signal %d; see above\n", WTERMSIG(status));
    CHECK(WIFSIGNALED(status) ? WTERMSIG(status) == SIGKILL : WEXITSTATUS(status) == 0);
}

static void check_all_are_alive(void) {
    unsigned i;
    for (i = 0; i < readers + writers; ++i) {
        int status = 0;
        const pid_t ended = waitpid(all[i].process, &status, WNOHANG);
        if (ended == all[i].process) {
            all[i].process = 0;
            check_came_to_no_harm(status);
        }
        CHECK(ended == 0);
    }
}

static void stop(neighbour *each) {
    int status = 0;
    CHECK(kill(each->process, SIGSTOP) == 0);
    CHECK(waitpid(each->process, &status, WUNTRACED) == each->process);
    if (!WIFSTOPPED(status)) {
        each->process = 0;
        check_came_to_no_harm(status);
    }
    CHECK(WIFSTOPPED(status));
    each->stopped = 1;
}

static void go_on(neighbour *each) {
    CHECK(kill(each->process, SIGCONT) == 0);
    each->stopped = 0;
}

static void kill_and_restart(neighbour *each) {
    int status = 0;
    CHECK(kill(each->process, SIGKILL) == 0);
    CHECK(waitpid(each->process, &status, 0) == each->process);
    each->process = 0;
    check_came_to_no_harm(status);
    start(each);
}

/** Waits until somebody has done so many operations more. */
static void await_operations(unsigned count) {
    while (sem_trywait(&common->news) == 0)
        continue;
    while (count-- > 0) {
        struct timespec until;
        CHECK(clock_gettime(CLOCK_REALTIME, &until) == 0);
        until.tv_sec += 1; /* To look whether somebody has failed; nothing is measured. */
        while (sem_timedwait(&common->news, &until) != 0) {
            CHECK(errno == ETIMEDOUT || errno == EINTR);
            check_all_are_alive();
            until.tv_sec += 1;
        }
    }
}

/** Whether one of the two that stand still was named. The one that has the lock may not have got as
 * far as writing its name; then the last one stands there, which must not be passed off as the
 * holder. */
static int names_a_stopped_writer(const char *message) {
    return strstr(message, text("process %ld,", (long)all[readers].process)) ||
           strstr(message, text("process %ld,", (long)all[readers + 1].process));
}

/** Both writers stand still; the one that has the lock, if one has, keeps it. */
static unsigned try_to_take_over(void) {
    waybill_store *store = NULL;
    int32_t status;
    stop(&all[readers]);
    stop(&all[readers + 1]);
    status = api->create(text("{\"root\":\"%s\"}", root), NULL, &store, error_slot());
    if (status == WAYBILL_ELOCKED) {
        CHECK(store == NULL);
        /* Its name stands there once its threads run; until then that of the last one does, which
         * may have been this process, or nobody if that one is gone. */
        CHECK(names_a_stopped_writer(last_error.message) ||
              strstr(last_error.message, text("process %ld,", (long)getpid())) ||
              strstr(last_error.message, "not written its name") != NULL);
    } else {
        CHECK(status == WAYBILL_OK); /* Between closing and opening again. */
        close_store(store);
    }
    return status == WAYBILL_ELOCKED;
}

static void start_all(void) {
    unsigned i;
    waybill_store *store;
    common = mmap(NULL, sizeof *common, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(common != MAP_FAILED && sem_init(&common->news, 1, 0) == 0);
    CHECK(signal(SIGABRT, kill_all) != SIG_ERR);
    (void)snprintf(root, sizeof root, "%s/store", make_temp_dir());
    store = open_store(root);
    close_store(store); /* A reader makes no store. */
    for (i = 0; i < readers + writers; ++i) {
        all[i].which = i;
        all[i].body = i < readers ? be_reader : be_writer;
        start(&all[i]);
    }
}

static void stop_all(void) {
    unsigned i;
    waybill_store *store;
    atomic_store(&common->stop, 1);
    for (i = 0; i < readers + writers; ++i) {
        int status = 0;
        if (all[i].stopped)
            go_on(&all[i]);
        CHECK(waitpid(all[i].process, &status, 0) == all[i].process);
        all[i].process = 0;
        check_came_to_no_harm(status);
    }
    store = create_store(root, "", NULL);
    recover_undamaged(store);
    (void)check_nothing_is_lost(store);
    close_store(store);
}

static void neighbours_that_die_and_stand_still_harm_nobody(void) {
    const unsigned rounds = (SANITIZED ? 40 : 150) * rounds_factor;
    unsigned round, kills = 0, stops = 0, locked_out = 0;
    chance of = chance_of(UINT64_C(3) << 40);
    start_all();
    for (round = 0; round < rounds; ++round) {
        neighbour *const one = &all[below(&of, readers + writers)];
        const unsigned dice = below(&of, 8);
        if (dice < 3) {
            kill_and_restart(one);
            ++kills;
        } else if (dice < 5) {
            neighbour *const writer = &all[readers + below(&of, writers)];
            kill_and_restart(writer);
            ++kills;
        } else if (dice < 7 && !one->stopped && one->which < readers) {
            stop(one);
            ++stops;
        } else {
            locked_out += try_to_take_over();
            stops += 2;
            go_on(&all[readers]);
            if (dice == 7) { /* Killed as it stands. */
                kill_and_restart(&all[readers + 1]);
                ++kills;
            } else {
                go_on(&all[readers + 1]);
            }
        }
        if (below(&of, 4) == 0) {
            unsigned i;
            for (i = 0; i < readers; ++i)
                if (all[i].stopped)
                    go_on(&all[i]);
        }
        await_operations(1 + below(&of, 40)); /* Whoever died, writing goes on. */
        pause_us(below(&of, 3000));
    }
    stop_all();
    printf("%u kills, %u stops, 8 readers, 2 writers: %" PRIu64 " operations acknowledged, "
           "lost: 0; %" PRIu64 " refreshes, %" PRIu64 " images and %" PRIu64
           " gets seen, wrong: 0; %" PRIu64 " openings for writing, %" PRIu64
           " refused, %u of them beside a stopped writer\n",
           kills, stops, atomic_load(&common->acknowledged), atomic_load(&common->refreshes),
           atomic_load(&common->images_seen), atomic_load(&common->gets),
           atomic_load(&common->openings), atomic_load(&common->refused) + locked_out, locked_out);
    CHECK(munmap(common, sizeof *common) == 0);
}

int main(int argc, char **argv) {
    static const outcome_test tests[] = {
        TEST(neighbours_that_die_and_stand_still_harm_nobody),
    };
    return run_crash_tests(argc, argv, tests, sizeof tests / sizeof *tests);
}
