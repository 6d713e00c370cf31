/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: Waybill contributors
 *
 * What a shell offers when the tab key is pressed. The shells' own scripts, in completions/, ask
 * `waybill complete` and know nothing of the command line.
 */
#include "output.h"
#include "session.h"

#include <CLI/CLI.hpp>

#include <cstdlib>
#include <map>
#include <set>
#include <string_view>

namespace cli {
namespace {

/** One word that fits, and what it is; or what the shell itself is to look for. */
struct Candidate {
    std::string word;
    std::string description = {};
};
constexpr const char *files = ":files";
constexpr const char *directories = ":directories";

bool starts_with(std::string_view text, std::string_view beginning) {
    return text.substr(0, beginning.size()) == beginning;
}

/** The words before the one that is being typed, read as the parser would read them. */
class Line final {
  public:
    explicit Line(const CLI::App &program) : command_(&program) {}

    void read(const std::string &word) {
        if (awaited_ != nullptr) {
            values_[awaited_] = word;
            awaited_ = nullptr;
        } else if (!only_positionals_ && word == "--") {
            only_positionals_ = true;
        } else if (!only_positionals_ && starts_with(word, "-")) {
            read_option(word);
        } else if (const CLI::App *next = subcommand(word); next != nullptr) {
            command_ = next;
        }
    }

    const CLI::App &command() const { return *command_; }
    /** The option whose value comes next, if any. */
    const CLI::Option *awaited() const { return awaited_; }
    bool only_positionals() const { return only_positionals_; }

    /** The option of this name: the command's, or the program's behind it. */
    const CLI::Option *option(std::string_view name) const {
        for (const CLI::App *app = command_; app != nullptr; app = app->get_parent())
            for (const CLI::Option *option : app->get_options())
                if (!option->get_positional() && option->check_name(std::string(name)))
                    return option;
        return nullptr;
    }

    std::string value(std::string_view name, const std::string &otherwise) const {
        const auto found = values_.find(option(name));
        return found == values_.end() ? otherwise : found->second;
    }

  private:
    void read_option(const std::string &word) {
        const std::size_t equals = word.find('=');
        const CLI::Option *found = option(word.substr(0, equals));
        if (found == nullptr || found->get_expected_max() == 0)
            return;
        if (equals == std::string::npos)
            awaited_ = found;
        else
            values_[found] = word.substr(equals + 1);
    }

    const CLI::App *subcommand(const std::string &word) const {
        for (const CLI::App *next : command_->get_subcommands(nullptr))
            if (next->check_name(word))
                return next;
        return nullptr;
    }

    const CLI::App *command_;
    const CLI::Option *awaited_ = nullptr;
    bool only_positionals_ = false;
    std::map<const CLI::Option *, std::string> values_;
};

/** A shell puts the word on the command line as it is: what would mean something to it, such as the
 *  dollar in an opaque name that somebody has made up, must not get there. */
bool plain(const std::string &name) {
    constexpr std::string_view harmless = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                          "0123456789._/:@+-";
    return !starts_with(name, "-") && name.find_first_not_of(harmless) == std::string::npos;
}

/** The store's names that begin so, in the spelling that does. */
std::vector<Candidate> references(const Options &options, const std::string &begun) {
    std::vector<Candidate> found;
    waybill::Query query;
    query.name_space = options.name_space;
    open_store(options, Access::read).store.visit(query, [&](const waybill::Image &image) {
        for (const std::string &name : {image.spelled(), image.reference()})
            if (starts_with(name, begun) && plain(name)) {
                found.push_back({name});
                break;
            }
    });
    return found;
}

std::vector<Candidate> namespaces(const Options &options) {
    std::set<std::string> names;
    open_store(options, Access::read).store.visit({}, [&](const waybill::Image &image) {
        names.insert(image.name_space());
    });
    std::vector<Candidate> found;
    for (const std::string &name : names)
        if (plain(name))
            found.push_back({name});
    return found;
}

/** What may stand where the help says `type`. */
std::vector<Candidate> values(const std::string &type, const Options &options,
                              const std::string &begun) {
    if (type == "DIR" || type == "LAYOUT_DIR")
        return {{directories}};
    if (type == "FILE" || type == "PATH")
        return {{files}};
    if (type == "REF" || type == "P")
        return references(options, begun);
    if (type == "NS")
        return namespaces(options);
    std::vector<Candidate> choice;
    if (type.find('|') != std::string::npos)
        for (const std::string &word : CLI::detail::split(type, '|'))
            choice.push_back({word});
    return choice;
}

std::string first_sentence(const std::string &text) {
    const std::size_t end = text.find_first_of(".;:\n");
    return text.substr(0, end);
}

std::vector<Candidate> options_of(const CLI::App &command) {
    std::vector<Candidate> found;
    for (const CLI::App *app = &command; app != nullptr; app = app->get_parent())
        for (const CLI::Option *option : app->get_options())
            for (const std::string &name : option->get_lnames())
                if (app == &command || name != "help")
                    found.push_back({"--" + name, first_sentence(option->get_description())});
    return found;
}

std::vector<Candidate> candidates(const Line &line, const Options &options,
                                  const std::string &begun) {
    if (line.awaited() != nullptr)
        return values(line.awaited()->get_type_name(), options, begun);
    if (!line.only_positionals() && starts_with(begun, "-")) {
        const std::size_t equals = begun.find('=');
        if (equals == std::string::npos)
            return options_of(line.command());
        const CLI::Option *option = line.option(begun.substr(0, equals));
        if (option == nullptr)
            return {};
        std::vector<Candidate> found =
            values(option->get_type_name(), options, begun.substr(equals + 1));
        for (Candidate &candidate : found)
            if (!starts_with(candidate.word, ":"))
                candidate.word.insert(0, begun.substr(0, equals + 1));
        return found;
    }
    std::vector<Candidate> found;
    for (const CLI::App *next : line.command().get_subcommands(nullptr))
        if (!next->get_group().empty())
            found.push_back({next->get_name(), first_sentence(next->get_description())});
    for (const CLI::Option *option : line.command().get_options())
        if (option->get_positional())
            for (Candidate &candidate : values(option->get_name(true), options, begun))
                found.push_back(std::move(candidate));
    return found;
}

/** As the shell would hand it over; it has not yet looked at these words. */
std::string expanded(const std::string &path) {
    const char *home = std::getenv("HOME");
    return starts_with(path, "~/") && home != nullptr ? home + path.substr(1) : path;
}

int complete(const CLI::App &program, Options options, std::vector<std::string> words) {
    const std::string begun = words.empty() ? "" : words.back();
    Line line(program);
    for (std::size_t index = 0; index + 1 < words.size(); ++index)
        line.read(words[index]);
    options.root = store_root(expanded(line.value("--root", options.root)));
    options.name_space = line.value("--namespace", options.name_space);
    options.references = line.value("--references", options.references);
    // Not --library: a library that is only being typed is not run.
    std::string text;
    for (const Candidate &candidate : candidates(line, options, begun))
        if (starts_with(candidate.word, begun) || starts_with(candidate.word, ":"))
            text += candidate.word + "\t" + candidate.description + "\n";
    print(text);
    return exit_done;
}

} // namespace

void add_completion(CLI::App &app, const Options &options, Run &run) {
    CLI::App *command = app.add_subcommand("complete", "Say what a word could be, for shells");
    command->group(""); // Not in the help: shells ask it, nobody types it.
    auto words = std::make_shared<std::vector<std::string>>();
    command->add_option("WORD", *words, "The command line, up to the word being typed");
    command->callback([&app, &options, &run, words] {
        run = [&app, &options, words] { return complete(app, options, *words); };
    });
}

} // namespace cli
