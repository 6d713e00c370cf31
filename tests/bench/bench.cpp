// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors
#include "measurements.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <stdexcept>
#include <unistd.h>

namespace bench {
namespace {

struct Options {
    std::string library = waybill::soname;
    std::string directory;
    std::string json;
    std::string recover; ///< not for users: what a child process is to open
    std::vector<std::string> only;
    std::size_t rounds = 7;
    bool list = false;
};

void print_usage() {
    std::printf("usage: waybill_bench [--library PATH] [--dir DIR] [--rounds N] [--json FILE]\n"
                "                     [--list] [MEASUREMENT ...]\n");
    for (const Measurement &each : measurements())
        std::printf("  %-9s %s\n", each.name, each.what);
}

bool is_known(const std::string &name) {
    return std::any_of(measurements().begin(), measurements().end(),
                       [&](const Measurement &each) { return name == each.name; });
}

Options parse(const std::vector<std::string> &arguments) {
    Options options;
    for (std::size_t i = 0; i < arguments.size(); ++i) {
        const std::string &argument = arguments[i];
        const auto value = [&]() -> const std::string & {
            if (i + 1 == arguments.size())
                throw std::runtime_error(argument + " needs a value");
            return arguments[++i];
        };
        if (argument == "--library")
            options.library = value();
        else if (argument == "--dir")
            options.directory = value();
        else if (argument == "--json")
            options.json = value();
        else if (argument == "--recover")
            options.recover = value();
        else if (argument == "--rounds")
            options.rounds = std::strtoul(value().c_str(), nullptr, 10);
        else if (argument == "--list" || argument == "--help")
            options.list = true;
        else if (is_known(argument))
            options.only.push_back(argument);
        else
            throw std::runtime_error(argument + ": neither an option nor a measurement");
    }
    if (options.rounds == 0)
        throw std::runtime_error("--rounds takes a number of at least 1");
    return options;
}

/// Where the stores are made: the directory asked for, or a new one that is gone with the object.
class Place final {
  public:
    explicit Place(const std::string &wanted) : temporary_(wanted.empty()) {
        if (!temporary_) {
            path_ = std::filesystem::absolute(wanted).string();
            return;
        }
        path_ = (std::filesystem::current_path() / "waybill_bench.XXXXXX").string();
        if (::mkdtemp(path_.data()) == nullptr)
            throw std::runtime_error("no temporary directory can be made here; use --dir");
    }
    ~Place() {
        std::error_code ignored;
        if (temporary_)
            std::filesystem::remove_all(path_, ignored);
    }
    Place(const Place &) = delete;
    Place &operator=(const Place &) = delete;

    const std::string &path() const { return path_; }

  private:
    bool temporary_;
    std::string path_;
};

void write_json(const std::string &path, const std::vector<Row> &rows) {
    std::ofstream file(path);
    file << to_json(rows);
    file.close();
    if (!file)
        throw std::runtime_error(path + ": cannot be written");
}

int measure(const Options &options, Settings settings) {
    const Place place(options.directory);
    settings.directory = place.path();
    std::vector<Row> rows;
    for (const Measurement &each : measurements()) {
        const std::vector<std::string> &only = options.only;
        if (!only.empty() && std::find(only.begin(), only.end(), each.name) == only.end())
            continue;
        std::fprintf(stderr, "%s: %s\n", each.name, each.what);
        for (Row &row : each.run(settings))
            rows.push_back(std::move(row));
    }
    print(rows);
    if (!options.json.empty())
        write_json(options.json, rows);
    return 0;
}

int run(const std::vector<std::string> &arguments) {
    const Options options = parse(arguments);
    if (options.list) {
        print_usage();
        return 0;
    }
    if (!options.recover.empty())
        return recover_and_report(options.library, options.recover);
    return measure(options,
                   {waybill::Library(options.library), options.library, {}, options.rounds});
}

} // namespace
} // namespace bench

int main(int argc, char **argv) {
    try {
        return bench::run(std::vector<std::string>(argv + 1, argv + argc));
    } catch (const std::exception &error) {
        std::fprintf(stderr, "waybill_bench: %s\n", error.what());
        return 1;
    }
}
