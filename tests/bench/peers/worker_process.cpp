// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors
#include "worker_process.h"

#include <array>
#include <cerrno>
#include <cstdlib>
#include <fcntl.h>
#include <fstream>
#include <spawn.h>
#include <sstream>
#include <sys/wait.h>
#include <system_error>
#include <unistd.h>

extern char **environ;

namespace bench {

static std::array<int, 2> pipe_ends() {
    std::array<int, 2> ends{};
    if (::pipe2(ends.data(), O_CLOEXEC) != 0)
        throw std::system_error(errno, std::generic_category(), "pipe2");
    return ends;
}

WorkerProcess::WorkerProcess(const std::string &program) : program_(program) {
    const std::array<int, 2> requests = pipe_ends(), answers = pipe_ends();
    posix_spawn_file_actions_t actions;
    ::posix_spawn_file_actions_init(&actions);
    ::posix_spawn_file_actions_adddup2(&actions, requests[0], STDIN_FILENO);
    ::posix_spawn_file_actions_adddup2(&actions, answers[1], STDOUT_FILENO);
    std::array<char *, 2> arguments = {program_.data(), nullptr};
    const int failed =
        ::posix_spawn(&pid_, program_.c_str(), &actions, nullptr, arguments.data(), environ);
    ::posix_spawn_file_actions_destroy(&actions);
    ::close(requests[0]);
    ::close(answers[1]);
    to_ = ::fdopen(requests[1], "w");
    from_ = ::fdopen(answers[0], "r");
    if (failed != 0 || !to_ || !from_)
        throw std::system_error(failed, std::generic_category(), program_);
}

WorkerProcess::~WorkerProcess() {
    std::fclose(to_);
    ::waitpid(pid_, nullptr, 0);
    std::fclose(from_);
}

std::string WorkerProcess::ask_text(const std::string &request) {
    std::fprintf(to_, "%s\n", request.c_str());
    std::fflush(to_);
    char *line = nullptr;
    std::size_t room = 0;
    const ssize_t length = ::getline(&line, &room, from_);
    const bool is_whole = length > 0 && line[length - 1] == '\n';
    std::string answer(is_whole ? line : "", is_whole ? static_cast<std::size_t>(length - 1) : 0);
    std::free(line);
    const std::string who = program_.substr(program_.rfind('/') + 1);
    if (!is_whole)
        throw std::runtime_error(who + ": ended at the request \"" + request + '"');
    const std::string verdict = answer.substr(0, answer.find(' '));
    answer.erase(0, verdict.size() + 1);
    if (verdict == "unsupported")
        throw Declined(answer);
    if (verdict != "ok")
        throw std::runtime_error(who + ": " + request + ": " + verdict + ' ' + answer);
    return answer;
}

Figures WorkerProcess::ask(const std::string &request) {
    std::istringstream words(ask_text(request));
    Figures figures;
    for (std::string word; words >> word;) {
        const std::size_t equals = word.find('=');
        if (equals == std::string::npos)
            throw std::runtime_error(program_ + ": no figure: " + word);
        figures[word.substr(0, equals)] = std::strtod(word.c_str() + equals + 1, nullptr);
    }
    return figures;
}

double WorkerProcess::resident_kib() const {
    std::ifstream status("/proc/" + std::to_string(pid_) + "/status");
    for (std::string line; std::getline(status, line);)
        if (line.starts_with("VmRSS:"))
            return std::strtod(line.c_str() + 6, nullptr);
    throw std::runtime_error(program_ + ": its memory cannot be read");
}

} // namespace bench
