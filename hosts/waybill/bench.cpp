/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: Waybill contributors
 */
#include "bench_measure.h"
#include "interruption.h"
#include "options.h"
#include "output.h"
#include "text.h"

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include <cmath>

namespace cli {
namespace {

constexpr std::size_t images_max = 1'000'000;
constexpr std::size_t rounds_max = 1'000;

/** More digits would only be noise. */
double rounded(double value) { return std::round(value * 1e3) / 1e3; }

nlohmann::ordered_json put_json(const PutFigures &put, std::size_t writers) {
    nlohmann::ordered_json document = {{"writers", writers}};
    if (put.us > 0) {
        document["medianUs"] = rounded(put.us);
        document["bareMedianUs"] = rounded(put.bare_us);
    }
    document["perSecond"] = rounded(put.per_second);
    document["barePerSecond"] = rounded(put.bare_per_second);
    document["ratio"] = rounded(put.ratio);
    return document;
}

nlohmann::ordered_json figures_json(const BenchFigures &figures, const BenchSize &size,
                                    const std::string &directory, bool in_memory) {
    return {{"directory", directory},
            {"inMemory", in_memory},
            {"images", size.images},
            {"rounds", size.rounds},
            {"recordBytes", figures.record_bytes},
            {"put", put_json(figures.one_writer, 1)},
            {"putByMany", put_json(figures.many_writers, bench_writers)},
            {"get", {{"medianNs", rounded(figures.get_ns)}}},
            {"recover", {{"medianMs", rounded(figures.recover_ms)}}},
            {"diskBytesPerImage", rounded(figures.disk_bytes_per_image)}};
}

std::vector<std::string> rate_row(const std::string &name, const PutFigures &put) {
    return {name, fmt::format("{:.0f} /s", put.per_second),
            fmt::format("{:.0f} /s", put.bare_per_second), fmt::format("{:.2f}", put.ratio)};
}

std::string figures_text(const BenchFigures &figures, const BenchSize &size,
                         const std::string &directory) {
    Table table({"WHAT", "WAYBILL", "BARE DISK", "RATIO"});
    table.add({"durable put, median", fmt::format("{:.0f} µs", figures.one_writer.us),
               fmt::format("{:.0f} µs", figures.one_writer.bare_us)});
    table.add(rate_row("durable put, 1 writer", figures.one_writer));
    table.add(
        rate_row(fmt::format("durable put, {} writers", bench_writers), figures.many_writers));
    table.add({"get", fmt::format("{:.0f} ns", figures.get_ns)});
    table.add({fmt::format("recover {} images", size.images),
               fmt::format("{:.1f} ms", figures.recover_ms)});
    table.add({"on disk, an image", fmt::format("{:.0f} B", figures.disk_bytes_per_image)});
    return fmt::format("In {}: {} images, records of {} B, {} rounds\n{}", printable(directory),
                       size.images, figures.record_bytes, size.rounds, table.text());
}

void bench_beside(const Options &options, const BenchSize &size) {
    const waybill::Library library(options.library);
    const ScratchDirectory scratch(options.root, options.json);
    const bool in_memory = scratch.in_memory();
    if (in_memory)
        print_warning(scratch.parent() + ": is in memory; there is no disk behind it",
                      options.json);
    const BenchFigures figures = measure(library, scratch, size);
    if (options.json)
        print_json(figures_json(figures, size, scratch.parent(), in_memory));
    else
        print(figures_text(figures, size, scratch.parent()));
}

int bench(const Options &options, const BenchSize &size) {
    try {
        const Interruption interruption;
        bench_beside(options, size);
    } catch (const Interrupted &interrupted) {
        return end_by_signal(interrupted.signal);
    }
    return exit_done;
}

} // namespace

void add_bench(CLI::App &app, const Options &options, Run &run) {
    CLI::App *command = app.add_subcommand(
        "bench", "Measure a store beside --root, and what its disk could do at best");
    command->fallthrough();
    auto size = std::make_shared<BenchSize>();
    command->add_option("--images", size->images, "How many images the measured store holds")
        ->type_name("N")
        ->check(CLI::Range(std::size_t{1}, images_max).description(""))
        ->capture_default_str();
    command->add_option("--rounds", size->rounds, "How often each is measured, 2 seconds a round")
        ->type_name("R")
        ->check(CLI::Range(std::size_t{1}, rounds_max).description(""))
        ->capture_default_str();
    command->footer(
        "--root must exist, as a store or not; nothing in it is touched. Works in a new directory\n"
        "beside it, which takes some 100 MB, and 5 kB an image, and is removed. BARE DISK appends\n"
        "as many bytes and syncs; its writers share a sync. \"On disk\" includes what the store\n"
        "has reserved. Compare ratios, on an idle machine: a disk's own speed drifts.\n"
        "Example:\n  waybill --root /var/lib/waybill bench --json");
    command->callback(
        [&options, &run, size] { run = [&options, size] { return bench(options, *size); }; });
}

} // namespace cli
