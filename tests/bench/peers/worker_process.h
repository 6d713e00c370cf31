// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors
//
// A worker of one engine, as a child process that answers a line with a line.
#pragma once

#include <cstddef>
#include <cstdio>
#include <map>
#include <stdexcept>
#include <string>
#include <sys/types.h>

namespace bench {

/// The engine cannot do what was asked; the message says why.
struct Declined : std::runtime_error {
    using std::runtime_error::runtime_error;
};

using Figures = std::map<std::string, double>;

class WorkerProcess final {
  public:
    explicit WorkerProcess(const std::string &program);
    /// Closes its input, which ends it, and waits for it.
    ~WorkerProcess();
    WorkerProcess(const WorkerProcess &) = delete;
    WorkerProcess &operator=(const WorkerProcess &) = delete;

    /// Throws Declined, or std::runtime_error with what the worker says or that it has ended.
    Figures ask(const std::string &request);
    /// The same, for an answer that is no figures.
    std::string ask_text(const std::string &request);
    double resident_kib() const;

  private:
    std::string program_;
    pid_t pid_ = -1;
    std::FILE *to_ = nullptr;
    std::FILE *from_ = nullptr;
};

} // namespace bench
