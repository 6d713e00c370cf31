// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors
//
// Runs a workload on a simulated disk and, before every call that changes the disk, cuts the power
// in every way there is: recovery must then find the state after the last acknowledged transaction,
// or after one that was under way. In part of these worlds the power is cut again during recovery
// and during the put that follows it, and in others the process dies and the power goes later.
#pragma once

#include "model.h"
#include "simulated_disk.h"
#include "workload.h"

#include "plugin/committer.h"

#include <cstdint>
#include <memory>
#include <random>
#include <string>
#include <vector>

namespace waybill::crash {

struct Bounds {
    /// More states than that at one call are sampled: none, all, each one by itself, all but each
    /// one, and the rest at random.
    std::uint32_t states_per_call = 40;
    /// One recovery in so many is itself cut at every call.
    std::uint32_t second_cut_one_in = 24;
    /// The same, at calls of the second life, for the third.
    std::uint32_t states_per_second_call = 8;
};

struct Counts {
    std::uint64_t workloads = 0;
    std::uint64_t calls = 0;         ///< at which the power was cut
    std::uint64_t sampled_calls = 0; ///< of these with more states than were looked at
    std::uint64_t states = 0;        ///< looked at by recovery after a power cut
    std::uint64_t second_cuts = 0; ///< of these, cut during or after a recovery from a cut or kill
    std::uint64_t kills = 0;       ///< recoveries with the cache still there
    std::uint64_t faults = 0;      ///< calls made to fail
    std::uint64_t rotted = 0;      ///< records damaged

    void add(const Counts &other);
};

class Exploration final {
  public:
    explicit Exploration(const Bounds &bounds) : bounds_(bounds) {}

    /// What was lost and how, or nothing.
    std::string run(const Workload &workload);
    const Counts &counts() const { return counts_; }

  private:
    friend class ExploredStore;

    void fail(const std::string &text) {
        if (failure_.empty())
            failure_ = text;
    }
    bool failed() const { return !failure_.empty(); }
    std::uint64_t below(std::uint64_t bound) { return random_() % bound; }

    const Bounds bounds_;
    Counts counts_;
    std::string failure_;
    std::mt19937_64 random_;
    std::uint64_t fault_call_ = 0;
    bool fault_is_full_disk_ = false;
};

} // namespace waybill::crash
