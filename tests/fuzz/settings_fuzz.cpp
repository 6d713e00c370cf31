// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors
//
// The configuration. Input: its JSON.
#include "property.h"

#include "plugin/settings.h"

using namespace waybill;
using namespace waybill::fuzz;

namespace {

void check_directory(const std::string &path) {
    require(path.starts_with('/'), "a directory is absolute", path);
    require(path.size() <= limits::root_path_bytes_max, "a path keeps the limit");
    require(path.find('\0') == std::string::npos, "a path has no NUL", path);
    const std::string closed = path + "/";
    require(closed.find("/../") == std::string::npos && closed.find("/./") == std::string::npos,
            "a path has no dots", path);
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t *data, std::size_t size) {
    const ExactText text({reinterpret_cast<const char *>(data), size});
    const Result<Settings> parsed = parse_settings(text.view());
    if (!parsed.ok()) {
        const Status &fault = parsed.status();
        require(fault.code == Code::Invalid || fault.code == Code::Limit, "a refusal is typed");
        require(fault.field.starts_with("config"), "a refusal names the key", fault.field);
        require(!fault.message.empty() && fault.message.find('\n') == std::string::npos,
                "a refusal is one line", fault.message);
        require(fault.position <= static_cast<std::int64_t>(size),
                "the offending byte is in the text", fault.message);
        return 0;
    }
    const Settings &settings = parsed.value();
    check_directory(settings.root);
    if (settings.layers)
        check_directory(settings.layers->root);
    require(settings.threads >= 1 && settings.threads <= limits::threads_max, "threads are few");
    require(settings.images_max >= 1, "a store holds an image");
    require(settings.record_bytes_max <= limits::transaction_bytes_max,
            "a record fits into a transaction");
    require(settings.journal_bytes <= limits::file_bytes_max, "a journal keeps the limit");
    return 0;
}
