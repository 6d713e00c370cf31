// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors
#include "layer_directory.h"

#include "beneath.h"
#include "digest.h"
#include "directory_stream.h"

#include <cerrno>
#include <fcntl.h>
#include <optional>
#include <string_view>
#include <sys/stat.h>
#include <vector>

namespace waybill {

namespace {

struct Entry {
    std::string name;
    bool is_directory = false;
    bool is_plain_file = false;
};

/// The entry's kind; nothing if it vanished since it was listed.
Result<std::optional<Entry>> classify(DIR *directory, const dirent &found,
                                      const std::string &path) {
    unsigned char type = found.d_type;
    if (type == DT_UNKNOWN) {
        struct stat status;
        if (::fstatat(::dirfd(directory), found.d_name, &status, AT_SYMLINK_NOFOLLOW) != 0) {
            if (errno == ENOENT)
                return std::optional<Entry>();
            return system_failure(errno, path + "/" + found.d_name + ": looking at it");
        }
        type = IFTODT(status.st_mode);
    }
    return std::optional(Entry{found.d_name, type == DT_DIR, type == DT_REG});
}

/// Everything in the directory but "." and "..". A directory that is not there is empty: on a
/// fresh node, and when the host deletes a layer while we look.
Result<std::vector<Entry>> entries_of(const Descriptor &root, const std::string &root_path,
                                      const std::string &path) {
    std::vector<Entry> entries;
    Descriptor opened = open_beneath(root, path, O_RDONLY | O_DIRECTORY);
    if (!opened.ok()) {
        if (opened.sys_errno() == ENOENT)
            return entries;
        return system_failure(opened.sys_errno(), root_path + "/" + path + ": opening");
    }
    DirectoryStream directory(::fdopendir(opened.fd()));
    if (!directory)
        return system_failure(errno, root_path + "/" + path + ": listing");
    opened.release();
    while (true) {
        errno = 0;
        const dirent *found = ::readdir(directory.get());
        if (!found && errno != 0)
            return system_failure(errno, root_path + "/" + path + ": listing");
        if (!found)
            return entries;
        const std::string_view name = found->d_name;
        if (name == "." || name == "..")
            continue;
        auto entry = classify(directory.get(), *found, root_path + "/" + path);
        if (!entry.ok())
            return entry.status();
        if (*entry)
            entries.push_back(std::move(**entry));
    }
}

bool holds_root_file_system(const std::vector<Entry> &entries) {
    for (const Entry &entry : entries) {
        if (entry.is_directory && entry.name.starts_with("rootfs"))
            return true;
    }
    return false;
}

/// The digest's text as id_text writes it, or nothing if the name is no digest.
std::optional<std::string> digest_text(const std::string &name) {
    const Result<PackedId> packed = parse_digest(name);
    if (!packed.ok())
        return std::nullopt;
    return id_text(packed.value().span());
}

struct Listing {
    std::set<std::string> layers;
    std::set<std::string> configs;
};

Result<Listing> list_mesos(const Descriptor &root, const std::string &root_path) {
    Listing listing;
    const auto entries = entries_of(root, root_path, "layers");
    if (!entries.ok())
        return entries.status();
    for (const Entry &entry : entries.value()) {
        if (entry.is_plain_file) {
            if (auto digest = digest_text(entry.name))
                listing.configs.insert(std::move(*digest));
        } else if (entry.is_directory) {
            const auto inside = entries_of(root, root_path, "layers/" + entry.name);
            if (!inside.ok())
                return inside.status();
            if (holds_root_file_system(inside.value()))
                listing.layers.insert(entry.name);
        }
    }
    return listing;
}

/// In an OCI layout a blob is a blob: a config may be kept as a layer and the other way round.
Result<Listing> list_oci(const Descriptor &root, const std::string &root_path) {
    Listing listing;
    for (const std::string algorithm : {"sha256", "sha384", "sha512"}) {
        const auto entries = entries_of(root, root_path, "blobs/" + algorithm);
        if (!entries.ok())
            return entries.status();
        for (const Entry &entry : entries.value()) {
            if (!entry.is_plain_file)
                continue;
            if (auto digest = digest_text(algorithm + ":" + entry.name))
                listing.layers.insert(std::move(*digest));
        }
    }
    return listing;
}

} // namespace

Result<LayerDirectory> LayerDirectory::list(const LayerSettings &settings) {
    LayerDirectory listed;
    listed.layout_ = settings.layout;
    const Descriptor root = open_root(settings.root);
    if (!root.ok() && root.sys_errno() == ENOENT)
        return listed;
    if (!root.ok())
        return system_failure(root.sys_errno(), settings.root + ": opening");
    Result<Listing> listing = settings.layout == LayerLayout::Mesos
                                  ? list_mesos(root, settings.root)
                                  : list_oci(root, settings.root);
    if (!listing.ok())
        return listing.status();
    listed.layers_ = std::move(listing->layers);
    listed.configs_ = std::move(listing->configs);
    return listed;
}

bool LayerDirectory::has_layer(std::span<const std::uint8_t> packed_id) const {
    return layers_.contains(id_text(packed_id));
}

bool LayerDirectory::has_config(std::span<const std::uint8_t> packed_digest) const {
    const std::set<std::string> &configs = layout_ == LayerLayout::Oci ? layers_ : configs_;
    return configs.contains(id_text(packed_digest));
}

} // namespace waybill
