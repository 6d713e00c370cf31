/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: Waybill contributors
 *
 * Where every member of the public structures lies, on 64-bit and on 32-bit targets. A line is
 * appended for each new member; none is ever changed. Compiled for each target by check_layout; it
 * needs no library and no C library.
 */
#include <waybill/waybill.h>

#include <stddef.h>

#define EXPECTED(on_64_bit, on_32_bit) (sizeof(void *) == 8 ? (on_64_bit) : (on_32_bit))
#define SIZE(type, on_64_bit, on_32_bit)                                                           \
    _Static_assert(sizeof(type) == EXPECTED(on_64_bit, on_32_bit), #type " has another size")
#define AT(type, member, on_64_bit, on_32_bit)                                                     \
    _Static_assert(offsetof(type, member) == EXPECTED(on_64_bit, on_32_bit),                       \
                   #type "." #member " lies elsewhere")

/* clang-format off */

SIZE(waybill_error, 512, 512);
AT(waybill_error, struct_size, 0, 0);
AT(waybill_error, code, 4, 4);
AT(waybill_error, sys_errno, 8, 8);
AT(waybill_error, reserved, 12, 12);
AT(waybill_error, position, 16, 16);
AT(waybill_error, field, 24, 24);
AT(waybill_error, message, 88, 88);

SIZE(waybill_host, 40, 24);
AT(waybill_host, struct_size, 0, 0);
AT(waybill_host, reserved, 4, 4);
AT(waybill_host, payload, 8, 8);
AT(waybill_host, log, 16, 12);
AT(waybill_host, layer_present, 24, 16);
AT(waybill_host, clock_ns, 32, 20);

SIZE(waybill_pair, 16, 8);
AT(waybill_pair, key, 0, 0);
AT(waybill_pair, value, 8, 4);

SIZE(waybill_layer, 40, 32);
AT(waybill_layer, struct_size, 0, 0);
AT(waybill_layer, reserved, 4, 4);
AT(waybill_layer, id, 8, 8);
AT(waybill_layer, digest, 16, 12);
AT(waybill_layer, media_type, 24, 16);
AT(waybill_layer, size_bytes, 32, 24);

SIZE(waybill_image_spec, 160, 112);
AT(waybill_image_spec, struct_size, 0, 0);
AT(waybill_image_spec, pinned, 4, 4);
AT(waybill_image_spec, name_space, 8, 8);
AT(waybill_image_spec, reference, 16, 12);
AT(waybill_image_spec, target_digest, 24, 16);
AT(waybill_image_spec, target_media_type, 32, 20);
AT(waybill_image_spec, target_size_bytes, 40, 24);
AT(waybill_image_spec, config_digest, 48, 32);
AT(waybill_image_spec, layers, 56, 36);
AT(waybill_image_spec, layer_count, 64, 40);
AT(waybill_image_spec, label_count, 68, 44);
AT(waybill_image_spec, labels, 72, 48);
AT(waybill_image_spec, annotations, 80, 52);
AT(waybill_image_spec, annotation_count, 88, 56);
AT(waybill_image_spec, condition, 92, 60);
AT(waybill_image_spec, expected_revision, 96, 64);
AT(waybill_image_spec, os, 104, 72);
AT(waybill_image_spec, architecture, 112, 76);
AT(waybill_image_spec, variant, 120, 80);
AT(waybill_image_spec, os_version, 128, 84);
AT(waybill_image_spec, created_ns, 136, 88);
AT(waybill_image_spec, updated_ns, 144, 96);
AT(waybill_image_spec, last_used_ns, 152, 104);

SIZE(waybill_image_view, 400, 368);
AT(waybill_image_view, struct_size, 0, 0);
AT(waybill_image_view, state, 4, 4);
AT(waybill_image_view, revision, 8, 8);
AT(waybill_image_view, name_space, 16, 16);
AT(waybill_image_view, reference, 24, 20);
AT(waybill_image_view, spelled, 32, 24);
AT(waybill_image_view, media_type, 40, 28);
AT(waybill_image_view, os, 48, 32);
AT(waybill_image_view, architecture, 56, 36);
AT(waybill_image_view, variant, 64, 40);
AT(waybill_image_view, os_version, 72, 44);
AT(waybill_image_view, size_bytes, 80, 48);
AT(waybill_image_view, created_ns, 88, 56);
AT(waybill_image_view, updated_ns, 96, 64);
AT(waybill_image_view, last_used_ns, 104, 72);
AT(waybill_image_view, pinned, 112, 80);
AT(waybill_image_view, layer_count, 116, 84);
AT(waybill_image_view, label_count, 120, 88);
AT(waybill_image_view, annotation_count, 124, 92);
AT(waybill_image_view, target_digest, 128, 96);
AT(waybill_image_view, config_digest, 264, 232);

SIZE(waybill_layer_view, 416, 416);
AT(waybill_layer_view, struct_size, 0, 0);
AT(waybill_layer_view, reserved, 4, 4);
AT(waybill_layer_view, size_bytes, 8, 8);
AT(waybill_layer_view, media_type, 16, 16);
AT(waybill_layer_view, id, 24, 20);
AT(waybill_layer_view, digest, 280, 276);

SIZE(waybill_query, 72, 44);
AT(waybill_query, struct_size, 0, 0);
AT(waybill_query, limit, 4, 4);
AT(waybill_query, name_space, 8, 8);
AT(waybill_query, prefix, 16, 12);
AT(waybill_query, digest, 24, 16);
AT(waybill_query, label_key, 32, 20);
AT(waybill_query, label_value, 40, 24);
AT(waybill_query, state_any, 48, 28);
AT(waybill_query, reserved, 52, 32);
AT(waybill_query, after_name_space, 56, 36);
AT(waybill_query, after_reference, 64, 40);

SIZE(waybill_outcome, 48, 48);
AT(waybill_outcome, struct_size, 0, 0);
AT(waybill_outcome, existed, 4, 4);
AT(waybill_outcome, revision, 8, 8);
AT(waybill_outcome, image_count, 16, 16);
AT(waybill_outcome, unused_layer_count, 24, 24);
AT(waybill_outcome, used_layer_count, 32, 32);
AT(waybill_outcome, report_json, 40, 40);

SIZE(waybill_blob_view, 264, 264);
AT(waybill_blob_view, struct_size, 0, 0);
AT(waybill_blob_view, kind, 4, 4);
AT(waybill_blob_view, id, 8, 8);

SIZE(waybill_key_view, 24, 16);
AT(waybill_key_view, struct_size, 0, 0);
AT(waybill_key_view, reserved, 4, 4);
AT(waybill_key_view, name_space, 8, 8);
AT(waybill_key_view, reference, 16, 12);

SIZE(waybill_completion, 24, 24);
AT(waybill_completion, token, 0, 0);
AT(waybill_completion, future, 8, 8);
AT(waybill_completion, status, 16, 12);
AT(waybill_completion, reserved, 20, 16);

SIZE(waybill_api, 288, 148);
AT(waybill_api, struct_size, 0, 0);
AT(waybill_api, abi_version, 4, 4);
AT(waybill_api, plugin_type, 8, 8);
AT(waybill_api, plugin_id, 16, 12);
AT(waybill_api, plugin_version, 24, 16);
AT(waybill_api, create, 32, 20);
AT(waybill_api, destroy, 40, 24);
AT(waybill_api, recover, 48, 28);
AT(waybill_api, refresh, 56, 32);
AT(waybill_api, accept_loss, 64, 36);
AT(waybill_api, put, 72, 40);
AT(waybill_api, get, 80, 44);
AT(waybill_api, remove, 88, 48);
AT(waybill_api, prune, 96, 52);
AT(waybill_api, import_oci, 104, 56);
AT(waybill_api, visit, 112, 60);
AT(waybill_api, report, 120, 64);
AT(waybill_api, text_free, 128, 68);
AT(waybill_api, image_free, 136, 72);
AT(waybill_api, image_view, 144, 76);
AT(waybill_api, image_layer, 152, 80);
AT(waybill_api, image_label, 160, 84);
AT(waybill_api, image_annotation, 168, 88);
AT(waybill_api, future_wait, 176, 92);
AT(waybill_api, future_status, 184, 96);
AT(waybill_api, future_then, 192, 100);
AT(waybill_api, future_result, 200, 104);
AT(waybill_api, prune_layer, 208, 108);
AT(waybill_api, prune_image, 216, 112);
AT(waybill_api, future_cancel, 224, 116);
AT(waybill_api, future_free, 232, 120);
AT(waybill_api, queue_create, 240, 124);
AT(waybill_api, queue_fd, 248, 128);
AT(waybill_api, queue_attach, 256, 132);
AT(waybill_api, queue_drain, 264, 136);
AT(waybill_api, queue_free, 272, 140);
AT(waybill_api, extension, 280, 144);
/* clang-format on */
