// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors
//
// Invariant: each index, manifest and config is read at most once, however many documents refer to
// it, so that a small layout cannot make an import long.
#include "oci_layout.h"

#include "beneath.h"
#include "limits.h"
#include "oci_document.h"
#include "oci_files.h"
#include "oci_names.h"

#include <QByteArray>

#include <cerrno>
#include <map>
#include <optional>
#include <set>

namespace waybill {

namespace {

/// A document that was read, and what was found out about its parts.
struct Loaded {
    OciDocument document;
    OciConfig config;
    std::uint64_t size_bytes = 0;
    bool is_complete = false; ///< config read, layers seen
};

/// What one entry of index.json leads to.
struct Target {
    std::vector<const Loaded *> manifests; ///< in order, each once
    std::vector<OciPlatform> platforms;    ///< of each manifest
    std::set<std::string> visited;         ///< digests of indexes and manifests
    std::optional<Status> absence;         ///< of the first manifest that was not there
};

/// Buildkit's attestations stand beside the images in an index, as manifests of no platform.
bool is_attestation(const OciPlatform &platform) {
    return platform.os == "unknown" && platform.architecture == "unknown";
}

OciPlatform merge(OciPlatform preferred, const OciPlatform &other) {
    const auto fill = [](std::string &text, const std::string &from) {
        if (text.empty())
            text = from;
    };
    fill(preferred.os, other.os);
    fill(preferred.architecture, other.architecture);
    fill(preferred.variant, other.variant);
    fill(preferred.os_version, other.os_version);
    return preferred;
}

class LayoutReader final {
  public:
    explicit LayoutReader(Descriptor root) : files_(std::move(root)) {}

    /// Reads index.json. Fails with NotFound if this is no layout.
    Result<OciDocument> read_index(const std::string &directory) const {
        const Result<QByteArray> marker = files_.read("oci-layout");
        if (!marker.ok())
            return marker.status().code == Code::NoBlob
                       ? failure(Code::NotFound, directory + ": is not an OCI image layout: "
                                                             "oci-layout is missing")
                       : marker.status();
        if (Status status = check_layout_version(marker.value(), "oci-layout"); !status.ok())
            return status;
        const Result<QByteArray> index = files_.read("index.json");
        if (!index.ok())
            return index.status().code == Code::NoBlob
                       ? failure(Code::NotFound, directory + ": index.json is missing")
                       : index.status();
        Result<OciDocument> document = parse_oci_document(index.value(), "index.json", {});
        if (document.ok() && document->kind != OciKind::Index)
            return failure(Code::BadBlob, "index.json: is not an index");
        return document;
    }

    /// Everything that the store records of an entry of index.json, but its name.
    Result<OciImage> read_image(const OciDescriptor &entry) {
        Target target;
        if (Status status = collect(entry, "index.json", 0, target); !status.ok())
            return status;
        const std::string name = oci_blob_name(entry.digest);
        if (target.manifests.empty())
            return target.absence ? *target.absence
                                  : failure(Code::BadBlob, name + ": refers to no manifest");
        const OciDocument &document = loaded_.at(entry.digest).document;
        OciImage image;
        image.target_digest = entry.digest;
        image.target_media_type = document.media_type;
        image.target_size_bytes = entry.size_bytes;
        image.annotations = entry.annotations;
        for (const auto &annotation : document.annotations) {
            if (!entry.annotation(annotation.first))
                image.annotations.push_back(annotation);
        }
        describe_only_platform(target, image);
        if (Status status = add_layers(target, document.kind, name, image); !status.ok())
            return status;
        return image;
    }

  private:
    /// Fails with NoBlob if the document itself is absent. The pointer stays valid.
    Result<Loaded *> load(const OciDescriptor &descriptor, const std::string &referrer) {
        const auto known = loaded_.find(descriptor.digest);
        if (known != loaded_.end()) {
            Loaded &loaded = known->second;
            if (Status status = OciFiles::check_size(descriptor, loaded.size_bytes, referrer);
                !status.ok())
                return status;
            if (!descriptor.media_type.empty() && !loaded.document.media_type.empty() &&
                descriptor.media_type != loaded.document.media_type)
                return failure(Code::BadBlob, oci_blob_name(descriptor.digest) + ": is a " +
                                                  loaded.document.media_type + "; " + referrer +
                                                  " says " + descriptor.media_type);
            return &loaded;
        }
        if (loaded_.size() >= limits::manifests_max)
            return failure(Code::Limit, "index.json: leads to more than " +
                                            std::to_string(limits::manifests_max) + " documents");
        const Result<QByteArray> bytes = files_.read(descriptor, referrer);
        if (!bytes.ok())
            return bytes.status();
        Result<OciDocument> document = parse_oci_document(
            bytes.value(), oci_blob_name(descriptor.digest), descriptor.media_type);
        if (!document.ok())
            return document.status();
        Loaded loaded{std::move(*document), {}, descriptor.size_bytes, false};
        return &loaded_.emplace(descriptor.digest, std::move(loaded)).first->second;
    }

    /// Reads a manifest's config and looks for its layers. A missing part is an error here: only
    /// whole platforms may be left out of a copy.
    Status complete(Loaded &manifest, const std::string &name) {
        if (manifest.is_complete)
            return {};
        const OciDescriptor &config = *manifest.document.config;
        const Result<QByteArray> bytes = files_.read(config, name);
        if (!bytes.ok())
            return bytes.status();
        if (config.media_type.empty() || is_image_config(config.media_type)) {
            Result<OciConfig> parsed =
                parse_oci_config(bytes.value(), oci_blob_name(config.digest));
            if (parsed.ok())
                manifest.config = std::move(*parsed);
            else if (!config.media_type.empty())
                return parsed.status();
        }
        if (manifest.document.entries.size() > limits::layers_max)
            return failure(Code::Limit, name + ": lists more than " +
                                            std::to_string(limits::layers_max) + " layers");
        for (const OciDescriptor &layer : manifest.document.entries) {
            if (Status status = check_layer(layer, name); !status.ok())
                return status;
        }
        manifest.is_complete = true;
        return {};
    }

    Status check_layer(const OciDescriptor &layer, const std::string &referrer) {
        auto known = layer_bytes_.find(layer.digest);
        if (known == layer_bytes_.end()) {
            const Result<std::uint64_t> found_bytes = files_.size_of(layer.digest, referrer);
            // Layers that may not be distributed are left out of layouts; their URLs remain.
            if (!found_bytes.ok() && found_bytes.status().code == Code::NoBlob && layer.has_urls)
                return {};
            if (!found_bytes.ok())
                return found_bytes.status();
            known = layer_bytes_.emplace(layer.digest, found_bytes.value()).first;
        }
        return OciFiles::check_size(layer, known->second, referrer);
    }

    Status collect(const OciDescriptor &descriptor, const std::string &referrer, int depth,
                   Target &target) {
        if (target.visited.contains(descriptor.digest))
            return {};
        const Result<Loaded *> found = load(descriptor, referrer);
        if (!found.ok() && found.status().code == Code::NoBlob) {
            if (!target.absence)
                target.absence = found.status();
            return {};
        }
        if (!found.ok())
            return found.status();
        target.visited.insert(descriptor.digest);
        Loaded &loaded = *found.value();
        const std::string name = oci_blob_name(descriptor.digest);
        if (loaded.document.kind == OciKind::Manifest) {
            if (Status status = complete(loaded, name); !status.ok())
                return status;
            target.manifests.push_back(&loaded);
            target.platforms.push_back(merge(loaded.config.platform, descriptor.platform));
            return {};
        }
        if (depth >= limits::index_depth_max)
            return failure(Code::Limit, name + ": indexes nest deeper than " +
                                            std::to_string(limits::index_depth_max));
        for (const OciDescriptor &entry : loaded.document.entries) {
            // The specification asks to pass over what one does not know.
            if (!entry.media_type.empty() && oci_kind(entry.media_type) == OciKind::Other)
                continue;
            if (Status status = collect(entry, name, depth + 1, target); !status.ok())
                return status;
        }
        return {};
    }

    static void describe_only_platform(const Target &target, OciImage &image) {
        std::optional<std::size_t> only;
        for (std::size_t i = 0; i < target.manifests.size(); ++i) {
            if (target.manifests.size() > 1 && is_attestation(target.platforms[i]))
                continue;
            if (only)
                return;
            only = i;
        }
        if (!only)
            return;
        const Loaded &manifest = *target.manifests[*only];
        const OciPlatform &platform = target.platforms[*only];
        image.config_digest = manifest.document.config->digest;
        image.created_ns = manifest.config.created_ns;
        image.os = platform.os;
        image.architecture = platform.architecture;
        image.variant = platform.variant;
        image.os_version = platform.os_version;
    }

    /// A manifest's layers are kept as they are, repetitions included: their order and number make
    /// up the file system. Of an index they are a set.
    static Status add_layers(const Target &target, OciKind kind, const std::string &name,
                             OciImage &image) {
        std::set<std::string> seen;
        for (const Loaded *manifest : target.manifests) {
            for (const OciDescriptor &layer : manifest->document.entries) {
                if (kind == OciKind::Index && !seen.insert(layer.digest).second)
                    continue;
                image.layers.push_back({layer.digest, layer.media_type, layer.size_bytes});
            }
            if (image.layers.size() > limits::layers_max)
                return failure(Code::Limit, name + ": leads to more than " +
                                                std::to_string(limits::layers_max) + " layers");
        }
        if (image.layers.empty())
            return failure(Code::BadBlob, name + ": lists no layers");
        return {};
    }

    OciFiles files_;
    std::map<std::string, Loaded> loaded_;             ///< by digest
    std::map<std::string, std::uint64_t> layer_bytes_; ///< by digest
};

} // namespace

Result<OciLayout> read_oci_layout(const std::string &directory, const std::string &reference) {
    Descriptor root = open_root(directory);
    if (!root.ok() && (root.sys_errno() == ENOENT || root.sys_errno() == ENOTDIR))
        return Status{Code::NotFound, root.sys_errno(), -1, {}, directory + ": is no directory"};
    if (!root.ok())
        return system_failure(root.sys_errno(), directory + ": opening");
    LayoutReader reader(std::move(root));
    const Result<OciDocument> index = reader.read_index(directory);
    if (!index.ok())
        return index.status();
    Result<OciNames> names = name_oci_entries(index.value().entries, reference);
    if (!names.ok())
        return names.status();
    OciLayout layout;
    layout.untagged = std::move(names->untagged);
    for (const OciName &name : names->named) {
        Result<OciImage> image = reader.read_image(*name.entry);
        if (!image.ok())
            return image.status();
        image->reference = name.reference;
        layout.images.push_back(std::move(*image));
    }
    return layout;
}

} // namespace waybill
