// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors
#include "engine_profiles.h"

namespace bench {

const std::vector<EngineProfile> &engine_profiles() {
    static const std::vector<EngineProfile> all = {
        {our_name, "one sync for all puts that wait", "", Role::Store, false, true},
        {"sqlite", "WAL, synchronous=FULL, one transaction a put", "", Role::Store, false, true},
        {"lmdb", "default flags: two syncs a commit", "", Role::Store},
        {"rocksdb", "write-ahead log synced, group commit", "", Role::Store, false, true},
        {"containerd", "its metadata store on bbolt: two syncs a commit", "", Role::Store},
        {"containers-storage", "images.json rewritten; the file is synced, its directory is not",
         "directory not synced", Role::Store, true},
        {"mesos", "whole map rewritten and, as upstream, nothing synced: NOT DURABLE",
         "puts not durable", Role::Store, true},
        {"mesos-sync", "the same with file and directory synced, which upstream does not do",
         "variant, not upstream", Role::Store, true},
        {"append", "the record's bytes over zeros, and fdatasync", "limit",
         Role::AppendLimit, false, true},
        {"group-commit", "threads that share a sync, 1 KiB each", "limit", Role::GroupLimit},
        {"hash-table", "records in memory, copied out", "limit", Role::TableLimit},
    };
    return all;
}

} // namespace bench
