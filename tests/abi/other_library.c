/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: Waybill contributors
 *
 * Libraries of other versions, for today's hosts to meet: the table of the real library, which is
 * loaded beside this one, changed as OTHER says.
 *   OTHER_OLDER    its table ends before the last member
 *   OTHER_NEWER    its table has more members than today's header knows
 *   OTHER_VERSION  it has tables of another ABI version only
 */
#define _GNU_SOURCE
#include <waybill/waybill.h>

#include <dlfcn.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

typedef struct longer_table {
    waybill_api known;
    void (*added)(void);
} longer_table;

__attribute__((visibility("default"))) const waybill_api *waybill_api_get(uint32_t abi_version) {
    static longer_table table;
    void *library = dlopen(getenv("WAYBILL_REAL_LIBRARY"), RTLD_NOW | RTLD_LOCAL);
    waybill_api_get_fn real = NULL;
    if (library != NULL)
        *(void **)&real = dlsym(library, WAYBILL_API_SYMBOL);
    if (real == NULL)
        abort();
#if defined(OTHER_VERSION)
    if (abi_version != WAYBILL_ABI_VERSION + 1)
        return NULL;
    abi_version = WAYBILL_ABI_VERSION;
#endif
    const waybill_api *today = real(abi_version);
    if (today == NULL)
        return NULL;
    memset(&table, 0xee, sizeof table); /* A member that does not exist must not be called. */
#if defined(OTHER_OLDER)
    memcpy(&table.known, today, offsetof(waybill_api, extension));
    table.known.struct_size = offsetof(waybill_api, extension);
#else
    memcpy(&table.known, today, sizeof table.known);
    table.known.struct_size = sizeof table;
#endif
    return &table.known;
}
