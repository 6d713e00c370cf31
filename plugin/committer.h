// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors
//
// The one writer: decides on what has been submitted, writes one batch, syncs once, publishes, and
// only then answers. The thread that it works on is in submissions.h.
// Invariants: the order is journal, sync, memory, answer; what arrives during a sync goes into the
// next batch; a transaction is in one batch; revisions grow by one a transaction and are never
// reused; a prune or an acceptance of loss has a batch to itself, so that it judges durable state.
#pragma once

#include "disk.h"
#include "host.h"
#include "index.h"
#include "journal_writer.h"
#include "layer_look.h"
#include "operation.h"
#include "recovery.h"
#include "submission.h"

#include <atomic>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace waybill {

struct CommitterLimits {
    std::uint64_t images_max;
    std::uint64_t journal_bytes;
    std::size_t removal_bytes = limits::removal_bytes_max; ///< of one frame of a prune
    std::uint64_t live_bytes = limits::live_bytes_max;     ///< of all records
};

struct CommitterStats {
    std::uint64_t revision, generation, journal_bytes, batches, transactions, snapshots;
    std::uint64_t snapshot_failures;
    bool read_only, degraded;
};

class Committer final {
  public:
    /// `layer_look`: null where nobody can tell of layers, and so no image is ever incomplete.
    Committer(Disk &disk, Index &index, Background background, const Host &host,
              const CommitterLimits &limits, Recovered recovered, LayerLook *layer_look = nullptr);

    /// Commits all that has arrived. Takes no memory beyond that of the operations themselves
    /// once the journal is being written.
    void commit_round(std::vector<Submission> &arrivals);
    /// At the end, when nothing more will arrive.
    void close_journal();
    /// Starts the next journal; the snapshot that it builds on is written in the background. Not
    /// while an earlier one still is.
    Status rotate();

    CommitterStats stats() const;
    bool degraded() const { return degraded_.load(); }
    bool is_read_only() const { return read_only_.load(); }

  private:
    struct State { ///< of a name, as the batch under way leaves it
        bool present;
        std::uint64_t revision;
        std::int64_t created_ns;
    };
    /// Texts of what is being committed.
    struct Name {
        std::string_view name_space, reference;
        std::uint64_t hash;
        bool operator==(const Name &other) const {
            return reference == other.reference && name_space == other.name_space;
        }
    };
    struct HashOfName {
        std::size_t operator()(const Name &name) const { return name.hash; }
    };

    /// Part of what has arrived. It stays where it is: taking it must not need memory.
    using Taken = std::span<Submission>;

    template <typename Step> void guard(Taken in_hand, Step step) noexcept;
    void commit_guarded(Taken taken) noexcept;
    void commit(Taken taken);
    void commit_prune(Submission &submission);
    void commit_accepted_loss(Submission &submission);
    State state_of(const Name &name) const;
    Status plan_put(Submission &submission, std::int64_t now_ns);
    void plan_remove(Submission &submission);
    void reserve_memory(Taken taken);
    Status append(std::uint64_t added_removal_bytes, bool may_use_reserve);
    Status append_alone(Outcome &outcome);
    void became_read_only(const Status &cause) noexcept;
    void log(Severity severity, const char *what, const Status &cause) noexcept;
    void publish(Taken taken) noexcept;
    void answer(Taken taken) noexcept;
    void rotate_if_needed();
    void start_snapshot(FileHeader header);
    void snapshot_ended(const Status &status) noexcept;

    Disk &disk_;
    Index &index_;
    Background background_;
    const Host &host_;
    CommitterLimits limits_;
    LayerLook *const layer_look_;
    Recovered recovered_;
    std::unique_ptr<JournalWriter> journal_;

    // All but the atomics belongs to the thread that commits.
    std::uint64_t next_revision_;
    std::unordered_map<Name, State, HashOfName> overlay_;
    std::vector<State> states_; ///< of the names of one put, before it
    Batch batch_;
    std::uint64_t batch_removal_bytes_ = 0;
    std::int64_t batch_added_ = 0;       ///< names that the batch adds, less those that it removes
    std::uint64_t appends_in_doubt_ = 0; ///< begun and neither durable nor undone
    bool rotation_wanted_ = false;
    std::uint64_t rotation_retry_bytes_ = 0;

    /// Of the losses that the files show which recovery would read now.
    std::atomic<std::uint64_t> loss_mark_;
    std::atomic<bool> read_only_{false};
    std::atomic<bool> degraded_;
    std::atomic<bool> snapshot_under_way_{false};
    std::atomic<bool> snapshot_failed_{false};
    std::atomic<std::uint64_t> revision_, generation_, journal_bytes_;
    std::atomic<std::uint64_t> batches_{0}, transactions_{0}, snapshots_{0}, snapshot_failures_{0};
};

} // namespace waybill
