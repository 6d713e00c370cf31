// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors
#include "oci_files.h"

#include "limits.h"

#include <QCryptographicHash>

#include <cerrno>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

namespace waybill {

namespace {

std::string digest_of(const QByteArray &bytes, const std::string &like) {
    const std::string algorithm = like.substr(0, like.find(':'));
    const auto method = algorithm == "sha256"   ? QCryptographicHash::Sha256
                        : algorithm == "sha384" ? QCryptographicHash::Sha384
                                                : QCryptographicHash::Sha512;
    return algorithm + ":" + QCryptographicHash::hash(bytes, method).toHex().toStdString();
}

/// An open file that is known to be a plain one.
struct PlainFile {
    Descriptor descriptor;
    std::uint64_t size_bytes;
};

Status explain(int sys_errno, const std::string &name, const std::string &mention) {
    switch (sys_errno) {
    case ENOENT:
    case ENOTDIR:
        return {Code::NoBlob, sys_errno, -1, {}, name + ": is missing" + mention};
    case ELOOP:
        return {Code::Symlink, sys_errno, -1, {}, name + ": symbolic link on its path" + mention};
    case ENXIO: // A socket, which cannot be opened.
        return {Code::BadBlob, sys_errno, -1, {}, name + ": is no plain file" + mention};
    default:
        return system_failure(sys_errno, name + ": opening" + mention);
    }
}

Result<PlainFile> open_plain(const Descriptor &root, const std::string &name,
                             const std::string &referrer, int flags) {
    const std::string mention = referrer.empty() ? "" : "; " + referrer + " refers to it";
    Descriptor found = open_beneath(root, name, flags);
    if (!found.ok())
        return explain(found.sys_errno(), name, mention);
    struct stat status;
    if (::fstat(found.fd(), &status) != 0)
        return system_failure(errno, name + ": looking at it" + mention);
    if (!S_ISREG(status.st_mode))
        return failure(Code::BadBlob, name + ": is no plain file" + mention);
    return PlainFile{std::move(found), static_cast<std::uint64_t>(status.st_size)};
}

Result<QByteArray> read_all(const PlainFile &file, const std::string &name) {
    if (file.size_bytes > limits::document_bytes_max)
        return failure(Code::Limit, name + ": holds " + std::to_string(file.size_bytes) +
                                        " bytes; documents end at " +
                                        std::to_string(limits::document_bytes_max));
    QByteArray bytes(static_cast<qsizetype>(file.size_bytes), Qt::Uninitialized);
    qsizetype done = 0;
    while (done < bytes.size()) {
        const ssize_t count = ::pread(file.descriptor.fd(), bytes.data() + done,
                                      static_cast<std::size_t>(bytes.size() - done), done);
        if (count < 0 && errno == EINTR)
            continue;
        if (count < 0)
            return system_failure(errno, name + ": reading");
        if (count == 0)
            return failure(Code::BadBlob, name + ": shrank while it was read");
        done += count;
    }
    return bytes;
}

} // namespace

std::string oci_blob_name(const std::string &digest) {
    const std::size_t colon = digest.find(':');
    return "blobs/" + digest.substr(0, colon) + "/" + digest.substr(colon + 1);
}

Result<QByteArray> OciFiles::read(const std::string &name) const {
    const Result<PlainFile> file = open_plain(root_, name, {}, O_RDONLY);
    if (!file.ok())
        return file.status();
    return read_all(file.value(), name);
}

Result<QByteArray> OciFiles::read(const OciDescriptor &descriptor,
                                  const std::string &referrer) const {
    const std::string name = oci_blob_name(descriptor.digest);
    const Result<PlainFile> file = open_plain(root_, name, referrer, O_RDONLY);
    if (!file.ok())
        return file.status();
    if (Status status = check_size(descriptor, file.value().size_bytes, referrer); !status.ok())
        return status;
    Result<QByteArray> bytes = read_all(file.value(), name);
    if (!bytes.ok())
        return bytes.status();
    const std::string found = digest_of(bytes.value(), descriptor.digest);
    if (found != descriptor.digest)
        return failure(Code::BadBlob, name + ": digest mismatch: found " + found + "; " + referrer +
                                          " refers to it");
    return bytes;
}

Result<std::uint64_t> OciFiles::size_of(const std::string &digest,
                                        const std::string &referrer) const {
    const Result<PlainFile> file = open_plain(root_, oci_blob_name(digest), referrer, O_PATH);
    if (!file.ok())
        return file.status();
    return file.value().size_bytes;
}

Status OciFiles::check_size(const OciDescriptor &descriptor, std::uint64_t found_bytes,
                            const std::string &referrer) {
    if (found_bytes == descriptor.size_bytes)
        return {};
    return failure(Code::BadBlob, oci_blob_name(descriptor.digest) + ": holds " +
                                      std::to_string(found_bytes) + " bytes; " + referrer +
                                      " says " + std::to_string(descriptor.size_bytes));
}

} // namespace waybill
