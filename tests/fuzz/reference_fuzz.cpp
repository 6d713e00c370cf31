// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors
//
// Image names in all modes. Input: the name.
#include "property.h"

#include "plugin/digest.h"
#include "plugin/limits.h"
#include "plugin/reference.h"

using namespace waybill;
using namespace waybill::fuzz;

namespace {

void check_fault(const Status &fault, std::string_view text) {
    require(fault.code == Code::Invalid || fault.code == Code::Limit, "a refusal is typed",
            fault.message);
    require(!fault.message.empty(), "a refusal has a message");
    require(fault.position <= static_cast<std::int64_t>(text.size()),
            "the offending byte is in the text", fault.message);
}

/// The key of a key is that key, in every mode: a store looks names up as they are given first.
void check_key(std::string_view text, ReferenceMode mode) {
    const Result<std::string> key = canonical_key(text, mode);
    if (!key.ok()) {
        check_fault(key.status(), text);
        require(key.status().field == "reference", "a refusal names the field");
        return;
    }
    std::int64_t position = -1;
    require(is_utf8(key.value(), &position), "a key is UTF-8", key.value());
    require(key.value().size() <= limits::reference_bytes_max, "a key keeps the limit",
            key.value());
    const ExactText again(key.value());
    const Result<std::string> fixed = canonical_key(again.view(), mode);
    require(fixed.ok(), "a key is a name", key.value());
    require(fixed.value() == key.value(), "a key is its own key", key.value());
}

void check_parts(const Reference &reference) {
    require(!reference.path.empty(), "a name has a path");
    require(reference.path.size() <= limits::repository_path_bytes_max, "a path keeps the limit");
    require(!reference.tag ||
                (!reference.tag->empty() && reference.tag->size() <= limits::tag_bytes_max),
            "a tag keeps the limit");
    require(!reference.digest || parse_digest(*reference.digest).ok(), "a digest is one");
}

/// What was parsed says the same when it is written down and parsed once more.
void check_normalized(std::string_view text) {
    const Result<Reference> parsed = parse_normalized(text);
    if (!parsed.ok()) {
        check_fault(parsed.status(), text);
        require(!canonical_key(text, ReferenceMode::Canonical).ok(),
                "what does not parse has no key", text);
        return;
    }
    check_parts(parsed.value());
    const std::string canonical = canonical_text(parsed.value());
    const ExactText again(canonical);
    const Result<Reference> reparsed = parse_normalized(again.view());
    require(reparsed.ok(), "a canonical text parses", canonical);
    require(canonical_text(reparsed.value()) == canonical, "a canonical text is its own",
            canonical);
    require(reparsed.value().path == parsed.value().path, "the path stays", canonical);
    require(!parsed.value().digest || reparsed.value().digest == parsed.value().digest,
            "a digest wins", canonical);
}

void check_strict(std::string_view text) {
    const Result<Reference> parsed = parse_strict(text);
    if (parsed.ok())
        check_parts(parsed.value());
    else
        check_fault(parsed.status(), text);
}

void check_mesos(std::string_view text) {
    const Result<Reference> parsed = parse_mesos(text);
    require(parsed.ok() == (text.find('@') == text.rfind('@')), "Mesos refuses a second @ only",
            text);
    if (parsed.ok())
        (void)mesos_text(parsed.value());
    else
        check_fault(parsed.status(), text);
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t *data, std::size_t size) {
    const ExactText text({reinterpret_cast<const char *>(data), size});
    for (const ReferenceMode mode :
         {ReferenceMode::Canonical, ReferenceMode::Opaque, ReferenceMode::Mesos})
        check_key(text.view(), mode);
    check_normalized(text.view());
    check_strict(text.view());
    check_mesos(text.view());
    const Result<PackedId> id = parse_layer_id(text.view());
    if (id.ok())
        require(is_packed_id(id.value().span()) && id_text(id.value().span()) == text.view(),
                "a layer's id stays what it is", text.view());
    return 0;
}
