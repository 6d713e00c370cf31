// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors
#include "explored_store.h"

#include <algorithm>
#include <cstring>

namespace waybill::crash {

/// The name that the put after a second recovery stores.
static const char *const late_image = "late";

ExploredStore::ExploredStore(Exploration &exploration, std::unique_ptr<SimulatedDisk> disk,
                             std::vector<ModelState> history, std::size_t acknowledged,
                             SnapshotTime snapshots, int life)
    : exploration_(exploration), disk_(std::move(disk)), history_(std::move(history)),
      acknowledged_(acknowledged), snapshots_(snapshots), life_(life) {
    host_.log = [](Severity, const std::string &) {};
    host_.clock_ns = [] { return std::int64_t{1}; };
    disk_->before = [this](const char *call, const std::string &name) {
        return on_call(call, name);
    };
}

ExploredStore::~ExploredStore() {
    looking_ = false;
    interleaved_.reset();
}

// --- cutting -----------------------------------------------------------------------------------

Status ExploredStore::on_call(const char *call, const std::string &name) {
    if (exploration_.failed())
        return {};
    if (interleaved_ && interleaved_->is_running_here()) {
        interleaved_->pause();
    } else {
        while (interleaved_ && exploration_.below(2) != 0 && interleaved_->step()) {
        }
    }
    if (looking_) {
        note_acknowledged();
        look();
    }
    const auto refused = [&] {
        return failure(Code::NoSpace, name + ": " + call + " was refused");
    };
    if (refused_call_ && std::strcmp(call, refused_call_) == 0)
        return refused();
    if (fail_next_snapshot_ && std::strcmp(call, "begin to replace") == 0) {
        fail_next_snapshot_ = false;
        return refused();
    }
    if (!looking_)
        return {};
    if (life_ == 0 && exploration_.fault_call_ != 0 && --exploration_.fault_call_ == 0) {
        ++exploration_.counts_.faults;
        fault_hit_ = true;
        return failure(exploration_.fault_is_full_disk_ ? Code::NoSpace : Code::Io,
                       name + ": " + call + " was made to fail");
    }
    return {};
}

void ExploredStore::look_at_end() {
    if (!looking_ || exploration_.failed())
        return;
    note_acknowledged();
    look();
}

/// Only what the last call left open is new, unless more has been acknowledged since.
void ExploredStore::look() {
    const std::vector<Undecided> undecided = disk_->undecided();
    const bool everything = acknowledged_more_;
    const auto is_fresh = [&](const Undecided &each) { return each.last_change > looked_at_call_; };
    const bool any_fresh = std::ranges::any_of(undecided, is_fresh);
    const std::uint64_t before = looked_at_call_;
    looked_at_call_ = disk_->calls();
    acknowledged_more_ = false;
    if (!everything && !any_fresh)
        return;
    ++exploration_.counts_.calls;
    const std::uint64_t limit = life_ == 0 ? exploration_.bounds_.states_per_call
                                           : exploration_.bounds_.states_per_second_call;
    std::uint64_t states = 1;
    for (const Undecided &each : undecided)
        states = std::min<std::uint64_t>(states * each.outcomes, ~std::uint32_t{0});
    const auto try_if_new = [&](const std::vector<std::uint32_t> &outcomes) {
        bool is_new = everything;
        for (std::size_t i = 0; i < undecided.size() && !is_new; ++i)
            is_new = outcomes[i] != 0 && undecided[i].last_change > before;
        if (is_new && !exploration_.failed())
            look_at(undecided, outcomes);
    };
    std::vector<std::uint32_t> outcomes(undecided.size(), 0);
    if (states <= limit) {
        for (std::uint64_t state = 0; state < states; ++state) {
            std::uint64_t rest = state;
            for (std::size_t i = 0; i < undecided.size(); ++i) {
                outcomes[i] = static_cast<std::uint32_t>(rest % undecided[i].outcomes);
                rest /= undecided[i].outcomes;
            }
            try_if_new(outcomes);
        }
    } else {
        ++exploration_.counts_.sampled_calls;
        std::vector<std::uint32_t> all;
        for (const Undecided &each : undecided)
            all.push_back(each.outcomes - 1);
        try_if_new(outcomes);
        try_if_new(all);
        std::uint64_t tried = 2;
        for (std::size_t i = 0; i < undecided.size() && tried < limit; ++i, tried += 2) {
            std::vector<std::uint32_t> one(undecided.size(), 0), but_one = all;
            one[i] = all[i];
            but_one[i] = 0;
            try_if_new(one);
            try_if_new(but_one);
        }
        for (; tried < limit; ++tried) {
            for (std::size_t i = 0; i < undecided.size(); ++i)
                outcomes[i] = static_cast<std::uint32_t>(exploration_.below(undecided[i].outcomes));
            try_if_new(outcomes);
        }
    }
    // The process dies here, and what it wrote is still in the cache.
    if (life_ == 0 && exploration_.below(4) == 0) {
        ++exploration_.counts_.kills;
        survive(std::make_unique<SimulatedDisk>(*disk_), true,
                "killed before call " + std::to_string(disk_->calls()));
    }
}

void ExploredStore::look_at(const std::vector<Undecided> &undecided,
                            const std::vector<std::uint32_t> &outcomes) {
    ++exploration_.counts_.states;
    exploration_.counts_.second_cuts += life_ > 0;
    std::unique_ptr<SimulatedDisk> left = disk_->after_power_cut(outcomes);
    const bool goes_on =
        life_ == 0 && exploration_.below(exploration_.bounds_.second_cut_one_in) == 0;
    const std::uint64_t call = disk_->calls();
    survive(std::move(left), goes_on, {});
    if (!exploration_.failed())
        return;
    // Told only now: the text is long.
    std::string kept, lost;
    for (std::size_t i = 0; i < undecided.size(); ++i)
        (outcomes[i] == 0 ? lost : kept) +=
            "\n    " + undecided[i].what +
            (undecided[i].outcomes > 2 ? ", version " + std::to_string(outcomes[i]) : "");
    exploration_.failure_ += "\n  the power was cut before call " + std::to_string(call) +
                             " of life " + std::to_string(life_) + "\n  kept:" + kept +
                             "\n  lost:" + lost;
}

void ExploredStore::survive(std::unique_ptr<SimulatedDisk> left, bool goes_on,
                            const std::string &how) {
    std::vector<ModelState> allowed(history_.begin() + static_cast<std::ptrdiff_t>(acknowledged_),
                                    history_.end());
    ExploredStore next(exploration_, std::move(left), std::move(allowed), 0, SnapshotTime::AtOnce,
                       life_ + 1);
    next.has_rotted_ = has_rotted_;
    if (!goes_on) {
        next.open_and_leave();
    } else {
        next.set_looking(true);
        if (next.open()) {
            next.put({late_image}, false);
            next.close();
            next.look_at_end();
        }
        next.set_looking(false);
    }
    if (exploration_.failed() && !how.empty())
        exploration_.failure_ += "\n  " + how;
}

void ExploredStore::note_acknowledged() {
    for (const UnderWay &each : under_way_)
        if (each.state > acknowledged_ && each.operation->finished() &&
            each.operation->outcome().status.ok()) {
            acknowledged_ = each.state;
            acknowledged_more_ = true;
        }
}

// --- opening and closing -----------------------------------------------------------------------

bool ExploredStore::recover() {
    index_ = std::make_unique<Index>();
    Result<Recovered> recovered = recover_store(*disk_, {}, *index_);
    if (!recovered.ok() && std::exchange(fault_hit_, false)) {
        // The host tries again.
        index_ = std::make_unique<Index>();
        recovered = recover_store(*disk_, {}, *index_);
    }
    if (!recovered.ok()) {
        exploration_.fail("recovery failed: " + recovered.status().message);
        return false;
    }
    recovered_ = std::move(*recovered);
    const ModelState found = state_of(*index_, recovered_);
    for (std::size_t at = history_.size(); at-- > acknowledged_;) {
        if (history_[at] != found)
            continue;
        if (!has_rotted_ && (!recovered_.damage.empty() || !recovered_.not_mended.empty()))
            break;
        // What has been shown must stay.
        history_.resize(at + 1);
        acknowledged_ = at;
        acknowledged_more_ = true;
        return true;
    }
    std::string text = "found: " + text_of(found);
    for (const Damage &damage : recovered_.damage)
        text += "\n  damage: " + damage.file + " at " + std::to_string(damage.offset) + ": " +
                damage.what;
    text += recovered_.not_mended.empty() ? "" : "\n  not mended: " + recovered_.not_mended;
    for (std::size_t at = acknowledged_; at < history_.size(); ++at)
        text += "\n  expected: " + text_of(history_[at]);
    exploration_.fail(text);
    return false;
}

void ExploredStore::start_committer() {
    committer_ = std::make_unique<Committer>(
        *disk_, *index_,
        [this](std::function<void()> job) {
            if (snapshots_ == SnapshotTime::AtOnce)
                job();
            else if (snapshots_ == SnapshotTime::AfterNextVerb)
                jobs_.push_back(std::move(job));
            else
                interleaved_ = std::make_unique<Interleaved>(std::move(job));
        },
        host_, limits_, std::move(recovered_));
}

bool ExploredStore::open() {
    if (!recover())
        return false;
    start_committer();
    return true;
}

bool ExploredStore::open_and_leave() { return recover(); }

void ExploredStore::close() {
    run_jobs();
    end_interleaved();
    if (!committer_)
        return;
    committer_->close_journal();
    note_acknowledged();
    under_way_.clear();
    committer_.reset();
    index_.reset();
}

/// Nothing of the process is left; the disk and its cache are.
void ExploredStore::kill() {
    note_acknowledged();
    auto left = std::make_unique<SimulatedDisk>(*disk_);
    const bool was_looking = std::exchange(looking_, false);
    end_interleaved();
    jobs_.clear();
    under_way_.clear();
    committer_.reset();
    index_.reset();
    disk_ = std::move(left);
    disk_->before = [this](const char *call, const std::string &name) {
        return on_call(call, name);
    };
    looking_ = was_looking;
    open();
}

void ExploredStore::run_jobs() {
    for (const auto &job : std::exchange(jobs_, {}))
        job();
}

void ExploredStore::end_interleaved() {
    if (interleaved_)
        while (interleaved_->step()) {
        }
    interleaved_.reset();
}

} // namespace waybill::crash
