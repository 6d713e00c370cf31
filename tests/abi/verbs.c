/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: Waybill contributors
 *
 * Each verb does what its paragraph in waybill.h says.
 */
#include "check.h"
#include "oci_fixture.h"

/* --- life ------------------------------------------------------------------------------------- */

static void create_makes_the_directory_and_what_is_missing_above_it(void) {
    const char *root = text("%s/a/b/c", make_temp_dir());
    waybill_store *store = open_store(root);
    CHECK(access(text("%s/LOCK", root), F_OK) == 0);
    close_store(store);
}

static void create_without_permission_to_make_the_directory_leaves_it_unmade(void) {
    const char *root = text("%s/none", make_temp_dir());
    waybill_store *store = (waybill_store *)&last_error;
    CHECK(api->create(text("{\"root\":\"%s\",\"create\":false}", root), NULL, &store,
                      error_slot()) == WAYBILL_ENOTFOUND);
    CHECK(store == (waybill_store *)&last_error);
    CHECK(access(root, F_OK) != 0);
}

static void destroying_nothing_is_fine(void) {
    CHECK(api->destroy(NULL, error_slot()) == WAYBILL_OK);
}

static void a_store_that_was_never_recovered_can_be_destroyed(void) {
    close_store(create_store(make_temp_dir(), "", NULL));
}

static void recover_reports_what_it_found(void) {
    const char *root = make_temp_dir();
    waybill_outcome outcome;
    waybill_future *future = NULL;
    waybill_store *store = open_store(root);
    put_one(store, "busybox");
    put_one(store, "alpine");
    close_store(store);
    store = create_store(root, "", NULL);
    CHECK(api->recover(store, &future, error_slot()) == WAYBILL_OK);
    CHECK(api->future_wait(future, -1, error_slot()) == WAYBILL_OK);
    memset(&outcome, 0, sizeof outcome);
    outcome.struct_size = sizeof outcome;
    CHECK(api->future_result(future, &outcome, error_slot()) == WAYBILL_OK);
    CHECK(outcome.image_count == 2);
    CHECK(outcome.report_json != NULL && outcome.report_json[0] == '{');
    CHECK(strstr(outcome.report_json, "\"images\":2") != NULL);
    CHECK(strstr(outcome.report_json, "\"degraded\":false") != NULL);
    CHECK(strstr(outcome.report_json, "\"damage\":[]") != NULL);
    CHECK(strstr(outcome.report_json, "\"droppedTailBytes\":0") != NULL);
    CHECK(strstr(outcome.report_json, "\"possiblyAcknowledged\":0") != NULL);
    CHECK(strstr(outcome.report_json, "\"incompleteImages\":0") != NULL);
    CHECK(strstr(outcome.report_json, "\"revision\":") != NULL);
    CHECK(strstr(outcome.report_json, "\"milliseconds\":") != NULL);
    api->future_free(future);
    close_store(store);
}

static void second_recover_is_refused(void) {
    waybill_store *store = open_store(make_temp_dir());
    waybill_future *future = NULL;
    CHECK(api->recover(store, &future, error_slot()) == WAYBILL_ESTATE);
    CHECK(future == NULL);
    put_one(store, "busybox");
    close_store(store);
}

static void verbs_before_recover_are_refused(void) {
    waybill_store *store = create_store(make_temp_dir(), "", NULL);
    const waybill_image_spec spec = image_spec("busybox");
    waybill_future *future = NULL;
    waybill_image *image = NULL;
    unsigned count = 0;
    char *json = NULL;
    CHECK(api->put(store, &spec, 1, &future, error_slot()) == WAYBILL_ESTATE);
    CHECK(api->get(store, NULL, "busybox", 1, &image, error_slot()) == WAYBILL_ESTATE);
    CHECK(api->remove(store, NULL, "busybox", &future, error_slot()) == WAYBILL_ESTATE);
    CHECK(api->prune(store, NULL, NULL, 0, &future, error_slot()) == WAYBILL_ESTATE);
    CHECK(api->import_oci(store, NULL, "/nowhere", NULL, &future, error_slot()) == WAYBILL_ESTATE);
    CHECK(api->visit(store, NULL, count_image, &count, error_slot()) == WAYBILL_ESTATE);
    CHECK(api->report(store, "stats", NULL, &json, error_slot()) == WAYBILL_ESTATE);
    CHECK(api->refresh(store, &future, error_slot()) == WAYBILL_ESTATE);
    CHECK(api->accept_loss(store, &future, error_slot()) == WAYBILL_ESTATE);
    CHECK(future == NULL && image == NULL && json == NULL && count == 0);
    CHECK(recover_store(store) == 0);
    close_store(store);
}

static void everything_survives_destroy_and_recover(void) {
    const char *root = make_temp_dir();
    waybill_store *store = open_store(root);
    waybill_image_spec spec = image_spec("registry.example:5000/Team/app:v1");
    const waybill_pair labels[] = {{"b", "2"}, {"a", ""}};
    const waybill_pair annotations[] = {{"note", "gr\xc3\xbc\xc3\x9f"}};
    waybill_layer layers[2];
    waybill_image *image;
    waybill_image_view before, after;
    waybill_layer_view layer;
    waybill_pair pair;
    layers[0] = layer_of(digest(1));
    layers[0].media_type = "application/vnd.oci.image.layer.v1.tar+gzip";
    layers[0].size_bytes = 12345;
    layers[1] = layer_of(NULL);
    layers[1].id = "chain-id";
    spec.reference = "registry.example:5000/team/app:v1";
    spec.name_space = "k8s.io";
    spec.pinned = 1;
    spec.target_media_type = "application/vnd.oci.image.manifest.v1+json";
    spec.target_size_bytes = 528;
    spec.config_digest = digest(7);
    spec.layers = layers;
    spec.layer_count = 2;
    spec.labels = labels;
    spec.label_count = 2;
    spec.annotations = annotations;
    spec.annotation_count = 1;
    spec.os = "linux";
    spec.architecture = "arm";
    spec.variant = "v7";
    spec.os_version = "10.0";
    spec.created_ns = 11;
    spec.updated_ns = 22;
    spec.last_used_ns = 33;
    CHECK(put_specs(store, &spec, 1) == WAYBILL_OK);
    image = get_image(store, "k8s.io", spec.reference);
    before = view_of(image);
    api->image_free(image);
    close_store(store);

    store = open_store(root);
    image = get_image(store, "k8s.io", spec.reference);
    after = view_of(image);
    CHECK(after.revision == before.revision && after.revision != 0);
    CHECK(after.state == 0 && after.pinned == 1);
    CHECK(strcmp(after.name_space, "k8s.io") == 0);
    CHECK(strcmp(after.reference, spec.reference) == 0);
    CHECK(strcmp(after.media_type, spec.target_media_type) == 0);
    CHECK(strcmp(after.os, "linux") == 0 && strcmp(after.architecture, "arm") == 0);
    CHECK(strcmp(after.variant, "v7") == 0 && strcmp(after.os_version, "10.0") == 0);
    CHECK(after.size_bytes == 528);
    CHECK(after.created_ns == 11 && after.updated_ns == 22 && after.last_used_ns == 33);
    CHECK(strcmp(after.target_digest, digest(0xabc)) == 0);
    CHECK(strcmp(after.config_digest, digest(7)) == 0);
    CHECK(after.layer_count == 2 && after.label_count == 2 && after.annotation_count == 1);
    memset(&layer, 0, sizeof layer);
    layer.struct_size = sizeof layer;
    CHECK(api->image_layer(image, 0, &layer, error_slot()) == WAYBILL_OK);
    CHECK(strcmp(layer.id, digest(1)) == 0 && strcmp(layer.digest, digest(1)) == 0);
    CHECK(layer.size_bytes == 12345 && strcmp(layer.media_type, layers[0].media_type) == 0);
    CHECK(api->image_layer(image, 1, &layer, error_slot()) == WAYBILL_OK);
    CHECK(strcmp(layer.id, "chain-id") == 0 && layer.digest[0] == '\0');
    CHECK(layer.size_bytes == 0 && layer.media_type[0] == '\0');
    CHECK(api->image_label(image, 0, &pair, error_slot()) == WAYBILL_OK);
    CHECK(strcmp(pair.key, "a") == 0 && strcmp(pair.value, "") == 0);
    CHECK(api->image_label(image, 1, &pair, error_slot()) == WAYBILL_OK);
    CHECK(strcmp(pair.key, "b") == 0 && strcmp(pair.value, "2") == 0);
    CHECK(api->image_annotation(image, 0, &pair, error_slot()) == WAYBILL_OK);
    CHECK(strcmp(pair.key, "note") == 0 && strcmp(pair.value, "gr\xc3\xbc\xc3\x9f") == 0);
    api->image_free(image);
    close_store(store);
}

/* --- put -------------------------------------------------------------------------------------- */

static uint64_t revision_of(waybill_store *store, const char *reference) {
    waybill_image *image = get_image(store, NULL, reference);
    const uint64_t revision = view_of(image).revision;
    api->image_free(image);
    return revision;
}

static void put_replaces_and_keeps_the_creation_time(void) {
    waybill_store *store = open_store(make_temp_dir());
    waybill_image_spec spec = image_spec("busybox");
    waybill_image *image;
    waybill_image_view first, second;
    put_one(store, "busybox");
    image = get_image(store, NULL, "busybox");
    first = view_of(image);
    api->image_free(image);
    CHECK(first.created_ns > 0 && first.updated_ns > 0);
    spec.target_digest = digest(2);
    spec.updated_ns = first.updated_ns + 5;
    CHECK(put_specs(store, &spec, 1) == WAYBILL_OK);
    image = get_image(store, NULL, "busybox");
    second = view_of(image);
    CHECK(second.created_ns == first.created_ns);
    CHECK(second.updated_ns == first.updated_ns + 5);
    CHECK(second.revision > first.revision);
    CHECK(strcmp(second.target_digest, digest(2)) == 0);
    api->image_free(image);
    CHECK(image_count(store) == 1);
    close_store(store);
}

static void put_if_absent_refuses_a_name_that_is_held(void) {
    waybill_store *store = open_store(make_temp_dir());
    waybill_image_spec spec = image_spec("docker.io/library/busybox:latest");
    spec.condition = WAYBILL_PUT_IF_ABSENT;
    CHECK(put_specs(store, &spec, 1) == WAYBILL_OK);
    spec.reference = "busybox";
    CHECK(put_specs(store, &spec, 1) == WAYBILL_EEXIST);
    CHECK(image_count(store) == 1);
    close_store(store);
}

static void put_if_revision_replaces_only_that_revision(void) {
    waybill_store *store = open_store(make_temp_dir());
    waybill_image_spec spec = image_spec("busybox");
    uint64_t revision;
    spec.condition = WAYBILL_PUT_IF_REVISION;
    spec.expected_revision = 1;
    CHECK(put_specs(store, &spec, 1) == WAYBILL_ECONFLICT);
    CHECK(!holds(store, NULL, "busybox"));
    put_one(store, "busybox");
    revision = revision_of(store, "busybox");
    spec.expected_revision = revision + 1;
    CHECK(put_specs(store, &spec, 1) == WAYBILL_ECONFLICT);
    CHECK(revision_of(store, "busybox") == revision);
    spec.expected_revision = revision;
    CHECK(put_specs(store, &spec, 1) == WAYBILL_OK);
    CHECK(revision_of(store, "busybox") > revision);
    close_store(store);
}

static void many_images_are_put_all_or_none(void) {
    waybill_store *store = open_store(make_temp_dir());
    waybill_image_spec specs[3];
    waybill_future *future = NULL;
    waybill_outcome outcome;
    put_one(store, "held");
    specs[0] = image_spec("one");
    specs[1] = image_spec("held");
    specs[1].condition = WAYBILL_PUT_IF_ABSENT;
    specs[2] = image_spec("three");
    CHECK(put_specs(store, specs, 3) == WAYBILL_EEXIST);
    CHECK(image_count(store) == 1);
    specs[1].condition = WAYBILL_PUT_ANY;
    CHECK(api->put(store, specs, 3, &future, error_slot()) == WAYBILL_OK);
    outcome = outcome_of(future);
    CHECK(outcome.image_count == 3 && outcome.revision != 0);
    CHECK(revision_of(store, "one") == outcome.revision);
    CHECK(revision_of(store, "held") == outcome.revision);
    CHECK(revision_of(store, "three") == outcome.revision);
    close_store(store);
}

static void a_name_given_twice_in_one_call_is_refused(void) {
    waybill_store *store = open_store(make_temp_dir());
    waybill_image_spec specs[2];
    waybill_future *future = NULL;
    specs[0] = image_spec("busybox");
    specs[1] = image_spec("docker.io/library/busybox:latest");
    CHECK(api->put(store, specs, 2, &future, error_slot()) == WAYBILL_EINVAL);
    CHECK(strcmp(last_error.field, "images[1].reference") == 0);
    CHECK(future == NULL && image_count(store) == 0);
    specs[1].name_space = "other";
    CHECK(put_specs(store, specs, 2) == WAYBILL_OK);
    close_store(store);
}

static void replacing_is_possible_while_the_store_holds_all_it_may(void) {
    waybill_store *store = open_store_as(make_temp_dir(), ",\"limits\":{\"images\":2}");
    waybill_image_spec spec = image_spec("one");
    waybill_future *futures[200];
    int i;
    put_one(store, "one");
    put_one(store, "two");
    spec.reference = "three";
    CHECK(put_specs(store, &spec, 1) == WAYBILL_ELIMIT);
    for (i = 0; i < 200; ++i) {
        spec.reference = i % 2 ? "one" : "two";
        CHECK(api->put(store, &spec, 1, &futures[i], error_slot()) == WAYBILL_OK);
    }
    for (i = 0; i < 200; ++i)
        CHECK(wait_and_free(futures[i]) == WAYBILL_OK);
    CHECK(image_count(store) == 2);
    close_store(store);
}

/* --- get and remove --------------------------------------------------------------------------- */

static void get_finds_any_spelling(void) {
    static const char *const spellings[] = {"busybox",
                                            "busybox:latest",
                                            "library/busybox",
                                            "docker.io/busybox",
                                            "index.docker.io/library/busybox",
                                            "docker.io/library/busybox:latest"};
    waybill_store *store = open_store(make_temp_dir());
    size_t i;
    put_one(store, "busybox");
    for (i = 0; i < sizeof spellings / sizeof *spellings; ++i) {
        waybill_image *image = get_image(store, "default", spellings[i]);
        const waybill_image_view view = view_of(image);
        CHECK(strcmp(view.reference, "docker.io/library/busybox:latest") == 0);
        CHECK(strcmp(view.spelled, "busybox") == 0);
        CHECK(strcmp(view.name_space, "default") == 0);
        api->image_free(image);
    }
    CHECK(!holds(store, NULL, "busybox:1"));
    CHECK(!holds(store, "other", "busybox"));
    close_store(store);
}

static void get_of_a_fresh_answer_finds_nothing_and_forgets_nothing(void) {
    waybill_store *store = open_store(make_temp_dir());
    waybill_image *image = NULL;
    put_one(store, "busybox");
    CHECK(api->get(store, NULL, "busybox", 0, &image, error_slot()) == WAYBILL_ENOTFOUND);
    CHECK(image == NULL);
    CHECK(holds(store, NULL, "busybox"));
    close_store(store);
}

static void remove_says_whether_there_was_an_image(void) {
    waybill_store *store = open_store(make_temp_dir());
    waybill_image_spec spec = image_spec("busybox");
    waybill_future *future = NULL;
    waybill_outcome outcome;
    spec.pinned = 1;
    CHECK(put_specs(store, &spec, 1) == WAYBILL_OK);
    CHECK(api->remove(store, NULL, "library/busybox", &future, error_slot()) == WAYBILL_OK);
    outcome = outcome_of(future);
    CHECK(outcome.existed == 1 && outcome.revision != 0);
    CHECK(!holds(store, NULL, "busybox"));
    CHECK(api->remove(store, NULL, "busybox", &future, error_slot()) == WAYBILL_OK);
    outcome = outcome_of(future);
    CHECK(outcome.existed == 0 && outcome.revision == 0);
    close_store(store);
}

/* --- prune ------------------------------------------------------------------------------------ */

static waybill_future *prune(waybill_store *store, const char *name_space, const char *const *keep,
                             uint32_t count) {
    waybill_future *future = NULL;
    CHECK(api->prune(store, name_space, keep, count, &future, error_slot()) == WAYBILL_OK);
    CHECK(api->future_wait(future, -1, error_slot()) == WAYBILL_OK);
    return future;
}

static waybill_outcome result_of(waybill_future *future) {
    waybill_outcome outcome;
    memset(&outcome, 0, sizeof outcome);
    outcome.struct_size = sizeof outcome;
    CHECK(api->future_result(future, &outcome, error_slot()) == WAYBILL_OK);
    return outcome;
}

static int lists_blob(waybill_future *future, uint32_t set, uint32_t kind, const char *id) {
    const waybill_outcome outcome = result_of(future);
    const uint64_t count =
        set == WAYBILL_LAYERS_UNUSED ? outcome.unused_layer_count : outcome.used_layer_count;
    char earlier[WAYBILL_LAYER_ID_BYTES] = "";
    int found = 0;
    waybill_blob_view view;
    uint64_t i;
    memset(&view, 0, sizeof view);
    view.struct_size = sizeof view;
    for (i = 0; i < count; ++i) {
        CHECK(api->prune_layer(future, set, i, &view, error_slot()) == WAYBILL_OK);
        CHECK(strcmp(earlier, view.id) <= 0);
        strcpy(earlier, view.id);
        found |= view.kind == kind && strcmp(view.id, id) == 0;
    }
    CHECK(api->prune_layer(future, set, count, &view, error_slot()) == WAYBILL_ENOTFOUND);
    return found;
}

static void put_layers(waybill_store *store, const char *name_space, const char *reference,
                       unsigned config, unsigned first, unsigned second) {
    waybill_image_spec spec = image_spec(reference);
    waybill_layer layers[2];
    layers[0] = layer_of(digest(first));
    layers[1] = layer_of(digest(second));
    spec.name_space = name_space;
    spec.config_digest = digest(config);
    spec.layers = layers;
    spec.layer_count = 2;
    CHECK(put_specs(store, &spec, 1) == WAYBILL_OK);
}

static void prune_keeps_what_is_named_in_any_spelling(void) {
    static const char *const keep[] = {"index.docker.io/library/busybox", "never/heard:of"};
    waybill_store *store = open_store(make_temp_dir());
    waybill_image_spec spec = image_spec("pinned");
    waybill_key_view key;
    waybill_future *future;
    put_one(store, "busybox");
    put_one(store, "zebra");
    put_one(store, "alpine");
    spec.pinned = 1;
    CHECK(put_specs(store, &spec, 1) == WAYBILL_OK);
    future = prune(store, NULL, keep, 2);
    CHECK(result_of(future).image_count == 2);
    CHECK(result_of(future).revision != 0);
    memset(&key, 0, sizeof key);
    key.struct_size = sizeof key;
    CHECK(api->prune_image(future, 0, &key, error_slot()) == WAYBILL_OK);
    CHECK(strcmp(key.name_space, "default") == 0);
    CHECK(strcmp(key.reference, "docker.io/library/alpine:latest") == 0);
    CHECK(api->prune_image(future, 1, &key, error_slot()) == WAYBILL_OK);
    CHECK(strcmp(key.reference, "docker.io/library/zebra:latest") == 0);
    CHECK(api->prune_image(future, 2, &key, error_slot()) == WAYBILL_ENOTFOUND);
    api->future_free(future);
    CHECK(holds(store, NULL, "busybox") && holds(store, NULL, "pinned"));
    CHECK(image_count(store) == 2);
    close_store(store);
}

static void prune_of_one_namespace_spares_the_layers_of_others(void) {
    waybill_store *store = open_store(make_temp_dir());
    waybill_future *future;
    put_layers(store, "a", "app", 100, 1, 2);
    put_layers(store, "b", "app", 101, 1, 3);
    future = prune(store, "a", NULL, 0);
    CHECK(result_of(future).image_count == 1);
    CHECK(lists_blob(future, WAYBILL_LAYERS_UNUSED, WAYBILL_BLOB_LAYER, digest(2)));
    CHECK(lists_blob(future, WAYBILL_LAYERS_UNUSED, WAYBILL_BLOB_CONFIG, digest(100)));
    CHECK(!lists_blob(future, WAYBILL_LAYERS_UNUSED, WAYBILL_BLOB_LAYER, digest(1)));
    CHECK(lists_blob(future, WAYBILL_LAYERS_USED, WAYBILL_BLOB_LAYER, digest(1)));
    CHECK(lists_blob(future, WAYBILL_LAYERS_USED, WAYBILL_BLOB_LAYER, digest(3)));
    CHECK(lists_blob(future, WAYBILL_LAYERS_USED, WAYBILL_BLOB_CONFIG, digest(101)));
    CHECK(result_of(future).unused_layer_count == 2 && result_of(future).used_layer_count == 3);
    api->future_free(future);
    CHECK(!holds(store, "a", "app") && holds(store, "b", "app"));
    future = prune(store, NULL, NULL, 0);
    CHECK(result_of(future).image_count == 1 && result_of(future).used_layer_count == 0);
    api->future_free(future);
    CHECK(image_count(store) == 0);
    close_store(store);
}

static void prune_that_removes_nothing_writes_nothing(void) {
    waybill_store *store = open_store(make_temp_dir());
    static const char *const keep[] = {"busybox"};
    waybill_future *future;
    waybill_blob_view view;
    put_one(store, "busybox");
    future = prune(store, NULL, keep, 1);
    CHECK(result_of(future).image_count == 0 && result_of(future).revision == 0);
    CHECK(result_of(future).unused_layer_count == 0 && result_of(future).used_layer_count == 1);
    memset(&view, 0, sizeof view);
    view.struct_size = sizeof view;
    CHECK(api->prune_layer(future, 2, 0, &view, error_slot()) == WAYBILL_EINVAL);
    api->future_free(future);
    close_store(store);
}

/* --- visit ------------------------------------------------------------------------------------ */

typedef struct visitor {
    waybill_store *store;
    unsigned stop_after; /**< 0: never */
    int32_t answer;
    unsigned count;
    char names[16][128];
    waybill_image *images[16];
} visitor;

static int32_t note_image(void *payload, waybill_image *image) {
    visitor *to = payload;
    const waybill_image_view view = view_of(image);
    CHECK(to->count < 16);
    snprintf(to->names[to->count], sizeof to->names[0], "%s %s", view.name_space, view.reference);
    to->images[to->count++] = image;
    if (to->store)
        CHECK(holds(to->store, view.name_space, view.reference));
    return to->count == to->stop_after ? WAYBILL_VISIT_STOP : to->answer;
}

static waybill_query empty_query(void) {
    waybill_query query;
    memset(&query, 0, sizeof query);
    query.struct_size = sizeof query;
    return query;
}

static visitor visit(waybill_store *store, const waybill_query *query) {
    visitor to;
    memset(&to, 0, sizeof to);
    to.store = store;
    CHECK(api->visit(store, query, note_image, &to, error_slot()) == WAYBILL_OK);
    return to;
}

static waybill_store *visited_store(void) {
    waybill_store *store = open_store(make_temp_dir());
    waybill_image_spec spec = image_spec("zebra");
    const waybill_pair label = {"team", "red"};
    put_layers(store, "b", "quay.io/x/one", 100, 1, 2);
    put_layers(store, "a", "quay.io/x/two", 101, 2, 3);
    put_layers(store, "a", "quay.io/x/four", 102, 4, 5);
    spec.name_space = "a";
    spec.labels = &label;
    spec.label_count = 1;
    spec.target_digest = digest(77);
    CHECK(put_specs(store, &spec, 1) == WAYBILL_OK);
    return store;
}

static void visit_shows_images_sorted_by_namespace_and_reference(void) {
    waybill_store *store = visited_store();
    const visitor seen = visit(store, NULL);
    CHECK(seen.count == 4);
    CHECK(strcmp(seen.names[0], "a docker.io/library/zebra:latest") == 0);
    CHECK(strcmp(seen.names[1], "a quay.io/x/four:latest") == 0);
    CHECK(strcmp(seen.names[2], "a quay.io/x/two:latest") == 0);
    CHECK(strcmp(seen.names[3], "b quay.io/x/one:latest") == 0);
    close_store(store);
}

static void visit_restricts_to_what_the_query_says(void) {
    waybill_store *store = visited_store();
    waybill_query query = empty_query();
    query.name_space = "a";
    CHECK(visit(store, &query).count == 3);
    query.prefix = "quay.io/x/t";
    CHECK(visit(store, &query).count == 1);
    query = empty_query();
    query.digest = digest(2);
    CHECK(visit(store, &query).count == 2);
    query.digest = digest(77);
    CHECK(visit(store, &query).count == 1);
    query.digest = digest(102);
    CHECK(visit(store, &query).count == 1);
    query.digest = digest(999);
    CHECK(visit(store, &query).count == 0);
    query = empty_query();
    query.label_key = "team";
    CHECK(visit(store, &query).count == 1);
    query.label_value = "red";
    CHECK(visit(store, &query).count == 1);
    query.label_value = "blue";
    CHECK(visit(store, &query).count == 0);
    query = empty_query();
    query.state_any = WAYBILL_IMAGE_INCOMPLETE;
    CHECK(visit(store, &query).count == 0);
    close_store(store);
}

static void visit_pages_with_limit_and_cursor(void) {
    waybill_store *store = visited_store();
    const visitor whole = visit(store, NULL);
    waybill_query query = empty_query();
    char name_space[64] = "", reference[128] = "";
    unsigned i;
    query.limit = 1;
    for (i = 0; i < 4; ++i) {
        const visitor page = visit(store, &query);
        CHECK(page.count == 1);
        CHECK(strcmp(page.names[0], whole.names[i]) == 0);
        CHECK(sscanf(page.names[0], "%63s %127s", name_space, reference) == 2);
        query.after_name_space = name_space;
        query.after_reference = reference;
    }
    CHECK(visit(store, &query).count == 0);
    query.after_reference = "quay.io/x/0"; /* Not held itself. */
    query.after_name_space = "a";
    query.limit = 0;
    CHECK(visit(store, &query).count == 3);
    close_store(store);
}

static void visit_stops_or_hands_over_as_the_callback_answers(void) {
    waybill_store *store = visited_store();
    visitor to;
    unsigned i;
    memset(&to, 0, sizeof to);
    to.stop_after = 2;
    CHECK(api->visit(store, NULL, note_image, &to, error_slot()) == WAYBILL_OK);
    CHECK(to.count == 2);
    memset(&to, 0, sizeof to);
    to.answer = WAYBILL_VISIT_KEEP;
    CHECK(api->visit(store, NULL, note_image, &to, error_slot()) == WAYBILL_OK);
    close_store(store);
    CHECK(to.count == 4);
    for (i = 0; i < to.count; ++i) {
        CHECK(strstr(to.names[i], view_of(to.images[i]).reference) != NULL);
        api->image_free(to.images[i]);
    }
}

/* --- reports, refresh, accept_loss ------------------------------------------------------------ */

static void reports_are_json_by_name(void) {
    waybill_store *store = open_store(make_temp_dir());
    char *json = NULL;
    put_one(store, "busybox");
    CHECK(api->report(store, "stats", NULL, &json, error_slot()) == WAYBILL_OK);
    CHECK(json[0] == '{' && strstr(json, "\"images\":1") != NULL);
    api->text_free(json);
    json = NULL;
    CHECK(api->report(store, "recovery", "{}", &json, error_slot()) == WAYBILL_OK);
    CHECK(json[0] == '{' && strstr(json, "\"images\":0") != NULL);
    api->text_free(json);
    json = NULL;
    CHECK(api->report(store, "nonsense", NULL, &json, error_slot()) == WAYBILL_ENOTFOUND);
    CHECK(strstr(last_error.message, "stats") && strstr(last_error.message, "recovery"));
    CHECK(api->report(store, "stats", "{\"a\":1}", &json, error_slot()) == WAYBILL_EINVAL);
    CHECK(json == NULL);
    api->text_free(NULL);
    close_store(store);
}

static int32_t answer_presence(void *payload, const char *layer_id) {
    (void)layer_id;
    return *(const int32_t *)payload;
}

static void refresh_checks_anew_which_layers_are_on_disk(void) {
    int32_t presence = WAYBILL_LAYER_PRESENT;
    waybill_host host;
    waybill_store *store;
    waybill_future *future = NULL;
    waybill_image *image;
    waybill_query query = empty_query();
    memset(&host, 0, sizeof host);
    host.struct_size = sizeof host;
    host.payload = &presence;
    host.layer_present = answer_presence;
    store = create_store(make_temp_dir(), "", &host);
    (void)recover_store(store);
    put_one(store, "busybox");
    presence = WAYBILL_LAYER_MISSING;
    CHECK(api->refresh(store, &future, error_slot()) == WAYBILL_OK);
    CHECK(api->future_wait(future, -1, error_slot()) == WAYBILL_OK);
    CHECK(strstr(result_of(future).report_json, "\"incompleteImages\":1") != NULL);
    api->future_free(future);
    image = get_image(store, NULL, "busybox");
    CHECK(view_of(image).state == WAYBILL_IMAGE_INCOMPLETE);
    api->image_free(image);
    query.state_any = WAYBILL_IMAGE_INCOMPLETE;
    CHECK(visit(store, &query).count == 1);
    presence = WAYBILL_LAYER_UNKNOWN;
    CHECK(api->refresh(store, &future, error_slot()) == WAYBILL_OK);
    CHECK(outcome_of(future).image_count == 1);
    CHECK(visit(store, &query).count == 0);
    close_store(store);
}

static void accepting_no_loss_does_nothing(void) {
    waybill_store *store = open_store(make_temp_dir());
    waybill_future *future = NULL;
    put_one(store, "busybox");
    CHECK(api->accept_loss(store, &future, error_slot()) == WAYBILL_OK);
    CHECK(outcome_of(future).revision == 0);
    CHECK(holds(store, NULL, "busybox"));
    close_store(store);
}

/* --- import_oci ------------------------------------------------------------------------------- */

static void import_stores_what_the_layout_tags(void) {
    const oci_fixture layout = make_layout("registry.example/demo:app");
    waybill_store *store = open_store(make_temp_dir());
    waybill_future *future = NULL;
    waybill_image *image;
    waybill_image_view view;
    waybill_layer_view layer;
    CHECK(api->import_oci(store, "k8s.io", layout.directory, NULL, &future, error_slot()) ==
          WAYBILL_OK);
    CHECK(api->future_wait(future, -1, error_slot()) == WAYBILL_OK);
    CHECK(result_of(future).image_count == 1 && result_of(future).revision != 0);
    CHECK(strstr(result_of(future).report_json, "registry.example/demo:app") != NULL);
    api->future_free(future);
    image = get_image(store, "k8s.io", "registry.example/demo:app");
    view = view_of(image);
    CHECK(strcmp(view.target_digest, layout.manifest) == 0);
    CHECK(strcmp(view.config_digest, layout.config) == 0);
    CHECK(strcmp(view.os, "linux") == 0 && strcmp(view.architecture, "arm64") == 0);
    CHECK(view.created_ns == INT64_C(1709208000) * 1000000000);
    CHECK(view.size_bytes == layout.manifest_bytes && view.layer_count == 1);
    memset(&layer, 0, sizeof layer);
    layer.struct_size = sizeof layer;
    CHECK(api->image_layer(image, 0, &layer, error_slot()) == WAYBILL_OK);
    CHECK(strcmp(layer.digest, layout.layer) == 0 && layer.size_bytes == 41);
    api->image_free(image);
    close_store(store);
}

static int32_t import(waybill_store *store, const oci_fixture *layout, const char *reference) {
    waybill_future *future = NULL;
    CHECK(api->import_oci(store, NULL, layout->directory, reference, &future, error_slot()) ==
          WAYBILL_OK);
    return wait_and_free(future);
}

static void import_names_images_by_tag_or_outright(void) {
    const oci_fixture layout = make_layout("v1");
    waybill_store *store = open_store(make_temp_dir());
    CHECK(import(store, &layout, NULL) == WAYBILL_EINVAL);
    CHECK(import(store, &layout, "demo") == WAYBILL_OK);
    CHECK(holds(store, NULL, "demo:v1"));
    CHECK(import(store, &layout, "other:v2") == WAYBILL_OK);
    CHECK(holds(store, NULL, "other:v2"));
    write_index(&layout, NULL);
    CHECK(import(store, &layout, NULL) == WAYBILL_ENOTFOUND);
    CHECK(import(store, &layout, "third:v3") == WAYBILL_OK);
    CHECK(image_count(store) == 3);
    close_store(store);
}

/* --- images ----------------------------------------------------------------------------------- */

static void an_index_out_of_range_touches_nothing(void) {
    waybill_store *store = open_store(make_temp_dir());
    waybill_image *image;
    waybill_layer_view layer, layer_before;
    waybill_pair pair = {"key", "value"};
    put_one(store, "busybox");
    image = get_image(store, NULL, "busybox");
    memset(&layer, 0x55, sizeof layer);
    layer.struct_size = sizeof layer;
    layer_before = layer;
    CHECK(api->image_layer(image, 1, &layer, error_slot()) == WAYBILL_ENOTFOUND);
    CHECK(api->image_layer(image, UINT32_MAX, &layer, error_slot()) == WAYBILL_ENOTFOUND);
    CHECK(memcmp(&layer, &layer_before, sizeof layer) == 0);
    CHECK(api->image_label(image, 0, &pair, error_slot()) == WAYBILL_ENOTFOUND);
    CHECK(api->image_annotation(image, 0, &pair, error_slot()) == WAYBILL_ENOTFOUND);
    CHECK(strcmp(pair.key, "key") == 0 && strcmp(pair.value, "value") == 0);
    api->image_free(image);
    api->image_free(NULL);
    close_store(store);
}

static void an_error_is_left_alone_on_success(void) {
    waybill_store *store = open_store(make_temp_dir());
    waybill_error error, before;
    waybill_image *image = NULL;
    put_one(store, "busybox");
    memset(&error, 0x55, sizeof error);
    error.struct_size = sizeof error;
    before = error;
    CHECK(api->get(store, NULL, "busybox", 1, &image, &error) == WAYBILL_OK);
    CHECK(memcmp(&error, &before, sizeof error) == 0);
    api->image_free(image);
    CHECK(api->get(store, NULL, "none", 1, &image, NULL) == WAYBILL_ENOTFOUND);
    CHECK(api->get(store, NULL, "none", 1, &image, &error) == WAYBILL_ENOTFOUND);
    CHECK(error.code == WAYBILL_ENOTFOUND && error.struct_size == sizeof error);
    CHECK(error.position == -1 && error.message[0] != '\0');
    close_store(store);
}

int main(int argc, char **argv) {
    static const outcome_test tests[] = {
        TEST(create_makes_the_directory_and_what_is_missing_above_it),
        TEST(create_without_permission_to_make_the_directory_leaves_it_unmade),
        TEST(destroying_nothing_is_fine),
        TEST(a_store_that_was_never_recovered_can_be_destroyed),
        TEST(recover_reports_what_it_found),
        TEST(second_recover_is_refused),
        TEST(verbs_before_recover_are_refused),
        TEST(everything_survives_destroy_and_recover),
        TEST(put_replaces_and_keeps_the_creation_time),
        TEST(put_if_absent_refuses_a_name_that_is_held),
        TEST(put_if_revision_replaces_only_that_revision),
        TEST(many_images_are_put_all_or_none),
        TEST(a_name_given_twice_in_one_call_is_refused),
        TEST(replacing_is_possible_while_the_store_holds_all_it_may),
        TEST(get_finds_any_spelling),
        TEST(get_of_a_fresh_answer_finds_nothing_and_forgets_nothing),
        TEST(remove_says_whether_there_was_an_image),
        TEST(prune_keeps_what_is_named_in_any_spelling),
        TEST(prune_of_one_namespace_spares_the_layers_of_others),
        TEST(prune_that_removes_nothing_writes_nothing),
        TEST(visit_shows_images_sorted_by_namespace_and_reference),
        TEST(visit_restricts_to_what_the_query_says),
        TEST(visit_pages_with_limit_and_cursor),
        TEST(visit_stops_or_hands_over_as_the_callback_answers),
        TEST(reports_are_json_by_name),
        TEST(refresh_checks_anew_which_layers_are_on_disk),
        TEST(accepting_no_loss_does_nothing),
        TEST(import_stores_what_the_layout_tags),
        TEST(import_names_images_by_tag_or_outright),
        TEST(an_index_out_of_range_touches_nothing),
        TEST(an_error_is_left_alone_on_success),
    };
    return run_tests(argc, argv, tests, sizeof tests / sizeof *tests);
}
