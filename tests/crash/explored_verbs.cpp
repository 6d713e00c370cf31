// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors
#include "explored_store.h"

#include "plugin/beside_writer.h"

#include <algorithm>
#include <cstring>
#include <iterator>

namespace waybill::crash {

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
