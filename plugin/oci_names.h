// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors
//
// What the entries of an index.json are called.
#pragma once

#include "oci_document.h"
#include "status.h"

#include <string>
#include <vector>

namespace waybill {

struct OciName {
    std::string reference;
    const OciDescriptor *entry;
};

struct OciNames {
    std::vector<OciName> named;        ///< no reference twice
    std::vector<std::string> untagged; ///< digests
};

/// Names each entry by io.containerd.image.name, which is a full name, or else by
/// org.opencontainers.image.ref.name, which may be a bare tag: one without "/", ":" and "@". See
/// read_oci_layout for what `reference` does. Entries whose media type is neither an index's nor a
/// manifest's count as untagged. The pointers point into `entries`.
/// Fails with Invalid if `reference` does not fit, BadBlob if one name stands for two images,
/// NotFound if nothing has a name, Limit if more is named than one transaction may hold.
Result<OciNames> name_oci_entries(const std::vector<OciDescriptor> &entries,
                                  const std::string &reference);

} // namespace waybill
