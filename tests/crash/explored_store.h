// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors
//
// One life of a store on a simulated disk, without threads but for a snapshot that is to be
// interleaved; and the cuts that end it.
#pragma once

#include "exploration.h"
#include "interleaved.h"

#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace waybill::crash {

class ExploredStore final {
  public:
    /// `history` is what may be found: the last of its states, or any from `acknowledged` on.
    ExploredStore(Exploration &exploration, std::unique_ptr<SimulatedDisk> disk,
                  std::vector<ModelState> history, std::size_t acknowledged, SnapshotTime snapshots,
                  int life);
    ~ExploredStore();

    /// Whether power cuts are looked at from now on.
    void set_looking(bool looking) { looking_ = looking; }
    void set_journal_bytes(std::uint64_t bytes) { limits_.journal_bytes = bytes; }
    void set_longest_value(std::size_t bytes) { longest_value_ = bytes; }

    /// Recovers, and sees that one of the states is found. False if not, with the failure noted.
    bool open();
    /// As open, and without the means to go on.
    bool open_and_leave();
    void apply(Verb verb);
    /// As destroying a store does.
    void close();
    /// Cuts that fall behind the last call.
    void look_at_end();

  private:
    struct UnderWay {
        OperationPtr operation;
        std::size_t state; ///< in history_, once it is acknowledged
    };

    Status on_call(const char *call, const std::string &name);
    void look();
    void look_at(const std::vector<Undecided> &undecided,
                 const std::vector<std::uint32_t> &outcomes);
    void survive(std::unique_ptr<SimulatedDisk> left, bool goes_on, const std::string &how);
    void note_acknowledged();
    bool recover();
    void start_committer();

    void put(const std::vector<std::string> &names, bool pinned);
    void group();
    void remove();
    void prune();
    void accept_loss();
    void rotate();
    void kill();
    void put_to_piece_end();
    void rot(bool is_mended);
    void back_up();
    void restore();
    void look_as_reader();
    bool damage_one_record(std::string *name);
    void commit(std::vector<Submission> submissions, std::vector<ModelState> states);
    void run_jobs();
    void end_interleaved();

    std::string first_image() const;
    std::string next_value();
    ModelState with_images(const ModelState &before, const std::vector<std::string> &names,
                           bool pinned, Submission *submission);

    Exploration &exploration_;
    std::unique_ptr<SimulatedDisk> disk_;
    std::vector<ModelState> history_;
    std::size_t acknowledged_;
    SnapshotTime snapshots_;
    const int life_; ///< 0: the workload's own, 1: after a cut or a kill
    bool looking_ = false;
    bool acknowledged_more_ = true; ///< since the last look: everything is to be looked at again
    std::uint64_t looked_at_call_ = 0;
    bool has_rotted_ = false;
    bool fault_hit_ = false;
    bool outcome_unknown_ = false;       ///< of the last operation
    const char *refused_call_ = nullptr; ///< every one fails: what has rotted cannot be mended
    bool fail_next_snapshot_ = false;
    std::size_t longest_value_ = 40;
    std::uint64_t values_ = 0;
    // A prune of two names has two frames.
    CommitterLimits limits_{1000, ~std::uint64_t{0} >> 2, 100};
    Host host_;
    std::unique_ptr<SimulatedDisk> backup_;
    ModelState backed_up_;
    Index read_; ///< by a reader that follows from the beginning

    std::unique_ptr<Index> index_;
    Recovered recovered_;
    std::unique_ptr<Committer> committer_;
    std::vector<UnderWay> under_way_;
    std::vector<std::function<void()>> jobs_;
    std::unique_ptr<Interleaved> interleaved_;
};

} // namespace waybill::crash
