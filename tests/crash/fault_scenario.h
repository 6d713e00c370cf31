// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors
//
// What a host does with a store while calls fail, and what must hold meanwhile and afterwards.
#pragma once

#include "fault_plan.h"

#include <waybill/waybill.h>

#include <cstdint>
#include <map>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

/// A promise that was broken.
struct Broken : std::runtime_error {
    using std::runtime_error::runtime_error;
};

/// Canonical reference → the number that the image was put with.
using State = std::map<std::string, std::uint64_t>;

/// What must be in a store after what has been answered.
class Model final {
  public:
    /// Of a transaction: each name and its number, 0 for none.
    using Changes = std::vector<std::pair<std::string, std::uint64_t>>;

    explicit Model(State start) : start_(std::move(start)) {}

    /// WAYBILL_EIO leaves it open whether it is stored; any other error says that it is not.
    void answered(std::int32_t status, Changes changes);
    /// What a live store shows: nothing whose outcome is unknown.
    const State &state() const { return state_; }
    /// Whether a store that was recovered may hold this.
    bool allows(const State &recovered) const;
    bool outcome_unknown() const { return unknown_ > 0; }

  private:
    struct Step {
        bool certain;
        Changes changes;
    };

    State start_;
    State state_ = start_;
    std::vector<Step> steps_;
    std::size_t unknown_ = 0;
};

/// What one run came to.
struct RunResult {
    std::int32_t error = WAYBILL_OK; ///< the first answer that the fault caused
    bool read_only = false;          ///< the store had become so when it was closed
};

/// Where the scenarios find what they need.
struct Fixture {
    const waybill_api *api;
    std::string layout;  ///< an OCI image layout with one image, "fixture:1"
    std::string worn;    ///< a store whose newest journal has a torn tail and a damaged record
    std::string scratch; ///< an empty directory
};

using Scenario = RunResult (*)(const Fixture &, const fault_plan &);

/// A new store: every verb, a rotation, callbacks and a queue. Throws Broken.
RunResult run_life(const Fixture &fixture, const fault_plan &plan);
/// A store that was left torn and damaged, and a reader beside it. Throws Broken.
RunResult run_worn(const Fixture &fixture, const fault_plan &plan);
/// Makes the store Fixture::worn and damages it; nothing fails meanwhile.
void make_worn_store(const Fixture &fixture);
/// What must be found in it.
State worn_state();
