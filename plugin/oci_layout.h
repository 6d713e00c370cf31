// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors
//
// Reads an OCI image layout directory (image-spec: image-layout.md, image-index.md, manifest.md,
// config.md) into image descriptions; Docker schema 2 media types are read the same way.
// Invariants: reads only; no symbolic link below the layout is followed and no path leaves it; no
// byte of a document is believed before its digest has been checked; documents have size limits.
#pragma once

#include "status.h"

#include <cstdint>
#include <string>
#include <vector>

namespace waybill {

struct OciLayer {
    std::string digest;
    std::string media_type;
    std::uint64_t size_bytes = 0;
};

/// One tagged entry of index.json, with everything the store records of it.
struct OciImage {
    std::string reference; ///< as it will be put
    std::string target_digest;
    std::string target_media_type;
    std::uint64_t target_size_bytes = 0;
    std::string config_digest; ///< of the only platform; empty when an index holds several
    /// In order, base first. Of an index: of every platform whose manifest is in the layout, in the
    /// index's order, each digest once.
    std::vector<OciLayer> layers;
    std::vector<std::pair<std::string, std::string>> annotations; ///< of descriptor, then manifest
    std::string os, architecture, variant, os_version; ///< empty when an index holds several
    std::int64_t created_ns = 0; ///< the config's "created"; 0 if absent or several platforms
};

struct OciLayout {
    std::vector<OciImage> images;
    /// Entries of index.json that carry no name, by digest: they are reported, not put.
    std::vector<std::string> untagged;
};

/// `reference` empty: tags must be full names. Otherwise a bare tag t becomes reference ":" t
/// (any tag or digest on `reference` itself is then refused), and a layout with exactly one image
/// takes `reference` as its name outright if that has a tag or digest.
/// Fails with NoBlob or BadBlob naming the blob and the document that refers to it; NotFound if the
/// directory or its index.json is missing, or nothing in it is tagged; Format for an unknown
/// imageLayoutVersion.
Result<OciLayout> read_oci_layout(const std::string &directory, const std::string &reference);

} // namespace waybill
