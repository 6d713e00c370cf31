// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors
//
// The engines that are compared.
#pragma once

#include <string>
#include <vector>

namespace bench {

enum class Role { Store, AppendLimit, GroupLimit, TableLimit };

struct EngineProfile {
    std::string name; ///< of the program too: worker-NAME
    std::string note; ///< what its put means
    std::string mark; ///< what must stand beside each of its figures, or ""
    Role role = Role::Store;
    bool rewrites_all = false; ///< a put writes the whole file
    bool one_sync = false;     ///< a put by one writer waits for one sync, so a tick shows

    bool is_store() const { return role == Role::Store; }
};

const std::vector<EngineProfile> &engine_profiles();

inline constexpr const char *our_name = "waybill";

} // namespace bench
