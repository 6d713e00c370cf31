// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors
//
// The least that a recovery can do which verifies everything: read the files, compare the
// checksums, verify each record and walk its layers, enter it into an index. No damage is expected,
// none reported, nothing mended, no store made of it. Prints milliseconds and the number of images.
#include "image_generated.h"
#include "plugin/huge_pages.h"
#include "plugin/record.h"

#include <bit>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fcntl.h>
#include <filesystem>
#include <memory>
#include <stdexcept>
#include <system_error>
#include <unistd.h>

namespace bench {
namespace {

struct Free {
    void operator()(std::uint8_t *bytes) const { std::free(bytes); }
};
struct Contents {
    std::unique_ptr<std::uint8_t, Free> bytes;
    std::size_t size = 0;
};

/// Up to where the file system knows of nothing but zeros.
Contents read_whole(const std::string &path) {
    const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        throw std::system_error(errno, std::generic_category(), path);
    Contents contents;
    const off_t hole = ::lseek(fd, 0, SEEK_HOLE);
    contents.size = static_cast<std::size_t>(hole < 0 ? ::lseek(fd, 0, SEEK_END) : hole);
    contents.bytes.reset(waybill::allocate_block(contents.size));
    for (std::size_t done = 0; done < contents.size;) {
        const ssize_t got = ::pread(fd, contents.bytes.get() + done, contents.size - done,
                                    static_cast<off_t>(done));
        if (got <= 0)
            throw std::system_error(errno, std::generic_category(), path);
        done += static_cast<std::size_t>(got);
    }
    ::close(fd);
    return contents;
}

class BareIndex final {
  public:
    explicit BareIndex(std::size_t expected)
        : slots_(std::bit_ceil(2 * expected + 16)), mask_(slots_.size() - 1) {}

    void enter(const waybill::Frame &frame) {
        std::size_t at = frame.key_hash & mask_;
        while (slots_[at].frame && slots_[at].hash != frame.key_hash)
            at = (at + 1) & mask_;
        count_ += !slots_[at].frame;
        slots_[at] = {frame.key_hash, &frame};
    }
    std::size_t count() const { return count_; }

  private:
    struct Slot {
        std::uint64_t hash = 0;
        const waybill::Frame *frame = nullptr;
    };
    std::vector<Slot> slots_;
    std::size_t mask_;
    std::size_t count_ = 0;
};

void enter_all(const Contents &file, BareIndex &index) {
    using namespace waybill;
    FileHeader header;
    std::memcpy(&header, file.bytes.get(), sizeof header);
    volatile unsigned walked = 0;
    for (std::size_t offset = header_block_bytes; offset + sizeof(BatchHeader) <= file.size;) {
        BatchHeader batch;
        std::memcpy(&batch, file.bytes.get() + offset, sizeof batch);
        if (batch.magic != batch_magic)
            break;
        const std::uint8_t *body = file.bytes.get() + offset + sizeof batch;
        if (checksum({body, batch.body_bytes}, header.salt ^ offset) != batch.body_checksum)
            throw std::runtime_error("a checksum does not hold");
        for (std::size_t at = 0; at < batch.body_bytes;) {
            const auto &frame = *reinterpret_cast<const Frame *>(body + at);
            at += frame_bytes(frame.payload_bytes);
            if (frame.frame_kind() != FrameKind::Put)
                continue;
            const record::Image *image = verified_image(frame.payload_span());
            if (!image || frame.key_hash != key_hash(namespace_of(frame), reference_of(frame)))
                throw std::runtime_error("a record does not verify");
            const LayerList layers(*image);
            unsigned bytes = 0;
            for (std::uint32_t i = 0; i < layers.size(); ++i)
                bytes += layers.id(i)[1];
            walked = walked + bytes;
            index.enter(frame);
        }
        offset += sizeof batch + batch.body_bytes;
    }
}

std::size_t recover(const std::string &directory) {
    std::vector<Contents> files;
    std::size_t bytes = 0;
    for (const auto &entry : std::filesystem::directory_iterator(directory)) {
        const std::string name = entry.path().filename();
        if (name != waybill::snapshot_name && !name.starts_with("journal."))
            continue;
        files.push_back(read_whole(entry.path()));
        bytes += files.back().size;
    }
    constexpr std::size_t record_bytes_about = 900;
    BareIndex index(bytes / record_bytes_about);
    for (const Contents &file : files)
        enter_all(file, index);
    return index.count();
}

} // namespace
} // namespace bench

int main(int argc, char **argv) {
    try {
        if (argc != 2)
            throw std::runtime_error("usage: waybill_bench_recovery DIRECTORY");
        const auto began = std::chrono::steady_clock::now();
        const std::size_t images = bench::recover(argv[1]);
        const std::chrono::duration<double, std::milli> took =
            std::chrono::steady_clock::now() - began;
        std::printf("%.6f %zu\n", took.count(), images);
        return 0;
    } catch (const std::exception &error) {
        std::fprintf(stderr, "waybill_bench_recovery: %s\n", error.what());
        return 1;
    }
}
