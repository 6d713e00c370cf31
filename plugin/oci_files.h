// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors
//
// The files of an OCI image layout: opened below the layout's directory, measured, and checked
// against size and digest before a byte of them is handed out.
// Every failure names the file and `referrer`, the document that mentions it.
#pragma once

#include "beneath.h"
#include "oci_document.h"
#include "status.h"

#include <QByteArray>

#include <cstdint>
#include <string>

namespace waybill {

/// "blobs/<algorithm>/<hex>" for a well-formed digest.
std::string oci_blob_name(const std::string &digest);

class OciFiles final {
  public:
    explicit OciFiles(Descriptor root) : root_(std::move(root)) {}

    /// A document that no descriptor vouches for: oci-layout, index.json. Expected: NoBlob if it
    /// is absent, BadBlob, Limit.
    Result<QByteArray> read(const std::string &name) const;

    /// A descriptor's document. Expected: NoBlob if it is absent, BadBlob, Limit.
    Result<QByteArray> read(const OciDescriptor &descriptor, const std::string &referrer) const;

    /// The size of a blob, which is not read. Expected: NoBlob if it is absent, BadBlob.
    Result<std::uint64_t> size_of(const std::string &digest, const std::string &referrer) const;

    /// Fails with BadBlob if the descriptor says another size.
    static Status check_size(const OciDescriptor &descriptor, std::uint64_t found_bytes,
                             const std::string &referrer);

  private:
    Descriptor root_;
};

} // namespace waybill
