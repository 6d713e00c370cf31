// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors
#include "workload.h"

#include <random>

namespace waybill::crash {

const char *name_of(Verb verb) {
    switch (verb) {
    case Verb::Put:
        return "put";
    case Verb::PutBatch:
        return "put batch";
    case Verb::Overwrite:
        return "overwrite";
    case Verb::Remove:
        return "remove";
    case Verb::Prune:
        return "prune";
    case Verb::Pin:
        return "pin";
    case Verb::Rotate:
        return "rotate";
    case Verb::Reopen:
        return "reopen";
    case Verb::Group:
        return "group";
    case Verb::Kill:
        return "kill";
    case Verb::Rot:
        return "rot";
    case Verb::AcceptLoss:
        return "accept loss";
    }
    return "";
}

std::string Workload::text() const {
    std::string text;
    for (const Verb verb : verbs)
        text += std::string(text.empty() ? "" : ", ") + name_of(verb);
    static const char *const times[] = {"at once", "after the next verb", "interleaved"};
    text += "; snapshots " + std::string(times[static_cast<int>(snapshots)]);
    if (fault_call != 0)
        text += "; call " + std::to_string(fault_call) +
                (fault_is_full_disk ? " finds the disk full" : " fails with an I/O error");
    return text;
}

static constexpr int longest_small = 3;

std::uint64_t small_workloads() {
    std::uint64_t sequences = 0, of_length = 1;
    for (int length = 0; length <= longest_small; ++length, of_length *= small_verbs)
        sequences += of_length;
    return 2 * sequences;
}

static Workload random_workload(std::uint64_t number) {
    Workload made;
    made.number = number;
    std::mt19937_64 random(number);
    made.snapshots = static_cast<SnapshotTime>(random() % 3);
    const bool has_faults = random() % 3 == 0;
    const bool has_rot = !has_faults && random() % 4 == 0;
    const std::size_t length = 4 + random() % 12;
    for (std::size_t i = 0; i < length; ++i) {
        const int choice = static_cast<int>(random() % 22);
        if (choice < 2 * small_verbs)
            made.verbs.push_back(static_cast<Verb>(choice / 2));
        else if (choice < 18)
            made.verbs.push_back(Verb::Kill);
        else if (choice < 20)
            made.verbs.push_back(has_rot ? Verb::Rot : Verb::Put);
        else
            made.verbs.push_back(has_rot ? Verb::AcceptLoss
                                         : (has_faults ? Verb::Overwrite : Verb::Group));
    }
    if (has_faults) {
        made.fault_call = 1 + random() % (3 * length);
        made.fault_is_full_disk = random() % 2 == 0;
    }
    return made;
}

Workload workload(std::uint64_t number) {
    if (number >= small_workloads())
        return random_workload(number);
    Workload made;
    made.number = number;
    made.snapshots = number % 2 ? SnapshotTime::AfterNextVerb : SnapshotTime::AtOnce;
    std::uint64_t rest = number / 2, of_length = 1;
    int length = 0;
    while (rest >= of_length) {
        rest -= of_length;
        of_length *= small_verbs;
        ++length;
    }
    for (int i = 0; i < length; ++i, rest /= small_verbs)
        made.verbs.push_back(static_cast<Verb>(rest % small_verbs));
    return made;
}

} // namespace waybill::crash
