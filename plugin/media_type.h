// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors
//
// The media types that a record keeps as a number (image.fbs). They are those of the OCI image
// specification 1.1 and of Docker's image manifest version 2, schema 2; any other is kept as text.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace waybill {

/// By number. Each ends with a NUL: it is a literal.
inline constexpr std::string_view numbered_media_types[] = {
    "",
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.oci.image.layer.v1.tar",
    "application/vnd.oci.image.layer.v1.tar+gzip",
    "application/vnd.oci.image.layer.v1.tar+zstd",
    "application/vnd.oci.image.layer.nondistributable.v1.tar",
    "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
    "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd",
    "application/vnd.docker.distribution.manifest.v2+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.docker.image.rootfs.diff.tar",
    "application/vnd.docker.image.rootfs.diff.tar.gzip",
    "application/vnd.docker.image.rootfs.diff.tar.zstd",
    "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
    "application/vnd.oci.empty.v1+json",
};
inline constexpr std::size_t numbered_media_type_count =
    sizeof numbered_media_types / sizeof numbered_media_types[0];

/// False if the text has no number.
inline bool number_of_media_type(std::string_view text, std::uint8_t *number) {
    for (std::size_t i = 0; i < numbered_media_type_count; ++i)
        if (numbered_media_types[i] == text) {
            *number = static_cast<std::uint8_t>(i);
            return true;
        }
    return false;
}

} // namespace waybill
