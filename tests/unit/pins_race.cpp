// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors
//
// A host frees its last image on one processor while its store goes on another, again and again at
// the same moment. Each writes one thing and then reads the other's. A processor keeps what is
// written to itself for a while; only orders that forbid it make one of the two see the other.
// The stores that come before are to lines that no cache has: the one that counts waits behind
// them, and the load that must come after it does not. So a wrong order shows within seconds.
#include "plugin/pins.h"

#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <getopt.h>
#include <random>
#include <sched.h>
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
Found release_against_adopt(std::chrono::seconds duration, std::mt19937 &random) {
    constexpr unsigned lines = 24;  // So many keep the store that counts waiting.
    constexpr unsigned turns = 100; // At most, before either begins.
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

} // namespace

int main(int argc, char **argv) {
    unsigned long seconds = 3, seed = std::random_device()();
    const option options[] = {{"seconds", required_argument, nullptr, 't'},
                              {"seed", required_argument, nullptr, 's'},
                              {}};
    for (int found; (found = ::getopt_long(argc, argv, "", options, nullptr)) != -1;) {
        if (found == '?')
            return 2;
        (found == 't' ? seconds : seed) = std::strtoul(optarg, nullptr, 10);
    }
    std::mt19937 random(static_cast<std::mt19937::result_type>(seed));
    const Found found = release_against_adopt(std::chrono::seconds(seconds), random);
    std::printf("%llu rounds, memory was left although nothing was held in %llu; seed %lu\n",
                static_cast<unsigned long long>(found.rounds),
                static_cast<unsigned long long>(found.faults), seed);
    return found.faults == 0 ? 0 : 1;
}
