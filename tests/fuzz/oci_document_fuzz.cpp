// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors
//
// One document of an OCI layout. Input: a line that says what it is taken for ("manifest", "index",
// "config", "layout", "any", "names REFERENCE"), then its JSON.
#include "property.h"

#include "plugin/digest.h"
#include "plugin/oci_document.h"
#include "plugin/oci_names.h"
#include "plugin/reference.h"

#include <algorithm>

using namespace waybill;
using namespace waybill::fuzz;

namespace {

constexpr const char *index_type = "application/vnd.oci.image.index.v1+json";
constexpr const char *manifest_type = "application/vnd.oci.image.manifest.v1+json";

void check_fault(const Status &fault) {
    require(fault.code == Code::BadBlob || fault.code == Code::Format, "a refusal is typed",
            fault.message);
    require(fault.message.starts_with("document"), "a refusal starts with the document's name",
            fault.message);
}

/// Texts become C strings and frames: no NUL, and UTF-8.
void check_text(const std::string &text) {
    std::int64_t position = -1;
    require(is_utf8(text, &position) && text.find('\0') == std::string::npos,
            "a text is UTF-8 without NUL", text);
}

void check_annotations(const std::vector<std::pair<std::string, std::string>> &annotations) {
    require(std::is_sorted(annotations.begin(), annotations.end()), "annotations are sorted");
    for (const auto &[key, value] : annotations)
        check_text(key), check_text(value);
}

void check_descriptor(const OciDescriptor &descriptor) {
    require(parse_digest(descriptor.digest).ok(), "a descriptor's digest is one",
            descriptor.digest);
    check_text(descriptor.media_type);
    check_annotations(descriptor.annotations);
    const OciPlatform &platform = descriptor.platform;
    for (const std::string &text :
         {platform.os, platform.architecture, platform.variant, platform.os_version})
        check_text(text);
}

void check_names(const OciDocument &document, const std::string &reference) {
    const Result<OciNames> names = name_oci_entries(document.entries, reference);
    if (!names.ok())
        return;
    require(!names.value().named.empty(), "something has a name");
    for (const OciName &name : names.value().named) {
        require(!name.reference.empty(), "a name is not empty");
        require(name.entry >= document.entries.data() &&
                    name.entry < document.entries.data() + document.entries.size(),
                "a name stands for an entry");
    }
}

void check_document(const QByteArray &bytes, const char *media_type, const std::string &reference) {
    const Result<OciDocument> parsed = parse_oci_document(bytes, "document", media_type);
    if (!parsed.ok()) {
        check_fault(parsed.status());
        return;
    }
    const OciDocument &document = parsed.value();
    require(document.kind != OciKind::Other, "a document is an index or a manifest");
    require(document.config.has_value() == (document.kind == OciKind::Manifest),
            "a manifest has a config");
    require(*media_type == '\0' || oci_kind(media_type) == document.kind,
            "a document is what its descriptor says");
    check_text(document.media_type);
    check_annotations(document.annotations);
    for (const OciDescriptor &entry : document.entries)
        check_descriptor(entry);
    if (document.config)
        check_descriptor(*document.config);
    if (document.kind == OciKind::Index)
        check_names(document, reference);
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t *data, std::size_t size) {
    Input input(data, size);
    const std::string line = input.text('\n');
    const QByteArray bytes(input.rest().data(), static_cast<qsizetype>(input.rest().size()));
    if (line == "config") {
        const Result<OciConfig> config = parse_oci_config(bytes, "document");
        if (!config.ok())
            check_fault(config.status());
        else
            check_text(config.value().platform.os);
    } else if (line == "layout") {
        if (const Status version = check_layout_version(bytes, "document"); !version.ok())
            check_fault(version);
    } else if (line == "manifest") {
        check_document(bytes, manifest_type, {});
    } else if (line == "index") {
        check_document(bytes, index_type, {});
    } else if (line.starts_with("names ")) {
        check_document(bytes, "", line.substr(6));
    } else {
        check_document(bytes, "", {});
    }
    return 0;
}
