/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: Waybill contributors
 *
 * The smallest OCI image layout, written by hand: one layer, one config, one manifest.
 */
#ifndef WAYBILL_TESTS_ABI_OCI_FIXTURE_H
#define WAYBILL_TESTS_ABI_OCI_FIXTURE_H

#include "check.h"

typedef struct oci_fixture {
    const char *directory;
    char layer[80]; /**< digests */
    char config[80];
    char manifest[80];
    size_t manifest_bytes;
} oci_fixture;

static inline const char *blob_path(const oci_fixture *layout, const char *blob_digest) {
    return text("%s/blobs/sha256/%s", layout->directory, blob_digest + strlen("sha256:"));
}

static inline void write_blob(const oci_fixture *layout, const char *bytes, char out[80]) {
    const char *draft = text("%s/draft", layout->directory);
    char hex[65] = "";
    FILE *sum;
    write_file(draft, bytes, strlen(bytes));
    sum = popen(text("sha256sum '%s'", draft), "r");
    CHECK(sum != NULL);
    CHECK(fscanf(sum, "%64s", hex) == 1);
    CHECK(pclose(sum) == 0);
    snprintf(out, 80, "sha256:%s", hex);
    CHECK(rename(draft, blob_path(layout, out)) == 0);
}

/** index.json with the manifest under `name` (org.opencontainers.image.ref.name), if given. */
static inline void write_index(const oci_fixture *layout, const char *name) {
    const char *annotations =
        name ? text(",\"annotations\":{\"org.opencontainers.image.ref.name\":\"%s\"}", name) : "";
    const char *index =
        text("{\"schemaVersion\":2,\"manifests\":[{\"mediaType\":"
             "\"application/vnd.oci.image.manifest.v1+json\",\"digest\":\"%s\",\"size\":%zu%s}]}",
             layout->manifest, layout->manifest_bytes, annotations);
    write_file(text("%s/index.json", layout->directory), index, strlen(index));
}

static inline oci_fixture make_layout(const char *name) {
    static const char layer[] = "a layer, as far as its size and digest go";
    static const char config[] = "{\"os\":\"linux\",\"architecture\":\"arm64\","
                                 "\"created\":\"2024-02-29T12:00:00Z\"}";
    static const char marker[] = "{\"imageLayoutVersion\":\"1.0.0\"}";
    const char *manifest;
    oci_fixture layout;
    memset(&layout, 0, sizeof layout);
    layout.directory = make_temp_dir();
    CHECK(mkdir(text("%s/blobs", layout.directory), 0700) == 0);
    CHECK(mkdir(text("%s/blobs/sha256", layout.directory), 0700) == 0);
    write_file(text("%s/oci-layout", layout.directory), marker, strlen(marker));
    write_blob(&layout, layer, layout.layer);
    write_blob(&layout, config, layout.config);
    manifest = text("{\"schemaVersion\":2,\"mediaType\":"
                    "\"application/vnd.oci.image.manifest.v1+json\",\"config\":{\"mediaType\":"
                    "\"application/vnd.oci.image.config.v1+json\",\"digest\":\"%s\",\"size\":%zu},"
                    "\"layers\":[{\"mediaType\":\"application/vnd.oci.image.layer.v1.tar+gzip\","
                    "\"digest\":\"%s\",\"size\":%zu}]}",
                    layout.config, strlen(config), layout.layer, strlen(layer));
    layout.manifest_bytes = strlen(manifest);
    write_blob(&layout, manifest, layout.manifest);
    write_index(&layout, name);
    return layout;
}

#endif
