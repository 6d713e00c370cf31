// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors
#include "oci_names.h"

#include "limits.h"

#include <map>
#include <optional>
#include <set>
#include <string_view>

namespace waybill {

namespace {

constexpr std::string_view containerd_name = "io.containerd.image.name";
constexpr std::string_view oci_name = "org.opencontainers.image.ref.name";

/// Whether the name ends in a tag or digest; the colon of a port stands before a slash.
bool is_complete(std::string_view name) {
    if (name.find('@') != std::string_view::npos)
        return true;
    const std::size_t colon = name.rfind(':');
    return colon != std::string_view::npos && name.find('/', colon) == std::string_view::npos;
}

bool is_bare_tag(std::string_view name) {
    return name.find_first_of("/:@") == std::string_view::npos;
}

bool is_image(const OciDescriptor &entry) {
    return entry.media_type.empty() || oci_kind(entry.media_type) != OciKind::Other;
}

/// The layout's only image, which may stand in index.json under several tags.
const OciDescriptor *only_image(const std::vector<OciDescriptor> &entries) {
    const OciDescriptor *only = nullptr;
    for (const OciDescriptor &entry : entries) {
        if (!is_image(entry))
            continue;
        if (only && only->digest != entry.digest)
            return nullptr;
        if (!only)
            only = &entry;
    }
    return only;
}

Result<OciNames> name_outright(const std::vector<OciDescriptor> &entries,
                               const std::string &reference) {
    const OciDescriptor *only = only_image(entries);
    if (!only)
        return invalid("reference",
                       "'" + reference +
                           "' has a tag or digest, and index.json does not hold exactly one image");
    const std::size_t at = reference.find('@');
    if (at != std::string::npos && reference.substr(at + 1) != only->digest)
        return invalid("reference", "its digest is not that of the layout's image, " + only->digest,
                       static_cast<std::int64_t>(at + 1));
    OciNames names;
    names.named.push_back({reference, only});
    for (const OciDescriptor &entry : entries) {
        if (!is_image(entry))
            names.untagged.push_back(entry.digest);
    }
    return names;
}

/// The entry's name; empty if it has none, and an empty one is none.
Result<std::string> name_of(const OciDescriptor &entry, const std::string &reference) {
    const auto text_of = [&entry](std::string_view key) {
        const std::string *text = entry.annotation(key);
        return text ? *text : std::string();
    };
    const std::string full = text_of(containerd_name);
    if (!full.empty())
        return full;
    const std::string name = text_of(oci_name);
    if (name.empty() || !is_bare_tag(name))
        return name;
    if (reference.empty())
        return invalid("reference", "index.json: the tag '" + name +
                                        "' is bare, and no reference to combine it with was given");
    return reference + ":" + name;
}

} // namespace

Result<OciNames> name_oci_entries(const std::vector<OciDescriptor> &entries,
                                  const std::string &reference) {
    if (!reference.empty() && is_complete(reference))
        return name_outright(entries, reference);
    OciNames names;
    std::map<std::string, std::string> digests;
    for (const OciDescriptor &entry : entries) {
        const Result<std::string> name =
            is_image(entry) ? name_of(entry, reference) : Result<std::string>(std::string());
        if (!name.ok())
            return name.status();
        if (name.value().empty()) {
            names.untagged.push_back(entry.digest);
            continue;
        }
        const auto [known, is_new] = digests.emplace(name.value(), entry.digest);
        if (!is_new && known->second != entry.digest)
            return failure(Code::BadBlob, "index.json: '" + name.value() + "' names both " +
                                              known->second + " and " + entry.digest);
        if (is_new)
            names.named.push_back({name.value(), &entry});
    }
    if (names.named.size() > limits::transaction_images_max)
        return failure(Code::Limit, "index.json: names more than " +
                                        std::to_string(limits::transaction_images_max) + " images");
    if (names.named.empty())
        return failure(Code::NotFound,
                       "index.json: nothing in it is tagged; a reference with a tag names the only "
                       "image of a layout");
    return names;
}

} // namespace waybill
