// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors
// waybill_compare: options, and where the results go.
#include "comparison.h"

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <stdexcept>
#include <sys/statfs.h>
#include <sys/utsname.h>
#include <thread>
#include <unistd.h>

namespace bench {
namespace {

const std::vector<std::string> all_groups = {"put",    "writers", "get",   "mixed", "list",
                                             "remove", "prune",   "bytes", "start"};

struct Options {
    CompareSettings settings;
    std::string name;
    std::string results = ".";
    std::string charts;
    std::string packages;
    bool help = false;
};

std::vector<std::string> split(const std::string &list) {
    std::vector<std::string> parts;
    std::istringstream stream(list);
    for (std::string part; std::getline(stream, part, ',');)
        parts.push_back(part);
    return parts;
}

std::size_t whole_number(const std::string &text) {
    char *end = nullptr;
    const std::size_t number = std::strtoul(text.c_str(), &end, 10);
    if (text.empty() || *end != '\0' || number == 0)
        throw std::runtime_error(text + ": not a number of at least 1");
    return number;
}

std::vector<EngineProfile> chosen_engines(const std::vector<std::string> &names) {
    std::vector<EngineProfile> chosen;
    for (const EngineProfile &engine : engine_profiles())
        if (names.empty() || engine.name == our_name ||
            std::find(names.begin(), names.end(), engine.name) != names.end())
            chosen.push_back(engine);
    for (const std::string &name : names)
        if (std::none_of(chosen.begin(), chosen.end(),
                         [&](const EngineProfile &engine) { return engine.name == name; }))
            throw std::runtime_error(name + ": no such engine");
    return chosen;
}

void print_usage() {
    std::printf("usage: waybill_compare --workers DIR [--dir DIR] [--name NAME] [--results DIR]\n"
                "    [--quick] [--rounds N] [--sizes N,N,...] [--engines NAME,...]\n"
                "    [--rows GROUP,...] [--keep-disturbed]\nengines:");
    for (const EngineProfile &engine : engine_profiles())
        std::printf(" %s", engine.name.c_str());
    std::printf("\nrows:");
    for (const std::string &group : all_groups)
        std::printf(" %s", group.c_str());
    std::printf("\n");
}

Options parse(const std::vector<std::string> &arguments) {
    Options options;
    CompareSettings &settings = options.settings;
    std::vector<std::string> engines;
    std::size_t rounds = 0;
    for (std::size_t i = 0; i < arguments.size(); ++i) {
        const std::string &argument = arguments[i];
        const auto value = [&]() -> const std::string & {
            if (i + 1 == arguments.size())
                throw std::runtime_error(argument + " needs a value");
            return arguments[++i];
        };
        if (argument == "--workers")
            settings.workers = std::filesystem::absolute(value()).string();
        else if (argument == "--dir")
            settings.directory = value();
        else if (argument == "--name")
            options.name = value();
        else if (argument == "--results")
            options.results = value();
        else if (argument == "--charts")
            options.charts = value();
        else if (argument == "--packages")
            options.packages = value();
        else if (argument == "--quick")
            settings.quick = true;
        else if (argument == "--rounds")
            rounds = whole_number(value());
        else if (argument == "--sizes")
            for (const std::string &size : split(value()))
                settings.sizes.push_back(whole_number(size));
        else if (argument == "--engines")
            engines = split(value());
        else if (argument == "--rows")
            settings.groups = split(value());
        else if (argument == "--keep-disturbed")
            settings.keep_disturbed = true;
        else if (argument == "--help")
            options.help = true;
        else
            throw std::runtime_error(argument + ": no such option");
    }
    for (const std::string &group : settings.groups)
        if (std::find(all_groups.begin(), all_groups.end(), group) == all_groups.end())
            throw std::runtime_error(group + ": no such group of rows");
    if (settings.groups.empty())
        settings.groups = all_groups;
    if (settings.sizes.empty())
        settings.sizes = settings.quick
                             ? std::vector<std::size_t>{100, 1000, 10'000}
                             : std::vector<std::size_t>{100, 1000, 10'000, 100'000, 1'000'000};
    settings.engines = chosen_engines(engines);
    settings.rounds = rounds > 0 ? rounds : settings.quick ? 2 : 5;
    if (options.name.empty())
        options.name = settings.quick ? "quick" : "peers";
    if (settings.workers.empty() && !options.help)
        throw std::runtime_error("--workers DIR is needed: where the worker programs are");
    return options;
}

void print_legend(const std::vector<EngineProfile> &engines) {
    std::printf("What is returned as done by a put:\n");
    for (const EngineProfile &engine : engines)
        std::printf("  %-19s %s\n", engine.name.c_str(), engine.note.c_str());
    std::printf(
        "\"waybill:\" is Waybill's figure divided by the engine's in the same round, and the "
        "median of that.\n");
}

/// A new directory below the one asked for; gone with the object.
class Place final {
  public:
    explicit Place(const std::string &below) {
        path_ = std::filesystem::absolute(below.empty() ? "." : below).string() +
                "/waybill_compare.XXXXXX";
        if (::mkdtemp(path_.data()) == nullptr)
            throw std::runtime_error(path_ + ": cannot be made; use --dir");
    }
    ~Place() {
        std::error_code ignored;
        std::filesystem::remove_all(path_, ignored);
    }
    Place(const Place &) = delete;
    Place &operator=(const Place &) = delete;

    const std::string &path() const { return path_; }

  private:
    std::string path_;
};

std::string file_system_of(const std::string &directory) {
    struct statfs found {};
    if (::statfs(directory.c_str(), &found) != 0)
        throw std::runtime_error(directory + ": its file system cannot be told");
    switch (static_cast<unsigned long>(found.f_type)) {
    case 0xef53:
        return "ext4";
    case 0x58465342:
        return "xfs";
    case 0x9123683e:
        return "btrfs";
    case 0x01021994:
        throw std::runtime_error(directory + ": on tmpfs nothing is durable; use --dir");
    default: {
        char text[32];
        std::snprintf(text, sizeof text, "0x%lx", static_cast<unsigned long>(found.f_type));
        return text;
    }
    }
}

About about(const Options &options, const std::string &directory) {
    About made;
    made.name = options.name;
    made.packages = options.packages;
    made.file_system = file_system_of(directory);
    made.rounds = options.settings.rounds;
    made.processors = std::thread::hardware_concurrency();
    utsname system{};
    ::uname(&system);
    made.kernel = std::string(system.sysname) + ' ' + system.release + ' ' + system.machine;
    char day[16];
    const std::time_t now = std::time(nullptr);
    std::strftime(day, sizeof day, "%Y-%m-%d", std::gmtime(&now));
    made.date = day;
    return made;
}

int run(const std::vector<std::string> &arguments) {
    Options options = parse(arguments);
    if (options.help) {
        print_usage();
        return 0;
    }
    const Place place(options.settings.directory);
    options.settings.directory = place.path();
    const About described = about(options, place.path());
    print_legend(options.settings.engines);
    const std::vector<ComparedRow> rows = Comparison(options.settings).run();
    const std::string path = options.results + '/' + options.name + ".json";
    std::ofstream file(path);
    file << to_json(described, rows);
    file.close();
    if (!file)
        throw std::runtime_error(path + ": cannot be written");
    if (!options.charts.empty())
        write_chart_tables(options.charts, rows);
    std::printf("\nwritten: %s\n", path.c_str());
    return 0;
}

} // namespace
} // namespace bench

int main(int argc, char **argv) {
    // A worker that has ended is an error with a message, not the end of this program.
    std::signal(SIGPIPE, SIG_IGN);
    try {
        return bench::run(std::vector<std::string>(argv + 1, argv + argc));
    } catch (const std::exception &error) {
        std::fprintf(stderr, "waybill_compare: %s\n", error.what());
        return 1;
    }
}
