// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors
#include "plugin/posix_disk.h"
#include "plugin/snapshot.h"

#include "memory_disk.h"
#include "plugin/recovery.h"
#include "store_fixture.h"

#include <QtTest>

#include <cstring>
#include <string>
#include <unistd.h>
#include <vector>

using namespace waybill;

namespace {

const Images sample_images = {{"a", "1"}, {"b", "2"}, {"c", "3"}, {"d", "4"}, {"e", "5"}};

/// A store whose images all stand in its snapshot, and none in its journal.
std::map<std::string, std::vector<std::uint8_t>> files_with_snapshot() {
    MemoryDisk disk;
    Index index;
    Result<Recovered> made = recover_store(disk, {false, ReferenceMode::Opaque}, index);
    if (!made.ok())
        qFatal("%s", made.status().message.c_str());
    FileHeader header = made->journal->header();
    header.generation = 2;
    header.first_revision = 5;
    header.salt = 0x1234;
    bool left_behind = false;
    if (!JournalWriter::start(disk, header, 0, &left_behind).ok())
        qFatal("no journal");
    std::vector<FramePtr> frames;
    std::vector<const Frame *> views;
    for (const auto &[name, value] : sample_images) {
        frames.push_back(SampleImage{name, value}.frame(frames.size() + 1));
        views.push_back(frames.back().get());
    }
    header.salt = 0x5678;
    bool named = false;
    if (!write_snapshot(disk, header, views, &named).ok() || !drop_older_journals(disk, 2).ok())
        qFatal("no snapshot");
    return disk.copy();
}

std::size_t lost_of(const Images &found) {
    std::size_t lost = 0;
    for (const auto &[name, value] : sample_images)
        lost += !found.contains(name);
    return lost;
}

bool nothing_invented(const Images &found) {
    for (const auto &[name, value] : found)
        if (!sample_images.contains(name) || sample_images.at(name) != value)
            return false;
    return true;
}

/// Bytes of the two header copies; what surrounds them is not looked at.
bool is_unused(std::size_t offset) {
    return offset < header_block_bytes && offset % header_copy_offset >= sizeof(FileHeader);
}

void fill(ScratchStore &store) {
    for (const auto &[name, value] : sample_images)
        if (!store.put({name, value})->status.ok())
            qFatal("put failed");
}

/// Puts until the images stand in a snapshot, and closes.
void rotate(ScratchStore &store) {
    const std::string text(4000, 'f');
    const std::vector<std::string> keys = {"1", "2", "3", "4", "5", "6", "7", "8", "9"};
    const SampleImage image{"filler", "f"};
    ImageSpec spec = image.spec();
    for (const std::string &key : keys)
        spec.annotations.push_back({key, text});
    const double before = store.stats()["snapshots"].toDouble();
    for (int i = 0; i < 10'000 && store.stats()["snapshots"].toDouble() == before; ++i)
        if (!ScratchStore::ended(store->put({{spec, PutCondition::Any, 0}}))->status.ok())
            qFatal("put failed");
    store.close();
}

} // namespace

class SnapshotTest : public QObject {
    Q_OBJECT

  private slots:
    void imagesComeBackFromTheSnapshotAlone();
    void emptySnapshotIsRead();
    void storeKeepsItsIdentity();
    void snapshotOfManyBatchesIsRead();
    void rotationDropsOlderJournalsAndKeepsEverything();
    void snapshotThatIsAnotherFileThanWrittenIsRefused();
    void spaceIsGivenBackOnlyOfFilesWithoutAName();
    void failedStepLeavesTheOldSnapshot_data();
    void failedStepLeavesTheOldSnapshot();
    void flippedByteCostsOneRecordAtMost();
    void flippedByteIsRememberedUntilTheLossIsAccepted();
    void flippedByteInAnotherBatchCostsOneRecordAtMost();
    void damagedFileIsKept();
    void degradedStoreRefusesToPrune();
    void newerFormatIsRefusedAndLeftAlone();
    void missingSnapshotIsDamage();
    void missingFirstSnapshotLosesNothing();
    void missingJournalIsDamage();
    void lockAloneIsCorrupt();
    void snapshotOfAnotherStoreIsNotTaken();
    void leftoverOfAKilledRenameIsSwept();
    void symlinkedSnapshotIsRefused();
    void symlinkedSnapshotIsNotReplaced();
};

void SnapshotTest::imagesComeBackFromTheSnapshotAlone() {
    MemoryDisk disk(files_with_snapshot());
    Index index;
    Result<Recovered> recovered = recover_store(disk, {}, index);
    QVERIFY(recovered.ok());
    QCOMPARE(images_in(index), sample_images);
    QCOMPARE(recovered->revision, std::uint64_t{5});
    QVERIFY(recovered->damage.empty());
    QVERIFY(!recovered->degraded);
    QVERIFY(!recovered->created);
    QCOMPARE(recovered->mode, ReferenceMode::Opaque);
}

void SnapshotTest::emptySnapshotIsRead() {
    ScratchStore store;
    QVERIFY(store.open().ok());
    QVERIFY(store.open().ok());
    QVERIFY(store.images().empty());
    QVERIFY(store.report["damage"].toArray().isEmpty());
    QVERIFY(!store.report["created"].toBool());
}

void SnapshotTest::storeKeepsItsIdentity() {
    ScratchStore one, other;
    QVERIFY(one.open().ok());
    const QString id = one.report["storeId"].toString();
    QCOMPARE(id.size(), qsizetype{32});
    QCOMPARE(one.stats()["storeId"].toString(), id);
    one.settings.journal_bytes = 16 << 10;
    QVERIFY(one.open().ok());
    fill(one);
    rotate(one);
    QVERIFY(one.open().ok());
    QCOMPARE(one.report["storeId"].toString(), id);
    QVERIFY(other.open().ok());
    QVERIFY(other.report["storeId"].toString() != id);
}

void SnapshotTest::snapshotOfManyBatchesIsRead() {
    ScratchStore store;
    store.settings.journal_bytes = 64 << 10;
    QVERIFY(store.open().ok());
    Images expected;
    for (int i = 0; i < 10; ++i) {
        std::vector<SampleImage> images;
        for (int j = 0; j < 30; ++j) {
            const std::string name = "image" + std::to_string(i) + "-" + std::to_string(j);
            images.push_back({name, std::string(3000, static_cast<char>('a' + i))});
            expected[name] = images.back().value;
        }
        QVERIFY(store.put_all(images)->status.ok());
    }
    rotate(store);
    QVERIFY(file_bytes(store.path("snapshot")).size() > 900'000);
    QVERIFY(store.open().ok());
    Images found = store.images();
    found.erase("filler");
    QCOMPARE(found, expected);
    QVERIFY(store.report["damage"].toArray().isEmpty());
}

void SnapshotTest::rotationDropsOlderJournalsAndKeepsEverything() {
    ScratchStore store;
    store.settings.journal_bytes = 16 << 10;
    QVERIFY(store.open().ok());
    Images expected;
    for (int i = 0; i < 400; ++i) {
        const std::string name = "image" + std::to_string(i % 20);
        const std::string value = std::to_string(i) + std::string(500, 'x');
        QVERIFY(store.put({name, value})->status.ok());
        expected[name] = value;
        if (i % 37 == 0) {
            QVERIFY(store.remove(name)->existed);
            expected.erase(name);
        }
    }
    QCOMPARE(store.images(), expected);
    const double generation = store.stats()["generation"].toDouble();
    QVERIFY(generation > 2);
    QCOMPARE(store.stats()["snapshotFailures"].toDouble(), 0.0);
    store.close(); // Waits for the snapshot under way.
    int journals = 0;
    for (const auto &[name, bytes] : store.files())
        journals += name.startsWith("journal.");
    QCOMPARE(journals, 1);
    QCOMPARE(store.newest_journal(), QStringLiteral("journal.%1").arg(generation));
    QVERIFY(store.open().ok());
    QCOMPARE(store.images(), expected);
    QVERIFY(store.report["damage"].toArray().isEmpty());
}

namespace {

/// Where somebody else renames a file of theirs onto the snapshot just after it got its name.
class MeddledDisk final : public Disk {
  public:
    explicit MeddledDisk(MemoryDisk &disk) : disk_(disk) {}
    Result<std::vector<std::string>> list() override { return disk_.list(); }
    Result<std::unique_ptr<File>> open(const std::string &name, OpenMode mode) override {
        return disk_.open(name, mode);
    }
    Result<std::unique_ptr<Replacement>> begin_replace(const std::string &name) override {
        return disk_.begin_replace(name);
    }
    Result<FileIdentity> identity(const std::string &name) override {
        disk_.add(name, {});
        return disk_.identity(name);
    }
    Status unlink(const std::string &name) override { return disk_.unlink(name); }
    Status keep_damaged(const std::string &name, const std::string &kept_name) override {
        return disk_.keep_damaged(name, kept_name);
    }
    Status sync_directory() override { return disk_.sync_directory(); }

  private:
    MemoryDisk &disk_;
};

} // namespace

void SnapshotTest::snapshotThatIsAnotherFileThanWrittenIsRefused() {
    MemoryDisk disk;
    MeddledDisk meddled(disk);
    bool named = false;
    QCOMPARE(write_snapshot(meddled, {}, {}, &named).code, Code::Io);
}

/// A damaged journal is kept under another name before it is removed: giving its space back would
/// empty what was kept.
void SnapshotTest::spaceIsGivenBackOnlyOfFilesWithoutAName() {
    const QTemporaryDir place;
    Result<std::unique_ptr<PosixDisk>> disk = PosixDisk::open(place.path().toStdString(), true);
    QVERIFY(disk.ok());
    const std::vector<std::uint8_t> bytes(3'000'000, 0x5a);
    for (const bool kept : {true, false}) {
        Result<std::unique_ptr<File>> file = (*disk)->open("journal.1", OpenMode::Create);
        QVERIFY(file.ok());
        QVERIFY((*file)->write(0, bytes).ok());
        (*file)->discard();
        QCOMPARE((*file)->size().value(), std::uint64_t{bytes.size()});
        if (kept)
            QVERIFY((*disk)->keep_damaged("journal.1", "journal.1-1").ok());
        QVERIFY((*disk)->unlink("journal.1").ok());
        (*file)->discard();
        QCOMPARE((*file)->size().value(), std::uint64_t{kept ? bytes.size() : 0});
    }
    QCOMPARE(QFileInfo(place.filePath(QStringLiteral("damaged/journal.1-1"))).size(),
             qint64{3'000'000});
}

void SnapshotTest::failedStepLeavesTheOldSnapshot_data() {
    QTest::addColumn<QString>("call");
    QTest::newRow("begin") << "begin_replace";
    QTest::newRow("write") << "write";
    QTest::newRow("sync") << "sync";
    QTest::newRow("rename") << "commit";
}

void SnapshotTest::failedStepLeavesTheOldSnapshot() {
    QFETCH(const QString, call);
    MemoryDisk disk(files_with_snapshot());
    const std::vector<std::uint8_t> old = disk.bytes("snapshot");
    disk.before = [&](const std::string &tried, const std::string &) {
        return tried == call.toStdString() ? failure(Code::Io, "broken") : Status{};
    };
    bool named = false;
    QVERIFY(!write_snapshot(disk, {}, {}, &named).ok());
    QCOMPARE(disk.bytes("snapshot"), old);
}

void SnapshotTest::flippedByteCostsOneRecordAtMost() {
    const auto files = files_with_snapshot();
    for (std::size_t at = 0; at < files.at("snapshot").size(); ++at) {
        MemoryDisk disk(files);
        disk.bytes("snapshot")[at] ^= 0x01;
        Index index;
        Result<Recovered> recovered = recover_store(disk, {}, index);
        const QByteArray place = QByteArray::number(static_cast<qulonglong>(at));
        QVERIFY2(recovered.ok(), place);
        QVERIFY2(lost_of(images_in(index)) <= 1, place);
        QVERIFY2(nothing_invented(images_in(index)), place);
        QVERIFY2(lost_of(images_in(index)) == 0 || recovered->degraded, place);
        if (is_unused(at))
            continue;
        QVERIFY2(!recovered->damage.empty(), place);
        QCOMPARE(recovered->damage[0].file, std::string("snapshot"));
        QCOMPARE(disk.kept.size(), std::size_t{1});
    }
}

void SnapshotTest::flippedByteIsRememberedUntilTheLossIsAccepted() {
    const auto files = files_with_snapshot();
    for (std::size_t at = 0; at < files.at("snapshot").size(); ++at) {
        MemoryDisk disk(files);
        disk.bytes("snapshot")[at] ^= 0x80;
        Index first, second;
        Result<Recovered> before = recover_store(disk, {}, first);
        QVERIFY(before.ok());
        const bool degraded = before->degraded;
        before->journal.reset();
        Result<Recovered> after = recover_store(disk, {}, second);
        QVERIFY(after.ok());
        QCOMPARE(after->degraded, degraded);
        QVERIFY(after->damage.empty());
        QCOMPARE(images_in(second), images_in(first));
    }
}

void SnapshotTest::flippedByteInAnotherBatchCostsOneRecordAtMost() {
    ScratchStore store;
    store.settings.journal_bytes = 16 << 10;
    QVERIFY(store.open().ok());
    std::vector<SampleImage> images;
    for (int i = 0; i < 150; ++i)
        images.push_back({"image" + std::to_string(i), std::string(3800, 'x')});
    QVERIFY(store.put_all(images)->status.ok());
    rotate(store);
    const qsizetype size = file_bytes(store.path("snapshot")).size();
    std::map<std::string, std::vector<std::uint8_t>> files;
    for (const auto &[name, bytes] : store.files())
        files[name.toStdString()] = {bytes.begin(), bytes.end()};
    for (qsizetype at = header_block_bytes; at < size; at += 1013) {
        MemoryDisk disk(files);
        disk.bytes("snapshot")[static_cast<std::size_t>(at)] ^= 0x01;
        Index index;
        Result<Recovered> recovered = recover_store(disk, {}, index);
        QVERIFY(recovered.ok());
        QVERIFY2(images_in(index).size() >= 150, QByteArray::number(at));
        QVERIFY(!recovered->damage.empty());
    }
}

void SnapshotTest::damagedFileIsKept() {
    ScratchStore store;
    store.settings.journal_bytes = 16 << 10;
    QVERIFY(store.open().ok());
    fill(store);
    rotate(store);
    QVERIFY(store.flip("snapshot", header_block_bytes + sizeof(BatchHeader) + sizeof(Frame) + 60));
    const QByteArray damaged = file_bytes(store.path("snapshot"));
    QVERIFY(store.open().ok());
    QVERIFY(store.report["degraded"].toBool());
    const auto kept = [&] {
        for (const auto &[name, bytes] : store.files())
            if (name.startsWith("damaged/") && bytes == damaged)
                return true;
        return false;
    };
    QVERIFY(kept());
    rotate(store);
    QVERIFY(store.open().ok());
    rotate(store);
    QVERIFY(kept());
}

void SnapshotTest::degradedStoreRefusesToPrune() {
    ScratchStore store;
    store.settings.journal_bytes = 16 << 10;
    QVERIFY(store.open().ok());
    fill(store);
    rotate(store);
    QVERIFY(store.flip("snapshot", header_block_bytes + sizeof(BatchHeader) + sizeof(Frame) + 60));
    QVERIFY(store.open().ok());
    Images before = store.images();
    QVERIFY(before.size() >= 5);
    before.erase("filler"); // Comes back with the next rotation, should it be the lost one.
    QCOMPARE(store.prune()->status.code, Code::Degraded);
    QVERIFY(store.open().ok()); // Another start does not forget it,
    QCOMPARE(store.prune()->status.code, Code::Degraded);
    rotate(store); // nor does another snapshot.
    QVERIFY(store.open().ok());
    QVERIFY(store.stats()["degraded"].toBool());
    QCOMPARE(store.prune()->status.code, Code::Degraded);
    Images after = store.images();
    after.erase("filler");
    QCOMPARE(after, before);
    QVERIFY(store.remove("filler")->status.ok()); // One by one is the host's own decision.
    QVERIFY(store.accept_loss()->status.ok());
    QVERIFY(!store.stats()["degraded"].toBool());
    QVERIFY(store.open().ok());
    QVERIFY(!store.report["degraded"].toBool());
    QVERIFY(store.prune()->status.ok());
    QVERIFY(store.images().empty());
}

void SnapshotTest::newerFormatIsRefusedAndLeftAlone() {
    for (const QString &name : {QStringLiteral("snapshot"), QStringLiteral("journal.1")}) {
        ScratchStore store;
        QVERIFY(store.open().ok());
        fill(store);
        store.close();
        QByteArray bytes = file_bytes(store.path(name));
        FileHeader header;
        for (const std::size_t offset : {std::size_t{0}, header_copy_offset}) {
            std::memcpy(&header, bytes.data() + offset, sizeof header);
            header.version = format_version + 1;
            header.checksum = checksum(Bytes(reinterpret_cast<const std::uint8_t *>(&header),
                                             offsetof(FileHeader, checksum)),
                                       0);
            std::memcpy(bytes.data() + offset, &header, sizeof header);
        }
        QVERIFY(write_file(store.path(name), bytes));
        auto before = store.files();
        QCOMPARE(store.open().code, Code::Format);
        store.close();
        auto after = store.files();
        before.erase("LOCK"); // Names its last holder.
        after.erase("LOCK");
        QCOMPARE(after, before);
    }
}

void SnapshotTest::missingSnapshotIsDamage() {
    ScratchStore store;
    store.settings.journal_bytes = 16 << 10;
    QVERIFY(store.open().ok());
    fill(store);
    rotate(store);
    // What comes late is to stay in the journal.
    store.settings.journal_bytes = limits::journal_bytes_default;
    QVERIFY(store.open().ok());
    QVERIFY(store.put({"late", "x"})->status.ok());
    store.close();
    QVERIFY(QFile::remove(store.path("snapshot")));
    QVERIFY(store.open().ok());
    QVERIFY(store.report["degraded"].toBool());
    QVERIFY(store.images().contains("late"));
    QVERIFY(store.images().size() < 5);
    QCOMPARE(store.prune()->status.code, Code::Degraded);
}

void SnapshotTest::missingFirstSnapshotLosesNothing() {
    ScratchStore store;
    QVERIFY(store.open().ok());
    fill(store);
    store.close();
    QVERIFY(QFile::remove(store.path("snapshot")));
    QVERIFY(store.open().ok());
    QCOMPARE(store.images(), sample_images);
    QCOMPARE(store.report["damage"].toArray().size(), 1);
    QVERIFY(!store.report["degraded"].toBool());
}

void SnapshotTest::missingJournalIsDamage() {
    ScratchStore store;
    QVERIFY(store.open().ok());
    fill(store);
    store.close();
    QVERIFY(QFile::remove(store.path(store.newest_journal())));
    QVERIFY(store.open().ok());
    QVERIFY(store.report["degraded"].toBool());
    QCOMPARE(store.report["damage"].toArray()[0].toObject()["file"].toString(),
             QStringLiteral("journal.1"));
    QVERIFY(store.put({"a", "1"})->status.ok());
    QCOMPARE(store.prune()->status.code, Code::Degraded);
}

void SnapshotTest::lockAloneIsCorrupt() {
    ScratchStore store;
    QVERIFY(store.open().ok());
    fill(store);
    store.close();
    QVERIFY(QFile::remove(store.path("snapshot")));
    QVERIFY(QFile::remove(store.path(store.newest_journal())));
    QCOMPARE(store.open().code, Code::Corrupt);
    QCOMPARE(store.open().code, Code::Corrupt); // And no store was made by the first try.
}

void SnapshotTest::snapshotOfAnotherStoreIsNotTaken() {
    ScratchStore store, other;
    QVERIFY(other.open().ok());
    QVERIFY(other.put({"foreign", "x"})->status.ok());
    other.settings.journal_bytes = 1024;
    QVERIFY(other.open().ok());
    rotate(other);
    QVERIFY(store.open().ok());
    fill(store);
    store.close();
    QVERIFY(write_file(store.path("snapshot"), file_bytes(other.path("snapshot"))));
    QVERIFY(store.open().ok());
    QCOMPARE(store.images(), sample_images);
    QVERIFY(!store.report["damage"].toArray().isEmpty());
}

void SnapshotTest::leftoverOfAKilledRenameIsSwept() {
    ScratchStore store;
    QVERIFY(store.open().ok());
    fill(store);
    store.close();
    QVERIFY(write_file(store.path("snapshot.AbCdEf"), "half a snapshot"));
    QVERIFY(store.open().ok());
    QVERIFY(!QFile::exists(store.path("snapshot.AbCdEf")));
    QCOMPARE(store.images(), sample_images);
    QVERIFY(store.report["damage"].toArray().isEmpty());
}

void SnapshotTest::symlinkedSnapshotIsRefused() {
    ScratchStore store;
    QVERIFY(store.open().ok());
    fill(store);
    store.close();
    QVERIFY(QFile::rename(store.path("snapshot"), store.path("../elsewhere")));
    QVERIFY(::symlink("../elsewhere", qPrintable(store.path("snapshot"))) == 0);
    const QByteArray before = file_bytes(store.path("../elsewhere"));
    QCOMPARE(store.open().code, Code::Symlink);
    store.close();
    QCOMPARE(file_bytes(store.path("../elsewhere")), before);
}

void SnapshotTest::symlinkedSnapshotIsNotReplaced() {
    ScratchStore store;
    store.settings.journal_bytes = 16 << 10;
    QVERIFY(store.open().ok());
    fill(store);
    const QString elsewhere = store.path("../elsewhere");
    QVERIFY(write_file(elsewhere, "precious"));
    QVERIFY(QFile::remove(store.path("snapshot")));
    QVERIFY(::symlink(qPrintable(elsewhere), qPrintable(store.path("snapshot"))) == 0);
    for (int i = 0; i < 200 && store.stats()["snapshotFailures"].toDouble() == 0; ++i)
        QVERIFY(store.put({"filler", std::string(3000, 'f')})->status.ok());
    QVERIFY(store.stats()["snapshotFailures"].toDouble() > 0);
    store.close();
    QCOMPARE(file_bytes(elsewhere), QByteArray("precious"));
    QVERIFY(QFile::exists(store.path("journal.1")));
}

QTEST_APPLESS_MAIN(SnapshotTest)
#include "snapshot_test.moc"
