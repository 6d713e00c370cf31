// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors
#include "committer.h"

#include "image_generated.h"
#include "limits.h"
#include "snapshot.h"

#include <algorithm>

namespace waybill {

Committer::Committer(Disk &disk, Index &index, Background background, const Host &host,
                     const CommitterLimits &limits, Recovered recovered, LayerLook *layer_look)
    : disk_(disk), index_(index), background_(std::move(background)), host_(host), limits_(limits),
      layer_look_(layer_look), recovered_(std::move(recovered)),
      journal_(std::move(recovered_.journal)), next_revision_(recovered_.revision + 1),
      loss_mark_(recovered_.loss_mark), degraded_(recovered_.degraded),
      revision_(recovered_.revision), generation_(recovered_.generation),
      journal_bytes_(journal_->offset()) {}

static std::size_t bytes_of(const Submission &submission) {
    std::size_t bytes = 0;
    for (const PutImage &image : submission.images)
        bytes += frame_bytes(image.frame->payload_bytes);
    return bytes;
}

void Committer::commit_round(std::vector<Submission> &arrivals) {
    // Those taken stand at [first, last), moved up over those that were withdrawn.
    auto first = arrivals.begin(), last = first;
    std::size_t bytes = 0;
    const auto flush = [&] {
        if (first != last)
            commit_guarded({first, last});
        first = last;
        bytes = 0;
    };
    for (Submission &submission : arrivals) {
        if (!submission.operation->enter())
            continue; // Withdrawn.
        const bool alone = submission.verb == Verb::Prune || submission.verb == Verb::AcceptLoss;
        if (alone || bytes >= limits::batch_bytes_target)
            flush();
        bytes += bytes_of(submission);
        if (&*last != &submission)
            *last = std::move(submission);
        ++last;
        if (alone)
            flush();
    }
    flush();
    guard({}, [this] {
        index_.reclaim();
        rotate_if_needed();
    });
}

/// Only tells later damage from a torn end, so nobody waits for its success.
void Committer::close_journal() {
    if (batches_.load() == 0 || read_only_.load() || journal_->offset() == header_block_bytes)
        return;
    guard({}, [this] {
        const Status closed = append_close(*journal_, next_revision_ - 1, reserve_bytes(index_));
        if (!closed.ok() && !wrote_nothing(closed))
            log(Severity::Warning, "the journal was not marked as closed: ", closed);
    });
}

// --- deciding ----------------------------------------------------------------------------------

Committer::State Committer::state_of(const Name &name) const {
    if (const auto found = overlay_.find(name); found != overlay_.end())
        return found->second;
    const Frame *frame = index_.find(name.name_space, name.reference, name.hash);
    return frame ? State{true, frame->revision, image_of(*frame)->created_ns()}
                 : State{false, 0, 0};
}

static Status judge(const PutImage &image, bool present, std::uint64_t revision) {
    const auto reference = [&] { return std::string(reference_of(*image.frame)); };
    switch (image.condition) {
    case PutCondition::Any:
        return {};
    case PutCondition::IfAbsent:
        if (present)
            return failure(Code::Exists,
                           reference() + ": exists in revision " + std::to_string(revision));
        return {};
    case PutCondition::IfRevision:
        if (!present)
            return failure(Code::Conflict, reference() + ": does not exist");
        if (revision != image.expected_revision)
            return failure(Code::Conflict, reference() + ": is at revision " +
                                               std::to_string(revision) + ", not " +
                                               std::to_string(image.expected_revision));
        return {};
    }
    return {};
}

Status Committer::plan_put(Submission &submission, std::int64_t now_ns) {
    const auto name_of = [](const PutImage &image) {
        const Frame &frame = *image.frame;
        return Name{namespace_of(frame), reference_of(frame), frame.key_hash};
    };
    states_.clear();
    std::int64_t added = 0;
    for (const PutImage &image : submission.images) {
        const State &state = states_.emplace_back(state_of(name_of(image)));
        if (Status status = judge(image, state.present, state.revision); !status.ok())
            return status;
        added += !state.present;
    }
    if (static_cast<std::int64_t>(index_.image_count()) + batch_added_ + added >
        static_cast<std::int64_t>(limits_.images_max))
        return over_limit("", "the store holds " + std::to_string(index_.image_count()) +
                                  " images, at most " + std::to_string(limits_.images_max) +
                                  " are allowed");
    // As if nothing were replaced: the images of one batch make no difference to such a bound.
    if (index_.live_bytes() + batch_.size_bytes() + bytes_of(submission) > limits_.live_bytes)
        return over_limit("", "the store holds " + std::to_string(index_.live_bytes()) +
                                  " bytes of records, at most " +
                                  std::to_string(limits_.live_bytes) + " are allowed");
    batch_added_ += added;
    const std::uint64_t revision = next_revision_++;
    for (std::size_t i = 0; i < states_.size(); ++i) {
        const PutImage &image = submission.images[i];
        Frame &frame = *image.frame;
        frame.revision = revision;
        const std::int64_t known_ns = states_[i].present ? states_[i].created_ns : now_ns;
        set_times(frame, image.given_created_ns != 0 ? image.given_created_ns : known_ns,
                  image.given_updated_ns != 0 ? image.given_updated_ns : now_ns);
        batch_.add(frame, frame.payload_span());
        batch_removal_bytes_ += removal_bytes(frame);
        overlay_[name_of(submission.images[i])] = {true, revision, image_of(frame)->created_ns()};
    }
    submission.operation->draft().revision = revision;
    submission.operation->draft().image_count = states_.size();
    return {};
}

void Committer::plan_remove(Submission &submission) {
    const Key &key = submission.key;
    const Name name{key.name_space, key.reference, key_hash(key.name_space, key.reference)};
    Outcome &outcome = submission.operation->draft();
    const State state = state_of(name);
    outcome.existed = state.present;
    if (!state.present)
        return;
    batch_added_ -= 1;
    outcome.revision = next_revision_;
    Frame head{};
    head.kind = static_cast<std::uint16_t>(FrameKind::Remove);
    head.key_hash = name.hash;
    head.revision = next_revision_++;
    batch_.add(head, encode_removal({key}));
    overlay_[name] = {false, 0, 0};
}

// --- committing --------------------------------------------------------------------------------

/// Before the journal is written, so that nothing behind it can fail for want of memory.
void Committer::reserve_memory(Taken taken) {
    std::size_t puts = 0, removals = 0;
    for (const Submission &submission : taken) {
        puts += submission.images.size();
        removals += submission.verb == Verb::Remove;
    }
    index_.reserve(puts, removals);
    for (const Submission &submission : taken)
        for (const PutImage &image : submission.images)
            index_.add_name(*image.frame);
}

Status Committer::append(std::uint64_t added_removal_bytes, bool may_use_reserve) {
    if (batch_.empty())
        return {};
    if (read_only_.load())
        return failure(Code::ReadOnly, "the store is read-only since a write failed");
    ++appends_in_doubt_;
    Status status =
        journal_->append(batch_, reserve_bytes(index_) + added_removal_bytes, may_use_reserve);
    if (status.ok()) {
        batches_.fetch_add(1, std::memory_order_relaxed);
        journal_bytes_.store(journal_->offset(), std::memory_order_relaxed);
        revision_.store(batch_.last_revision(), std::memory_order_relaxed);
    } else if (journal_->failed()) {
        became_read_only(status);
    }
    --appends_in_doubt_;
    return status;
}

void Committer::became_read_only(const Status &cause) noexcept {
    if (!read_only_.exchange(true))
        log(Severity::Error, "the store is read-only now: ", cause);
}

/// A line for which there is no memory is not said.
void Committer::log(Severity severity, const char *what, const Status &cause) noexcept {
    try {
        host_.log(severity, what + cause.message);
    } catch (...) {
    }
}

/// The memory for it has been reserved.
void Committer::publish(Taken taken) noexcept {
    const auto lock = index_.publish();
    for (Submission &submission : taken) {
        const Outcome &outcome = submission.operation->draft();
        if (!outcome.status.ok())
            continue;
        transactions_.fetch_add(outcome.revision != 0, std::memory_order_relaxed);
        for (PutImage &image : submission.images) {
            if (layer_look_ && layer_look_->keeps_mark(*image.frame)) {
                image.frame->flags |= frame_flag_incomplete;
                image.incomplete = image.frame.get();
            }
            index_.put(image.frame.release());
        }
        if (submission.verb == Verb::Remove && outcome.existed)
            index_.erase(submission.key.name_space, submission.key.reference);
    }
}

/// All have ended before anybody wakes.
void Committer::answer(Taken taken) noexcept {
    bool some_wait = false;
    for (Submission &submission : taken) {
        const bool waits = submission.waits_for_look();
        some_wait = some_wait || waits;
        if (!waits)
            submission.operation->end();
    }
    const Bell *rung = nullptr;
    for (const Submission &submission : taken) {
        Bell &bell = *submission.operation->bell();
        // A ring could wake just those who wait for what has not ended.
        if (&bell != rung)
            some_wait ? bell.wake_all() : bell.ring();
        rung = &bell;
    }
    if (some_wait)
        layer_look_->end_after_it(taken);
}

/// Runs one step of the writer. What is thrown (memory ran out) becomes the outcome of everything
/// in hand. Nothing throws between the journal's write and the answer; should it all the same,
/// memory and disk could differ, and nothing more is written.
template <typename Step> void Committer::guard(Taken in_hand, Step step) noexcept {
    const std::uint64_t revision_before = next_revision_;
    Status status;
    try {
        step();
        return;
    } catch (...) {
        status = thrown_failure();
    }
    if (appends_in_doubt_ > 0) {
        appends_in_doubt_ = 0;
        status.code = Code::Io;
        became_read_only(status);
    } else if (!read_only_.load()) {
        next_revision_ = revision_before;
    }
    for (const Submission &submission : in_hand)
        if (!submission.operation->finished())
            submission.operation->fail(copied(status));
}

void Committer::commit_guarded(Taken taken) noexcept {
    guard(taken, [&] {
        if (taken.front().verb == Verb::Prune)
            commit_prune(taken.front());
        else if (taken.front().verb == Verb::AcceptLoss)
            commit_accepted_loss(taken.front());
        else
            commit(taken);
    });
}

void Committer::commit(Taken taken) {
    const std::uint64_t first_revision = next_revision_;
    // At commit, so that times grow as revisions do.
    const std::int64_t now_ns = host_.clock_ns();
    batch_.clear();
    batch_removal_bytes_ = 0;
    batch_added_ = 0;
    overlay_.clear();
    bool puts = false;
    for (Submission &submission : taken) {
        if (submission.verb == Verb::Put) {
            puts = true;
            submission.operation->draft().status = plan_put(submission, now_ns);
        } else {
            plan_remove(submission);
        }
    }
    reserve_memory(taken);
    Status status = append(batch_removal_bytes_, !puts);
    overlay_.clear();
    if (wrote_nothing(status) && taken.size() > 1) {
        // What fits still goes in, and a remove must not fail for the put beside it.
        next_revision_ = first_revision;
        for (std::size_t i = 0; i < taken.size(); ++i) {
            taken[i].operation->draft() = Outcome{};
            commit_guarded(taken.subspan(i, 1));
        }
        // Each rang a bell at which the waiters of all of them may sleep.
        for (const Submission &submission : taken)
            submission.operation->bell()->wake_all();
        return;
    }
    // After Io what was written may yet turn up: its revisions are never used again.
    if (wrote_nothing(status))
        next_revision_ = first_revision;
    for (Submission &submission : taken) {
        Outcome &outcome = submission.operation->draft();
        if (!status.ok()) {
            // Conditions were judged against a batch that did not come to be.
            outcome = Outcome{};
            outcome.status = copied(status);
        }
        outcome.report_json = std::move(submission.report_json);
    }
    publish(taken);
    answer(taken);
}

/// What batch_ holds, as a batch of its own: one transaction of the next revision. It may use the
/// reserve.
Status Committer::append_alone(Outcome &outcome) {
    Status status = append(0, true);
    // After Io the batch may yet turn up: its revision is never used again.
    if (!wrote_nothing(status))
        ++next_revision_;
    if (status.ok()) {
        outcome.revision = batch_.last_revision();
        transactions_.fetch_add(1, std::memory_order_relaxed);
    }
    return status;
}

void Committer::commit_prune(Submission &submission) {
    if (degraded_.load()) {
        submission.operation->fail(
            failure(Code::Degraded, "records were lost to damage: read the recovery report and "
                                    "accept the loss before pruning"));
        return;
    }
    Outcome &outcome = submission.operation->draft();
    outcome.retained = apply_keep_list(index_, submission.keep);
    const std::vector<Key> &removed = outcome.retained.removed.in_any_order();
    outcome.image_count = removed.size();
    if (!removed.empty()) {
        index_.reserve(0, removed.size());
        batch_.clear();
        Frame head{};
        head.kind = static_cast<std::uint16_t>(FrameKind::Prune);
        head.revision = next_revision_;
        for (std::span<const Key> rest(removed); !rest.empty();) {
            const std::size_t count = keys_in_removal(rest, limits_.removal_bytes);
            batch_.add(head, encode_removal(rest.first(count)));
            rest = rest.subspan(count);
        }
        if (Status status = append_alone(outcome); !status.ok()) {
            submission.operation->fail(std::move(status));
            return;
        }
        const auto lock = index_.publish();
        for (const Key &key : removed)
            index_.erase(key.name_space, key.reference);
    }
    submission.operation->finish();
}

void Committer::commit_accepted_loss(Submission &submission) {
    Outcome &outcome = submission.operation->draft();
    outcome.report_json = degraded_.load() ? R"({"degradedBefore":true,"degraded":false})"
                                           : R"({"degradedBefore":false,"degraded":false})";
    if (degraded_.load()) {
        batch_.clear();
        Frame head{};
        head.kind = static_cast<std::uint16_t>(FrameKind::AcceptLoss);
        head.key_hash = loss_mark_.load();
        head.revision = next_revision_;
        batch_.add(head, {});
        if (Status status = append_alone(outcome); !status.ok()) {
            submission.operation->fail(std::move(status));
            return;
        }
        degraded_.store(false);
        const auto lock = index_.publish();
        index_.for_each_frame(
            [&](Frame &frame) { index_.set_flags(frame, 0, frame_flags_stored); });
        // A snapshot takes the damage, which recovery would find again, out of the journals.
        rotation_wanted_ = true;
    }
    submission.operation->finish();
}

// --- rotation ----------------------------------------------------------------------------------

void Committer::rotate_if_needed() {
    if (read_only_.load() || snapshot_under_way_.load())
        return; // What the journal's end holds is unknown, or the last snapshot is not done.
    const std::uint64_t bytes = journal_->offset();
    if (snapshot_failed_.exchange(false))
        rotation_retry_bytes_ = 2 * bytes;
    const std::uint64_t wanted =
        std::max({limits_.journal_bytes, limits::journal_live_factor * index_.live_bytes(),
                  rotation_retry_bytes_});
    // Long before no more could be written.
    const std::uint64_t threshold = std::min(wanted, limits::file_bytes_max / 2);
    if (bytes < threshold && !rotation_wanted_)
        return;
    rotation_wanted_ = false;
    if (Status status = rotate(); !status.ok()) {
        // Nothing is lost by it: the journal just goes on growing.
        snapshot_failures_.fetch_add(1, std::memory_order_relaxed);
        rotation_retry_bytes_ = 2 * bytes;
        log(Severity::Warning, "no new journal could be started: ", status);
    }
}

Status Committer::rotate() {
    if (read_only_.load())
        return failure(Code::ReadOnly, "the store is read-only since a write failed");
    FileHeader header = journal_->header();
    header.generation += 1;
    header.first_revision = next_revision_ - 1;
    header.flags = static_cast<std::uint32_t>(recovered_.mode) << header_mode_shift |
                   (degraded_.load() ? header_flag_degraded : 0);
    header.salt = random_u64();
    bool left_behind = false;
    Result<std::unique_ptr<JournalWriter>> started =
        JournalWriter::start(disk_, header, reserve_bytes(index_), &left_behind);
    if (!started.ok()) {
        // Recovery would take what has been started for the newest, and what this journal gets
        // from now on for damage.
        if (left_behind)
            became_read_only(started.status());
        return started.status();
    }
    journal_ = std::move(*started);
    rotation_retry_bytes_ = 0;
    generation_.store(header.generation, std::memory_order_relaxed);
    journal_bytes_.store(journal_->offset(), std::memory_order_relaxed);

    header.salt = random_u64();
    try {
        start_snapshot(header);
    } catch (...) {
        // The older journals stay, as after any snapshot that failed.
        snapshot_ended(thrown_failure());
    }
    return {};
}

void Committer::start_snapshot(FileHeader header) {
    // The state at the cut.
    index_.keep_up_to(header.first_revision);
    auto frames = std::make_shared<std::vector<const Frame *>>();
    frames->reserve(index_.image_count());
    index_.scan([&](const Frame &frame) { frames->push_back(&frame); });
    snapshot_under_way_.store(true);
    background_([this, header, frames] {
        Status status;
        try {
            status = keep_damaged_files(disk_, recovered_.damaged_files);
            // What has one of their names from now on is another file.
            if (status.ok())
                recovered_.damaged_files.clear();
            bool named = false;
            if (status.ok())
                status = write_snapshot(disk_, header, *frames, &named, Pace::BesidePuts);
            if (status.ok()) {
                // Recovery no longer reads what was damaged.
                loss_mark_.store(0);
                status = drop_older_journals(disk_, header.generation);
            }
        } catch (...) {
            status = thrown_failure();
        }
        snapshot_ended(status);
    });
}

void Committer::snapshot_ended(const Status &status) noexcept {
    index_.keep_no_longer();
    if (status.ok()) {
        snapshots_.fetch_add(1, std::memory_order_relaxed);
    } else {
        snapshot_failures_.fetch_add(1, std::memory_order_relaxed);
        snapshot_failed_.store(true);
        log(Severity::Warning, "snapshot not written: ", status);
    }
    snapshot_under_way_.store(false);
}

CommitterStats Committer::stats() const {
    return {revision_.load(),          generation_.load(),   journal_bytes_.load(),
            batches_.load(),           transactions_.load(), snapshots_.load(),
            snapshot_failures_.load(), read_only_.load(),    degraded_.load()};
}

} // namespace waybill
