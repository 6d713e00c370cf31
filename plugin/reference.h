// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors
//
// Image references: what a host writes, and the one key it stands for.
// Grammar and normalisation are those of github.com/distribution/reference (docker.io/library/ and
// :latest by default, tag and digest together mean the digest, index.docker.io is docker.io).
// The Mesos mode does what Mesos' parseImageReference and its stream operator do, bit for bit.
#pragma once

#include "status.h"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace waybill {

/// Stored in the headers of a store's files; the numbers never change.
enum class ReferenceMode : std::uint8_t { Canonical = 0, Opaque = 1, Mesos = 2 };

/// A reference in parts, as the grammar (or Mesos) divides it.
struct Reference {
    std::string domain; ///< "docker.io"; in Mesos mode the registry, empty if not given
    std::string path;   ///< "library/busybox"; in Mesos mode the repository
    std::optional<std::string> tag;
    std::optional<std::string> digest;
};

/// Parses and normalises as distribution's ParseDockerRef does, without adding ":latest" or
/// dropping the tag beside a digest: the caller sees what was written. Fails with Invalid and the
/// offending position.
Result<Reference> parse_normalized(std::string_view text);

/// Parses without normalising, as distribution's Parse does: no default domain, no "library/".
Result<Reference> parse_strict(std::string_view text);

/// Parses as Mesos does. Fails only on a second "@".
Result<Reference> parse_mesos(std::string_view text);

/// "docker.io/library/busybox:latest": the familiar form's opposite, and the key of a store in
/// canonical mode. A digest wins over a tag; neither means ":latest".
std::string canonical_text(const Reference &reference);

/// As Mesos writes one: [registry/]repository, then @digest if there is one, else :tag.
std::string mesos_text(const Reference &reference);

/// The key for `text` in `mode`. Checks length (Limit) and UTF-8 first, in every mode; in opaque
/// mode the key is the text itself, of at least one byte. Fails with Invalid, position and the
/// field name "reference".
Result<std::string> canonical_key(std::string_view text, ReferenceMode mode);

/// Whether `text` is well-formed UTF-8 (RFC 3629: no overlong forms, no surrogates); if not,
/// `*position` is the first offending byte.
bool is_utf8(std::string_view text, std::int64_t *position);

} // namespace waybill
