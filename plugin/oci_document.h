// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors
//
// The JSON documents of an OCI image layout, from bytes to structures: oci-layout, indexes,
// manifests, configs, in the OCI and the Docker schema 2 spelling.
// Invariants: no I/O; every failure starts with `name`, the document's own name; a document that
// two readers could take for different things (both index and manifest, not what its descriptor
// says, or with a key twice where something is read) is refused.
#pragma once

#include "status.h"

#include <QByteArray>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace waybill {

struct OciPlatform {
    std::string os, architecture, variant, os_version;
};

struct OciDescriptor {
    std::string media_type; ///< empty if not given
    std::string digest;     ///< well-formed, so that it is safe as a file name
    std::uint64_t size_bytes = 0;
    std::vector<std::pair<std::string, std::string>> annotations; ///< sorted by key
    OciPlatform platform;
    bool has_urls = false; ///< to be had elsewhere: a layer that may not be distributed

    /// Null if there is none; an empty one is one.
    const std::string *annotation(std::string_view key) const;
};

enum class OciKind { Index, Manifest, Other };

/// What a descriptor's or document's media type promises.
OciKind oci_kind(std::string_view media_type);

/// Whether a manifest's config describes an image, and not some other artifact.
bool is_image_config(std::string_view media_type);

/// An index or a manifest.
struct OciDocument {
    OciKind kind = OciKind::Other;
    std::string media_type;
    std::vector<OciDescriptor> entries;  ///< an index's manifests or a manifest's layers
    std::optional<OciDescriptor> config; ///< a manifest's, always there
    std::vector<std::pair<std::string, std::string>> annotations;
};

struct OciConfig {
    OciPlatform platform;
    std::int64_t created_ns = 0; ///< 0 if absent, or beyond what 64 bits hold
};

/// Checks imageLayoutVersion: 1.0.x. Fails with Format for another one.
Status check_layout_version(const QByteArray &bytes, const std::string &name);

/// `media_type` is what the descriptor promised, or empty: then the document's own media type
/// counts, and without one its shape. Fails with BadBlob.
Result<OciDocument> parse_oci_document(const QByteArray &bytes, const std::string &name,
                                       std::string_view media_type);

Result<OciConfig> parse_oci_config(const QByteArray &bytes, const std::string &name);

} // namespace waybill
