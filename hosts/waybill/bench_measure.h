/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: Waybill contributors
 *
 * What `bench` measures: a store of its own beside the bare disk, by turns.
 */
#ifndef WAYBILL_CLI_BENCH_MEASURE_H
#define WAYBILL_CLI_BENCH_MEASURE_H

#include "scratch_directory.h"

#include <waybill/waybill.hpp>

#include <cstddef>

namespace cli {

inline constexpr std::size_t bench_writers = 8;

struct BenchSize {
    std::size_t images = 10'000;
    std::size_t rounds = 5;
};

/** Medians over the rounds; a ratio is the median of the rounds' own. */
struct PutFigures {
    double us = 0; ///< median of single puts; 0 where not taken
    double bare_us = 0;
    double per_second = 0;
    double bare_per_second = 0;
    double ratio = 0; ///< of puts a second to bare ones
};

struct BenchFigures {
    std::size_t record_bytes = 0;
    PutFigures one_writer;
    PutFigures many_writers;
    double get_ns = 0;
    double recover_ms = 0;
    double disk_bytes_per_image = 0;
};

/** [blocking] Throws Interrupted soon after a signal was noted. */
BenchFigures measure(const waybill::Library &library, const ScratchDirectory &scratch,
                     const BenchSize &size);

} // namespace cli

#endif
