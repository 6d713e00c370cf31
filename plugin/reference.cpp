// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors
//
// Invariants: nothing here consults a locale; a text is divided into views first and copied only
// once it is known to be right. The grammar is deterministic when read in this order: "@" occurs
// only before the digest, ":" after the last "/" only before the tag, and a domain has no "/".
#include "reference.h"

#include "digest.h"
#include "limits.h"

#include <algorithm>
#include <array>
#include <cstring>

namespace waybill {

namespace {

constexpr std::string_view default_domain = "docker.io";
constexpr std::string_view legacy_default_domain = "index.docker.io";
constexpr std::string_view official_prefix = "library/";
constexpr std::string_view default_tag = "latest";
constexpr const char *field_name = "reference";

enum CharacterClass : std::uint8_t {
    Digit = 1,
    Lower = 2,
    Upper = 4,
    IPv6 = 8,
    TagStart = 16,
    TagRest = 32,
};

constexpr std::array<std::uint8_t, 256> classes = [] {
    std::array<std::uint8_t, 256> table{};
    const auto add = [&table](std::string_view characters, int flags) {
        for (const char character : characters)
            table[static_cast<std::uint8_t>(character)] |= static_cast<std::uint8_t>(flags);
    };
    add("0123456789", Digit | TagStart | TagRest);
    add("abcdefghijklmnopqrstuvwxyz", Lower | TagStart | TagRest);
    add("ABCDEFGHIJKLMNOPQRSTUVWXYZ", Upper | TagStart | TagRest);
    add("_", TagStart | TagRest);
    add(".-", TagRest);
    add("0123456789abcdefABCDEF:", IPv6);
    return table;
}();

constexpr bool is(char character, int flags) {
    return (classes[static_cast<std::uint8_t>(character)] & flags) != 0;
}

/// The parts of a valid text. A part that is not there is empty: none is valid when empty.
struct Parts {
    std::string_view domain;
    std::string_view path;
    std::string_view tag;
    std::string_view digest;
    bool is_official = false; ///< "library/" belongs before `path`
};

enum class Dialect { Strict, Normalized };

// The scan_… functions answer `whole` if all of the text is what they look for, or the offset of
// the first byte that is not; the text's size if it ended too early.
constexpr std::size_t whole = std::string_view::npos;

std::size_t skip(std::string_view text, std::size_t at, int flags) {
    while (at < text.size() && is(text[at], flags))
        ++at;
    return at;
}

std::size_t scan_path(std::string_view text) {
    for (std::size_t at = 0;;) {
        const std::size_t start = at;
        at = skip(text, at, Lower | Digit);
        if (at == start)
            return at;
        if (at == text.size())
            return whole;
        switch (text[at]) {
        case '/':
        case '.':
            ++at;
            break;
        case '_':
            at += text.substr(at).starts_with("__") ? 2 : 1;
            break;
        case '-':
            at = std::min(text.find_first_not_of('-', at), text.size());
            break;
        default:
            return at;
        }
    }
}

/// On success `*end` is where a port may start.
std::size_t scan_host(std::string_view text, std::size_t *end) {
    std::size_t at = 0;
    if (text.starts_with('[')) {
        at = skip(text, 1, IPv6);
        if (at == 1 || at == text.size() || text[at] != ']')
            return at;
        *end = at + 1;
        return whole;
    }
    for (;; ++at) {
        const std::size_t start = at;
        while (at < text.size() && (is(text[at], Lower | Upper | Digit) || text[at] == '-'))
            ++at;
        if (at == start || text[start] == '-')
            return start;
        if (text[at - 1] == '-')
            return at;
        if (at == text.size() || text[at] != '.')
            break;
    }
    *end = at;
    return whole;
}

std::size_t scan_domain(std::string_view text) {
    std::size_t at = 0;
    if (const std::size_t fault = scan_host(text, &at); fault != whole)
        return fault;
    if (at == text.size())
        return whole;
    if (text[at] != ':')
        return at;
    const std::size_t port = at + 1;
    at = skip(text, port, Digit);
    return at == text.size() && at > port ? whole : at;
}

std::size_t scan_tag(std::string_view text) {
    if (text.empty() || !is(text[0], TagStart))
        return 0;
    const std::size_t end = std::min(skip(text, 1, TagRest), limits::tag_bytes_max);
    return end == text.size() ? whole : end;
}

/// The offset of the first upper-case letter, or the text's size.
std::size_t first_upper(std::string_view text) {
    const auto found = std::find_if(text.begin(), text.end(), [](char c) { return is(c, Upper); });
    return static_cast<std::size_t>(found - text.begin());
}

bool has_upper(std::string_view text) { return first_upper(text) != text.size(); }

Status fault_at(std::size_t position, std::string message) {
    return invalid(field_name, std::move(message), static_cast<std::int64_t>(position));
}

enum class Fault { None, Empty, Identifier, UpperCase, Name, TooLong, Tag, Digest };

/// What a scan found; a Status is made of it only where one is needed, for gets are many.
struct Finding {
    Fault fault = Fault::None;
    std::size_t position = 0;
};

Status to_status(const Finding &finding, std::string_view text) {
    const auto because = [&finding](const char *message) {
        return fault_at(finding.position, message);
    };
    switch (finding.fault) {
    case Fault::None:
        return {};
    case Fault::Empty:
        return because("the reference was empty");
    case Fault::Identifier:
        return because("the repository name was a 64-digit hexadecimal identifier");
    case Fault::UpperCase:
        return because("the repository name was not in lower case");
    case Fault::Name:
        return because("the repository name had an invalid format");
    case Fault::TooLong:
        return fault_at(finding.position, "the repository name was longer than " +
                                              std::to_string(limits::repository_path_bytes_max) +
                                              " bytes");
    case Fault::Tag:
        return because("the tag had an invalid format");
    case Fault::Digest:
        return because(parse_digest(text.substr(text.find('@') + 1)).status().message.c_str());
    }
    return failure(Code::Internal, "a reference's fault had no message");
}

/// The rule by which docker tells "host/name" from "user/name".
bool names_domain(std::string_view first) {
    return first == "localhost" || first.find_first_of(".:") != std::string_view::npos ||
           has_upper(first);
}

/// Divides `name` into domain and path; on failure answers the offending offset, else `whole`.
std::size_t scan_name(std::string_view name, Dialect dialect, Parts &parts) {
    const std::size_t slash = name.find('/');
    const std::string_view first = name.substr(0, slash);
    parts.path = name;
    if (dialect == Dialect::Normalized &&
        (slash == std::string_view::npos || !names_domain(first))) {
        parts.domain = default_domain;
        parts.is_official = slash == std::string_view::npos;
        return scan_path(name);
    }
    if (slash == std::string_view::npos)
        return scan_path(name);
    if (const std::size_t fault = scan_domain(first); fault != whole) {
        // What is no domain may still be a path ("foo_bar/x"), in both dialects: distribution's
        // ParseNormalizedNamed too answers an empty domain for "foo_bar.com/x".
        const std::size_t path_fault = scan_path(name);
        return path_fault == whole ? whole : std::max(fault, path_fault);
    }
    parts.domain = first;
    parts.path = name.substr(slash + 1);
    if (dialect == Dialect::Normalized) {
        if (first == legacy_default_domain)
            parts.domain = default_domain;
        parts.is_official =
            parts.domain == default_domain && parts.path.find('/') == std::string_view::npos;
    }
    const std::size_t fault = scan_path(parts.path);
    return fault == whole ? whole : slash + 1 + fault;
}

Finding scan(std::string_view text, Dialect dialect, Parts &parts) {
    const std::size_t at_sign = text.find('@');
    std::string_view name = text.substr(0, at_sign);
    std::size_t mark = name.size();
    while (mark > 0 && name[mark - 1] != ':' && name[mark - 1] != '/')
        --mark;
    const bool has_tag = mark > 0 && name[mark - 1] == ':';
    if (has_tag) {
        parts.tag = name.substr(mark);
        name = name.substr(0, mark - 1);
    }
    if (const std::size_t offset = scan_name(name, dialect, parts); offset != whole)
        return {Fault::Name, offset};
    if (has_tag)
        if (const std::size_t offset = scan_tag(parts.tag); offset != whole)
            return {Fault::Tag, mark + offset};
    const std::size_t path_bytes_max =
        limits::repository_path_bytes_max - (parts.is_official ? official_prefix.size() : 0);
    if (parts.path.size() > path_bytes_max)
        return {Fault::TooLong,
                static_cast<std::size_t>(parts.path.data() - text.data()) + path_bytes_max};
    if (at_sign == std::string_view::npos)
        return {};
    parts.digest = text.substr(at_sign + 1);
    if (const Result<PackedId> packed = parse_digest(parts.digest); !packed.ok())
        return {Fault::Digest, at_sign + 1 + static_cast<std::size_t>(packed.status().position)};
    return {};
}

bool is_identifier(std::string_view text) {
    return text.size() == 64 && std::all_of(text.begin(), text.end(), [](char c) {
               return is(c, Digit) || (c >= 'a' && c <= 'f');
           });
}

/// Whether upper case is all that is wrong with `text`; only called once it failed.
bool only_case_is_wrong(std::string_view text, Dialect dialect) {
    std::string lower(text);
    for (char &character : lower)
        if (is(character, Upper))
            character = static_cast<char>(character - 'A' + 'a');
    Parts parts;
    return scan(lower, dialect, parts).fault == Fault::None;
}

/// The finding for a text that failed: upper case is what distribution names first.
Finding look_closer(std::string_view text, Dialect dialect, const Finding &found) {
    if (text.empty())
        return {Fault::Empty, 0};
    if (dialect == Dialect::Normalized) {
        const std::size_t slash = text.find('/');
        const bool has_domain =
            slash != std::string_view::npos && names_domain(text.substr(0, slash));
        const std::size_t start = has_domain ? slash + 1 : 0;
        const std::string_view remote = text.substr(start, text.find(':', start) - start);
        if (has_upper(remote))
            return {Fault::UpperCase, start + first_upper(remote)};
    }
    if (found.fault == Fault::Name && has_upper(text) && only_case_is_wrong(text, dialect)) {
        const bool is_letter = found.position < text.size() && is(text[found.position], Upper);
        return {Fault::UpperCase, is_letter ? found.position : first_upper(text)};
    }
    return found;
}

Finding parse(std::string_view text, Dialect dialect, Parts &parts) {
    if (dialect == Dialect::Normalized && is_identifier(text))
        return {Fault::Identifier, 0};
    const Finding found = scan(text, dialect, parts);
    return found.fault == Fault::None ? found : look_closer(text, dialect, found);
}

Reference to_reference(const Parts &parts) {
    Reference reference;
    reference.domain = parts.domain;
    if (parts.is_official)
        reference.path = official_prefix;
    reference.path += parts.path;
    if (!parts.tag.empty())
        reference.tag.emplace(parts.tag);
    if (!parts.digest.empty())
        reference.digest.emplace(parts.digest);
    return reference;
}

Result<Reference> parse_as(std::string_view text, Dialect dialect) {
    Parts parts;
    if (const Finding found = parse(text, dialect, parts); found.fault != Fault::None)
        return to_status(found, text);
    return to_reference(parts);
}

std::string join(const Parts &parts) {
    std::string text;
    text.reserve(parts.domain.size() + 1 + official_prefix.size() + parts.path.size() + 1 +
                 std::max({parts.tag.size(), parts.digest.size(), default_tag.size()}));
    if (!parts.domain.empty())
        text.append(parts.domain).append(1, '/');
    if (parts.is_official)
        text.append(official_prefix);
    text.append(parts.path);
    if (!parts.digest.empty())
        return text.append(1, '@').append(parts.digest);
    return text.append(1, ':').append(parts.tag.empty() ? default_tag : parts.tag);
}

bool is_canonical(std::string_view text, const Parts &parts) {
    const std::string_view start = parts.domain.empty() ? parts.path : parts.domain;
    return start.data() == text.data() && !parts.is_official &&
           parts.tag.empty() != parts.digest.empty();
}

Status check_text(std::string_view text) {
    if (const std::size_t nul = text.find('\0'); nul != std::string_view::npos)
        return fault_at(nul, "the reference had a NUL byte");
    std::int64_t position = -1;
    if (!is_utf8(text, &position))
        return fault_at(static_cast<std::size_t>(position), "the reference was not UTF-8");
    return {};
}

Status size_fault() {
    return over_limit(field_name, "the reference was longer than " +
                                      std::to_string(limits::reference_bytes_max) + " bytes");
}

Result<std::string> key_of_canonical(std::string_view text) {
    Parts parts;
    if (const Finding found = parse(text, Dialect::Normalized, parts); found.fault != Fault::None) {
        // What the grammar accepts is ASCII without NUL; only what it refuses needs a better
        // reason.
        Status text_fault = check_text(text);
        return text_fault.ok() ? to_status(found, text) : text_fault;
    }
    if (is_canonical(text, parts))
        return std::string(text);
    std::string key = join(parts);
    // The defaults may push a text over the limit; its key must be acceptable as a text again.
    if (key.size() > limits::reference_bytes_max)
        return size_fault();
    return key;
}

/// The length of the well-formed sequence at the start of `bytes`, or 0 (RFC 3629, section 4).
std::size_t utf8_sequence_size(const unsigned char *bytes, std::size_t size) {
    const unsigned char lead = bytes[0];
    if (lead < 0x80)
        return 1;
    const std::size_t needed = lead < 0xc2   ? 0
                               : lead < 0xe0 ? 2
                               : lead < 0xf0 ? 3
                               : lead < 0xf5 ? 4
                                             : 0;
    if (needed == 0 || needed > size)
        return 0;
    const unsigned char low = lead == 0xe0 ? 0xa0 : lead == 0xf0 ? 0x90 : 0x80;
    const unsigned char high = lead == 0xed ? 0x9f : lead == 0xf4 ? 0x8f : 0xbf;
    if (bytes[1] < low || bytes[1] > high)
        return 0;
    for (std::size_t at = 2; at < needed; ++at)
        if ((bytes[at] & 0xc0) != 0x80)
            return 0;
    return needed;
}

} // namespace

Result<Reference> parse_normalized(std::string_view text) {
    return parse_as(text, Dialect::Normalized);
}

Result<Reference> parse_strict(std::string_view text) { return parse_as(text, Dialect::Strict); }

Result<Reference> parse_mesos(std::string_view text) {
    Reference reference;
    if (const std::size_t at_sign = text.find('@'); at_sign != std::string_view::npos) {
        if (const std::size_t second = text.find('@', at_sign + 1);
            second != std::string_view::npos)
            return fault_at(second, "Multiple '@' symbols found");
        reference.digest.emplace(text.substr(at_sign + 1));
        text = text.substr(0, at_sign);
    }
    if (const std::size_t colon = text.rfind(':');
        colon != std::string_view::npos && text.find('/', colon) == std::string_view::npos) {
        reference.tag.emplace(text.substr(colon + 1));
        text = text.substr(0, colon);
    }
    const std::size_t slash = text.find('/');
    const std::string_view first = text.substr(0, slash);
    if (slash != std::string_view::npos &&
        (first == "localhost" || first.find_first_of(".:") != std::string_view::npos)) {
        reference.domain = first;
        text = text.substr(slash + 1);
    }
    reference.path = text;
    return reference;
}

std::string canonical_text(const Reference &reference) {
    Parts parts;
    parts.domain = reference.domain;
    parts.path = reference.path;
    if (reference.tag)
        parts.tag = *reference.tag;
    if (reference.digest)
        parts.digest = *reference.digest;
    return join(parts);
}

std::string mesos_text(const Reference &reference) {
    std::string text = reference.domain;
    if (!text.empty())
        text += '/';
    text += reference.path;
    if (reference.digest)
        return text.append(1, '@').append(*reference.digest);
    if (reference.tag)
        text.append(1, ':').append(*reference.tag);
    return text;
}

Result<std::string> canonical_key(std::string_view text, ReferenceMode mode) {
    if (text.size() > limits::reference_bytes_max)
        return size_fault();
    if (mode == ReferenceMode::Canonical)
        return key_of_canonical(text);
    if (Status fault = check_text(text); !fault.ok())
        return fault;
    if (mode == ReferenceMode::Mesos) {
        // Beside a digest one tag goes each time; a key must be its own key, so all of them go.
        std::string key(text);
        for (;;) {
            Result<Reference> reference = parse_mesos(key);
            if (!reference.ok())
                return reference.status();
            std::string shorter = mesos_text(*reference);
            if (shorter == key)
                return key;
            key = std::move(shorter);
        }
    }
    if (text.empty())
        return fault_at(0, "the reference was empty");
    return std::string(text);
}

bool is_utf8(std::string_view text, std::int64_t *position) {
    const auto *bytes = reinterpret_cast<const unsigned char *>(text.data());
    for (std::size_t at = 0; at < text.size();) {
        std::uint64_t eight;
        if (text.size() - at >= sizeof eight) {
            std::memcpy(&eight, bytes + at, sizeof eight);
            if ((eight & 0x8080808080808080u) == 0) {
                at += sizeof eight;
                continue;
            }
        }
        const std::size_t size = utf8_sequence_size(bytes + at, text.size() - at);
        if (size == 0) {
            *position = static_cast<std::int64_t>(at);
            return false;
        }
        at += size;
    }
    return true;
}

} // namespace waybill
