/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: Waybill contributors
 *
 * What is wrong is refused with its own error, which names the place; nothing is stored, nothing
 * is lost, and the store keeps working.
 */
#include "check.h"
#include "oci_fixture.h"

#include <limits.h>
#include <sched.h>
#include <sys/mount.h>

static const char *long_text(char letter, size_t size) {
    static char buffer[8192];
    CHECK(size < sizeof buffer);
    memset(buffer, letter, size);
    buffer[size] = '\0';
    return buffer;
}

static int said(int32_t code, const char *field, int64_t position) {
    return last_error.code == code && strcmp(last_error.field, field) == 0 &&
           last_error.position == position && last_error.message[0] != '\0';
}

/** A store that holds "witness". */
static waybill_store *witnessed_store(void) {
    waybill_store *store = open_store(make_temp_dir());
    put_one(store, "witness");
    return store;
}

/** Nothing was stored, nothing lost, and the next put works. */
static void check_unharmed(waybill_store *store) {
    CHECK(image_count(store) == 1);
    CHECK(holds(store, NULL, "witness"));
    put_one(store, "witness");
}

/** The code with which a put is refused at once; the out-parameter must stay as it was. */
static int32_t refusal(waybill_store *store, const waybill_image_spec *specs, uint32_t count) {
    waybill_future *const untouched = (waybill_future *)&last_error;
    waybill_future *future = untouched;
    const int32_t status = api->put(store, specs, count, &future, error_slot());
    CHECK(status < 0 && status == last_error.code);
    CHECK(future == untouched);
    check_unharmed(store);
    (void)api->put(store, specs, count, &future, error_slot());
    return status;
}

/* --- pointers and sizes ----------------------------------------------------------------------- */

static void null_stores_and_texts_are_refused(void) {
    waybill_store *store = witnessed_store();
    const waybill_image_spec spec = image_spec("busybox");
    waybill_future *future = NULL;
    waybill_image *image = NULL;
    char *json = NULL;
    unsigned count = 0;
    CHECK(api->create(NULL, NULL, &store, error_slot()) == WAYBILL_EINVAL);
    CHECK(said(WAYBILL_EINVAL, "config", -1));
    CHECK(api->create("{\"root\":\"/nowhere\"}", NULL, NULL, error_slot()) == WAYBILL_EINVAL);
    CHECK(said(WAYBILL_EINVAL, "store", -1));
    CHECK(api->recover(NULL, &future, error_slot()) == WAYBILL_EINVAL);
    CHECK(said(WAYBILL_EINVAL, "store", -1));
    CHECK(api->refresh(NULL, &future, error_slot()) == WAYBILL_EINVAL);
    CHECK(api->refresh(store, NULL, error_slot()) == WAYBILL_EINVAL);
    CHECK(said(WAYBILL_EINVAL, "future", -1));
    CHECK(api->accept_loss(NULL, &future, error_slot()) == WAYBILL_EINVAL);
    CHECK(api->put(NULL, &spec, 1, &future, error_slot()) == WAYBILL_EINVAL);
    CHECK(api->put(store, NULL, 1, &future, error_slot()) == WAYBILL_EINVAL);
    CHECK(said(WAYBILL_EINVAL, "images", -1));
    CHECK(api->put(store, &spec, 1, NULL, error_slot()) == WAYBILL_EINVAL);
    CHECK(api->get(NULL, NULL, "busybox", 1, &image, error_slot()) == WAYBILL_EINVAL);
    CHECK(api->get(store, NULL, NULL, 1, &image, error_slot()) == WAYBILL_EINVAL);
    CHECK(said(WAYBILL_EINVAL, "reference", -1));
    CHECK(api->get(store, NULL, "busybox", 1, NULL, error_slot()) == WAYBILL_EINVAL);
    CHECK(said(WAYBILL_EINVAL, "image", -1));
    CHECK(api->remove(NULL, NULL, "busybox", &future, error_slot()) == WAYBILL_EINVAL);
    CHECK(api->remove(store, NULL, NULL, &future, error_slot()) == WAYBILL_EINVAL);
    CHECK(said(WAYBILL_EINVAL, "reference", -1));
    CHECK(api->prune(NULL, NULL, NULL, 0, &future, error_slot()) == WAYBILL_EINVAL);
    CHECK(api->prune(store, NULL, NULL, 1, &future, error_slot()) == WAYBILL_EINVAL);
    CHECK(said(WAYBILL_EINVAL, "keep", -1));
    CHECK(api->import_oci(NULL, NULL, "/nowhere", NULL, &future, error_slot()) == WAYBILL_EINVAL);
    CHECK(api->import_oci(store, NULL, NULL, NULL, &future, error_slot()) == WAYBILL_EINVAL);
    CHECK(said(WAYBILL_EINVAL, "layout_dir", -1));
    CHECK(api->visit(NULL, NULL, count_image, &count, error_slot()) == WAYBILL_EINVAL);
    CHECK(api->visit(store, NULL, NULL, NULL, error_slot()) == WAYBILL_EINVAL);
    CHECK(said(WAYBILL_EINVAL, "callback", -1));
    CHECK(api->report(NULL, "stats", NULL, &json, error_slot()) == WAYBILL_EINVAL);
    CHECK(api->report(store, NULL, NULL, &json, error_slot()) == WAYBILL_EINVAL);
    CHECK(said(WAYBILL_EINVAL, "name", -1));
    CHECK(api->report(store, "stats", NULL, NULL, error_slot()) == WAYBILL_EINVAL);
    CHECK(future == NULL && image == NULL && json == NULL && count == 0);
    check_unharmed(store);
    close_store(store);
}

static void null_keep_names_are_refused_by_index(void) {
    waybill_store *store = witnessed_store();
    const char *keep[] = {"witness", NULL, "busybox"};
    waybill_future *future = NULL;
    CHECK(api->prune(store, NULL, keep, 3, &future, error_slot()) == WAYBILL_EINVAL);
    CHECK(said(WAYBILL_EINVAL, "keep[1]", -1));
    keep[1] = "a//b";
    CHECK(api->prune(store, NULL, keep, 3, &future, error_slot()) == WAYBILL_EINVAL);
    CHECK(strcmp(last_error.field, "keep[1]") == 0 && last_error.position >= 0);
    CHECK(future == NULL);
    check_unharmed(store);
    close_store(store);
}

static void null_futures_images_and_queues_are_refused(void) {
    waybill_outcome outcome;
    waybill_blob_view blob;
    waybill_key_view key;
    waybill_image_view view;
    waybill_layer_view layer;
    waybill_pair pair;
    waybill_completion completion;
    uint32_t count = 7;
    waybill_queue *queue = NULL;
    outcome.struct_size = sizeof outcome;
    blob.struct_size = sizeof blob;
    key.struct_size = sizeof key;
    view.struct_size = sizeof view;
    layer.struct_size = sizeof layer;
    CHECK(api->future_wait(NULL, 0, error_slot()) == WAYBILL_EINVAL);
    CHECK(said(WAYBILL_EINVAL, "future", -1));
    CHECK(api->future_status(NULL) == WAYBILL_EINVAL);
    CHECK(api->future_then(NULL, NULL, NULL, error_slot()) == WAYBILL_EINVAL);
    CHECK(api->future_result(NULL, &outcome, error_slot()) == WAYBILL_EINVAL);
    CHECK(api->future_cancel(NULL, error_slot()) == WAYBILL_EINVAL);
    CHECK(api->prune_layer(NULL, 0, 0, &blob, error_slot()) == WAYBILL_EINVAL);
    CHECK(api->prune_image(NULL, 0, &key, error_slot()) == WAYBILL_EINVAL);
    CHECK(api->image_view(NULL, &view, error_slot()) == WAYBILL_EINVAL);
    CHECK(said(WAYBILL_EINVAL, "image", -1));
    CHECK(api->image_layer(NULL, 0, &layer, error_slot()) == WAYBILL_EINVAL);
    CHECK(api->image_label(NULL, 0, &pair, error_slot()) == WAYBILL_EINVAL);
    CHECK(api->image_annotation(NULL, 0, &pair, error_slot()) == WAYBILL_EINVAL);
    CHECK(api->queue_create(NULL, error_slot()) == WAYBILL_EINVAL);
    CHECK(api->queue_fd(NULL) < 0);
    CHECK(api->queue_drain(NULL, &completion, 1, &count, error_slot()) == WAYBILL_EINVAL);
    CHECK(api->queue_create(&queue, error_slot()) == WAYBILL_OK);
    CHECK(api->queue_drain(queue, NULL, 1, &count, error_slot()) == WAYBILL_EINVAL);
    CHECK(said(WAYBILL_EINVAL, "completions", -1));
    CHECK(api->queue_drain(queue, &completion, 1, NULL, error_slot()) == WAYBILL_EINVAL);
    CHECK(said(WAYBILL_EINVAL, "count", -1));
    CHECK(api->queue_attach(queue, NULL, 0, error_slot()) == WAYBILL_EINVAL);
    CHECK(count == 7);
    api->queue_free(queue);
    api->queue_free(NULL);
    api->future_free(NULL);
    CHECK(api->extension("none") == NULL && api->extension(NULL) == NULL);
}

static void null_members_of_an_image_are_refused_by_name(void) {
    waybill_store *store = witnessed_store();
    waybill_image_spec specs[2];
    waybill_pair pair = {"key", NULL};
    specs[0] = image_spec("fine");
    specs[1] = image_spec(NULL);
    CHECK(refusal(store, specs, 2) == WAYBILL_EINVAL);
    CHECK(said(WAYBILL_EINVAL, "images[1].reference", -1));
    specs[1] = image_spec("busybox");
    specs[1].target_digest = NULL;
    CHECK(refusal(store, specs, 2) == WAYBILL_EINVAL);
    CHECK(said(WAYBILL_EINVAL, "images[1].target_digest", -1));
    specs[1] = image_spec("busybox");
    specs[1].layers = NULL;
    CHECK(refusal(store, specs, 2) == WAYBILL_EINVAL);
    CHECK(said(WAYBILL_EINVAL, "images[1].layers", -1));
    specs[1] = image_spec("busybox");
    specs[1].label_count = 1;
    CHECK(refusal(store, specs, 2) == WAYBILL_EINVAL);
    CHECK(said(WAYBILL_EINVAL, "images[1].labels", -1));
    specs[1].labels = &pair;
    CHECK(refusal(store, specs, 2) == WAYBILL_EINVAL);
    CHECK(said(WAYBILL_EINVAL, "images[1].labels[0]", -1));
    specs[1] = image_spec("busybox");
    specs[1].annotation_count = 1;
    CHECK(refusal(store, specs, 2) == WAYBILL_EINVAL);
    CHECK(said(WAYBILL_EINVAL, "images[1].annotations", -1));
    close_store(store);
}

static void wrong_struct_sizes_are_refused(void) {
    static const uint32_t sizes[] = {0, 4, 65537, UINT32_MAX};
    waybill_store *store = witnessed_store();
    size_t i;
    for (i = 0; i < sizeof sizes / sizeof *sizes; ++i) {
        waybill_image_spec specs[2];
        waybill_layer layer = layer_of(digest(1));
        waybill_host host;
        waybill_query query;
        waybill_store *other = NULL;
        unsigned count = 0;
        specs[0] = image_spec("busybox");
        specs[0].struct_size = sizes[i];
        CHECK(refusal(store, specs, 1) == WAYBILL_EINVAL);
        CHECK(said(WAYBILL_EINVAL, "images.struct_size", -1));
        specs[0] = image_spec("busybox");
        specs[1] = image_spec("alpine");
        specs[1].struct_size = sizes[i];
        CHECK(refusal(store, specs, 2) == WAYBILL_EINVAL);
        CHECK(said(WAYBILL_EINVAL, "images[1].struct_size", -1));
        layer.struct_size = sizes[i];
        specs[0].layers = &layer;
        CHECK(refusal(store, specs, 1) == WAYBILL_EINVAL);
        CHECK(said(WAYBILL_EINVAL, "images[0].layers.struct_size", -1));
        memset(&host, 0, sizeof host);
        host.struct_size = sizes[i];
        CHECK(api->create(text("{\"root\":\"%s\"}", make_temp_dir()), &host, &other,
                          error_slot()) == WAYBILL_EINVAL);
        CHECK(said(WAYBILL_EINVAL, "host.struct_size", -1) && other == NULL);
        memset(&query, 0, sizeof query);
        query.struct_size = sizes[i];
        CHECK(api->visit(store, &query, count_image, &count, error_slot()) == WAYBILL_EINVAL);
        CHECK(said(WAYBILL_EINVAL, "query.struct_size", -1) && count == 0);
    }
    close_store(store);
}

static void wrong_struct_sizes_of_views_are_refused(void) {
    waybill_store *store = witnessed_store();
    waybill_image *image = get_image(store, NULL, "witness");
    waybill_image_view view = {0};
    waybill_layer_view layer = {0};
    waybill_outcome outcome = {0};
    waybill_blob_view blob = {0};
    waybill_key_view key = {0};
    waybill_future *future = NULL;
    const char *const keep[] = {"witness"};
    CHECK(api->image_view(image, &view, error_slot()) == WAYBILL_EINVAL);
    CHECK(said(WAYBILL_EINVAL, "view.struct_size", -1));
    CHECK(api->image_view(image, NULL, error_slot()) == WAYBILL_EINVAL);
    CHECK(api->image_layer(image, 0, &layer, error_slot()) == WAYBILL_EINVAL);
    CHECK(api->image_label(image, 0, NULL, error_slot()) == WAYBILL_EINVAL);
    CHECK(api->prune(store, NULL, keep, 1, &future, error_slot()) == WAYBILL_OK);
    CHECK(api->future_wait(future, -1, error_slot()) == WAYBILL_OK);
    CHECK(api->future_result(future, &outcome, error_slot()) == WAYBILL_EINVAL);
    CHECK(said(WAYBILL_EINVAL, "outcome.struct_size", -1));
    CHECK(api->prune_layer(future, WAYBILL_LAYERS_USED, 0, &blob, error_slot()) == WAYBILL_EINVAL);
    CHECK(api->prune_image(future, 0, &key, error_slot()) == WAYBILL_EINVAL);
    CHECK(view.reference == NULL && layer.media_type == NULL && key.reference == NULL);
    api->future_free(future);
    api->image_free(image);
    close_store(store);
}

static void an_error_of_the_wrong_size_is_not_written_to(void) {
    waybill_error error, before;
    memset(&error, 0x55, sizeof error);
    error.struct_size = sizeof error - 1;
    before = error;
    CHECK(api->recover(NULL, NULL, &error) == WAYBILL_EINVAL);
    CHECK(memcmp(&error, &before, sizeof error) == 0);
}

/* --- names and digests ------------------------------------------------------------------------ */

static void invalid_references_are_refused_at_their_byte(void) {
    static const struct {
        const char *reference;
        int64_t position;
    } rows[] = {
        {"", 0},
        {"busy\xff", 4},
        {"busy box", 4},
        {"UPPER", 0},
        {"busybox:", 8},
        {"busybox:-x", 8},
        {"a//b", 2},
        {"busybox@sha256:00", -2},
        {"a/b/\xc3", 4},
        {":tag", 0},
        {"/busybox", 0},
        {"busybox\x01", 7},
        {"\xed\xa0\x80", 0},
    };
    waybill_store *store = witnessed_store();
    size_t i;
    for (i = 0; i < sizeof rows / sizeof *rows; ++i) {
        const waybill_image_spec spec = image_spec(rows[i].reference);
        waybill_image *image = NULL;
        waybill_future *future = NULL;
        CHECK(refusal(store, &spec, 1) == WAYBILL_EINVAL);
        CHECK(strcmp(last_error.field, "images[0].reference") == 0);
        CHECK(rows[i].position == -2 ? last_error.position >= 0
                                     : last_error.position == rows[i].position);
        CHECK(api->get(store, NULL, rows[i].reference, 1, &image, error_slot()) == WAYBILL_EINVAL);
        CHECK(strcmp(last_error.field, "reference") == 0);
        CHECK(api->remove(store, NULL, rows[i].reference, &future, error_slot()) == WAYBILL_EINVAL);
        CHECK(strcmp(last_error.field, "reference") == 0);
        CHECK(image == NULL && future == NULL);
    }
    close_store(store);
}

static void over_long_references_are_refused_with_the_limit(void) {
    waybill_store *store = witnessed_store();
    waybill_image_spec spec = image_spec(long_text('a', 1025));
    CHECK(refusal(store, &spec, 1) == WAYBILL_ELIMIT);
    CHECK(strcmp(last_error.field, "images[0].reference") == 0);
    CHECK(strstr(last_error.message, "1024") != NULL);
    spec.reference = long_text('a', 256); /* A path ends at 255. */
    CHECK(refusal(store, &spec, 1) < 0);
    CHECK(strcmp(last_error.field, "images[0].reference") == 0);
    spec.reference = text("busybox:%s", long_text('t', 129));
    CHECK(refusal(store, &spec, 1) < 0);
    CHECK(strcmp(last_error.field, "images[0].reference") == 0);
    close_store(store);
}

static void invalid_namespaces_are_refused(void) {
    waybill_store *store = witnessed_store();
    waybill_image_spec spec = image_spec("busybox");
    waybill_image *image = NULL;
    waybill_future *future = NULL;
    spec.name_space = "with space";
    CHECK(refusal(store, &spec, 1) == WAYBILL_EINVAL);
    CHECK(said(WAYBILL_EINVAL, "images[0].name_space", 4));
    spec.name_space = long_text('n', 77);
    CHECK(refusal(store, &spec, 1) == WAYBILL_ELIMIT);
    CHECK(said(WAYBILL_ELIMIT, "images[0].name_space", -1));
    CHECK(api->get(store, "a/b", "busybox", 1, &image, error_slot()) == WAYBILL_EINVAL);
    CHECK(said(WAYBILL_EINVAL, "name_space", 1));
    CHECK(api->remove(store, "a/b", "busybox", &future, error_slot()) == WAYBILL_EINVAL);
    CHECK(api->prune(store, "a/b", NULL, 0, &future, error_slot()) == WAYBILL_EINVAL);
    CHECK(api->import_oci(store, "a/b", "/nowhere", NULL, &future, error_slot()) == WAYBILL_EINVAL);
    CHECK(said(WAYBILL_EINVAL, "name_space", 1) && future == NULL && image == NULL);
    close_store(store);
}

static void an_empty_namespace_is_not_all_namespaces(void) {
    waybill_store *store = witnessed_store();
    waybill_image_spec spec = image_spec("busybox");
    waybill_future *future = NULL;
    spec.name_space = "other";
    CHECK(put_specs(store, &spec, 1) == WAYBILL_OK);
    if (api->prune(store, "", NULL, 0, &future, error_slot()) == WAYBILL_OK)
        (void)wait_and_free(future);
    CHECK(holds(store, "other", "busybox"));
    close_store(store);
}

static void digests_that_do_not_parse_are_refused_at_their_byte(void) {
    waybill_store *store = witnessed_store();
    waybill_image_spec spec = image_spec("busybox");
    waybill_layer layers[3];
    spec.target_digest = "md5:00";
    CHECK(refusal(store, &spec, 1) == WAYBILL_EINVAL);
    CHECK(said(WAYBILL_EINVAL, "images[0].target_digest", 0));
    spec.target_digest = "";
    CHECK(refusal(store, &spec, 1) == WAYBILL_EINVAL);
    CHECK(said(WAYBILL_EINVAL, "images[0].target_digest", 0));
    spec.target_digest = "sha256:00";
    CHECK(refusal(store, &spec, 1) == WAYBILL_EINVAL);
    CHECK(said(WAYBILL_EINVAL, "images[0].target_digest", 9));
    spec = image_spec("busybox");
    spec.config_digest = "";
    CHECK(refusal(store, &spec, 1) == WAYBILL_EINVAL);
    CHECK(said(WAYBILL_EINVAL, "images[0].config_digest", -1));
    spec = image_spec("busybox");
    spec.target_digest = text("sha256:%s", long_text('A', 64));
    CHECK(refusal(store, &spec, 1) == WAYBILL_EINVAL);
    CHECK(said(WAYBILL_EINVAL, "images[0].target_digest", 7));
    spec.target_digest = text("sha256:%s", long_text('a', 65));
    CHECK(refusal(store, &spec, 1) == WAYBILL_EINVAL);
    CHECK(said(WAYBILL_EINVAL, "images[0].target_digest", 71));
    spec = image_spec("busybox");
    spec.config_digest = "sha512:zz";
    CHECK(refusal(store, &spec, 1) == WAYBILL_EINVAL);
    CHECK(said(WAYBILL_EINVAL, "images[0].config_digest", 7));
    spec = image_spec("busybox");
    layers[0] = layer_of(digest(1));
    layers[1] = layer_of(digest(2));
    layers[2] = layer_of(text("sha256:%s", long_text('g', 64)));
    layers[2].id = "chain";
    spec.layers = layers;
    spec.layer_count = 3;
    CHECK(refusal(store, &spec, 1) == WAYBILL_EINVAL);
    CHECK(said(WAYBILL_EINVAL, "images[0].layers[2].digest", 7));
    layers[2] = layer_of(NULL);
    CHECK(refusal(store, &spec, 1) == WAYBILL_EINVAL);
    CHECK(said(WAYBILL_EINVAL, "images[0].layers[2]", -1));
    close_store(store);
}

/* --- layers, labels, counts ------------------------------------------------------------------- */

static void a_layer_count_out_of_bounds_is_refused(void) {
    waybill_store *store = witnessed_store();
    waybill_image_spec spec = image_spec("busybox");
    waybill_layer *layers = calloc(10001, sizeof *layers);
    int i;
    CHECK(layers != NULL);
    for (i = 0; i < 10001; ++i)
        layers[i] = layer_of(spec.target_digest);
    spec.layers = layers;
    spec.layer_count = 0;
    CHECK(refusal(store, &spec, 1) == WAYBILL_EINVAL);
    CHECK(said(WAYBILL_EINVAL, "images[0].layers", -1));
    spec.layer_count = 10001;
    CHECK(refusal(store, &spec, 1) == WAYBILL_ELIMIT);
    CHECK(said(WAYBILL_ELIMIT, "images[0].layers", -1));
    CHECK(strstr(last_error.message, "10000") != NULL);
    spec.target_digest = digest(0xabc);
    for (i = 0; i < 10000; ++i)
        layers[i].digest =
            "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    spec.layer_count = 10000;
    CHECK(put_specs(store, &spec, 1) == WAYBILL_OK);
    free(layers);
    close_store(store);
}

static void layer_ids_that_are_no_path_component_are_refused(void) {
    static const struct {
        const char *id;
        int64_t position;
    } rows[] = {{"..", 0}, {".", 0}, {"a/b", 1}, {"/", 0}, {"../etc", 2}, {"a\nb", 1}};
    waybill_store *store = witnessed_store();
    waybill_image_spec spec = image_spec("busybox");
    waybill_layer layer = layer_of(digest(1));
    size_t i;
    spec.layers = &layer;
    for (i = 0; i < sizeof rows / sizeof *rows; ++i) {
        layer = layer_of(digest(1));
        layer.id = rows[i].id;
        CHECK(refusal(store, &spec, 1) == WAYBILL_EINVAL);
        CHECK(said(WAYBILL_EINVAL, "images[0].layers[0].id", rows[i].position));
    }
    layer.digest = "";
    CHECK(refusal(store, &spec, 1) == WAYBILL_EINVAL);
    CHECK(said(WAYBILL_EINVAL, "images[0].layers[0].digest", -1));
    layer.digest = NULL;
    layer.id = "";
    CHECK(refusal(store, &spec, 1) == WAYBILL_EINVAL);
    CHECK(strcmp(last_error.field, "images[0].layers[0].id") == 0);
    layer.id = long_text('i', 256);
    CHECK(refusal(store, &spec, 1) == WAYBILL_ELIMIT);
    CHECK(strcmp(last_error.field, "images[0].layers[0].id") == 0);
    layer.id = "not\xc3utf-8";
    CHECK(refusal(store, &spec, 1) == WAYBILL_EINVAL);
    CHECK(said(WAYBILL_EINVAL, "images[0].layers[0].id", 3));
    close_store(store);
}

static void labels_out_of_bounds_are_refused(void) {
    waybill_store *store = witnessed_store();
    waybill_image_spec spec = image_spec("busybox");
    waybill_pair pairs[1025];
    int i;
    for (i = 0; i < 1025; ++i) {
        pairs[i].key = "same";
        pairs[i].value = "value";
    }
    spec.labels = pairs;
    spec.label_count = 1025;
    CHECK(refusal(store, &spec, 1) == WAYBILL_ELIMIT);
    CHECK(said(WAYBILL_ELIMIT, "images[0].labels", -1));
    spec.label_count = 2;
    CHECK(refusal(store, &spec, 1) == WAYBILL_EINVAL);
    CHECK(said(WAYBILL_EINVAL, "images[0].labels", -1));
    pairs[1].key = "k";
    pairs[1].value = long_text('v', 4096);
    CHECK(refusal(store, &spec, 1) == WAYBILL_ELIMIT);
    CHECK(said(WAYBILL_ELIMIT, "images[0].labels[1]", -1));
    CHECK(strstr(last_error.message, "4096") != NULL);
    pairs[1].value = "\xff";
    CHECK(refusal(store, &spec, 1) == WAYBILL_EINVAL);
    CHECK(said(WAYBILL_EINVAL, "images[0].labels[1].value", 0));
    pairs[1].key = "";
    CHECK(refusal(store, &spec, 1) == WAYBILL_EINVAL);
    CHECK(said(WAYBILL_EINVAL, "images[0].labels[1].key", -1));
    pairs[1].key = "k";
    pairs[1].value = long_text('v', 4095);
    CHECK(put_specs(store, &spec, 1) == WAYBILL_OK);
    spec.label_count = 0;
    spec.annotations = pairs;
    spec.annotation_count = 1025;
    spec.reference = "other";
    {
        waybill_future *future = NULL;
        CHECK(api->put(store, &spec, 1, &future, error_slot()) == WAYBILL_ELIMIT);
        CHECK(said(WAYBILL_ELIMIT, "images[0].annotations", -1) && future == NULL);
    }
    close_store(store);
}

static void members_that_are_not_what_they_should_be_are_refused(void) {
    waybill_store *store = witnessed_store();
    waybill_image_spec spec = image_spec("busybox");
    spec.condition = 3;
    CHECK(refusal(store, &spec, 1) == WAYBILL_EINVAL);
    CHECK(said(WAYBILL_EINVAL, "images[0].condition", -1));
    spec = image_spec("busybox");
    spec.pinned = 2;
    CHECK(refusal(store, &spec, 1) == WAYBILL_EINVAL);
    CHECK(said(WAYBILL_EINVAL, "images[0].pinned", -1));
    spec = image_spec("busybox");
    spec.os = long_text('o', 129);
    CHECK(refusal(store, &spec, 1) == WAYBILL_ELIMIT);
    CHECK(said(WAYBILL_ELIMIT, "images[0].os", -1));
    spec.os = "li\xffnux";
    CHECK(refusal(store, &spec, 1) == WAYBILL_EINVAL);
    CHECK(said(WAYBILL_EINVAL, "images[0].os", 2));
    spec = image_spec("busybox");
    spec.target_media_type = long_text('m', 256);
    CHECK(refusal(store, &spec, 1) == WAYBILL_ELIMIT);
    CHECK(said(WAYBILL_ELIMIT, "images[0].target_media_type", -1));
    CHECK(refusal(store, &spec, 0) == WAYBILL_EINVAL);
    CHECK(said(WAYBILL_EINVAL, "count", -1));
    CHECK(refusal(store, &spec, 10001) == WAYBILL_ELIMIT);
    CHECK(said(WAYBILL_ELIMIT, "count", -1));
    close_store(store);
}

static void a_record_over_the_configured_size_is_refused(void) {
    waybill_store *store = open_store_as(make_temp_dir(), ",\"limits\":{\"recordBytes\":1024}");
    waybill_image_spec spec = image_spec("busybox");
    const waybill_pair label = {"k", long_text('v', 2000)};
    put_one(store, "witness");
    spec.labels = &label;
    spec.label_count = 1;
    CHECK(refusal(store, &spec, 1) == WAYBILL_ELIMIT);
    CHECK(strcmp(last_error.field, "images[0]") == 0);
    CHECK(strstr(last_error.message, "1024") != NULL);
    close_store(store);
}

static void queries_that_contradict_themselves_are_refused(void) {
    waybill_store *store = witnessed_store();
    waybill_query query;
    unsigned count = 0;
    memset(&query, 0, sizeof query);
    query.struct_size = sizeof query;
    query.label_value = "v";
    CHECK(api->visit(store, &query, count_image, &count, error_slot()) == WAYBILL_EINVAL);
    CHECK(said(WAYBILL_EINVAL, "query.label_key", -1));
    query.label_value = NULL;
    query.after_name_space = "default";
    CHECK(api->visit(store, &query, count_image, &count, error_slot()) == WAYBILL_EINVAL);
    CHECK(said(WAYBILL_EINVAL, "query.after_reference", -1));
    query.after_name_space = NULL;
    query.state_any = 8;
    CHECK(api->visit(store, &query, count_image, &count, error_slot()) == WAYBILL_EINVAL);
    CHECK(said(WAYBILL_EINVAL, "query.state_any", -1));
    query.state_any = 0;
    query.digest = "a/b"; /* Neither a digest nor a layer id. */
    CHECK(api->visit(store, &query, count_image, &count, error_slot()) == WAYBILL_EINVAL);
    CHECK(said(WAYBILL_EINVAL, "query.digest", 1));
    query.digest = ""; /* A variable that was never set must not show every image. */
    CHECK(api->visit(store, &query, count_image, &count, error_slot()) == WAYBILL_EINVAL);
    CHECK(said(WAYBILL_EINVAL, "query.digest", -1));
    query.digest = NULL;
    query.label_key = "";
    CHECK(api->visit(store, &query, count_image, &count, error_slot()) == WAYBILL_EINVAL);
    CHECK(said(WAYBILL_EINVAL, "query.label_key", -1));
    query.label_value = "v";
    CHECK(api->visit(store, &query, count_image, &count, error_slot()) == WAYBILL_EINVAL);
    CHECK(said(WAYBILL_EINVAL, "query.label_key", -1));
    CHECK(count == 0);
    close_store(store);
}

/* --- configuration ---------------------------------------------------------------------------- */

static int32_t creation(const char *config) {
    waybill_store *store = NULL;
    const int32_t status = api->create(config, NULL, &store, error_slot());
    CHECK(status < 0 && status == last_error.code && store == NULL);
    return status;
}

static void unknown_configuration_keys_are_refused_with_the_nearest_one(void) {
    CHECK(creation("{\"root\":\"/nowhere\",\"raedOnly\":true}") == WAYBILL_EINVAL);
    CHECK(said(WAYBILL_EINVAL, "config.raedOnly", -1));
    CHECK(strstr(last_error.message, "'readOnly'") != NULL);
    CHECK(creation("{\"root\":\"/nowhere\",\"limits\":{\"image\":1}}") == WAYBILL_EINVAL);
    CHECK(said(WAYBILL_EINVAL, "config.limits.image", -1));
    CHECK(strstr(last_error.message, "'images'") != NULL);
    CHECK(creation("{\"root\":\"/nowhere\",\"layers\":{\"rot\":\"/x\"}}") == WAYBILL_EINVAL);
    CHECK(said(WAYBILL_EINVAL, "config.layers.rot", -1));
}

static void configurations_that_make_no_sense_are_refused(void) {
    CHECK(creation("") == WAYBILL_EINVAL && strcmp(last_error.field, "config") == 0);
    CHECK(creation("{\"root\":") == WAYBILL_EINVAL);
    CHECK(strcmp(last_error.field, "config") == 0 && last_error.position >= 7);
    CHECK(creation("[]") == WAYBILL_EINVAL && said(WAYBILL_EINVAL, "config", 0));
    CHECK(creation("{}") == WAYBILL_EINVAL && said(WAYBILL_EINVAL, "config.root", -1));
    CHECK(creation("{\"root\":\"a\"}") == WAYBILL_EINVAL);
    CHECK(said(WAYBILL_EINVAL, "config.root", 0));
    CHECK(creation("{\"root\":\"/a/../b\"}") == WAYBILL_EINVAL);
    CHECK(said(WAYBILL_EINVAL, "config.root", 3));
    CHECK(creation("{\"root\":\"/\xff\"}") == WAYBILL_EINVAL);
    CHECK(said(WAYBILL_EINVAL, "config", 10));
    CHECK(creation("{\"root\":7}") == WAYBILL_EINVAL && said(WAYBILL_EINVAL, "config.root", -1));
    CHECK(creation("{\"root\":\"/nowhere\",\"threads\":0}") == WAYBILL_EINVAL);
    CHECK(said(WAYBILL_EINVAL, "config.threads", -1));
    CHECK(creation("{\"root\":\"/nowhere\",\"threads\":17}") == WAYBILL_EINVAL);
    CHECK(creation("{\"root\":\"/nowhere\",\"create\":1}") == WAYBILL_EINVAL);
    CHECK(said(WAYBILL_EINVAL, "config.create", -1));
    CHECK(creation("{\"root\":\"/nowhere\",\"references\":\"other\"}") == WAYBILL_EINVAL);
    CHECK(said(WAYBILL_EINVAL, "config.references", -1));
    CHECK(creation(text("{\"root\":\"/%s\"}", long_text('r', 4096))) == WAYBILL_ELIMIT);
    CHECK(said(WAYBILL_ELIMIT, "config.root", -1));
}

/* --- directories ------------------------------------------------------------------------------ */

static void directories_that_cannot_be_made_are_refused(void) {
    const char *directory = make_temp_dir();
    write_file(text("%s/file", directory), "x", 1);
    CHECK(creation("{\"root\":\"/proc/waybill\"}") < 0);
    CHECK(last_error.sys_errno != 0 && strstr(last_error.message, "/proc/waybill") != NULL);
    CHECK(creation(text("{\"root\":\"%s/file\"}", directory)) == WAYBILL_ENOTSTORE);
    CHECK(creation(text("{\"root\":\"%s/file/below\"}", directory)) == WAYBILL_ENOTSTORE);
    CHECK(access(text("%s/file", directory), F_OK) == 0);
}

static void become_nobody(void) {
    if (geteuid() == 0)
        CHECK(setgid(65534) == 0 && setuid(65534) == 0);
}

static void check_denied(void *payload) {
    become_nobody();
    CHECK(creation(text("{\"root\":\"%s/store\"}", (const char *)payload)) == WAYBILL_EACCES);
    CHECK(last_error.sys_errno == EACCES);
    CHECK(creation(text("{\"root\":\"%s\"}", (const char *)payload)) == WAYBILL_EACCES);
}

static void an_unwritable_directory_is_refused(void) {
    char *directory = strdup(make_temp_dir());
    CHECK(directory != NULL);
    CHECK(chmod(directory, 0555) == 0);
    run_in_child(check_denied, directory);
    CHECK(chmod(directory, 0700) == 0);
    free(directory);
}

static void a_directory_that_is_not_ours_is_left_as_it_was(void) {
    const char *directory = make_temp_dir();
    struct stat found;
    write_file(text("%s/precious", directory), "x", 1);
    CHECK(creation(text("{\"root\":\"%s\"}", directory)) == WAYBILL_ENOTSTORE);
    CHECK(strstr(last_error.message, "precious") != NULL);
    CHECK(creation(text("{\"root\":\"%s\",\"readOnly\":true}", directory)) == WAYBILL_ENOTSTORE);
    CHECK(access(text("%s/LOCK", directory), F_OK) != 0);
    CHECK(stat(text("%s/precious", directory), &found) == 0 && found.st_size == 1);
}

static const char *closed_store(void) {
    const char *directory = make_temp_dir();
    waybill_store *store = open_store(directory);
    put_one(store, "witness");
    close_store(store);
    return directory;
}

/** The status of opening and recovering. */
static int32_t reopening(const char *directory) {
    waybill_store *store = NULL;
    waybill_future *future = NULL;
    int32_t status = api->create(text("{\"root\":\"%s\"}", directory), NULL, &store, error_slot());
    if (status != WAYBILL_OK)
        return status;
    status = api->recover(store, &future, error_slot());
    if (status == WAYBILL_OK)
        status = wait_and_free(future);
    {
        const waybill_error kept = last_error;
        CHECK(api->destroy(store, NULL) == WAYBILL_OK);
        last_error = kept;
    }
    return status;
}

static void a_symlink_in_the_place_of_a_store_file_is_not_followed(void) {
    static const char *const names[] = {"LOCK", "snapshot", "journal.1"};
    size_t i;
    for (i = 0; i < sizeof names / sizeof *names; ++i) {
        const char *directory = closed_store();
        const char *target = text("%s/target", make_temp_dir());
        waybill_store *store;
        char *const path = strdup(text("%s/%s", directory, names[i]));
        char *const moved = strdup(target);
        CHECK(path != NULL && moved != NULL);
        CHECK(rename(path, moved) == 0);
        CHECK(symlink(moved, path) == 0);
        CHECK(reopening(directory) == WAYBILL_ESYMLINK);
        CHECK(strstr(last_error.message, names[i]) != NULL);
        CHECK(unlink(path) == 0);
        CHECK(mkdir(path, 0700) == 0);
        CHECK(reopening(directory) == WAYBILL_ESYMLINK);
        CHECK(rmdir(path) == 0);
        CHECK(mkfifo(path, 0600) == 0);
        CHECK(reopening(directory) == WAYBILL_ESYMLINK);
        CHECK(unlink(path) == 0);
        CHECK(rename(moved, path) == 0);
        store = open_store(directory);
        CHECK(holds(store, NULL, "witness"));
        close_store(store);
        free(path);
        free(moved);
    }
}

static void a_failed_recover_may_be_tried_again(void) {
    char *const directory = strdup(closed_store());
    char *const snapshot = strdup(text("%s/snapshot", directory));
    char *const aside = strdup(text("%s/target", make_temp_dir()));
    waybill_store *store = create_store(directory, "", NULL);
    waybill_future *future = NULL;
    CHECK(rename(snapshot, aside) == 0 && symlink(aside, snapshot) == 0);
    CHECK(api->recover(store, &future, error_slot()) == WAYBILL_OK);
    CHECK(wait_and_free(future) == WAYBILL_ESYMLINK);
    CHECK(unlink(snapshot) == 0 && rename(aside, snapshot) == 0);
    CHECK(recover_store(store) == 1);
    check_unharmed(store);
    close_store(store);
    free(directory);
    free(snapshot);
    free(aside);
}

/** A place to mount file systems in; without root's rights, as the root of a user namespace. */
static void enter_mount_namespace(void) {
    const unsigned user = geteuid(), group = getegid();
    const char *map;
    if (unshare(CLONE_NEWNS) == 0)
        return;
    CHECK(unshare(CLONE_NEWUSER | CLONE_NEWNS) == 0);
    write_file("/proc/self/setgroups", "deny", 4);
    map = text("0 %u 1", user);
    write_file("/proc/self/uid_map", map, strlen(map));
    map = text("0 %u 1", group);
    write_file("/proc/self/gid_map", map, strlen(map));
}

static void check_full_disk(void *payload) {
    const char *directory = payload;
    waybill_store *store;
    waybill_future *future = NULL;
    waybill_image_spec spec = image_spec("busybox");
    const waybill_pair label = {"k", long_text('v', 4000)};
    unsigned stored = 0;
    int32_t status = WAYBILL_OK;
    enter_mount_namespace();
    CHECK(mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0);
    CHECK(mount("none", directory, "tmpfs", 0, "size=256k") == 0);
    store = open_store(directory);
    spec.labels = &label;
    spec.label_count = 1;
    while (stored < 1000) {
        spec.reference = text("image:%u", stored);
        status = put_specs(store, &spec, 1);
        if (status != WAYBILL_OK)
            break;
        ++stored;
    }
    CHECK(status == WAYBILL_ENOSPC && last_error.sys_errno == ENOSPC);
    CHECK(stored > 5 && image_count(store) == stored);
    CHECK(!holds(store, NULL, text("image:%u", stored)));
    CHECK(api->remove(store, NULL, "image:0", &future, error_slot()) == WAYBILL_OK);
    CHECK(outcome_of(future).existed == 1);
    CHECK(api->prune(store, NULL, NULL, 0, &future, error_slot()) == WAYBILL_OK);
    CHECK(outcome_of(future).image_count == stored - 1);
    close_store(store);
    store = open_store(directory);
    CHECK(image_count(store) == 0);
    close_store(store);
    CHECK(umount2(directory, MNT_DETACH) == 0);
}

static void a_full_disk_stores_nothing_and_still_removes(void) {
    char *directory = strdup(make_temp_dir());
    CHECK(directory != NULL);
    run_in_child(check_full_disk, directory);
    free(directory);
}

/* --- OCI layouts ------------------------------------------------------------------------------ */

static int32_t import_refusal(waybill_store *store, const char *directory) {
    waybill_future *future = NULL;
    int32_t status = api->import_oci(store, NULL, directory, NULL, &future, error_slot());
    if (status == WAYBILL_OK)
        status = wait_and_free(future);
    {
        const waybill_error kept = last_error;
        check_unharmed(store);
        last_error = kept;
    }
    return status;
}

static void missing_blobs_are_named(void) {
    waybill_store *store = witnessed_store();
    int blob;
    for (blob = 0; blob < 2; ++blob) {
        const oci_fixture layout = make_layout("demo:app");
        const char *gone = blob == 0 ? layout.manifest : layout.config;
        CHECK(unlink(blob_path(&layout, gone)) == 0);
        CHECK(import_refusal(store, layout.directory) == WAYBILL_ENOBLOB);
        CHECK(strstr(last_error.message, gone + strlen("sha256:")) != NULL);
    }
    close_store(store);
}

static void a_layout_with_its_layers_missing_is_refused(void) {
    waybill_store *store = witnessed_store();
    const oci_fixture layout = make_layout("demo:app");
    CHECK(unlink(blob_path(&layout, layout.layer)) == 0);
    CHECK(import_refusal(store, layout.directory) == WAYBILL_ENOBLOB);
    CHECK(strstr(last_error.message, layout.layer + strlen("sha256:")) != NULL);
    close_store(store);
}

static void damaged_blobs_are_named(void) {
    waybill_store *store = witnessed_store();
    int blob;
    for (blob = 0; blob < 3; ++blob) {
        const oci_fixture layout = make_layout("demo:app");
        const char *damaged = blob == 0   ? layout.manifest
                              : blob == 1 ? layout.config
                                          : layout.layer;
        const char *path = blob_path(&layout, damaged);
        struct stat found;
        if (blob < 2) { /* Same size, other bytes. */
            FILE *file = fopen(path, "r+e");
            CHECK(file != NULL && fseek(file, 20, SEEK_SET) == 0);
            CHECK(fputc('~', file) != EOF && fclose(file) == 0);
            CHECK(import_refusal(store, layout.directory) == WAYBILL_EBADBLOB);
            CHECK(strstr(last_error.message, damaged + strlen("sha256:")) != NULL);
        }
        CHECK(stat(path, &found) == 0 && truncate(path, found.st_size - 1) == 0);
        CHECK(import_refusal(store, layout.directory) == WAYBILL_EBADBLOB);
        CHECK(strstr(last_error.message, damaged + strlen("sha256:")) != NULL);
    }
    close_store(store);
}

static void layouts_that_are_none_are_refused(void) {
    waybill_store *store = witnessed_store();
    const oci_fixture layout = make_layout("demo:app");
    const char *index = text("%s/index.json", layout.directory);
    CHECK(import_refusal(store, "/nowhere/at/all") < 0);
    CHECK(last_error.code == WAYBILL_ENOTFOUND || last_error.code == WAYBILL_ENOBLOB);
    write_file(index, "{\"schemaVersion\":2,", 19);
    CHECK(import_refusal(store, layout.directory) == WAYBILL_EBADBLOB);
    CHECK(strstr(last_error.message, "index.json") && strstr(last_error.message, "byte"));
    CHECK(unlink(text("%s/index.json", layout.directory)) == 0);
    CHECK(import_refusal(store, layout.directory) == WAYBILL_ENOTFOUND);
    CHECK(strstr(last_error.message, "index.json") != NULL);
    close_store(store);
}

static void a_blob_outside_the_layout_is_not_reached(void) {
    waybill_store *store = witnessed_store();
    const oci_fixture layout = make_layout("demo:app");
    const char *path = blob_path(&layout, layout.config);
    const char *outside = text("%s/config", make_temp_dir());
    CHECK(rename(path, outside) == 0 && symlink(outside, path) == 0);
    CHECK(import_refusal(store, layout.directory) == WAYBILL_ESYMLINK);
    close_store(store);
}

int main(int argc, char **argv) {
    static const outcome_test tests[] = {
        TEST(null_stores_and_texts_are_refused),
        TEST(null_keep_names_are_refused_by_index),
        TEST(null_futures_images_and_queues_are_refused),
        TEST(null_members_of_an_image_are_refused_by_name),
        TEST(wrong_struct_sizes_are_refused),
        TEST(wrong_struct_sizes_of_views_are_refused),
        TEST(an_error_of_the_wrong_size_is_not_written_to),
        TEST(invalid_references_are_refused_at_their_byte),
        TEST(over_long_references_are_refused_with_the_limit),
        TEST(invalid_namespaces_are_refused),
        TEST(an_empty_namespace_is_not_all_namespaces),
        TEST(digests_that_do_not_parse_are_refused_at_their_byte),
        TEST(a_layer_count_out_of_bounds_is_refused),
        TEST(layer_ids_that_are_no_path_component_are_refused),
        TEST(labels_out_of_bounds_are_refused),
        TEST(members_that_are_not_what_they_should_be_are_refused),
        TEST(a_record_over_the_configured_size_is_refused),
        TEST(queries_that_contradict_themselves_are_refused),
        TEST(unknown_configuration_keys_are_refused_with_the_nearest_one),
        TEST(configurations_that_make_no_sense_are_refused),
        TEST(directories_that_cannot_be_made_are_refused),
        TEST(an_unwritable_directory_is_refused),
        TEST(a_directory_that_is_not_ours_is_left_as_it_was),
        TEST(a_symlink_in_the_place_of_a_store_file_is_not_followed),
        TEST(a_failed_recover_may_be_tried_again),
        TEST(a_full_disk_stores_nothing_and_still_removes),
        TEST(missing_blobs_are_named),
        TEST(a_layout_with_its_layers_missing_is_refused),
        TEST(damaged_blobs_are_named),
        TEST(layouts_that_are_none_are_refused),
        TEST(a_blob_outside_the_layout_is_not_reached),
    };
    return run_tests(argc, argv, tests, sizeof tests / sizeof *tests);
}
