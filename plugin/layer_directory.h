// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors
//
// Which layers are on disk, in the host's own layer directory. Read-only; not the store's
// directory and so not behind the disk seam.
// Invariants: no symbolic link is followed below the root, no path leaves it (openat2 with
// RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS); every directory is listed once, not every layer looked
// up.
#pragma once

#include "settings.h"
#include "status.h"

#include <cstdint>
#include <set>
#include <span>
#include <string>

namespace waybill {

class LayerDirectory final {
  public:
    /// Lists the directory. A root that does not exist is an empty one: on a fresh node no layer
    /// is there yet.
    /// Layout mesos: <root>/layers/<id> is a directory holding an entry whose name starts with
    /// "rootfs"; a config is the plain file <root>/layers/<config digest>.
    /// Layout oci: <root>/blobs/<algorithm>/<hex> is a plain file.
    static Result<LayerDirectory> list(const LayerSettings &settings);

    bool has_layer(std::span<const std::uint8_t> packed_id) const;
    bool has_config(std::span<const std::uint8_t> packed_digest) const;

  private:
    LayerLayout layout_ = LayerLayout::Oci;
    std::set<std::string> layers_;  ///< text ids
    std::set<std::string> configs_; ///< text digests
};

} // namespace waybill
