// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors
//
// A whole OCI layout, on disk, down to the records that an import makes of it. Digests would stop a
// fuzzer; so documents name each other by number.
// Input: the reference, a line. Then the documents, each ended by a line "---": index.json first,
// which is number 0, then blobs. In a document "{n}" stands for the digest of blob n, which comes
// later in the input, and "{#n}" for its size.
#include "property.h"
#include "scratch_directory.h"

#include "plugin/limits.h"
#include "plugin/oci_layout.h"
#include "plugin/record.h"

#include <QByteArray>
#include <QCryptographicHash>

#include <cstdio>
#include <filesystem>
#include <vector>

using namespace waybill;
using namespace waybill::fuzz;

namespace {

constexpr std::size_t documents_max = 10;

struct Blob {
    std::string text;
    std::string digest;
};

std::vector<std::string> split(std::string_view input) {
    constexpr std::string_view end = "\n---\n";
    std::vector<std::string> documents;
    while (documents.size() < documents_max) {
        const std::size_t at = input.find(end);
        documents.emplace_back(input.substr(0, at));
        if (at == std::string_view::npos)
            break;
        input.remove_prefix(at + end.size());
    }
    return documents;
}

void replace_all(std::string &text, const std::string &what, const std::string &with) {
    for (std::size_t at = 0; (at = text.find(what, at)) != std::string::npos; at += with.size())
        text.replace(at, what.size(), with);
}

/// From the last to the first, for each names only those behind it.
std::vector<Blob> resolve(const std::vector<std::string> &documents) {
    std::vector<Blob> blobs(documents.size());
    for (std::size_t i = documents.size(); i-- > 0;) {
        blobs[i].text = documents[i];
        for (std::size_t n = i + 1; n < documents.size(); ++n) {
            const std::string number = std::to_string(n);
            replace_all(blobs[i].text, "{" + number + "}", blobs[n].digest);
            replace_all(blobs[i].text, "{#" + number + "}", std::to_string(blobs[n].text.size()));
        }
        blobs[i].digest =
            "sha256:" + QCryptographicHash::hash(QByteArray::fromStdString(blobs[i].text),
                                                 QCryptographicHash::Sha256)
                            .toHex()
                            .toStdString();
    }
    return blobs;
}

void write_file(const std::string &path, std::string_view text) {
    std::FILE *file = std::fopen(path.c_str(), "we");
    require(file && std::fwrite(text.data(), 1, text.size(), file) == text.size() &&
                std::fclose(file) == 0,
            "a scratch file can be written", path);
}

/// What `import_oci` makes of an image: a record that can be read back, or a refusal that the host
/// understands.
void check_image(const OciImage &image) {
    require(!image.reference.empty(), "an image has a name");
    require(parse_digest(image.target_digest).ok(), "a target is a digest", image.target_digest);
    ImageSpec spec;
    spec.reference = image.reference;
    spec.target_digest = image.target_digest;
    spec.target_media_type = image.target_media_type;
    spec.config_digest = image.config_digest;
    for (const OciLayer &layer : image.layers)
        spec.layers.push_back({{}, layer.digest, layer.media_type, layer.size_bytes});
    for (const auto &[key, value] : image.annotations)
        spec.annotations.push_back({key, value});
    spec.os = image.os;
    spec.architecture = image.architecture;
    spec.variant = image.variant;
    spec.os_version = image.os_version;
    spec.created_ns = image.created_ns;
    const Result<FramePtr> frame =
        encode_image(spec, ReferenceMode::Canonical, limits::record_bytes_max_default);
    if (!frame.ok())
        require(frame.status().code == Code::Invalid || frame.status().code == Code::Limit,
                "what cannot be stored is refused as wrong", frame.status().message);
    else
        require(verified_image(frame.value()->payload_span()) != nullptr,
                "what is imported can be read back");
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t *data, std::size_t size) {
    Input input(data, size);
    const std::string reference = input.text('\n');
    const std::string directory = ScratchDirectory::path() + "/layout";
    const std::string blob_directory = directory + "/blobs/sha256/";
    std::filesystem::create_directories(blob_directory);
    const std::vector<Blob> blobs = resolve(split(input.rest()));
    write_file(directory + "/oci-layout", R"({"imageLayoutVersion":"1.0.0"})");
    write_file(directory + "/index.json", blobs.front().text);
    for (std::size_t i = 1; i < blobs.size(); ++i)
        write_file(blob_directory + blobs[i].digest.substr(7), blobs[i].text);
    const Result<OciLayout> layout = read_oci_layout(directory, reference);
    for (std::size_t i = 1; i < blobs.size(); ++i)
        (void)std::remove((blob_directory + blobs[i].digest.substr(7)).c_str());
    if (!layout.ok()) {
        const Code code = layout.status().code;
        require(code == Code::NoBlob || code == Code::BadBlob || code == Code::NotFound ||
                    code == Code::Invalid || code == Code::Limit,
                "a refusal is typed", layout.status().message);
        return 0;
    }
    require(!layout.value().images.empty(), "something was found");
    for (const OciImage &image : layout.value().images)
        check_image(image);
    return 0;
}
