// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors
//
// The stores of all engines with the same images in each, and the rounds in which they are
// measured in turn.
#pragma once

#include "../bare_loops.h"
#include "compared_rows.h"
#include "engine_profiles.h"
#include "worker_process.h"

#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace bench {

struct CompareSettings {
    std::string workers;   ///< directory of the worker programs
    std::string directory; ///< where the stores are made
    std::vector<EngineProfile> engines;
    std::vector<std::string> groups; ///< of rows
    std::vector<std::size_t> sizes;
    std::size_t rounds = 5;
    bool quick = false;
    bool keep_disturbed = false;
};

/// One engine's store.
struct Session {
    EngineProfile engine;
    std::string directory;
    std::size_t images;
    std::unique_ptr<WorkerProcess> worker = {};
};

/// Looks whether a sync takes as long as one tick of the scheduler, as it does where all
/// processors are busy.
class DiskProbe final {
  public:
    explicit DiskProbe(const std::string &directory);
    /// What was written before is on disk when it returns.
    bool is_quiet();
    /// Waits a little for it.
    void wait_until_quiet();

  private:
    std::string directory_;
    AppendedFile file_;
};

/// Figures of a row each, in the order of the rows.
using Measure = std::function<std::vector<double>(Session &)>;

class Comparison final {
  public:
    explicit Comparison(CompareSettings settings);
    /// Prints each row when it is there.
    std::vector<ComparedRow> run();

  private:
    void run_size(std::size_t images);
    void open_all(std::size_t images);
    void measure_puts(std::size_t images, std::size_t writers);
    void measure_gets(std::size_t images, std::size_t readers);
    void measure_mixed(std::size_t images);
    void measure_list(std::size_t images);
    void measure_removes(std::size_t images);
    void measure_prune(std::size_t images);
    void measure_files(std::size_t images);
    void measure_starts(std::size_t images);

    bool wants(const std::string &group) const;
    std::vector<Session *> taking_part(std::size_t writers, bool is_write, ComparedRow &row);
    void rounds_of(std::vector<ComparedRow> rows, const std::vector<Session *> &sessions,
                   bool waits_for_disk, const Measure &measure);
    void check(Session &session);
    std::unique_ptr<WorkerProcess> start_worker(const EngineProfile &engine) const;
    std::size_t budget_ms() const { return settings_.quick ? 300 : 1000; }

    CompareSettings settings_;
    DiskProbe probe_;
    std::vector<Session> sessions_;
    std::vector<ComparedRow> rows_;
};

} // namespace bench
