// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors
//
// crash_corruption: damages the files of a store of 50 images in every way it knows and looks at
// what recovery makes of each. What must hold for every damage is in Sweep::judge.
#include "model.h"
#include "simulated_disk.h"

#include "plugin/committer.h"
#include "plugin/limits.h"

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <mutex>
#include <set>
#include <thread>

using namespace waybill;
using namespace waybill::crash;

namespace {

constexpr int images = 50;

/// Where a record lies, and what it is.
struct Place {
    std::string file;
    std::uint64_t offset = 0, bytes = 0; ///< of the frame, head and padding too
    FrameKind kind{};
    std::uint64_t revision = 0;
    std::set<std::string> names; ///< that it speaks of
};

struct Sound {
    std::map<std::string, std::vector<std::uint8_t>> files; ///< without the zeros at their ends
    ModelState state;
    std::map<std::string, std::set<std::string>> values; ///< every value that a name ever had
    std::vector<Place> places;
};

/// A store without threads, closed at once.
class Scribe final {
  public:
    explicit Scribe(SimulatedDisk &disk) {
        Result<Recovered> recovered = recover_store(disk, {}, index_);
        if (!recovered.ok())
            throw std::runtime_error(recovered.status().message);
        host_.log = [](Severity, const std::string &) {};
        host_.clock_ns = [] { return std::int64_t{1}; };
        committer_.emplace(
            disk, index_, [](const std::function<void()> &job) { job(); }, host_,
            CommitterLimits{1000, ~std::uint64_t{0} >> 2}, std::move(*recovered));
    }
    Status commit(Submission submission) {
        submission.operation = std::make_shared<Operation>();
        const OperationPtr operation = submission.operation;
        std::vector<Submission> round;
        round.push_back(std::move(submission));
        committer_->commit_round(round);
        return operation->outcome().status;
    }
    void put(const std::string &name, const std::string &value) {
        Submission submission;
        submission.images.push_back({encode_sample(name, value, false), PutCondition::Any, 0});
        check(commit(std::move(submission)));
    }
    void remove(const std::string &name) {
        Submission submission;
        submission.verb = waybill::Verb::Remove;
        submission.key = {"default", name};
        check(commit(std::move(submission)));
    }
    Status prune(std::vector<std::string> keep) {
        Submission submission;
        submission.verb = waybill::Verb::Prune;
        submission.keep.references = std::move(keep);
        return commit(std::move(submission));
    }
    void rotate() { check(committer_->rotate()); }
    void close() { committer_->close_journal(); }

  private:
    static void check(const Status &status) {
        if (!status.ok())
            throw std::runtime_error(status.message);
    }
    Index index_;
    Host host_;
    std::optional<Committer> committer_;
};

std::string image(int number) { return "image" + std::to_string(number); }

/// Images 0 to 39 come from the snapshot; then some are overwritten, some are new, some removed
/// and some pruned, in the journal. One image's label holds the bytes of a record of another.
Sound make_sound() {
    SimulatedDisk disk;
    Sound sound;
    const auto put = [&sound](Scribe &scribe, int number, const std::string &value) {
        scribe.put(image(number), value);
        sound.values[image(number)].insert(value);
    };
    {
        Scribe scribe(disk);
        for (int i = 0; i < 40; ++i)
            put(scribe, i, "old" + std::to_string(i));
        scribe.rotate();
        for (int i = 30; i < images; ++i)
            put(scribe, i, "new" + std::to_string(i));
        for (int i = 10; i < 13; ++i)
            scribe.remove(image(i));
        std::vector<std::string> keep;
        for (int i = 3; i < images; ++i)
            keep.push_back(image(i));
        (void)scribe.prune(keep);
        for (int i = 5; i < 8; ++i)
            put(scribe, i, "late" + std::to_string(i));
        scribe.close();
    }
    for (const std::string &name : disk.names()) {
        sound.files[name] = disk.contents(name);
        if (name.starts_with("journal.")) {
            // Some of the zeros behind it: they are all the same.
            std::vector<std::uint8_t> &bytes = sound.files[name];
            while (!bytes.empty() && bytes.back() == 0)
                bytes.pop_back();
            bytes.resize(padded(bytes.size()) + 64);
        }
    }
    Index index;
    Result<Recovered> recovered = recover_store(disk, {}, index);
    sound.state = state_of(index, *recovered);
    for (const auto &[file, bytes] : sound.files)
        for (std::size_t at = header_block_bytes; at + sizeof(Frame) <= bytes.size();) {
            Frame head;
            std::memcpy(&head, bytes.data() + at, sizeof head);
            if (head.magic != frame_magic) {
                at += 8;
                continue;
            }
            Place place{file,          at, frame_bytes(head.payload_bytes), head.frame_kind(),
                        head.revision, {}};
            for (int i = 0; i < images; ++i)
                if (head.frame_kind() == FrameKind::Prune
                        ? i < 3
                        : key_hash("default", image(i)) == head.key_hash)
                    place.names.insert(image(i));
            sound.places.push_back(place);
            at += place.bytes;
        }
    return sound;
}

struct Damaged {
    std::map<std::string, std::vector<std::uint8_t>> files;
    std::string what;
    std::string file; ///< where all the damage is; empty if in several files
    std::uint64_t from = 0, to = 0;
};

struct Tally {
    std::uint64_t tried = 0, whole = 0, marked = 0, refused = 0, torn = 0;
};

class Sweep final {
  public:
    explicit Sweep(const Sound &sound) : sound_(sound) {}

    /// What is wrong with the recovery from this damage, or nothing.
    std::string judge(const Damaged &damaged, Tally &tally) const;

  private:
    std::string judge_images(const Damaged &damaged, const ModelState &found,
                             const Recovered &recovered) const;
    std::string judge_second(SimulatedDisk &disk, const ModelState &found) const;
    /// The records that lie in the damaged bytes.
    std::vector<const Place *> hit(const Damaged &damaged) const;

    const Sound &sound_;
};

std::vector<const Place *> Sweep::hit(const Damaged &damaged) const {
    std::vector<const Place *> found;
    for (const Place &place : sound_.places)
        if (place.file == damaged.file && place.offset < damaged.to &&
            place.offset + place.bytes > damaged.from)
            found.push_back(&place);
    return found;
}

std::string Sweep::judge(const Damaged &damaged, Tally &tally) const {
    ++tally.tried;
    SimulatedDisk disk;
    for (const auto &[name, bytes] : damaged.files)
        disk.overwrite(name, bytes);
    Index index;
    Result<Recovered> recovered = recover_store(disk, {}, index);
    if (!recovered.ok()) {
        // Only where nothing could be read at all, or a newer library wrote it; nothing is touched.
        ++tally.refused;
        const Code code = recovered.status().code;
        if (code != Code::Corrupt && code != Code::Format)
            return "refused with: " + recovered.status().message;
        for (const auto &[name, bytes] : damaged.files)
            if (disk.contents(name) != bytes)
                return name + " was changed by a recovery that failed";
        return {};
    }
    const ModelState found = state_of(index, *recovered);
    if (std::string wrong = judge_images(damaged, found, *recovered); !wrong.empty())
        return wrong;
    if (found == sound_.state)
        ++tally.whole;
    else if (found.degraded)
        ++tally.marked;
    else
        ++tally.torn;
    if (found.degraded) {
        bool kept = false;
        for (const std::string &name : disk.names())
            kept = kept || name.starts_with("damaged/");
        const bool missing = std::ranges::all_of(recovered->damage, [&](const Damage &damage) {
            return !damaged.files.contains(damage.file);
        });
        if (!kept && !missing)
            return "the damaged file was not kept";
    }
    return judge_second(disk, found);
}

/// Nothing invented or altered; nothing gone or old without a word; little lost.
std::string Sweep::judge_images(const Damaged &damaged, const ModelState &found,
                                const Recovered &recovered) const {
    const bool loses =
        std::ranges::any_of(recovered.damage, [](const Damage &each) { return each.loses; });
    const bool told = found.degraded && loses;
    const bool torn = recovered.dropped_tail_bytes > 0;
    for (const auto &[name, image] : found.images) {
        const auto values = sound_.values.find(name);
        if (values == sound_.values.end() || !values->second.contains(image.value))
            return name + " was invented or altered";
    }
    std::set<std::string> other; // Not as it was before the damage.
    for (const auto &[name, values] : sound_.values) {
        const auto was = sound_.state.images.find(name), is = found.images.find(name);
        const bool had = was != sound_.state.images.end(), has = is != found.images.end();
        if (had != has || (had && (was->second.value != is->second.value ||
                                   was->second.revision != is->second.revision)))
            other.insert(name);
        if (has && (!had || was->second.value != is->second.value) && !torn &&
            is->second.flags == 0)
            return name + " is an older state and passes for the truth";
    }
    if (!other.empty() && !told && !torn)
        return "images differ, and the report does not say that anything was lost";
    if (damaged.file.empty() || torn)
        return {};
    std::set<std::string> may_differ;
    const std::vector<const Place *> records = hit(damaged);
    for (const Place *place : records)
        may_differ.insert(place->names.begin(), place->names.end());
    if (damaged.from >= header_block_bytes && damaged.file != lock_name)
        for (const std::string &name : other)
            if (!may_differ.contains(name))
                return name + " changed, although its record was not hit";
    if (told && std::ranges::none_of(recovered.damage, [&](const Damage &each) {
            return each.file == damaged.file || each.file.starts_with("journal.");
        }))
        return "the report names another file";
    return {};
}

/// What recovery found must be what the next one finds, and prune refuses while it is degraded.
std::string Sweep::judge_second(SimulatedDisk &disk, const ModelState &found) const {
    Index index;
    Result<Recovered> again = recover_store(disk, {}, index);
    if (!again.ok())
        return "the second recovery failed: " + again.status().message;
    const ModelState second = state_of(index, *again);
    if (second != found)
        return "the second recovery found " + text_of(second) + "\n  after " + text_of(found);
    if (!found.degraded)
        return {};
    Scribe scribe(disk);
    const Status pruned = scribe.prune({});
    return pruned.code == Code::Degraded ? "" : "a degraded store was pruned";
}

// --- the damages -------------------------------------------------------------------------------

using Make = std::function<bool(std::uint64_t, Damaged &)>; ///< false: no such number
struct Kind {
    std::string name;
    std::uint64_t count;
    Make make;
};

void flip_bit(Damaged &damaged, const std::string &file, std::uint64_t bit) {
    damaged.files[file][bit / 8] ^= static_cast<std::uint8_t>(1u << (bit % 8));
    damaged.file = file;
    damaged.from = bit / 8;
    damaged.to = bit / 8 + 1;
    damaged.what = fmt::format("{}: bit {} of byte {} flipped", file, bit % 8, bit / 8);
}

constexpr std::uint64_t block = 512;

std::vector<Kind> kinds_for(const Sound &sound, const std::string &file) {
    const std::uint64_t size = sound.files.at(file).size();
    const std::uint64_t blocks = (size + block - 1) / block;
    const auto touch = [file, size](Damaged &damaged, std::uint64_t from, std::uint64_t to,
                                    const char *what) {
        damaged.file = file;
        damaged.from = from;
        damaged.to = std::min(to, size);
        damaged.what = fmt::format("{}: bytes {} to {} {}", file, from, to, what);
    };
    std::vector<Kind> kinds;
    kinds.push_back({"bit flips", size * 8, [file](std::uint64_t n, Damaged &damaged) {
                         flip_bit(damaged, file, n);
                         return true;
                     }});
    kinds.push_back({"truncations", size, [=](std::uint64_t n, Damaged &damaged) {
                         damaged.files[file].resize(n);
                         touch(damaged, n, size, "cut off");
                         return true;
                     }});
    kinds.push_back(
        {"blocks zeroed", blocks, [=](std::uint64_t n, Damaged &damaged) {
             auto &bytes = damaged.files[file];
             const auto from = bytes.begin() + static_cast<std::ptrdiff_t>(n * block);
             std::fill(from, from + static_cast<std::ptrdiff_t>(std::min(block, size - n * block)),
                       std::uint8_t{0});
             touch(damaged, n * block, (n + 1) * block, "zeroed");
             return true;
         }});
    kinds.push_back({"blocks duplicated", blocks, [=](std::uint64_t n, Damaged &damaged) {
                         auto &bytes = damaged.files[file];
                         if ((n + 2) * block > size)
                             return false;
                         std::copy_n(bytes.begin() + static_cast<std::ptrdiff_t>(n * block), block,
                                     bytes.begin() + static_cast<std::ptrdiff_t>((n + 1) * block));
                         touch(damaged, (n + 1) * block, (n + 2) * block, "are the block before");
                         return true;
                     }});
    kinds.push_back({"blocks swapped", blocks, [=](std::uint64_t n, Damaged &damaged) {
                         auto &bytes = damaged.files[file];
                         if ((n + 2) * block > size)
                             return false;
                         const auto at = bytes.begin() + static_cast<std::ptrdiff_t>(n * block);
                         std::swap_ranges(at, at + block, at + block);
                         touch(damaged, n * block, (n + 2) * block, "swapped by halves");
                         return true;
                     }});
    return kinds;
}

/// Whole files: gone, of another time, of another store.
std::vector<Kind> kinds_of_files(const Sound &sound) {
    const Sound other = make_sound();
    SimulatedDisk later_disk;
    for (const auto &[name, bytes] : sound.files)
        later_disk.overwrite(name, bytes);
    {
        Scribe scribe(later_disk);
        scribe.rotate();
        scribe.close();
    }
    std::vector<std::pair<std::string, std::map<std::string, std::vector<std::uint8_t>>>> sets;
    for (const auto &[name, bytes] : sound.files) {
        auto without = sound.files, foreign = sound.files, empty = sound.files;
        without.erase(name);
        foreign[name] = other.files.at(name);
        empty[name].clear();
        sets.push_back({name + " gone", without});
        sets.push_back({name + " of another store", foreign});
        sets.push_back({name + " empty", empty});
    }
    sets.push_back({"all files but LOCK gone", {{lock_name, sound.files.at(lock_name)}}});
    auto stale = sound.files;
    stale.erase("journal.2");
    for (const std::string &name : later_disk.names())
        if (name.starts_with("journal.")) {
            stale[name] = later_disk.contents(name);
            stale[name].resize(stale[name].size() + 64);
        }
    sets.push_back({"an old snapshot with the next journal", stale});
    auto ahead = sound.files;
    ahead[snapshot_name] = later_disk.contents(snapshot_name);
    sets.push_back({"a snapshot with the journal before it", ahead});
    const auto count = sets.size();
    return {{"whole files", count, [sets = std::move(sets)](std::uint64_t n, Damaged &damaged) {
                 damaged.what = sets[n].first;
                 damaged.files = sets[n].second;
                 return true;
             }}};
}

/// The bytes of each record, and the file's own batches, stand where a host's label would.
Kind copied_records(const Sound &sound) {
    return {"records copied behind the journal", sound.places.size(),
            [&sound](std::uint64_t n, Damaged &damaged) {
                const Place &place = sound.places[n];
                const auto &bytes = sound.files.at(place.file);
                // At another offset, a copy of a sound record must never count.
                auto &file = damaged.files["journal.2"];
                file.resize(file.size() - 64);
                file.insert(file.end(), bytes.begin() + static_cast<std::ptrdiff_t>(place.offset),
                            bytes.begin() +
                                static_cast<std::ptrdiff_t>(place.offset + place.bytes));
                damaged.what = fmt::format("the record at {} of {} copied behind the journal",
                                           place.offset, place.file);
                return true;
            }};
}

} // namespace

int main(int argc, char **argv) {
    CLI::App app("Damages a store in every way it knows, and looks at what recovery makes of it");
    std::uint64_t stride = 1;
    unsigned threads = std::max(1u, std::thread::hardware_concurrency());
    app.add_option("--stride", stride, "Every so many-th bit flip and truncation")
        ->check(CLI::PositiveNumber)
        ->capture_default_str();
    app.add_option("--threads", threads)->capture_default_str();
    CLI11_PARSE(app, argc, argv);

    const Sound sound = make_sound();
    std::vector<Kind> kinds = kinds_of_files(sound);
    kinds.push_back(copied_records(sound));
    for (const auto &[name, bytes] : sound.files)
        for (Kind &kind : kinds_for(sound, name)) {
            kind.name = name + ": " + kind.name;
            kinds.push_back(std::move(kind));
        }
    const Sweep sweep(sound);
    fmt::print("{} images, {} records\n", sound.state.images.size(), sound.places.size());
    std::uint64_t tried = 0;
    int wrong = 0;
    for (const Kind &kind : kinds) {
        std::atomic<std::uint64_t> next{0};
        std::mutex mutex;
        Tally tally;
        const std::uint64_t step = kind.count > 1000 ? stride : 1;
        const auto work = [&] {
            Tally own;
            for (std::uint64_t n = next.fetch_add(step); n < kind.count && wrong < 20;
                 n = next.fetch_add(step)) {
                Damaged damaged;
                damaged.files = sound.files;
                if (!kind.make(n, damaged))
                    continue;
                const std::string said = sweep.judge(damaged, own);
                if (said.empty())
                    continue;
                const std::lock_guard lock(mutex);
                ++wrong;
                fmt::print(stderr, "WRONG: {}\n  {}\n", damaged.what, said);
            }
            const std::lock_guard lock(mutex);
            tally.tried += own.tried;
            tally.whole += own.whole;
            tally.marked += own.marked;
            tally.refused += own.refused;
            tally.torn += own.torn;
        };
        std::vector<std::jthread> workers;
        for (unsigned i = 0; i < threads; ++i)
            workers.emplace_back(work);
        workers.clear();
        fmt::print("{:<40} {:>8} tried: {} lost nothing, {} told, {} a torn end, {} refused\n",
                   kind.name, tally.tried, tally.whole, tally.marked, tally.torn, tally.refused);
        tried += tally.tried;
    }
    fmt::print("{} corruptions: crashes 0, images invented, altered or silently lost: {}\n", tried,
               wrong);
    return wrong == 0 ? 0 : 1;
}
