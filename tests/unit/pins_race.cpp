// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors
//
// Two threads on two processors, again and again at the same moment: one of them lets go of an
// image or looks one up, the other frees what nobody holds. Each writes one thing and then reads
// the other's. A processor keeps what is written to itself for a while; only orders that forbid it
// make one of the two see the other. The stores that come before are to lines that no cache has:
// the one that counts waits behind them, and the load that must come after it does not. So a wrong
// order shows within seconds.
#include "plugin/index.h"

#include <CLI/CLI.hpp>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <sched.h>
#include <string>
#include <thread>
#include <vector>

using namespace waybill;

namespace {

/// Both threads pass it together. They spin: a wake-up would let one of them go first.
class Gate final {
  public:
    void pass() {
        const unsigned round = rounds_.load();
        if (waiting_.fetch_add(1) == 1) {
            waiting_.store(0);
            rounds_.store(round + 1);
            return;
        }
        constexpr int spins_max = 4096; // Longer, and the other has no processor.
        for (int spins = 0; rounds_.load() == round; ++spins)
            if (spins >= spins_max)
                std::this_thread::yield();
    }

  private:
    alignas(64) std::atomic<unsigned> rounds_{0};
    alignas(64) std::atomic<unsigned> waiting_{0};
};

/// Memory that is never near when it is written.
class ColdLines final {
  public:
    void write(unsigned lines) {
        for (unsigned i = 0; i < lines; ++i) {
            at_ = (at_ + stride) % bytes_.size();
            const_cast<volatile char &>(bytes_[at_]) = 1;
        }
    }

  private:
    static constexpr std::size_t stride = 4096 + 64;
    std::vector<char> bytes_ = std::vector<char>(64u << 20);
    std::size_t at_ = 0;
};

void wait_for(unsigned turns) {
    static std::atomic<unsigned> nothing{0};
    for (unsigned i = 0; i < turns; ++i)
        nothing.load();
}

/// The first two that the process may use; with one processor nothing can go wrong, nor be found.
void move_to_processor(int number) {
    cpu_set_t allowed, wanted;
    CPU_ZERO(&allowed);
    ::sched_getaffinity(0, sizeof allowed, &allowed);
    for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu)
        if (CPU_ISSET(cpu, &allowed) && number-- == 0) {
            CPU_ZERO(&wanted);
            CPU_SET(cpu, &wanted);
            ::sched_setaffinity(0, sizeof wanted, &wanted);
            return;
        }
}

struct Found {
    std::uint64_t rounds = 0;
    std::uint64_t faults = 0;
};

/// `first` and `second` run beside each other, over and over; `check()`, alone, tells whether that
/// went wrong.
template <typename Prepare, typename First, typename Second, typename Check>
Found race(std::chrono::seconds duration, Prepare prepare, First first, Second second,
           Check check) {
    Gate gate;
    std::atomic<bool> over{false};
    Found found;
    std::thread other([&] {
        move_to_processor(1);
        for (;;) {
            gate.pass();
            if (over.load())
                return;
            second();
            gate.pass();
        }
    });
    move_to_processor(0);
    for (const auto end = std::chrono::steady_clock::now() + duration;
         std::chrono::steady_clock::now() < end; ++found.rounds) {
        prepare();
        gate.pass();
        first();
        gate.pass();
        found.faults += check();
    }
    over.store(true);
    gate.pass();
    other.join();
    return found;
}

/// A host frees its last image while the store that it came from is destroyed. Either of the two
/// must free the memory.
Found release_against_adopt(std::chrono::seconds duration, std::mt19937 &random, unsigned lines,
                            unsigned turns) {
    struct Memory {
        Frame frame;
        bool freed;
    };
    static Memory memory;
    Pins &pins = Pins::of_process();
    ColdLines cold;
    const Pin *held = nullptr;
    unsigned first_turns = 0, second_turns = 0;
    return race(
        duration,
        [&] {
            memory.freed = false;
            Pin *pin = pins.begin_lookup();
            Pins::keep(*pin, memory.frame);
            held = pin;
            first_turns = random() % (turns + 1);
            second_turns = random() % (turns + 1);
        },
        [&] {
            wait_for(first_turns);
            cold.write(lines);
            pins.release(held);
        },
        [&] {
            wait_for(second_turns);
            pins.adopt({{&memory, &memory + 1,
                         [](void *of) { static_cast<Memory *>(of)->freed = true; }}});
        },
        [&] {
            const bool left = !memory.freed;
            if (left) // Whatever is freed next takes it along.
                pins.release(pins.begin_lookup());
            return left;
        });
}

FramePtr image_named(const std::string &name) {
    const std::string digest = "sha256:" + std::string(64, '1');
    ImageSpec spec;
    spec.reference = name;
    spec.target_digest = digest;
    spec.layers = {LayerSpec{{}, digest, {}, 1}};
    Result<FramePtr> frame =
        encode_image(spec, ReferenceMode::Opaque, limits::record_bytes_max_default);
    if (!frame.ok()) {
        std::printf("%s\n", frame.status().message.c_str());
        std::abort();
    }
    return std::move(*frame);
}

/// A host looks up an image that goes, and whose memory is used again at once. Either it finds
/// nothing, or what it found stays.
Found lookup_against_reclaim(std::chrono::seconds duration, std::mt19937 &random, unsigned lines,
                             unsigned turns) {
    constexpr int images = 16; // So many must have gone before anything is freed.
    std::vector<std::string> names;
    std::vector<FramePtr> samples;
    for (int i = 0; i < images; ++i) {
        names.push_back("image" + std::to_string(i));
        samples.push_back(image_named(names.back()));
    }
    Index index;
    std::uint64_t revision = 0;
    const auto put_all = [&] {
        ++revision;
        for (const FramePtr &sample : samples) {
            FramePtr frame = copy_frame(*sample);
            frame->revision = revision;
            index.put(frame.release());
        }
    };
    put_all();
    ColdLines cold;
    ImagePin held;
    std::uint64_t seen = 0;
    std::size_t wanted = 0;
    unsigned first_turns = 0, second_turns = 0;
    return race(
        duration,
        [&] {
            held.reset();
            wanted = random() % images;
            first_turns = random() % (turns + 1);
            second_turns = random() % (turns + 1);
        },
        [&] {
            wait_for(first_turns);
            cold.write(lines);
            bool out_of_memory = false;
            held = index.pin("default", names[wanted], &out_of_memory);
            seen = held ? held->frame().revision : 0;
        },
        [&] {
            wait_for(second_turns);
            for (const std::string &name : names)
                index.erase("default", name);
            for (int i = 0; i < 3; ++i)
                index.reclaim();
            put_all();
        },
        [&] { return held && held->frame().revision != seen; });
}

} // namespace

int main(int argc, char **argv) {
    CLI::App app("Races what holds images against what frees them");
    unsigned seconds = 2, seed = std::random_device()(), lines = 24, turns = 100;
    app.add_option("--seconds", seconds, "of each race")->capture_default_str();
    app.add_option("--seed", seed, "of the moments at which the two begin");
    app.add_option("--lines", lines, "stores that keep one waiting")->capture_default_str();
    app.add_option("--turns", turns, "at most, before either begins")->capture_default_str();
    CLI11_PARSE(app, argc, argv);
    std::mt19937 random(seed);
    std::uint64_t faults = 0;
    const auto report = [&](const char *what, const char *fault, const Found &found) {
        std::printf("%s: %llu rounds, %s in %llu\n", what,
                    static_cast<unsigned long long>(found.rounds), fault,
                    static_cast<unsigned long long>(found.faults));
        faults += found.faults;
    };
    const std::chrono::seconds duration(seconds);
    report("release against adopt", "memory was left although nothing was held",
           release_against_adopt(duration, random, lines, turns));
    report("lookup against reclaim", "an image that was held was freed",
           lookup_against_reclaim(duration, random, lines, turns));
    if (faults != 0)
        std::printf("seed %u\n", seed);
    return faults == 0 ? 0 : 1;
}
