/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: Waybill contributors
 */
#include "interruption.h"

#include "options.h"

#include <atomic>

namespace cli {
namespace {

std::atomic<int> noted_signal{0};
static_assert(std::atomic<int>::is_always_lock_free, "a signal handler writes it");

extern "C" void waybill_cli_note_signal(int signal) { noted_signal = signal; }

} // namespace

Interruption::Interruption() {
    constexpr int signals[] = {SIGINT, SIGTERM, SIGHUP, SIGXFSZ};
    replaced_.reserve(std::size(signals));
    for (const int signal : signals) {
        Replaced replaced{signal, {}};
        struct sigaction noting {};
        noting.sa_handler = waybill_cli_note_signal;
        noting.sa_flags = SA_RESTART; // the library's system calls go on as if nothing had come
        if (sigaction(signal, nullptr, &replaced.action) != 0 ||
            replaced.action.sa_handler == SIG_IGN || sigaction(signal, &noting, nullptr) != 0)
            continue;
        replaced_.push_back(replaced);
    }
}

Interruption::~Interruption() {
    for (const Replaced &replaced : replaced_)
        sigaction(replaced.signal, &replaced.action, nullptr);
}

bool Interruption::noted() noexcept { return noted_signal.load(std::memory_order_relaxed) != 0; }

void Interruption::check() {
    if (const int signal = noted_signal; signal != 0)
        throw Interrupted{signal};
}

int end_by_signal(int signal) {
    std::signal(signal, SIG_DFL);
    std::raise(signal);
    return exit_failed;
}

} // namespace cli
