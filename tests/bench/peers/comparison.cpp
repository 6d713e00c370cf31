// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors
#include "comparison.h"

#include "../workload.h"
#include "record.h"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <fcntl.h>
#include <filesystem>
#include <sstream>
#include <system_error>
#include <thread>
#include <unistd.h>

namespace bench {

// --- the disk ----------------------------------------------------------------------------------

/// A sync takes 4.0 ms where it waits for a tick.
static constexpr double disturbed_us = 3000;
static constexpr std::size_t probe_bytes = std::size_t{64} << 20;

DiskProbe::DiskProbe(const std::string &directory)
    : directory_(directory), file_(directory + "/probe", probe_bytes) {}

bool DiskProbe::is_quiet() {
    const int fd = ::open(directory_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || ::syncfs(fd) != 0)
        throw std::system_error(errno, std::generic_category(), directory_);
    ::close(fd);
    std::vector<double> microseconds;
    for (int i = 0; i < 9; ++i) {
        const auto began = std::chrono::steady_clock::now();
        file_.append(record_bytes);
        const std::chrono::duration<double> took = std::chrono::steady_clock::now() - began;
        microseconds.push_back(1e6 * took.count());
    }
    return quantile(microseconds, 0.5) < disturbed_us;
}

void DiskProbe::wait_until_quiet() {
    for (int i = 0; i < 10 && !is_quiet(); ++i)
        std::this_thread::sleep_for(std::chrono::milliseconds(200));
}

// --- stores ------------------------------------------------------------------------------------

Comparison::Comparison(CompareSettings settings)
    : settings_(std::move(settings)), probe_(settings_.directory) {}

std::unique_ptr<WorkerProcess> Comparison::start_worker(const EngineProfile &engine) const {
    return std::make_unique<WorkerProcess>(settings_.workers + "/worker-" + engine.name);
}

bool Comparison::wants(const std::string &group) const {
    return std::find(settings_.groups.begin(), settings_.groups.end(), group) !=
           settings_.groups.end();
}

/// Compares every field of every image, or of ten thousand of them, with what was put.
void Comparison::check(Session &session) {
    constexpr std::size_t at_most = 10'000, per_request = 500;
    const std::size_t step = std::max<std::size_t>(1, session.images / at_most);
    std::size_t checked = 0;
    for (std::size_t first = 0; first < session.images; first += step * per_request) {
        std::istringstream answer(session.worker->ask_text("dump " + std::to_string(first) + ' ' +
                                                           std::to_string(step) + ' ' +
                                                           std::to_string(per_request)));
        for (std::string word; answer >> word; ++checked) {
            std::size_t number = 0, version = 0;
            int behind = 0;
            if (std::sscanf(word.c_str(), "%zu:%zu:%n", &number, &version, &behind) != 2 ||
                number != checked * step)
                throw std::runtime_error(session.engine.name + ": not the image asked for");
            const std::string differs = difference(
                image(number, version),
                decode(from_hex(std::string_view(word).substr(static_cast<std::size_t>(behind)))));
            if (!differs.empty())
                throw std::runtime_error(session.engine.name + ": image " + std::to_string(number) +
                                         ": " + differs);
        }
    }
    if (checked != (session.images + step - 1) / step)
        throw std::runtime_error(session.engine.name + ": images are missing");
}

/// Fills each store in one process and opens it in another, which must find what was put.
void Comparison::open_all(std::size_t images) {
    sessions_.clear();
    for (const EngineProfile &engine : settings_.engines) {
        if (images > 100'000 && engine.name != our_name)
            continue;
        Session session{engine, settings_.directory + '/' + engine.name, images};
        std::fprintf(stderr, "%s: %s images\n", engine.name.c_str(), with_commas(images).c_str());
        std::filesystem::remove_all(session.directory);
        std::filesystem::create_directories(session.directory);
        session.worker = start_worker(engine);
        session.worker->ask("open " + session.directory);
        session.worker->ask("fill " + std::to_string(images));
        if (engine.is_store()) {
            session.worker->ask("close");
            session.worker = start_worker(engine);
            const Figures started = session.worker->ask("start " + session.directory + ' ' +
                                                        std::to_string(images) + " list");
            if (started.at("images") != static_cast<double>(images))
                throw std::runtime_error(engine.name + ": not every image was found again");
        }
        if (engine.is_store() || engine.role == Role::TableLimit)
            check(session);
        sessions_.push_back(std::move(session));
    }
}

// --- rounds ------------------------------------------------------------------------------------

void Comparison::rounds_of(std::vector<ComparedRow> rows, const std::vector<Session *> &sessions,
                           bool waits_for_disk, const Measure &measure) {
    std::vector<Session *> measured = sessions;
    for (ComparedRow &row : rows)
        for (const Session *session : measured)
            row.values[session->engine.name];
    std::size_t good = 0;
    for (std::size_t round = 0; good < settings_.rounds && round < 3 * settings_.rounds; ++round) {
        std::map<std::string, std::vector<double>> figures;
        bool quiet = true;
        if (waits_for_disk)
            probe_.wait_until_quiet();
        // Each round begins with another engine, so that none always follows the same one.
        std::rotate(measured.begin(), measured.begin() + (measured.size() > 1), measured.end());
        const std::vector<Session *> in_turn = measured;
        for (Session *session : in_turn) {
            if (!quiet && !settings_.keep_disturbed)
                break;
            try {
                figures[session->engine.name] = measure(*session);
            } catch (const Declined &reason) {
                std::erase(measured, session);
                for (ComparedRow &row : rows) {
                    row.values.erase(session->engine.name);
                    row.skipped.push_back(session->engine.name + ": " + reason.what());
                }
                continue;
            }
            if (!waits_for_disk)
                continue;
            quiet = probe_.is_quiet() && quiet;
            for (std::size_t i = 0; i < rows.size(); ++i)
                if (session->engine.one_sync && rows[i].unit == "us, median" &&
                    figures[session->engine.name][i] > disturbed_us)
                    quiet = false;
        }
        if (!quiet && !settings_.keep_disturbed) {
            for (ComparedRow &row : rows)
                ++row.disturbed;
            continue;
        }
        ++good;
        for (const auto &[engine, values] : figures)
            for (std::size_t i = 0; i < rows.size(); ++i)
                rows[i].values[engine].push_back(values.at(i));
    }
    for (ComparedRow &row : rows) {
        print(row);
        rows_.push_back(std::move(row));
    }
}

void Comparison::run_size(std::size_t images) {
    open_all(images);
    if (wants("put"))
        measure_puts(images, 1);
    if (wants("writers") && images == 1000)
        for (const std::size_t writers : {8, 64})
            measure_puts(images, writers);
    if (wants("get"))
        for (const std::size_t readers : {1, 2})
            measure_gets(images, readers);
    if (wants("mixed"))
        measure_mixed(images);
    if (wants("list"))
        measure_list(images);
    for (Session &session : sessions_)
        if (session.engine.is_store())
            check(session);
    if (wants("remove") && images == 1000)
        measure_removes(images);
    if (wants("prune") && images == 10'000)
        measure_prune(images);
    measure_files(images);
    if (wants("start"))
        measure_starts(images);
    for (const Session &session : sessions_)
        std::filesystem::remove_all(session.directory);
    sessions_.clear();
}

std::vector<ComparedRow> Comparison::run() {
    for (const std::size_t images : settings_.sizes)
        run_size(images);
    return std::move(rows_);
}

} // namespace bench
