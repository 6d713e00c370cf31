// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors
//
// Writes the binary seeds of the corpora: journals, snapshots, records, edits of files. A seed
// shows what its name says. To run again when the format changes: fuzz_seeds tests/fuzz/corpus
#include "hostile_store.h"
#include "property.h"
#include "sealed_log.h"

#include <cstdio>
#include <filesystem>
#include <functional>
#include <string>

using namespace waybill;
using namespace waybill::fuzz;

namespace {

using Buffer = std::vector<std::uint8_t>;

std::string corpus;

void write_seed(const std::string &target, const std::string &name, Bytes bytes) {
    std::filesystem::create_directories(corpus + "/" + target);
    const std::string path = corpus + "/" + target + "/" + name;
    std::FILE *file = std::fopen(path.c_str(), "we");
    require(file && std::fwrite(bytes.data(), 1, bytes.size(), file) == bytes.size() &&
                std::fclose(file) == 0,
            "a seed can be written", path);
}

constexpr std::uint8_t marked = 4;
constexpr std::uint8_t can_allocate = 16;
constexpr std::uint8_t newest_of_two = marked | can_allocate | 1;
constexpr std::uint8_t between_two = marked | can_allocate | 2;
constexpr std::uint8_t alone = can_allocate;

void write_log(FileKind kind, const std::string &name, std::uint8_t selector, Bytes file,
               const std::function<void(Buffer &)> &change = {}) {
    Buffer input = unseal(kind, file);
    if (change)
        change(input);
    input.insert(input.begin(), selector);
    write_seed(kind == FileKind::Journal ? "journal" : "snapshot", name, input);
}

template <typename T> void set(Buffer &bytes, std::size_t at, T value) {
    std::memcpy(bytes.data() + at, &value, sizeof value);
}

constexpr std::size_t first_batch = described_header_bytes;
constexpr std::size_t first_frame = first_batch + sizeof(BatchHeader);

std::size_t second_batch(const Buffer &input) {
    BatchHeader head;
    std::memcpy(&head, input.data() + first_batch, sizeof head);
    return first_frame + head.body_bytes;
}

Buffer journal_of(const std::function<void(LogFile &, Batch &)> &fill,
                  std::uint64_t first_revision = 5) {
    LogFile journal(FileKind::Journal, 2, first_revision);
    Batch batch;
    fill(journal, batch);
    if (!batch.empty())
        journal.append(batch);
    return journal.bytes();
}

void write_journal_changes() {
    const Buffer sound = sound_journal(2, 5);
    const auto write = [&](const char *name, std::uint8_t selector,
                           const std::function<void(Buffer &)> &change) {
        write_log(FileKind::Journal, name, selector, sound, change);
    };
    write("sound-newest", newest_of_two, {});
    write("sound-between-two", between_two, {});
    write("batch-with-length-beyond-file", newest_of_two, [](Buffer &input) {
        set(input, first_batch + offsetof(BatchHeader, body_bytes), std::uint64_t{1} << 40);
    });
    write("batch-with-length-short-of-frame", newest_of_two, [](Buffer &input) {
        set(input, first_batch + offsetof(BatchHeader, body_bytes), std::uint64_t{40});
    });
    write("batch-whose-body-does-not-hold", between_two, [](Buffer &input) {
        set(input, first_batch + offsetof(BatchHeader, body_checksum), std::uint64_t{1});
    });
    write("batch-whose-head-does-not-hold", newest_of_two, [](Buffer &input) {
        set(input, first_batch + offsetof(BatchHeader, header_checksum), std::uint64_t{1});
    });
    write("frame-with-length-beyond-batch", newest_of_two, [](Buffer &input) {
        set(input, first_frame + offsetof(Frame, payload_bytes), std::uint32_t{0xfffffff8});
    });
    write("frame-of-unknown-kind", newest_of_two, [](Buffer &input) {
        set(input, first_frame, frame_magic);
        set(input, first_frame + offsetof(Frame, kind), std::uint16_t{7});
    });
    write("frame-with-block-number", newest_of_two, [](Buffer &input) {
        set(input, first_frame + offsetof(Frame, block), std::uint32_t{1});
    });
    write("frame-with-memory-only-flag", newest_of_two, [](Buffer &input) {
        set(input, first_frame + offsetof(Frame, flags), std::uint16_t{0xffff});
    });
    write("put-under-another-names-hash", newest_of_two, [](Buffer &input) {
        set(input, first_frame + offsetof(Frame, key_hash), std::uint64_t{1});
    });
    write("payload-does-not-hold-in-bad-batch", between_two, [](Buffer &input) {
        set(input, first_batch + offsetof(BatchHeader, body_checksum), std::uint64_t{1});
        set(input, first_frame + offsetof(Frame, payload_checksum), std::uint64_t{1});
    });
    write("head-of-frame-does-not-hold-in-bad-batch", between_two, [](Buffer &input) {
        set(input, first_batch + offsetof(BatchHeader, body_checksum), std::uint64_t{1});
        set(input, first_frame + offsetof(Frame, header_checksum), std::uint64_t{1});
    });
    write("second-batch-torn", newest_of_two,
          [](Buffer &input) { input.resize(second_batch(input) + 60); });
    write("bytes-between-batches", between_two, [](Buffer &input) {
        const auto at = input.begin() + static_cast<std::ptrdiff_t>(second_batch(input));
        input.insert(at, 16, 0x55);
    });
    write("zeros-behind-the-end", newest_of_two,
          [](Buffer &input) { input.insert(input.end(), 64, 0); });
    write("garbage-behind-the-end", newest_of_two,
          [](Buffer &input) { input.insert(input.end(), 64, 0x55); });
    write("one-header-copy-damaged", newest_of_two,
          [](Buffer &input) { input[sizeof(FileHeader)] ^= 1; });
    write("no-header", newest_of_two, [](Buffer &input) {
        std::fill_n(input.begin(), described_header_bytes, std::uint8_t{0});
    });
    write("blank-newest", newest_of_two, [](Buffer &input) { input.clear(); });
    write("header-of-newer-format", newest_of_two, [](Buffer &input) {
        for (const std::size_t copy : {std::size_t{0}, sizeof(FileHeader)})
            set(input, copy + offsetof(FileHeader, version), format_version + 1);
    });
    write("header-of-another-store", newest_of_two, [](Buffer &input) {
        for (const std::size_t copy : {std::size_t{0}, sizeof(FileHeader)})
            input[copy + offsetof(FileHeader, store_id)] ^= 1;
    });
    write("header-copies-with-different-salts", newest_of_two, [](Buffer &input) {
        set(input, sizeof(FileHeader) + offsetof(FileHeader, salt), std::uint64_t{1});
    });
}

void write_journals() {
    write_journal_changes();
    write_log(FileKind::Journal, "sound-alone", alone, sound_journal(1, 0));
    write_log(FileKind::Journal, "starts-at-another-revision", newest_of_two, sound_journal(2, 9));
    write_log(FileKind::Journal, "revisions-at-their-end", newest_of_two,
              journal_of([](LogFile &, Batch &batch) {
                  add_image(batch, "last", "of all", false, ~std::uint64_t{0});
              }));
    write_log(FileKind::Journal, "gap-in-revisions", newest_of_two,
              journal_of([](LogFile &journal, Batch &batch) {
                  add_image(batch, "a", "six", false, 6);
                  journal.append(batch);
                  add_image(batch, "b", "nine", false, 9);
              }));
    write_log(FileKind::Journal, "prune-of-two", newest_of_two,
              journal_of([](LogFile &, Batch &batch) {
                  add_removal(batch, FrameKind::Prune, {"a", "c"}, 6);
              }));
    write_log(FileKind::Journal, "loss-accepted-and-put", newest_of_two,
              journal_of([](LogFile &journal, Batch &batch) {
                  add_mark(batch, FrameKind::AcceptLoss, 6);
                  journal.append(batch);
                  add_image(batch, "a", "afterwards", true, 7);
              }));
    write_log(FileKind::Journal, "end-of-snapshot-in-journal", newest_of_two,
              journal_of([](LogFile &, Batch &batch) {
                  add_image(batch, "a", "six", false, 6);
                  add_mark(batch, FrameKind::End, 6, 1);
              }));
    write_log(FileKind::Journal, "closed-and-nothing-else", newest_of_two,
              journal_of([](LogFile &, Batch &batch) { add_mark(batch, FrameKind::Close, 5); }));
}

void write_snapshots() {
    const Buffer sound = sound_snapshot(2);
    const auto write = [&](const char *name, std::uint8_t selector,
                           const std::function<void(Buffer &)> &change) {
        write_log(FileKind::Snapshot, name, selector, sound, change);
    };
    constexpr std::uint8_t one_journal = marked | can_allocate | 1;
    write("sound", one_journal, {});
    write("sound-with-three-journals", one_journal | 2, {});
    write("sound-with-replaced-journal", one_journal | 32, {});
    write("sound-without-journal", marked | can_allocate, {});
    write("degraded", one_journal, [](Buffer &input) {
        for (const std::size_t copy : {std::size_t{0}, sizeof(FileHeader)})
            input[copy + offsetof(FileHeader, flags)] |= 1;
    });
    write("of-mesos-mode-where-opaque-is-wanted", one_journal | 8, [](Buffer &input) {
        for (const std::size_t copy : {std::size_t{0}, sizeof(FileHeader)})
            input[copy + offsetof(FileHeader, flags) + 1] = 2;
    });
    write("of-unknown-mode", one_journal, [](Buffer &input) {
        for (const std::size_t copy : {std::size_t{0}, sizeof(FileHeader)})
            input[copy + offsetof(FileHeader, flags) + 1] = 3;
    });
    write("without-end-frame", one_journal,
          [](Buffer &input) { input.resize(input.size() - sizeof(Frame)); });
    write("cut-to-its-header", one_journal,
          [](Buffer &input) { input.resize(described_header_bytes); });
    write("no-header", one_journal, [](Buffer &input) {
        std::fill_n(input.begin(), described_header_bytes, std::uint8_t{0});
    });
    write("no-header-and-no-journal", marked, [](Buffer &input) { input.clear(); });
    write("generation-at-its-end", one_journal, [](Buffer &input) {
        for (const std::size_t copy : {std::size_t{0}, sizeof(FileHeader)})
            set(input, copy + offsetof(FileHeader, generation), ~std::uint64_t{0});
    });
    write("generation-newer-than-any-journal", one_journal, [](Buffer &input) {
        for (const std::size_t copy : {std::size_t{0}, sizeof(FileHeader)})
            set(input, copy + offsetof(FileHeader, generation), std::uint64_t{9});
    });
    write("revision-at-its-end", one_journal, [](Buffer &input) {
        for (const std::size_t copy : {std::size_t{0}, sizeof(FileHeader)})
            set(input, copy + offsetof(FileHeader, first_revision), ~std::uint64_t{0});
    });
    write("one-payload-does-not-hold", one_journal, [](Buffer &input) {
        set(input, first_batch + offsetof(BatchHeader, body_checksum), std::uint64_t{1});
        set(input, first_frame + offsetof(Frame, payload_checksum), std::uint64_t{1});
    });
    LogFile marks(FileKind::Snapshot, 2, 2, header_flag_degraded);
    Batch batch;
    const FramePtr doubtful = sample_image("a", "in doubt", false, 1);
    doubtful->flags = frame_flag_uncertain | frame_flag_resurrected;
    batch.add(*doubtful, doubtful->payload_span());
    add_removal(batch, FrameKind::Remove, {"nobody"}, 1);
    add_image(batch, "a", "twice", true, 2);
    add_mark(batch, FrameKind::End, 2, 7);
    marks.append(batch);
    write_log(FileKind::Snapshot, "marks-a-removal-and-a-wrong-count", one_journal, marks.bytes());
}

void write_records() {
    const auto write = [](const char *name, std::uint8_t kind, Bytes payload) {
        Buffer input(payload.begin(), payload.end());
        input.insert(input.begin(), kind);
        write_seed("record", name, input);
    };
    write("image-with-every-field", 0, sample_image("name", "v", true, 1)->payload_span());
    write("image-with-few-fields", 0, sample_image("name", "v", false, 1)->payload_span());
    write("removal-of-one", 1, encode_removal({{"default", "name"}}));
    write("removal-of-three", 1,
          encode_removal({{"default", "name"}, {"other", "name"}, {"default", "second"}}));
    const FramePtr full = sample_image("name", "v", true, 1);
    Buffer cut(full->payload(), full->payload() + full->payload_bytes);
    cut.resize(cut.size() - 8);
    write("image-cut-short", 0, cut);
    Buffer offset(full->payload(), full->payload() + full->payload_bytes);
    set(offset, 0, std::uint32_t{0xfffffff0});
    write("image-with-root-beyond-record", 0, offset);
}

void write_edits() {
    const auto write = [](const char *name, std::initializer_list<std::uint8_t> bytes) {
        write_seed("files", name, Buffer(bytes));
    };
    // file (0 LOCK, 1 snapshot, 2 journal.2, 3 journal.3), what, where, with what; see files_fuzz.
    write("flip-in-newest-journal", {3, 0, 0x80, 0x05, 0x01, 0});
    write("flip-in-older-journal", {2, 0, 0x80, 0x05, 0x01, 0});
    write("flip-in-snapshot", {1, 0, 0x80, 0x05, 0x01, 0});
    write("flip-in-mark", {0, 0, 0x10, 0x00, 0x01, 0});
    write("both-header-copies", {2, 2, 0x00, 0x00, 0, 0, 2, 2, 0x00, 0x02, 0, 0});
    write("block-of-zeros-in-snapshot", {1, 2, 0x00, 0x06, 0, 0});
    write("newest-journal-cut", {3, 3, 0x00, 0x08, 0, 0});
    write("older-journal-cut", {2, 3, 0x00, 0x08, 0, 0});
    write("snapshot-cut", {1, 3, 0x00, 0x08, 0, 0});
    write("block-twice", {2, 4, 0x00, 0x06, 0x04, 0});
    write("blocks-changed-places", {3, 5, 0x00, 0x06, 0x04, 0});
    write("garbage-behind-journal", {3, 6, 0x55, 0x00, 0x40, 0});
    write("stale-snapshot", {1, 7, 0, 0, 3, 0});
    write("journal-in-the-place-of-a-snapshot", {1, 7, 0, 0, 4, 0});
    write("journal-gone", {2, 8, 0, 0, 0, 0});
    write("snapshot-gone", {1, 8, 0, 0, 0, 0});
    write("all-but-the-mark-gone", {1, 8, 0, 0, 0, 0, 2, 8, 0, 0, 0, 0, 3, 8, 0, 0, 0, 0});
    write("mark-and-snapshot-gone", {0, 8, 0, 0, 0, 0, 1, 8, 0, 0, 0, 0});
}

} // namespace

int main(int argc, char **argv) {
    if (argc != 2) {
        std::fprintf(stderr, "usage: %s DIRECTORY\n", argv[0]);
        return 2;
    }
    corpus = argv[1];
    write_journals();
    write_snapshots();
    write_records();
    write_edits();
    return 0;
}
