// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors
// The rows: what is asked of which engine, and what is not and why.
#include "comparison.h"

#include <filesystem>
#include <sys/stat.h>
#include <system_error>

namespace bench {

static std::string at_size(std::size_t images) { return "n=" + with_commas(images); }

static ComparedRow row_of(const std::string &name, const std::string &unit, Better better,
                          std::size_t images) {
    ComparedRow row;
    row.name = name + ", " + at_size(images);
    row.unit = unit;
    row.better = better;
    row.images = images;
    return row;
}

static std::string words(const std::string &verb, std::initializer_list<std::size_t> numbers) {
    std::string request = verb;
    for (const std::size_t number : numbers)
        request += ' ' + std::to_string(number);
    return request;
}

/// Stores, and the limit for that many writers; `row` says why others are missing.
std::vector<Session *> Comparison::taking_part(std::size_t writers, bool is_write,
                                               ComparedRow &row) {
    std::vector<Session *> taking;
    for (Session &session : sessions_) {
        const EngineProfile &engine = session.engine;
        if (is_write && engine.rewrites_all && session.images >= 100'000) {
            row.skipped.push_back(engine.name + ": each put writes all " +
                                  with_commas(session.images) + " images, a second or more");
            continue;
        }
        if (engine.is_store() || (writers == 1 && engine.role == Role::AppendLimit) ||
            (writers > 1 && engine.role == Role::GroupLimit))
            taking.push_back(&session);
    }
    return taking;
}

void Comparison::measure_puts(std::size_t images, std::size_t writers) {
    const std::string who =
        writers == 1 ? "put, 1 writer" : "put, " + std::to_string(writers) + " writers";
    ComparedRow rate = row_of(who, "puts/s", Better::More, images);
    const std::vector<Session *> taking = taking_part(writers, true, rate);
    ComparedRow median = row_of(who, "us, median", Better::Less, images);
    ComparedRow p99 = row_of(who, "us, 99th percentile", Better::Less, images);
    median.skipped = p99.skipped = rate.skipped;
    if (images == 1000) {
        rate.chart = "put-by-writers";
        rate.chart_x = static_cast<double>(writers);
    }
    if (writers == 1) {
        median.chart = "put-latency-by-images";
        median.chart_x = static_cast<double>(images);
    } else {
        // With more writers than processors a put's median is no sign of a disturbed disk.
        median.unit = "us, median of each put";
    }
    const std::size_t each = writers == 1 ? 300 : 100;
    rounds_of({rate, median, p99}, taking, true, [&](Session &session) {
        const Figures got = session.worker->ask(words("put", {writers, each, budget_ms()}));
        return std::vector<double>{got.at("per_s"), got.at("p50_us"), got.at("p99_us")};
    });
}

void Comparison::measure_gets(std::size_t images, std::size_t readers) {
    const std::string who = std::to_string(readers) + (readers == 1 ? " reader" : " readers");
    ComparedRow handle = row_of("get, record in hand, " + who, "ns, median", Better::Less, images);
    ComparedRow fields =
        row_of("get, every field read, " + who, "ns, median", Better::Less, images);
    if (readers == 1) {
        fields.chart = "get-by-images";
        fields.chart_x = static_cast<double>(images);
    }
    std::vector<Session *> taking;
    for (Session &session : sessions_)
        if (session.engine.is_store() || session.engine.role == Role::TableLimit)
            taking.push_back(&session);
    const std::size_t count = settings_.quick ? 5'000 : 20'000;
    rounds_of({handle, fields}, taking, false, [&](Session &session) {
        const std::string get = words("get", {readers, count});
        return std::vector<double>{session.worker->ask(get + " handle").at("ns"),
                                   session.worker->ask(get + " fields").at("ns")};
    });
}

void Comparison::measure_mixed(std::size_t images) {
    ComparedRow row = row_of("95 gets to 5 puts, 2 threads", "ops/s", Better::More, images);
    std::vector<Session *> taking = taking_part(0, true, row);
    rounds_of({row}, taking, true, [&](Session &session) {
        return std::vector<double>{
            session.worker->ask(words("mixed", {2, 2000, budget_ms()})).at("per_s")};
    });
}

void Comparison::measure_list(std::size_t images) {
    const ComparedRow row = row_of("list, every field read", "ms", Better::Less, images);
    std::vector<Session *> taking;
    for (Session &session : sessions_)
        if (session.engine.is_store() || session.engine.role == Role::TableLimit)
            taking.push_back(&session);
    rounds_of({row}, taking, false, [&](Session &session) {
        const Figures got = session.worker->ask("list");
        if (got.at("images") != static_cast<double>(images))
            throw std::runtime_error(session.engine.name + ": not every image is listed");
        return std::vector<double>{got.at("ms")};
    });
}

void Comparison::measure_removes(std::size_t images) {
    ComparedRow row = row_of("remove, one by one", "removes/s", Better::More, images);
    const std::vector<Session *> taking = taking_part(0, true, row);
    rounds_of({row}, taking, true, [&](Session &session) {
        const Figures got = session.worker->ask(words("remove", {100, budget_ms()}));
        session.worker->ask(words("fill", {images}));
        return std::vector<double>{got.at("per_s")};
    });
}

void Comparison::measure_prune(std::size_t images) {
    ComparedRow row = row_of("prune half", "ms", Better::Less, images);
    const std::vector<Session *> taking = taking_part(0, true, row);
    rounds_of({row}, taking, true, [&](Session &session) {
        const Figures got = session.worker->ask("prune");
        if (got.at("images") != static_cast<double>(images / 2))
            throw std::runtime_error(session.engine.name + ": prune did not remove every other");
        session.worker->ask(words("fill", {images}));
        return std::vector<double>{got.at("ms")};
    });
}

static double bytes_on_disk(const std::string &directory) {
    double bytes = 0;
    for (const auto &entry : std::filesystem::recursive_directory_iterator(directory)) {
        struct stat found {};
        if (::lstat(entry.path().c_str(), &found) != 0)
            throw std::system_error(errno, std::generic_category(), entry.path().string());
        if (S_ISREG(found.st_mode))
            bytes += 512.0 * static_cast<double>(found.st_blocks);
    }
    return bytes;
}

/// Closes every store, before and after what makes its files small, and looks at the files.
void Comparison::measure_files(std::size_t images) {
    ComparedRow used = row_of("bytes on disk an image, as used", "bytes", Better::Less, images);
    ComparedRow small = row_of("bytes on disk an image, compacted", "bytes", Better::Less, images);
    for (Session &session : sessions_) {
        if (session.engine.is_store()) {
            const auto an_image = [&] {
                return bytes_on_disk(session.directory) / static_cast<double>(images);
            };
            used.values[session.engine.name] = {an_image()};
            session.worker->ask("compact");
            session.worker->ask("close");
            session.worker.reset();
            small.values[session.engine.name] = {an_image()};
        }
        session.worker.reset();
    }
    if (!wants("bytes") || images < 10'000)
        return;
    for (ComparedRow &row : {std::ref(used), std::ref(small)}) {
        print(row);
        rows_.push_back(row);
    }
}

void Comparison::measure_starts(std::size_t images) {
    ComparedRow first = row_of("new process: open and first get", "ms", Better::Less, images);
    ComparedRow opened = row_of("resident memory after that", "MiB", Better::Less, images);
    ComparedRow all =
        row_of("new process: open and every field listed", "ms", Better::Less, images);
    ComparedRow listed = row_of("resident memory after that list", "MiB", Better::Less, images);
    all.chart = "start-by-images";
    all.chart_x = static_cast<double>(images);
    std::vector<Session *> taking;
    for (Session &session : sessions_)
        if (session.engine.is_store())
            taking.push_back(&session);
    const bool with_memory = images >= 10'000;
    std::vector<ComparedRow> rows = {first, all};
    if (with_memory)
        rows = {first, opened, all, listed};
    rounds_of(rows, taking, false, [&](Session &session) {
        std::vector<double> figures;
        for (const char *what : {"first", "list"}) {
            const std::unique_ptr<WorkerProcess> worker = start_worker(session.engine);
            const Figures got =
                worker->ask(words("start " + session.directory, {images}) + ' ' + what);
            if (got.at("images") != static_cast<double>(images))
                throw std::runtime_error(session.engine.name + ": images are missing");
            figures.push_back(got.at("ms"));
            worker->ask("settle");
            if (with_memory)
                figures.push_back(worker->resident_kib() / 1024);
            worker->ask("close");
        }
        return figures;
    });
}

} // namespace bench
