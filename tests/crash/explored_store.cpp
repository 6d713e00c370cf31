// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors
#include "explored_store.h"

#include "plugin/beside_writer.h"

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

// --- verbs -------------------------------------------------------------------------------------

void ExploredStore::apply(Verb verb) {
    if (std::exchange(outcome_unknown_,
                      false)) { // The store is read-only; the host starts it anew.
        close();
        open();
    }
    if (exploration_.failed())
        return;
    std::vector<std::function<void()>> earlier = std::exchange(jobs_, {});
    switch (verb) {
    case Verb::Put:
        for (const char *name : {"a", "b", "c", "d"})
            if (!history_.back().images.contains(name) || std::string(name) == "d") {
                put({name}, false);
                break;
            }
        break;
    case Verb::PutBatch:
        put({"a", "b", "c"}, false);
        break;
    case Verb::Overwrite:
        put({first_image()}, false);
        break;
    case Verb::Pin:
        put({"b"}, true);
        break;
    case Verb::Remove:
        remove();
        break;
    case Verb::Prune:
        prune();
        break;
    case Verb::Group:
        group();
        break;
    case Verb::AcceptLoss:
        accept_loss();
        break;
    case Verb::Rotate:
        for (const auto &job : std::exchange(earlier, {}))
            job();
        rotate();
        break;
    case Verb::Reopen:
        jobs_ = std::exchange(earlier, {});
        close();
        open();
        break;
    case Verb::Kill:
        earlier.clear();
        kill();
        break;
    case Verb::Rot:
    case Verb::RotUnmended:
        jobs_ = std::exchange(earlier, {});
        rot(verb == Verb::Rot);
        break;
    case Verb::FailSnapshot:
        fail_next_snapshot_ = true;
        break;
    case Verb::PutToPieceEnd:
        put_to_piece_end();
        break;
    case Verb::SparseCopy:
        jobs_ = std::exchange(earlier, {});
        close();
        disk_->become_sparse_copy();
        open();
        break;
    case Verb::Fill:
        disk_->fill();
        break;
    case Verb::Backup:
        jobs_ = std::exchange(earlier, {});
        back_up();
        break;
    case Verb::Restore:
        jobs_ = std::exchange(earlier, {});
        restore();
        break;
    }
    for (const auto &job : earlier)
        job();
    // Not between a backup's return and what the store then does with its revisions.
    if (verb != Verb::Restore)
        look_as_reader();
}

std::string ExploredStore::first_image() const {
    const auto &images = history_.back().images;
    return images.empty() ? "a" : images.begin()->first;
}

std::string ExploredStore::next_value() {
    const std::uint64_t number = ++values_;
    return "v" + std::to_string(number) + "." +
           std::string(exploration_.below(longest_value_), 'x');
}

ModelState ExploredStore::with_images(const ModelState &before,
                                      const std::vector<std::string> &names, bool pinned,
                                      Submission *submission) {
    ModelState after = before;
    ++after.revision;
    for (const std::string &name : names) {
        const std::string value = next_value();
        submission->images.push_back({encode_sample(name, value, pinned), PutCondition::Any, 0});
        after.images[name] = {value, after.revision, 0, pinned};
    }
    return after;
}

void ExploredStore::put(const std::vector<std::string> &names, bool pinned) {
    std::vector<Submission> submissions(1);
    std::vector<ModelState> states{with_images(history_.back(), names, pinned, &submissions[0])};
    commit(std::move(submissions), std::move(states));
}

/// What stands behind the batch is in a piece of its own.
void ExploredStore::put_to_piece_end() {
    if (!committer_)
        return;
    ModelState after = history_.back();
    ++after.revision;
    std::string value = "v" + std::to_string(++values_) + ".";
    FramePtr frame = encode_sample("d", value, false);
    const std::uint64_t begin = committer_->stats().journal_bytes + sizeof(BatchHeader);
    while ((begin + frame_bytes(frame->payload_bytes)) % piece_bytes != 0) {
        value += 'x';
        frame = encode_sample("d", value, false);
    }
    std::vector<Submission> submissions(1);
    submissions[0].images.push_back({std::move(frame), PutCondition::Any, 0});
    after.images["d"] = {value, after.revision, 0, false};
    commit(std::move(submissions), {after});
}

void ExploredStore::group() {
    if (disk_->is_full())
        return; // Each of them would have an outcome of its own.
    std::vector<Submission> submissions(3);
    std::vector<ModelState> states;
    states.push_back(with_images(history_.back(), {"a"}, false, &submissions[0]));
    submissions[1].verb = waybill::Verb::Remove;
    submissions[1].key = {"default", "a"};
    states.push_back(states.back());
    ++states.back().revision;
    states.back().images.erase("a");
    states.push_back(with_images(states.back(), {"b", "c"}, false, &submissions[2]));
    commit(std::move(submissions), std::move(states));
}

void ExploredStore::remove() {
    std::vector<Submission> submissions(1);
    submissions[0].verb = waybill::Verb::Remove;
    submissions[0].key = {"default", first_image()};
    std::vector<ModelState> states{history_.back()};
    states[0].revision += states[0].images.erase(first_image());
    commit(std::move(submissions), std::move(states));
}

void ExploredStore::prune() {
    std::vector<Submission> submissions(1);
    submissions[0].verb = waybill::Verb::Prune;
    submissions[0].keep.references = {"b"};
    std::vector<ModelState> states{history_.back()};
    states[0].revision += std::erase_if(states[0].images, [](const auto &image) {
                              return image.first != "b" && !image.second.pinned;
                          }) > 0;
    commit(std::move(submissions), std::move(states));
}

void ExploredStore::accept_loss() {
    std::vector<Submission> submissions(1);
    submissions[0].verb = waybill::Verb::AcceptLoss;
    std::vector<ModelState> states{history_.back()};
    if (states[0].degraded) {
        ++states[0].revision;
        states[0].degraded = false;
        for (auto &[name, image] : states[0].images)
            image.flags = 0;
    }
    commit(std::move(submissions), std::move(states));
}

void ExploredStore::rotate() {
    end_interleaved();
    if (committer_)
        (void)committer_->rotate(); // A failure only leaves the journal as it is.
}

void ExploredStore::commit(std::vector<Submission> submissions, std::vector<ModelState> states) {
    if (!committer_)
        return;
    note_acknowledged();
    under_way_.clear();
    const std::size_t first = history_.size();
    const bool puts = !submissions.front().images.empty();
    for (std::size_t i = 0; i < submissions.size(); ++i) {
        submissions[i].operation = std::make_shared<Operation>();
        history_.push_back(std::move(states[i]));
        under_way_.push_back({submissions[i].operation, first + i});
    }
    committer_->commit_round(submissions);
    note_acknowledged();
    for (const UnderWay &each : under_way_) {
        if (!each.operation->finished()) {
            exploration_.fail("an operation did not end");
            return;
        }
        const Status &status = each.operation->outcome().status;
        outcome_unknown_ = outcome_unknown_ || status.code == Code::Io;
        if (status.ok() || status.code == Code::Io)
            continue;
        history_.resize(first);
        const bool refused_rightly = status.code == Code::ReadOnly ||
                                     (status.code == Code::NoSpace && fault_hit_) ||
                                     (status.code == Code::NoSpace && disk_->is_full() && puts) ||
                                     (status.code == Code::Degraded && history_.back().degraded);
        if (!refused_rightly)
            exploration_.fail("an operation failed: " + status.message);
        return;
    }
}

// --- rot ---------------------------------------------------------------------------------------

/// One byte of the payload of a record that still counts.
bool ExploredStore::damage_one_record(std::string *damaged) {
    for (const std::string &name : disk_->names()) {
        if (name.find('/') != std::string::npos || name == lock_name)
            continue;
        std::vector<std::uint8_t> bytes = disk_->contents(name);
        for (std::size_t at = header_block_bytes; at + sizeof(Frame) <= bytes.size(); at += 8) {
            Frame head;
            std::memcpy(&head, bytes.data() + at, sizeof head);
            if (head.magic != frame_magic || head.frame_kind() != FrameKind::Put ||
                at + sizeof head + head.payload_bytes > bytes.size())
                continue;
            const auto &images = history_.back().images;
            const auto found = std::ranges::find_if(images, [&](const auto &image) {
                return image.second.revision == head.revision &&
                       key_hash("default", image.first) == head.key_hash;
            });
            if (found == images.end() || exploration_.below(2) == 0)
                continue;
            *damaged = found->first;
            bytes[at + sizeof head + exploration_.below(head.payload_bytes)] ^= 0x10;
            disk_->overwrite(name, std::move(bytes));
            return true;
        }
    }
    return false;
}

/// What recovery makes of the damage is looked at on a copy first: from then on it must stay so.
void ExploredStore::rot(bool is_mended) {
    close();
    std::string damaged;
    if (exploration_.failed() || !disk_ || !damage_one_record(&damaged)) {
        open();
        return;
    }
    ++exploration_.counts_.rotted;
    has_rotted_ = true;
    SimulatedDisk copy(*disk_);
    Index index;
    Result<Recovered> recovered = recover_store(copy, {}, index);
    if (!recovered.ok()) {
        exploration_.fail("recovery from rot failed: " + recovered.status().message);
        return;
    }
    const ModelState before = history_.back();
    const ModelState found = state_of(index, *recovered);
    const bool names_it = std::ranges::any_of(recovered->damage, [](const Damage &damage) {
        return damage.loses && damage.offset >= header_block_bytes;
    });
    ModelState others = before, found_others = found;
    others.images.erase(damaged);
    found_others.images.erase(damaged);
    const auto left = found.images.find(damaged);
    const bool marked =
        left == found.images.end() || (left->second.flags & frame_flag_uncertain) != 0;
    if (!found.degraded || !names_it || !marked || others.images != found_others.images ||
        found.revision != before.revision)
        exploration_.fail("a damaged record of " + damaged + " in " + text_of(before) +
                          " became: " + text_of(found));
    history_ = {found};
    acknowledged_ = 0;
    static constexpr const char *steps[] = {"keep", "create", "begin to replace"};
    refused_call_ = is_mended ? nullptr : steps[exploration_.below(std::size(steps))];
    open();
    refused_call_ = nullptr;
}

// --- beside the writer -------------------------------------------------------------------------

void ExploredStore::back_up() {
    close();
    backup_ = std::make_unique<SimulatedDisk>(*disk_);
    backed_up_ = history_.back();
    open();
}

void ExploredStore::restore() {
    if (!backup_ || exploration_.failed())
        return;
    close();
    disk_->restore(*backup_);
    history_ = {backed_up_};
    acknowledged_ = 0;
    acknowledged_more_ = true;
    open();
}

/// A reader that has followed from the beginning shows what the store holds.
void ExploredStore::look_as_reader() {
    if (exploration_.failed() || life_ != 0 || fault_hit_ || outcome_unknown_)
        return;
    Index fresh;
    Result<Recovered> read = read_beside_writer(*disk_, {true, {}}, fresh);
    const Status followed = read.ok() ? follow_writer(read_, fresh) : read.status();
    if (!followed.ok()) {
        exploration_.fail("a reader could not follow: " + followed.message);
        return;
    }
    const ModelState found = state_of(read_, *read);
    if (found != history_.back())
        exploration_.fail("a reader shows: " + text_of(found) +
                          "\n  expected: " + text_of(history_.back()));
}

} // namespace waybill::crash
