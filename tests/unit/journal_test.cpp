// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors
#include "plugin/journal_writer.h"

#include "memory_disk.h"
#include "plugin/limits.h"
#include "plugin/log_reader.h"
#include "plugin/posix_disk.h"
#include "plugin/replay.h"
#include "store_fixture.h"

#include <QTemporaryDir>
#include <QtTest>

#include <memory>
#include <string>
#include <vector>

using namespace waybill;

namespace {

/// A journal of three batches, of three, two and two records.
struct SampleJournal {
    SampleJournal() {
        header.salt = salt;
        header.generation = 1;
        disk.can_allocate = false; // So that the file ends with the last batch.
        bool left_behind = false;
        Result<std::unique_ptr<JournalWriter>> started =
            JournalWriter::start(disk, header, 0, &left_behind);
        if (!started.ok())
            qFatal("%s", started.status().message.c_str());
        writer = std::move(*started);
        ends.push_back(writer->offset());
        add({{"a", "1"}, {"b", "1"}, {"c", "1"}});
        add({{"b", "2"}, {"d", "1"}});
        add({{"e", "1"}, {"f", "1"}});
    }
    void add(const std::vector<SampleImage> &images) {
        Batch batch;
        for (const SampleImage &image : images) {
            const FramePtr frame = image.frame(++revision);
            batch.add(*frame, frame->payload_span());
        }
        if (Status status = writer->append(batch, 0, false); !status.ok())
            qFatal("%s", status.message.c_str());
        ends.push_back(writer->offset());
    }

    static constexpr std::uint64_t salt = 0x5eed;
    MemoryDisk disk;
    FileHeader header{};
    std::unique_ptr<JournalWriter> writer;
    std::vector<std::uint64_t> ends; ///< of the header and of each batch
    std::uint64_t revision = 0;
};

/// An empty one, whose bytes a Reading understands.
Result<std::unique_ptr<JournalWriter>> start_journal(MemoryDisk &disk,
                                                     std::uint64_t reserve_bytes = 0) {
    FileHeader header{};
    header.salt = SampleJournal::salt;
    header.generation = 1;
    bool left_behind = false;
    return JournalWriter::start(disk, header, reserve_bytes, &left_behind);
}

const Images sample_images = {{"a", "1"}, {"b", "2"}, {"c", "1"},
                              {"d", "1"}, {"e", "1"}, {"f", "1"}};
const Images without_last_batch = {{"a", "1"}, {"b", "2"}, {"c", "1"}, {"d", "1"}};

/// What reading `bytes` as a journal gives.
struct Reading {
    explicit Reading(const std::vector<std::uint8_t> &bytes,
                     std::uint64_t salt = SampleJournal::salt)
        : replay(index, "journal.1", FileKind::Journal, salt, 0, 0) {
        MemoryDisk disk;
        disk.add("journal.1", bytes);
        Result<std::unique_ptr<File>> file = disk.open("journal.1", OpenMode::Read);
        Result<LogEnd> read = read_log(**file, salt, LogTail::MayBeTorn, replay);
        if (!read.ok())
            qFatal("%s", read.status().message.c_str());
        end = *read;
        images = images_in(index);
    }

    Index index;
    Replay replay;
    LogEnd end;
    Images images;
};

/// How many of `whole` are absent or other than they should be.
std::size_t cost(const Images &whole, const Images &found) {
    std::size_t lost = 0;
    for (const auto &[name, value] : whole)
        lost += !found.contains(name) || found.at(name) != value;
    return lost;
}

bool nothing_invented(const Images &whole, const Images &found) {
    for (const auto &[name, value] : found)
        if (!whole.contains(name) || (value != whole.at(name) && !(name == "b" && value == "1")))
            return false;
    return true;
}

Batch one_put(const SampleImage &image, std::uint64_t revision) {
    Batch batch;
    const FramePtr frame = image.frame(revision);
    batch.add(*frame, frame->payload_span());
    return batch;
}

Batch put_to_a_sectors_end(const JournalWriter &writer) {
    std::string value = "1";
    Batch batch = one_put({"a", value}, 1);
    while ((writer.offset() + batch.size_bytes()) % sector_bytes != 0) {
        value += 'x';
        batch = one_put({"a", value}, 1);
    }
    return batch;
}

Batch one_removal(const std::string &name, std::uint64_t revision) {
    Batch batch;
    Frame head{};
    head.kind = static_cast<std::uint16_t>(FrameKind::Remove);
    head.key_hash = key_hash("default", name);
    head.revision = revision;
    batch.add(head, encode_removal({{"default", name}}));
    return batch;
}

} // namespace

class JournalTest : public QObject {
    Q_OBJECT

  private slots:
    void batchesAreReadBackFromARealFile();
    void batchesAreReadBackInOrder();
    void batchBeyondWhatRecoveryReadsIsRefused();
    void lengthThatARefusedBatchLeftIsSyncedBeforeTheNext();
    void syncOfTheLengthThatFailsIsFinal();
    void tornLastBatchIsDropped_data();
    void tornLastBatchIsDropped();
    void lastBatchWithAnyByteFlippedIsTheTail();
    void flippedByteCostsOneRecordAtMost();
    void flippedByteIsReportedWithItsPlace();
    void flippedByteMarksNoStranger();
    void damagedBatchHeadStillYieldsItsRecords();
    void batchOfNothingButDamageDoesNotHideTheNext();
    void copyOfABatchElsewhereInTheFileIsNoBatch();
    void batchOfAnotherStoreIsNoBatch();
    void frameInALabelIsNoFrame();
    void removalsAreReplayed();
    void failedWriteLeavesTheOffset_data();
    void failedWriteLeavesTheOffset();
    void failedSyncIsFinal();
    void fullDiskLeavesTheJournalUsable();
    void partlyWrittenBatchIsZeroedWhenTheDiskIsFull();
    void smallBatchesGoWhereZerosHaveBeenWritten();
    void zerosThatFindNoRoomCostNoPut();
    void putMayNotUseTheReserve();
    void marksLeaveTheReserveToRemovals();
    void removalMayUseTheReserve();
    void journalThatCannotStartLeavesNoFile_data();
    void journalThatCannotStartLeavesNoFile();
};

void JournalTest::batchesAreReadBackFromARealFile() {
    const QTemporaryDir directory;
    Result<std::unique_ptr<PosixDisk>> disk =
        PosixDisk::open(directory.path().toStdString(), false);
    QVERIFY(disk.ok());
    FileHeader header{};
    header.salt = random_u64();
    header.generation = 3;
    bool left_behind = false;
    Result<std::unique_ptr<JournalWriter>> writer =
        JournalWriter::start(**disk, header, 4096, &left_behind);
    QVERIFY(writer.ok());
    for (std::uint64_t revision = 1; revision <= 20; ++revision) {
        Batch batch = one_put({"image" + std::to_string(revision), "x"}, revision);
        QVERIFY((*writer)->append(batch, 4096, false).ok());
    }
    Result<std::unique_ptr<File>> file = (*disk)->open("journal.3", OpenMode::Read);
    QVERIFY(file.ok());
    std::vector<std::uint8_t> block(header_block_bytes);
    QVERIFY((*file)->read(0, block).ok());
    bool copy_damaged = true;
    Result<FileHeader> found = decode_header(FileKind::Journal, block, "journal.3", &copy_damaged);
    QVERIFY(found.ok());
    QVERIFY(!copy_damaged);
    QCOMPARE(found->salt, header.salt);
    QCOMPARE(found->generation, std::uint64_t{3});
    Index index;
    Replay replay(index, "journal.3", FileKind::Journal, header.salt, 0, 0);
    Result<LogEnd> end = read_log(**file, header.salt, LogTail::MayBeTorn, replay);
    QVERIFY(end.ok());
    QCOMPARE(images_in(index).size(), std::size_t{20});
    QCOMPARE(replay.revision(), std::uint64_t{20});
    QCOMPARE(end->end_offset, (*writer)->offset());
    QCOMPARE(end->tail_bytes, std::uint64_t{0});
    QVERIFY(replay.damage().empty());
}

/// Without fallocate: the refused batch made the file longer, and nothing made that durable.
void JournalTest::lengthThatARefusedBatchLeftIsSyncedBeforeTheNext() {
    MemoryDisk disk;
    disk.can_allocate = false;
    Result<std::unique_ptr<JournalWriter>> writer = start_journal(disk);
    QVERIFY(writer.ok());
    int writes = 0;
    disk.before = [&](const std::string &call, const std::string &) {
        return call == "write" && ++writes == 2 ? failure(Code::NoSpace, "full") : Status{};
    };
    Batch refused = one_put({"a", std::string(2000, 'x')}, 1);
    QCOMPARE((*writer)->append(refused, 0, false).code, Code::NoSpace);
    Batch batch = put_to_a_sectors_end(**writer);
    std::vector<std::string> calls;
    disk.before = [&](const std::string &call, const std::string &) {
        calls.push_back(call);
        return Status{};
    };
    QVERIFY((*writer)->append(batch, 0, false).ok());
    QVERIFY2(calls.size() > 1 && calls[0] == "sync" && calls[1] == "write",
             "a batch could be there without the zeros behind it");
}

/// Also for want of space: what a sync that failed has lost, another does not bring back.
void JournalTest::syncOfTheLengthThatFailsIsFinal() {
    MemoryDisk disk;
    disk.can_allocate = false;
    Result<std::unique_ptr<JournalWriter>> writer = start_journal(disk);
    QVERIFY(writer.ok());
    Batch batch = put_to_a_sectors_end(**writer);
    disk.before = [](const std::string &call, const std::string &) {
        return call == "sync" ? failure(Code::NoSpace, "full") : Status{};
    };
    QCOMPARE((*writer)->append(batch, 0, false).code, Code::Io);
    disk.before = nullptr;
    QVERIFY((*writer)->failed());
    QCOMPARE((*writer)->append(batch, 0, false).code, Code::ReadOnly);
}

/// On a sparse file: 64 GiB of it are zeros.
void JournalTest::batchBeyondWhatRecoveryReadsIsRefused() {
    QTemporaryDir directory;
    Result<std::unique_ptr<PosixDisk>> disk =
        PosixDisk::open(directory.path().toStdString() + "/store", true);
    QVERIFY(disk.ok());
    Result<std::unique_ptr<File>> file = (*disk)->open("journal.1", OpenMode::Create);
    QVERIFY(file.ok());
    constexpr std::uint64_t room = 1024, end = limits::file_bytes_max - room;
    static constexpr std::uint8_t zero[1] = {};
    QVERIFY((*file)->write(end - 1, zero).ok());
    FileHeader header{};
    header.generation = 1;
    JournalWriter writer(std::move(*file), header, end, end);
    Batch large = one_put({"a", std::string(2 * room, 'x')}, 1);
    const Status refused = writer.append(large, 0, false);
    QCOMPARE(refused.code, Code::Limit);
    QVERIFY2(refused.message.starts_with("journal.1: "), refused.message.c_str());
    Batch reserving = one_put({"a", "1"}, 1);
    QCOMPARE(writer.append(reserving, room, false).code, Code::Limit);
    QVERIFY2(writer.append(reserving, room, true).ok(), "removing must go on");
    QVERIFY(!writer.failed());
    Result<std::unique_ptr<File>> written = (*disk)->open("journal.1", OpenMode::Read);
    QVERIFY(written.ok());
    QVERIFY((*written)->size().value() <= limits::file_bytes_max);
}

void JournalTest::batchesAreReadBackInOrder() {
    SampleJournal journal;
    Reading reading(journal.disk.bytes("journal.1"));
    QCOMPARE(reading.images, sample_images);
    QVERIFY(reading.replay.damage().empty());
    QCOMPARE(reading.end.end_offset, journal.ends[3]);
    QCOMPARE(reading.end.last_batch_offset, journal.ends[2]);
    QCOMPARE(reading.replay.revision(), std::uint64_t{7});
}

void JournalTest::tornLastBatchIsDropped_data() {
    QTest::addColumn<bool>("zeros");
    QTest::newRow("file ends early") << false;
    QTest::newRow("zeros to the old end") << true;
}

void JournalTest::tornLastBatchIsDropped() {
    QFETCH(const bool, zeros);
    SampleJournal journal;
    const std::vector<std::uint8_t> whole = journal.disk.bytes("journal.1");
    for (std::uint64_t length = journal.ends[2]; length < journal.ends[3]; ++length) {
        std::vector<std::uint8_t> bytes = whole;
        bytes.resize(length);
        if (zeros) {
            bytes.resize(whole.size());
            if (bytes == whole)
                continue; // Only padding went.
        }
        Reading reading(bytes);
        QVERIFY2(reading.images == without_last_batch, qPrintable(QString::number(length)));
        QVERIFY2(reading.replay.damage().empty(), qPrintable(QString::number(length)));
        QCOMPARE(reading.end.end_offset, journal.ends[2]);
        QCOMPARE(reading.replay.revision(), std::uint64_t{5});
    }
}

void JournalTest::lastBatchWithAnyByteFlippedIsTheTail() {
    SampleJournal journal;
    std::vector<std::uint8_t> bytes = journal.disk.bytes("journal.1");
    for (std::uint64_t at = journal.ends[2]; at < journal.ends[3]; ++at) {
        bytes[at] ^= 0x10;
        Reading reading(bytes);
        QVERIFY2(reading.images == without_last_batch, qPrintable(QString::number(at)));
        QCOMPARE(reading.end.end_offset, journal.ends[2]);
        QVERIFY(reading.end.tail_bytes > 0);
        QVERIFY(reading.end.tail_whole_frames >= 1);
        bytes[at] ^= 0x10;
    }
}

void JournalTest::flippedByteCostsOneRecordAtMost() {
    SampleJournal journal;
    std::vector<std::uint8_t> bytes = journal.disk.bytes("journal.1");
    for (std::uint64_t at = journal.ends[0]; at < journal.ends[2]; ++at) {
        bytes[at] ^= 0x01;
        Reading reading(bytes);
        const QByteArray place = QByteArray::number(static_cast<qulonglong>(at));
        QVERIFY2(cost(sample_images, reading.images) <= 1, place);
        QVERIFY2(nothing_invented(sample_images, reading.images), place);
        bytes[at] ^= 0x01;
    }
}

void JournalTest::flippedByteIsReportedWithItsPlace() {
    SampleJournal journal;
    std::vector<std::uint8_t> bytes = journal.disk.bytes("journal.1");
    for (std::uint64_t at = journal.ends[1]; at < journal.ends[2]; ++at) {
        bytes[at] ^= 0x01;
        Reading reading(bytes);
        const QByteArray place = QByteArray::number(static_cast<qulonglong>(at));
        QVERIFY2(!reading.replay.damage().empty(), place);
        bool named = false;
        for (const Damage &damage : reading.replay.damage())
            named = named || (damage.file == "journal.1" && damage.offset <= at &&
                              at < damage.offset + damage.bytes);
        QVERIFY2(named, place);
        bytes[at] ^= 0x01;
    }
}

/// A record that is lost while its name can still be read says nothing of other images.
void JournalTest::flippedByteMarksNoStranger() {
    SampleJournal journal;
    std::vector<std::uint8_t> bytes = journal.disk.bytes("journal.1");
    // The head of the first frame of the second batch, which puts "b".
    const std::uint64_t frame = journal.ends[1] + sizeof(BatchHeader);
    for (std::uint64_t at = frame; at < frame + sizeof(Frame); ++at) {
        bytes[at] ^= 0x01;
        Reading reading(bytes);
        QCOMPARE(marked_in(reading.index, frame_flag_uncertain), std::vector<std::string>{"b"});
        QCOMPARE(marked_in(reading.index, frame_flag_resurrected), std::vector<std::string>{});
        bytes[at] ^= 0x01;
    }
}

void JournalTest::damagedBatchHeadStillYieldsItsRecords() {
    SampleJournal journal;
    std::vector<std::uint8_t> bytes = journal.disk.bytes("journal.1");
    std::fill_n(bytes.begin() + static_cast<std::ptrdiff_t>(journal.ends[1]), sizeof(BatchHeader),
                std::uint8_t{0});
    Reading reading(bytes);
    QCOMPARE(reading.images, sample_images);
    QCOMPARE(reading.replay.damage().size(), std::size_t{1});
    QCOMPARE(reading.replay.damage()[0].offset, journal.ends[1]);
    QVERIFY(!reading.replay.damage()[0].loses);
    QVERIFY(marked_in(reading.index, frame_flags_stored).empty());
}

void JournalTest::batchOfNothingButDamageDoesNotHideTheNext() {
    SampleJournal journal;
    std::vector<std::uint8_t> bytes = journal.disk.bytes("journal.1");
    std::fill(bytes.begin() + static_cast<std::ptrdiff_t>(journal.ends[1]),
              bytes.begin() + static_cast<std::ptrdiff_t>(journal.ends[2]), std::uint8_t{0});
    Reading reading(bytes);
    QCOMPARE(reading.images, (Images{{"a", "1"}, {"b", "1"}, {"c", "1"}, {"e", "1"}, {"f", "1"}}));
    QVERIFY(!reading.replay.damage().empty());
    // Nobody knows whom the lost records spoke of.
    QCOMPARE(marked_in(reading.index, frame_flag_uncertain),
             (std::vector<std::string>{"a", "b", "c"}));
}

void JournalTest::copyOfABatchElsewhereInTheFileIsNoBatch() {
    SampleJournal journal;
    std::vector<std::uint8_t> bytes = journal.disk.bytes("journal.1");
    const std::vector<std::uint8_t> first(
        bytes.begin() + static_cast<std::ptrdiff_t>(journal.ends[0]),
        bytes.begin() + static_cast<std::ptrdiff_t>(journal.ends[1]));
    bytes.insert(bytes.end(), first.begin(), first.end()); // Would set "b" back.
    Reading reading(bytes);
    QCOMPARE(reading.images, sample_images);
    QCOMPARE(reading.end.end_offset, journal.ends[3]);
    QCOMPARE(reading.end.tail_whole_frames, std::uint64_t{0});
}

void JournalTest::batchOfAnotherStoreIsNoBatch() {
    SampleJournal journal;
    std::vector<std::uint8_t> bytes = journal.disk.bytes("journal.1");
    Batch foreign = one_put({"planted", "x"}, 8);
    const Bytes sealed = foreign.seal(SampleJournal::salt + 1, bytes.size());
    bytes.insert(bytes.end(), sealed.begin(), sealed.end());
    Reading reading(bytes);
    QCOMPARE(reading.images, sample_images);
    QCOMPARE(reading.end.tail_whole_frames, std::uint64_t{0});
}

/// A label may hold any UTF-8, so here the bytes stand where a label would and the head around
/// them is damaged, which makes the reader look for frames in what is left.
void JournalTest::frameInALabelIsNoFrame() {
    for (const std::uint64_t offset : {std::uint64_t{0}, std::uint64_t{4096}}) {
        for (const std::uint64_t salt : {SampleJournal::salt, SampleJournal::salt + 1}) {
            SampleJournal journal;
            Batch planted = one_put({"planted", "x"}, 9);
            const Bytes sealed = planted.seal(salt, offset);
            Batch carrier;
            Frame head{};
            head.kind = static_cast<std::uint16_t>(FrameKind::Put);
            head.revision = ++journal.revision;
            carrier.add(head, sealed);
            QVERIFY(journal.writer->append(carrier, 0, false).ok());
            journal.add({{"g", "1"}});
            std::vector<std::uint8_t> bytes = journal.disk.bytes("journal.1");
            bytes[journal.ends[3] + sizeof(BatchHeader) + 20] ^= 1;
            Reading reading(bytes);
            QVERIFY(!reading.images.contains("planted"));
            QVERIFY(reading.images.contains("g"));
        }
    }
}

void JournalTest::removalsAreReplayed() {
    SampleJournal journal;
    Batch batch = one_removal("b", ++journal.revision);
    QVERIFY(journal.writer->append(batch, 0, true).ok());
    Images expected = sample_images;
    expected.erase("b");
    QCOMPARE(Reading(journal.disk.bytes("journal.1")).images, expected);
}

void JournalTest::failedWriteLeavesTheOffset_data() {
    QTest::addColumn<bool>("full");
    QTest::addColumn<bool>("goesOn");
    QTest::newRow("I/O error") << false << false;
    QTest::newRow("full disk") << true << true;
}

void JournalTest::failedWriteLeavesTheOffset() {
    QFETCH(const bool, full);
    QFETCH(const bool, goesOn);
    SampleJournal journal;
    const std::uint64_t offset = journal.writer->offset();
    bool failing = true;
    journal.disk.before = [&](const std::string &call, const std::string &) {
        if (call != "write" || !std::exchange(failing, false))
            return Status{};
        return failure(full ? Code::NoSpace : Code::Io, "write failed");
    };
    Batch batch = one_put({"g", "1"}, 8);
    const Status status = journal.writer->append(batch, 0, false);
    QCOMPARE(status.code, full ? Code::NoSpace : Code::Io);
    QCOMPARE(journal.writer->offset(), offset);
    QCOMPARE(journal.writer->failed(), !goesOn);
    Batch next = one_put({"h", "1"}, 8);
    QCOMPARE(journal.writer->append(next, 0, false).ok(), goesOn);
    QCOMPARE(Reading(journal.disk.bytes("journal.1")).images.contains("h"), goesOn);
    QVERIFY(!Reading(journal.disk.bytes("journal.1")).images.contains("g"));
}

void JournalTest::failedSyncIsFinal() {
    SampleJournal journal;
    const std::uint64_t offset = journal.writer->offset();
    bool failing = true;
    journal.disk.before = [&](const std::string &call, const std::string &) {
        return call == "sync" && std::exchange(failing, false) ? failure(Code::Io, "sync failed")
                                                               : Status{};
    };
    Batch batch = one_put({"g", "1"}, 8);
    QCOMPARE(journal.writer->append(batch, 0, false).code, Code::Io);
    QCOMPARE(journal.writer->offset(), offset);
    QVERIFY(journal.writer->failed());
    const std::size_t changes = journal.disk.changes;
    Batch removal = one_removal("a", 9);
    QCOMPARE(journal.writer->append(removal, 0, true).code, Code::ReadOnly);
    QCOMPARE(journal.disk.changes, changes); // Not even tried.
}

void JournalTest::fullDiskLeavesTheJournalUsable() {
    MemoryDisk disk;
    disk.capacity = 200 << 10;
    Result<std::unique_ptr<JournalWriter>> writer = start_journal(disk);
    QVERIFY(writer.ok());
    Batch huge = one_put({"huge", std::string(4000, 'x')}, 1);
    for (std::uint64_t revision = 2; revision <= 100; ++revision) {
        const FramePtr frame = SampleImage{"huge", std::string(4000, 'x')}.frame(revision);
        huge.add(*frame, frame->payload_span());
    }
    const std::uint64_t offset = (*writer)->offset();
    QCOMPARE((*writer)->append(huge, 0, false).code, Code::NoSpace);
    QCOMPARE((*writer)->offset(), offset);
    QVERIFY(!(*writer)->failed());
    Batch small = one_put({"small", "1"}, 1);
    QVERIFY((*writer)->append(small, 0, false).ok());
    QCOMPARE(Reading(disk.bytes("journal.1")).images, (Images{{"small", "1"}}));
}

void JournalTest::partlyWrittenBatchIsZeroedWhenTheDiskIsFull() {
    MemoryDisk disk;
    Result<std::unique_ptr<JournalWriter>> writer = start_journal(disk);
    QVERIFY(writer.ok());
    bool failing = true;
    disk.before = [&](const std::string &call, const std::string &) {
        return call == "write" && std::exchange(failing, false) ? failure(Code::NoSpace, "full")
                                                                : Status{};
    };
    Batch batch = one_put({"a", "1"}, 1);
    QCOMPARE((*writer)->append(batch, 0, false).code, Code::NoSpace);
    QCOMPARE(Reading(disk.bytes("journal.1")).end.tail_bytes, std::uint64_t{0});
}

void JournalTest::smallBatchesGoWhereZerosHaveBeenWritten() {
    MemoryDisk disk;
    Result<std::unique_ptr<JournalWriter>> writer = start_journal(disk);
    QVERIFY(writer.ok());
    int writes = 0;
    disk.before = [&](const std::string &call, const std::string &) {
        writes += call == "write";
        return Status{};
    };
    for (std::uint64_t revision = 1; revision <= 100; ++revision) {
        Batch batch = one_put({"a", "1"}, revision);
        QVERIFY((*writer)->append(batch, 0, false).ok());
    }
    QCOMPARE(writes, 101);
    QCOMPARE(Reading(disk.bytes("journal.1")).end.tail_bytes, std::uint64_t{0});
}

void JournalTest::zerosThatFindNoRoomCostNoPut() {
    MemoryDisk disk;
    Result<std::unique_ptr<JournalWriter>> writer = start_journal(disk);
    QVERIFY(writer.ok());
    int writes = 0;
    disk.before = [&](const std::string &call, const std::string &) {
        return call == "write" && ++writes == 2 ? failure(Code::NoSpace, "full") : Status{};
    };
    Batch batch = one_put({"a", "1"}, 1);
    QVERIFY((*writer)->append(batch, 0, false).ok());
    QCOMPARE(writes, 2);
    QCOMPARE(Reading(disk.bytes("journal.1")).images, (Images{{"a", "1"}}));
}

void JournalTest::putMayNotUseTheReserve() {
    MemoryDisk disk;
    constexpr std::uint64_t reserve = 10'000;
    disk.capacity = header_block_bytes + reserve + 1'000;
    Result<std::unique_ptr<JournalWriter>> writer = start_journal(disk, reserve);
    QVERIFY(writer.ok());
    std::uint64_t revision = 0;
    Status status;
    while (status.ok() && revision < 100) {
        Batch batch = one_put({"a", "1"}, ++revision);
        status = (*writer)->append(batch, reserve, false);
    }
    QCOMPARE(status.code, Code::NoSpace);
    QVERIFY((*writer)->offset() + reserve <= disk.capacity);
    QVERIFY(!(*writer)->failed());
}

/// A full store may be opened and closed any number of times before something is removed from it.
void JournalTest::marksLeaveTheReserveToRemovals() {
    MemoryDisk disk;
    constexpr std::uint64_t reserve = 10'000;
    disk.capacity = header_block_bytes + reserve + 1'000;
    Result<std::unique_ptr<JournalWriter>> writer = start_journal(disk, reserve);
    QVERIFY(writer.ok());
    Status marked;
    for (int i = 0; i < 1'000 && marked.ok(); ++i)
        marked = append_close(**writer, 1, reserve);
    QCOMPARE(marked.code, Code::NoSpace);
    QVERIFY(!(*writer)->failed());
    QVERIFY((*writer)->offset() + reserve <= disk.capacity);
    Batch removal = one_put({"as-large-as-a-removal", "1"}, 1);
    QVERIFY((*writer)->append(removal, reserve, true).ok());
}

void JournalTest::removalMayUseTheReserve() {
    MemoryDisk disk;
    constexpr std::uint64_t reserve = 10'000;
    disk.capacity = header_block_bytes + reserve + 100;
    Result<std::unique_ptr<JournalWriter>> writer = start_journal(disk, reserve);
    QVERIFY(writer.ok());
    Batch put = one_put({"a", "1"}, 1);
    QCOMPARE((*writer)->append(put, reserve, false).code, Code::NoSpace);
    Batch removal = one_removal("a", 1);
    QVERIFY((*writer)->append(removal, reserve, true).ok());
}

void JournalTest::journalThatCannotStartLeavesNoFile_data() {
    QTest::addColumn<QString>("call");
    QTest::newRow("create") << "create";
    QTest::newRow("reserve") << "allocate";
    QTest::newRow("write") << "write";
    QTest::newRow("sync") << "sync";
    QTest::newRow("sync of the directory") << "sync_directory";
}

void JournalTest::journalThatCannotStartLeavesNoFile() {
    QFETCH(const QString, call);
    MemoryDisk disk;
    disk.before = [&](const std::string &tried, const std::string &) {
        return tried == call.toStdString() ? failure(Code::Io, "broken") : Status{};
    };
    FileHeader header{};
    header.generation = 4;
    bool left_behind = false;
    QVERIFY(!JournalWriter::start(disk, header, 0, &left_behind).ok());
    QVERIFY(!disk.has("journal.4"));
}

QTEST_APPLESS_MAIN(JournalTest)
#include "journal_test.moc"
