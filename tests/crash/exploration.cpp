// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors
#include "exploration.h"

#include "explored_store.h"

namespace waybill::crash {

void Counts::add(const Counts &other) {
    workloads += other.workloads;
    calls += other.calls;
    sampled_calls += other.sampled_calls;
    states += other.states;
    second_cuts += other.second_cuts;
    kills += other.kills;
    faults += other.faults;
    rotted += other.rotted;
}

std::string Exploration::run(const Workload &workload) {
    ++counts_.workloads;
    failure_.clear();
    random_.seed(workload.number);
    fault_call_ = 0;
    auto disk = std::make_unique<SimulatedDisk>();
    disk->can_allocate = workload.can_allocate;
    ExploredStore store(*this, std::move(disk), {ModelState{}}, 0, workload.snapshots, 0);
    if (workload.number >= small_workloads()) {
        store.set_longest_value(1200);
        if (random_() % 2 == 0)
            store.set_journal_bytes(3000); // Rotates by itself, too.
    }
    // The making of a store is looked at once, by the workload that does nothing else.
    store.set_looking(workload.verbs.empty());
    if (!store.open())
        return failure_;
    fault_call_ = workload.fault_call;
    fault_is_full_disk_ = workload.fault_is_full_disk;
    store.set_looking(true);
    for (const Verb verb : workload.verbs)
        store.apply(verb);
    store.close();
    store.look_at_end();
    store.set_looking(false);
    return failure_;
}

} // namespace waybill::crash
