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
    case Verb::RotUnmended:
        return "rot that is not mended";
    case Verb::FailSnapshot:
        return "fail the next snapshot";
    case Verb::PutToPieceEnd:
        return "put to the end of a piece";
    case Verb::SparseCopy:
        return "copy with holes";
    case Verb::Fill:
        return "fill the disk";
    case Verb::Backup:
        return "back up";
    case Verb::Restore:
        return "put the backup back";
    }
    return "";
}

std::string Workload::text() const {
    std::string text;
    for (const Verb verb : verbs)
        text += std::string(text.empty() ? "" : ", ") + name_of(verb);
    static const char *const times[] = {"at once", "after the next verb", "interleaved"};
    text += "; snapshots " + std::string(times[static_cast<int>(snapshots)]);
    text += can_allocate ? "" : "; without fallocate";
    if (fault_call != 0)
        text += "; call " + std::to_string(fault_call) +
                (fault_is_full_disk ? " finds the disk full" : " fails with an I/O error");
    return text;
}

static const std::vector<Verb> everyday_verbs = {Verb::Put,    Verb::PutBatch, Verb::Overwrite,
                                                 Verb::Remove, Verb::Prune,    Verb::Pin,
                                                 Verb::Rotate, Verb::Reopen};

/// All sequences of `verbs`, of at most `longest`, each behind `first` and before `last`.
struct Family {
    std::vector<Verb> first;
    std::vector<Verb> verbs;
    int longest;
    std::vector<Verb> last;
    bool can_allocate;

    std::uint64_t sequences() const {
        std::uint64_t count = 0, of_length = 1;
        for (int length = 0; length <= longest; ++length, of_length *= verbs.size())
            count += of_length;
        return count;
    }
    std::vector<Verb> sequence(std::uint64_t number) const {
        std::uint64_t of_length = 1;
        int length = 0;
        for (; number >= of_length; of_length *= verbs.size(), ++length)
            number -= of_length;
        std::vector<Verb> made = first;
        for (int i = 0; i < length; ++i, number /= verbs.size())
            made.push_back(verbs[number % verbs.size()]);
        made.insert(made.end(), last.begin(), last.end());
        return made;
    }
};

static const std::vector<Family> &families() {
    using enum Verb;
    static const std::vector<Family> all = {
        {{}, everyday_verbs, 3, {}, true},
        // A loss that the files go on showing, or not any more, when it is accepted.
        {{PutBatch, RotUnmended},
         {Rotate, AcceptLoss, FailSnapshot, Overwrite, Reopen},
         3,
         {},
         true},
        // Space that a copy has lost, and images that must go for want of it.
        {{PutBatch, Put, SparseCopy, Fill},
         {Remove, Prune, Put, Rotate, Reopen},
         2,
         {Remove, Remove},
         true},
        // Readers beside a writer that goes on from a backup.
        {{Put, Backup}, {Overwrite, Remove, Rotate}, 2, {Restore, Overwrite}, true},
        {{}, {PutToPieceEnd, Put, Remove}, 2, {PutToPieceEnd}, false},
    };
    return all;
}

std::uint64_t small_workloads() {
    std::uint64_t count = 0;
    for (const Family &family : families())
        count += 2 * family.sequences();
    return count;
}

static Workload random_workload(std::uint64_t number) {
    Workload made;
    made.number = number;
    std::mt19937_64 random(number);
    made.snapshots = static_cast<SnapshotTime>(random() % 3);
    const bool has_faults = random() % 3 == 0;
    const bool has_rot = !has_faults && random() % 4 == 0;
    made.can_allocate = has_faults || random() % 4 != 0;
    const std::size_t length = 4 + random() % 12;
    using enum Verb;
    std::vector<Verb> choices;
    for (int times = 0; times < 2; ++times)
        choices.insert(choices.end(), everyday_verbs.begin(), everyday_verbs.end());
    choices.insert(choices.end(), {Kill, Kill});
    if (has_rot)
        choices.insert(choices.end(), {Rot, RotUnmended, FailSnapshot, AcceptLoss, AcceptLoss});
    else if (has_faults)
        choices.insert(choices.end(), {Put, Put, Overwrite, Overwrite});
    else
        choices.insert(choices.end(), {Group, Group, PutToPieceEnd, Backup, Restore});
    // A reserve is promised where space can be reserved.
    if (made.can_allocate && !has_faults)
        choices.insert(choices.end(), {SparseCopy, Fill});
    for (std::size_t i = 0; i < length; ++i)
        made.verbs.push_back(choices[random() % choices.size()]);
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
    std::uint64_t sequence = number / 2;
    for (const Family &family : families()) {
        if (sequence < family.sequences()) {
            made.verbs = family.sequence(sequence);
            made.can_allocate = family.can_allocate;
            break;
        }
        sequence -= family.sequences();
    }
    return made;
}

} // namespace waybill::crash
