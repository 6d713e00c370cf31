/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: Waybill contributors
 *
 * The smallest host: put_get /ABSOLUTE/DIRECTORY [LIBRARY] records one image and reads it back.
 */
#include <waybill/waybill.h>

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>

static waybill_error error = {.struct_size = sizeof error};

static void must(int32_t status) {
    if (status == WAYBILL_OK)
        return;
    fprintf(stderr, "put_get: %s\n", error.message);
    exit(EXIT_FAILURE);
}

static void finish(const waybill_api *api, waybill_future *future) {
    must(api->future_wait(future, -1, &error));
    api->future_free(future);
}

static void put_and_get(const waybill_api *api, const char *config,
                        const waybill_image_spec *spec) {
    waybill_store *store;
    waybill_future *future;
    waybill_image *image;
    waybill_image_view view = {.struct_size = sizeof view};
    waybill_layer_view layer = {.struct_size = sizeof layer};

    must(api->create(config, NULL, &store, &error));
    must(api->recover(store, &future, &error));
    finish(api, future);
    must(api->put(store, spec, 1, &future, &error));
    finish(api, future); /* From here on the image outlives any crash. */
    must(api->get(store, spec->name_space, spec->reference, 1, &image, &error));
    must(api->image_view(image, &view, &error));
    printf("%s\n  target %s\n", view.reference, view.target_digest);
    for (uint32_t index = 0; index < view.layer_count; ++index) {
        must(api->image_layer(image, index, &layer, &error));
        printf("  layer  %s\n", layer.id);
    }
    api->image_free(image);
    must(api->destroy(store, &error));
}

int main(int argc, char **argv) {
    void *library = dlopen(argc > 2 ? argv[2] : "libwaybill.so.1", RTLD_NOW | RTLD_LOCAL);
    waybill_api_get_fn get = NULL;
    if (library != NULL) /* C has no cast from an object's address to a function's. */
        *(void **)&get = dlsym(library, WAYBILL_API_SYMBOL);
    const waybill_api *api = get != NULL ? get(WAYBILL_ABI_VERSION) : NULL;
    if (argc < 2 || api == NULL) {
        const char *reason = argc < 2 ? "usage: put_get /ABSOLUTE/DIRECTORY [LIBRARY]" : dlerror();
        fprintf(stderr, "put_get: %s\n", reason != NULL ? reason : "no table of this ABI version");
        return EXIT_FAILURE;
    }
    const waybill_layer layers[] = {
        {.struct_size = sizeof *layers, .id = "busybox-1.35", .size_bytes = 1083925},
        {.struct_size = sizeof *layers, .id = "tools-7"},
    };
    const waybill_image_spec spec = {
        .struct_size = sizeof spec,
        .reference = "registry.example/demo:app",
        .target_digest = "sha256:857ba313bceb5dcf51708fec04df80b755d0af86d59807f1c5cbd87d7c769db3",
        .layers = layers,
        .layer_count = 2,
    };
    char config[4352];
    snprintf(config, sizeof config, "{\"root\": \"%s\"}", argv[1]);
    put_and_get(api, config, &spec);
    if (fflush(stdout) != 0) { /* What printf only kept is written here. */
        perror("put_get: standard output");
        return EXIT_FAILURE;
    }
    return EXIT_SUCCESS;
}
