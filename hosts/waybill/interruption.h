/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: Waybill contributors
 *
 * Ctrl-C in the middle of work that has something to clear away.
 */
#ifndef WAYBILL_CLI_INTERRUPTION_H
#define WAYBILL_CLI_INTERRUPTION_H

#include <csignal>
#include <vector>

namespace cli {

/** Thrown where the work can stop. */
struct Interrupted final {
    int signal;
};

/** As long as one lives, SIGINT, SIGTERM, SIGHUP and SIGXFSZ are noted instead of ending the
 * program; one that was ignored stays so. */
class Interruption final {
  public:
    Interruption();
    Interruption(const Interruption &) = delete;
    Interruption &operator=(const Interruption &) = delete;
    ~Interruption();

    /** Any thread. */
    static bool noted() noexcept;
    /** Throws Interrupted if a signal was noted. */
    static void check();

  private:
    struct Replaced {
        int signal;
        struct sigaction action;
    };

    std::vector<Replaced> replaced_;
};

/** Ends the program as the signal would have. */
int end_by_signal(int signal);

} // namespace cli

#endif
