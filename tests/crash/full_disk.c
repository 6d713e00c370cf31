/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: Waybill contributors
 *
 * What a store does when no byte more can be written.
 *
 *   crash_full_disk LIBRARY DIRECTORY disk|shared|quota|limit|degraded [--rounds N] [--seed N]
 *     disk      DIRECTORY is on a small file system that writes in place
 *     shared    … on one whose files can share blocks, as with a backup of the store they then do
 *     quota     … on one that copies on write, under a quota: to forget images may need space there
 *     limit     RLIMIT_FSIZE, with SIGXFSZ as it is by default
 *     degraded  as disk, with damage that stays until it is accepted
 */
#include "../abi/check.h"
#include "sequence.h"

#include <inttypes.h>
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/resource.h>

/** No store on 2 MiB takes so many puts. */
#define PUTS_MAX 20000

static const char *const often_rotated = ",\"limits\":{\"journalBytes\":65536}";

static const char *root;
static char filler[512];
static int copies_on_write, shares_blocks;
static uint64_t seed;

static state model; /* What the store must hold; `number` is that of the next operation. */
static waybill_store *store;
static uint64_t stored, refused, forgotten, opened;

static void expect_status(int32_t status, int32_t expected, const char *what) {
    if (status == expected)
        return;
    fprintf(stderr, "%s: status %d where %d was expected; seed %" PRIu64 "\n", what, (int)status,
            (int)expected, seed);
    CHECK(status == expected);
}

/* --- the store and its model ------------------------------------------------------------------ */

static void open_the_store(void) {
    ++opened;
    store = open_store_as(root, often_rotated);
}

static void reopen(void) {
    close_store(store);
    open_the_store();
}

static void check_model(const char *when) {
    sample *memory = malloc(sizeof *memory);
    uint32_t slot;
    CHECK(memory != NULL);
    for (slot = 0; slot < SLOTS; ++slot) {
        char reference[96];
        waybill_image *image = NULL;
        const char *differs = NULL;
        const int32_t status =
            api->get(store, "writer-0", reference_of_slot(0, slot, reference), 1, &image, NULL);
        if (status != (model.versions[slot] ? WAYBILL_OK : WAYBILL_ENOTFOUND))
            differs = "presence";
        if (!differs && image) {
            make_sample(memory, model.seed, 0, slot, model.versions[slot]);
            differs = difference(api, image, memory);
        }
        if (differs)
            fprintf(stderr, "%s: %s is not as the model says: %s; seed %" PRIu64 "\n", when,
                    reference, differs, seed);
        CHECK(differs == NULL);
        api->image_free(image);
    }
    free(memory);
    CHECK(image_count(store) == images_in(&model));
}

/** Puts under `count` names beginning at `slot`; the model follows if it was stored. */
static int32_t put_slots(uint32_t slot, uint32_t count) {
    static sample samples[BATCH_MAX];
    waybill_image_spec specs[BATCH_MAX];
    const uint64_t version = ++model.number;
    waybill_future *future = NULL;
    uint32_t i;
    int32_t status;
    for (i = 0; i < count; ++i) {
        make_sample(&samples[i], model.seed, 0, (slot + i) % SLOTS, version);
        specs[i] = samples[i].spec;
    }
    status = api->put(store, specs, count, &future, error_slot());
    if (status == WAYBILL_OK)
        status = wait_and_free(future);
    for (i = 0; status == WAYBILL_OK && i < count; ++i)
        model.versions[(slot + i) % SLOTS] = version;
    stored += status == WAYBILL_OK;
    refused += status != WAYBILL_OK;
    return status;
}

static int32_t remove_slot(uint32_t slot) {
    char reference[96];
    waybill_future *future = NULL;
    int32_t status;
    ++model.number;
    CHECK(api->remove(store, "writer-0", reference_of_slot(0, slot, reference), &future,
                      error_slot()) == WAYBILL_OK);
    status = wait_and_free(future);
    forgotten += status == WAYBILL_OK && model.versions[slot];
    if (status == WAYBILL_OK)
        model.versions[slot] = 0;
    return status;
}

/** Keeps the first `count` names; no image of the samples' that is pinned goes either. */
static int32_t prune_but(uint32_t count) {
    char names[SLOTS][96];
    const char *kept[SLOTS];
    waybill_future *future = NULL;
    static sample memory;
    uint32_t slot;
    int32_t status;
    for (slot = 0; slot < count; ++slot)
        kept[slot] = reference_of_slot(0, slot, names[slot]);
    status = api->prune(store, "writer-0", kept, count, &future, error_slot());
    if (status == WAYBILL_OK)
        status = wait_and_free(future);
    for (slot = count; status == WAYBILL_OK && slot < SLOTS; ++slot) {
        make_sample(&memory, model.seed, 0, slot, model.versions[slot]);
        if (model.versions[slot] == 0 || memory.spec.pinned)
            continue;
        model.versions[slot] = 0;
        ++forgotten;
    }
    return status;
}

static int32_t accept_loss(void) {
    waybill_future *future = NULL;
    CHECK(api->accept_loss(store, &future, error_slot()) == WAYBILL_OK);
    return wait_and_free(future);
}

static uint64_t number_in_report(const char *report, const char *member) {
    char *json = NULL;
    const char *found;
    uint64_t number;
    CHECK(api->report(store, report, NULL, &json, error_slot()) == WAYBILL_OK);
    found = strstr(json, member);
    CHECK(found != NULL);
    found += strlen(member);
    number = strncmp(found, "true", 4) == 0 ? 1 : strtoull(found, NULL, 10);
    api->text_free(json);
    return number;
}

static void put_all(const char *when) {
    uint32_t slot;
    for (slot = 0; slot < SLOTS; ++slot)
        expect_status(put_slots(slot, 1), WAYBILL_OK, when);
}

/* --- no space --------------------------------------------------------------------------------- */

/** Takes the last byte that the file system, or the quota, gives away. */
static void fill(void) {
    static const char zeros[65536];
    size_t piece = sizeof zeros;
    const int fd = open(filler, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    CHECK(fd >= 0);
    while (piece > 0) {
        const ssize_t done = write(fd, zeros, piece);
        CHECK(done > 0 || errno == ENOSPC || errno == EDQUOT);
        if (done <= 0)
            piece /= 2;
    }
    (void)fsync(fd); /* On a full disk it may fail, and nobody needs what is in it. */
    CHECK(close(fd) == 0);
}

static void free_space(void) {
    const int fd = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    CHECK(unlink(filler) == 0);
    CHECK(fd >= 0 && syncfs(fd) == 0);
    CHECK(close(fd) == 0);
}

/** Puts until one is refused, with the store as it was by then. */
static void put_until_refused(void) {
    unsigned done;
    for (done = 0; done < PUTS_MAX; ++done) {
        const int32_t status = put_slots(done % SLOTS, 1);
        if (status == WAYBILL_OK)
            continue;
        expect_status(status, WAYBILL_ENOSPC, "put without space");
        return;
    }
    CHECK(!"a put was refused");
}

/** Forgetting must succeed; where each write takes new blocks it may be refused, but honestly. */
static void expect_forgotten(int32_t status, const char *what) {
    if (copies_on_write && status == WAYBILL_ENOSPC)
        return;
    expect_status(status, WAYBILL_OK, what);
}

static void forget_and_put(uint64_t *random) {
    unsigned step;
    for (step = 0; step < 60; ++step) {
        const uint64_t choice = next_random(random) % 8;
        const uint32_t slot = (uint32_t)(next_random(random) % SLOTS);
        int32_t status = WAYBILL_ENOSPC;
        if (choice < 4)
            status = put_slots(slot, choice < 2 ? 1 : BATCH_MAX);
        else if (choice == 7)
            expect_forgotten(prune_but((uint32_t)(next_random(random) % SLOTS)), "prune");
        else
            expect_forgotten(remove_slot(slot), "remove");
        if (status != WAYBILL_OK)
            expect_status(status, WAYBILL_ENOSPC, "put without space");
        if (step % 20 == 19 && !copies_on_write)
            reopen();
        check_model("without space");
    }
}

/** Each image is removed by a host of its own: what opening and closing writes takes space too. */
static void remove_with_reopens(void) {
    uint32_t slot;
    for (slot = 0; slot < SLOTS; ++slot) {
        expect_forgotten(remove_slot(slot), "remove by a host of its own");
        reopen();
        check_model("reopened without space");
    }
}

/** What a copy with holes leaves, as `cp --sparse=always` or a backup makes it: the bytes are the
 * same, and the space kept for removals is not there. */
static void become_sparse_copy(void) {
    static const unsigned char zeros[4096];
    const uint64_t generation = number_in_report("stats", "\"generation\":");
    unsigned char block[sizeof zeros];
    struct stat before, after;
    off_t at;
    int fd;
    close_store(store);
    fd = open(text("%s/journal.%" PRIu64, root, generation), O_RDWR | O_CLOEXEC);
    CHECK(fd >= 0 && fsync(fd) == 0 && fstat(fd, &before) == 0);
    for (at = 0; pread(fd, block, sizeof block, at) > 0; at += (off_t)sizeof block)
        if (memcmp(block, zeros, sizeof block) == 0)
            CHECK(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, at,
                            (off_t)sizeof block) == 0);
    CHECK(fsync(fd) == 0 && fstat(fd, &after) == 0);
    CHECK(after.st_blocks < before.st_blocks);
    CHECK(close(fd) == 0);
    open_the_store();
}

static int shares_a_block(const char *path) {
    static union {
        struct fiemap map;
        unsigned char room[sizeof(struct fiemap) + 64 * sizeof(struct fiemap_extent)];
    } found;
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    uint32_t i, shared = 0;
    memset(&found, 0, sizeof found);
    found.map.fm_length = FIEMAP_MAX_OFFSET;
    found.map.fm_flags = FIEMAP_FLAG_SYNC;
    found.map.fm_extent_count = 64;
    CHECK(fd >= 0 && ioctl(fd, FS_IOC_FIEMAP, &found.map) == 0 && close(fd) == 0);
    CHECK(found.map.fm_mapped_extents > 0 && found.map.fm_mapped_extents < 64);
    for (i = 0; i < found.map.fm_mapped_extents; ++i)
        shared += (found.map.fm_extents[i].fe_flags & FIEMAP_EXTENT_SHARED) != 0;
    return shared != 0;
}

/** A backup as `cp --reflink` makes it, which cp does by itself where it can. Until one of the two
 * is written anew neither has its blocks for itself, those kept for removals among them. */
static void back_up_by_sharing(void) {
    const uint64_t generation = number_in_report("stats", "\"generation\":");
    char journal[4096];
    int from, to;
    snprintf(journal, sizeof journal, "%s/journal.%" PRIu64, root, generation);
    close_store(store);
    from = open(journal, O_RDONLY | O_CLOEXEC);
    to = open(text("%s-backup", root), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    CHECK(from >= 0 && to >= 0);
    CHECK(ioctl(to, FICLONE, from) == 0 && fsync(to) == 0);
    CHECK(close(from) == 0 && close(to) == 0);
    CHECK(shares_a_block(journal));
    open_the_store();
    CHECK(!shares_a_block(journal));
}

static void full_disk_round(uint64_t *random) {
    uint32_t slot;
    put_all("put with space");
    fill();
    put_until_refused();
    check_model("full");
    expect_status(put_slots(0, BATCH_MAX), WAYBILL_ENOSPC, "batch without space");
    check_model("after a refused batch");
    for (slot = 0; slot < SLOTS; slot += 2)
        expect_forgotten(remove_slot(slot), "remove on a full disk");
    check_model("after removals");
    reopen();
    check_model("reopened on a full disk");
    expect_forgotten(prune_but(3), "prune on a full disk");
    check_model("after prune");
    forget_and_put(random);
    free_space();
    put_all("put with space again");
    become_sparse_copy();
    check_model("copied, with space");
    if (shares_blocks)
        back_up_by_sharing();
    fill();
    put_until_refused();
    remove_with_reopens();
    free_space();
    put_all("put with space at the end");
    reopen();
    check_model("at the end");
}

/* --- a quota on a file system that copies on write -------------------------------------------- */

/** A writer may find no space to make durable what it shows; it says so, and readers go on. */
static void reopen_over_quota(void) {
    waybill_future *future = NULL;
    int32_t status;
    close_store(store);
    store = open_store_as(root, ",\"readOnly\":true");
    check_model("opened read-only over the quota");
    close_store(store);
    store = create_store(root, often_rotated, NULL);
    CHECK(api->recover(store, &future, error_slot()) == WAYBILL_OK);
    status = wait_and_free(future);
    expect_forgotten(status, "recover over the quota");
    ++opened;
    if (status == WAYBILL_OK)
        check_model("opened over the quota");
}

static void quota_round(uint64_t *random) {
    uint32_t slot;
    put_all("put within the quota");
    fill();
    put_until_refused();
    check_model("at the quota");
    expect_status(put_slots(0, BATCH_MAX), WAYBILL_ENOSPC, "batch over the quota");
    check_model("after a refused batch");
    for (slot = 0; slot < SLOTS; slot += 2)
        expect_forgotten(remove_slot(slot), "remove over the quota");
    expect_forgotten(prune_but(9), "prune over the quota");
    forget_and_put(random);
    reopen_over_quota();
    free_space();
    reopen();
    check_model("reopened within the quota");
    put_all("put within the quota again");
    reopen();
    check_model("at the end");
}

/* --- a limit on the size of files ------------------------------------------------------------- */

static void limit_files_to(rlim_t bytes) {
    struct rlimit limit;
    CHECK(getrlimit(RLIMIT_FSIZE, &limit) == 0);
    limit.rlim_cur = bytes;
    CHECK(setrlimit(RLIMIT_FSIZE, &limit) == 0);
}

/** A limit below the length of the journal. */
static void lower_the_limit(void) {
    unsigned step;
    limit_files_to(64);
    for (step = 0; step < 3; ++step)
        expect_status(put_slots(step, 1), WAYBILL_ENOSPC, "put over the limit");
    check_model("over the limit");
    limit_files_to(RLIM_INFINITY);
    put_all("put after the limit was lifted");
    reopen();
    check_model("after the limit was lifted");
}

/** No host is killed, and what could not be made or opened is once the limit is gone. */
static void open_under_a_limit(rlim_t bytes) {
    waybill_future *future = NULL;
    int32_t status;
    limit_files_to(bytes);
    status =
        api->create(text("{\"root\":\"%s\"%s}", root, often_rotated), NULL, &store, error_slot());
    if (status == WAYBILL_OK) {
        CHECK(api->recover(store, &future, error_slot()) == WAYBILL_OK);
        status = wait_and_free(future);
        CHECK(status == WAYBILL_OK || status == WAYBILL_ENOSPC || status == WAYBILL_EIO);
        if (status == WAYBILL_OK)
            check_model("opened under a limit");
        close_store(store);
    }
    limit_files_to(RLIM_INFINITY);
    open_the_store();
    check_model("opened without a limit again");
    close_store(store);
}

static void limit_round(uint64_t *random) {
    static const rlim_t limits[] = {0, 64, 256, 700, 1024, 1200, 5000, 20000};
    unsigned i;
    close_store(store);
    for (i = 0; i < sizeof limits / sizeof limits[0]; ++i) {
        (void)nftw(root, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
        memset(model.versions, 0, sizeof model.versions);
        open_under_a_limit(limits[i]);
    }
    open_the_store();
    limit_files_to(24576 + (rlim_t)(next_random(random) % 16384));
    put_until_refused();
    check_model("at the limit");
    forget_and_put(random);
    limit_files_to(RLIM_INFINITY);
    put_all("put without a limit");
    lower_the_limit();
    close_store(store);
    for (i = 0; i < sizeof limits / sizeof limits[0]; ++i)
        open_under_a_limit(limits[i]);
    open_the_store();
    put_all("put at the end");
    reopen();
    check_model("at the end");
}

/* --- a degraded store ------------------------------------------------------------------------- */

/** Flips a byte in the second put record of the journal that is being written. */
static void damage_journal(void) {
    const uint64_t generation = number_in_report("stats", "\"generation\":");
    static unsigned char bytes[4 << 20];
    ssize_t length, at;
    unsigned records = 0;
    int fd;
    close_store(store);
    fd = open(text("%s/journal.%" PRIu64, root, generation), O_RDWR | O_CLOEXEC);
    CHECK(fd >= 0);
    length = pread(fd, bytes, sizeof bytes, 0);
    for (at = 1024; at + 128 < length; at += 8)
        if (memcmp(bytes + at, "WBF1\1\0", 6) == 0 && ++records == 2)
            break;
    CHECK(records == 2);
    bytes[at + 100] ^= 0x20;
    CHECK(pwrite(fd, bytes + at + 100, 1, at + 100) == 1);
    CHECK(close(fd) == 0);
    open_the_store();
    CHECK(number_in_report("recovery", "\"degraded\":") == 1);
}

/** What damage has left is the model from here on. */
static void learn(void) {
    static const char before[] = "application/vnd.example.v";
    static sample memory;
    uint32_t slot;
    for (slot = 0; slot < SLOTS; ++slot) {
        char reference[96];
        waybill_image *image = NULL;
        const char *differs;
        model.versions[slot] = 0;
        (void)api->get(store, "writer-0", reference_of_slot(0, slot, reference), 1, &image, NULL);
        if (!image)
            continue;
        CHECK(strncmp(view_of(image).media_type, before, sizeof before - 1) == 0);
        model.versions[slot] = strtoull(view_of(image).media_type + sizeof before - 1, NULL, 10);
        make_sample(&memory, model.seed, 0, slot, model.versions[slot]);
        differs = difference(api, image, &memory);
        CHECK(differs == NULL || strcmp(differs, "state") == 0);
        api->image_free(image);
    }
}

static void expect_degraded(const char *when) {
    unsigned times;
    for (times = 0; times < 3; ++times) {
        expect_status(prune_but(0), WAYBILL_EDEGRADED, when);
        reopen();
    }
    expect_status(prune_but(0), WAYBILL_EDEGRADED, when);
}

static void rotate_twice(void) {
    const uint64_t generation = number_in_report("stats", "\"generation\":");
    unsigned done;
    for (done = 0; number_in_report("stats", "\"generation\":") < generation + 2; ++done) {
        CHECK(done < PUTS_MAX);
        expect_status(put_slots(done % SLOTS, BATCH_MAX), WAYBILL_OK, "put on a degraded store");
    }
}

static void degraded_round(uint64_t *random) {
    put_all("put before the damage");
    damage_journal();
    learn();
    expect_degraded("prune after damage");
    rotate_twice();
    expect_degraded("prune after rotations");
    fill();
    put_until_refused();
    expect_degraded("prune on a full disk");
    expect_status(remove_slot((uint32_t)(next_random(random) % SLOTS)), WAYBILL_OK,
                  "remove from a degraded store on a full disk");
    damage_journal();
    learn();
    expect_degraded("prune after damage on a full disk");
    expect_status(accept_loss(), WAYBILL_OK, "accept_loss on a full disk");
    check_model("after the loss was accepted");
    reopen();
    check_model("after the loss was accepted, reopened");
    expect_status(prune_but(4), WAYBILL_OK, "prune after the loss was accepted");
    reopen();
    check_model("pruned on a full disk, reopened");
    free_space();
    put_all("put with space again");
    rotate_twice();
    reopen();
    expect_status(prune_but(4), WAYBILL_OK, "prune at the end");
    check_model("at the end");
}

int main(int argc, char **argv) {
    static const struct {
        const char *name;
        void (*round)(uint64_t *random);
    } kinds[] = {{"disk", full_disk_round},
                 {"shared", full_disk_round},
                 {"quota", quota_round},
                 {"limit", limit_round},
                 {"degraded", degraded_round}};
    unsigned rounds = 3, round, kind;
    uint64_t random;
    void *handle;
    int i;
    seed = (uint64_t)time(NULL) * 1000003u ^ (uint64_t)getpid();
    for (i = 4; i + 1 < argc; i += 2)
        if (strcmp(argv[i], "--seed") == 0)
            seed = strtoull(argv[i + 1], NULL, 10);
        else if (strcmp(argv[i], "--rounds") == 0)
            rounds = (unsigned)strtoul(argv[i + 1], NULL, 10);
    for (kind = 0; argc > 3 && kind < sizeof kinds / sizeof kinds[0] &&
                   strcmp(argv[3], kinds[kind].name) != 0;
         ++kind)
        ;
    if (argc <= 3 || kind == sizeof kinds / sizeof kinds[0]) {
        fprintf(stderr,
                "usage: %s LIBRARY DIRECTORY disk|shared|quota|limit|degraded [OPTION...]\n"
                "options: --rounds N, --seed N\n",
                argv[0]);
        return 2;
    }
    api = load_table(argv[1], &handle);
    copies_on_write = strcmp(argv[3], "quota") == 0;
    shares_blocks = strcmp(argv[3], "shared") == 0;
    snprintf(filler, sizeof filler, "%s/filler", argv[2]);
    root = strdup(text("%s/store", argv[2]));
    CHECK(root != NULL && signal(SIGXFSZ, SIG_DFL) != SIG_ERR);
    random = seed;
    for (round = 0; round < rounds; ++round) {
        model = state_before(next_random(&random), 0);
        open_the_store();
        kinds[kind].round(&random);
        close_store(store);
        CHECK(nftw(root, remove_entry, 16, FTW_DEPTH | FTW_PHYS) == 0);
    }
    printf("%s: %u rounds: %" PRIu64 " puts stored, %" PRIu64 " refused, %" PRIu64
           " images forgotten, %" PRIu64 " recoveries, lost: 0\n",
           argv[3], rounds, stored, refused, forgotten, opened);
    return 0;
}
