/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: Waybill contributors
 */
#include "session.h"

#include "output.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <system_error>

namespace cli {
namespace {

std::string config_json(const Options &options, Access access) {
    nlohmann::json config;
    config["root"] = options.root;
    if (access == Access::read)
        config["readOnly"] = true;
    else
        config["create"] = access == Access::make;
    if (!options.references.empty())
        config["references"] = options.references;
    if (!options.layers.empty())
        config["layers"] = {{"root", std::filesystem::absolute(options.layers).string()},
                            {"layout", options.layout}};
    return config.dump();
}

/** False for what is missing or an empty directory; what cannot be read is for the library to name.
 *  The library would make a store of an empty directory, in the place of one on an unmounted disk.
 */
bool holds_anything(const std::string &root) {
    std::error_code failure;
    const auto type = std::filesystem::status(root, failure).type();
    if (type == std::filesystem::file_type::not_found)
        return false;
    return !std::filesystem::is_empty(root, failure) || failure;
}

/** Whatever the command is, it may be the one whose recover finds the damage; the next one finds
 *  a mended store and can no longer say what was lost. */
void warn_of_damage(const waybill::Outcome &recovery, bool json) {
    const auto report = nlohmann::json::parse(recovery.report_json);
    for (const auto &damage : report.value("damage", nlohmann::json::array()))
        print_warning("damage was found: " + damage.dump(), json);
    const auto dropped = report.value("possiblyAcknowledged", nlohmann::json(0));
    if (dropped.is_number() && dropped > 0)
        print_warning(fmt::format("the last write was torn; {} records in it may have been "
                                  "acknowledged and were dropped",
                                  dropped.dump()),
                      json);
    if (report.value("degraded", false))
        print_warning("records were lost to damage; prune refuses until `waybill accept-loss`",
                      json);
}

/** The directory that is meant when --root is not given. */
std::string default_root() {
    if (geteuid() == 0)
        return "/var/lib/waybill";
    const char *data = std::getenv("XDG_DATA_HOME");
    if (data != nullptr && data[0] == '/')
        return std::string(data) + "/waybill";
    const char *home = std::getenv("HOME");
    if (home != nullptr && home[0] == '/')
        return std::string(home) + "/.local/share/waybill";
    return {};
}

} // namespace

std::string store_root(const std::string &directory) {
    const std::string chosen = directory.empty() ? default_root() : directory;
    if (chosen.empty())
        throw waybill::Error(WAYBILL_EINVAL, "--root is required, since HOME is not set", "root");
    std::filesystem::path root = std::filesystem::absolute(chosen).lexically_normal();
    if (!root.has_filename() && root.has_relative_path())
        root = root.parent_path();
    return root.string();
}

Session open_store(const Options &options, Access access) {
    const waybill::Library library(options.library);
    if (access == Access::make) {
        std::error_code ignored;
        // The library makes the directory itself and no more; a new user has no ~/.local yet.
        std::filesystem::create_directories(std::filesystem::path(options.root).parent_path(),
                                            ignored);
    } else if (!holds_anything(options.root)) {
        throw waybill::Error(WAYBILL_ENOTSTORE, options.root + ": no such store", "root");
    }
    waybill::Store store = waybill::Store::create(library, config_json(options, access));
    waybill::Outcome recovery = store.recover().get();
    warn_of_damage(recovery, options.json);
    return {std::move(store), std::move(recovery)};
}

} // namespace cli
