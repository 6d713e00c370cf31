// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors
#include <waybill/waybill.hpp>

#include <cstdio>
#include <cstring>

int main() {
    const waybill_api *api = waybill_api_get(WAYBILL_ABI_VERSION);
    if (!api || std::strcmp(api->plugin_version, WAYBILL_VERSION) != 0)
        return 1;
    std::printf("%s\n", api->plugin_version);
    return 0;
}
