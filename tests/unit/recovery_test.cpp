// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors
#include "plugin/recovery.h"

#include "plugin/beside_writer.h"
#include "plugin/committer.h"
#include "plugin/limits.h"
#include "plugin/snapshot.h"

#include "memory_disk.h"
#include "store_fixture.h"

#include <QtTest>

#include <string>
#include <vector>

using namespace waybill;

namespace {

/// A store on a MemoryDisk, written by hand so that each batch and its place are known.
struct SampleStore {
    SampleStore() {
        disk.can_allocate = false; // So that the journal ends with its last batch.
        Index index;
        Result<Recovered> made = recover_store(disk, {false, ReferenceMode::Opaque}, index);
        if (!made.ok())
            qFatal("%s", made.status().message.c_str());
        journal = std::move(made->journal);
    }
    void append(Batch &batch, bool removal) {
        starts.push_back(journal->offset());
        if (!journal->append(batch, 0, removal).ok())
            qFatal("append failed");
    }
    void put(const std::vector<SampleImage> &images) {
        Batch batch;
        ++revision;
        for (const SampleImage &image : images) {
            const FramePtr frame = image.frame(revision);
            batch.add(*frame, frame->payload_span());
        }
        append(batch, false);
    }
    void remove(const std::vector<std::string> &names, FrameKind kind) {
        std::vector<Key> keys;
        for (const std::string &name : names)
            keys.push_back({"default", name});
        Frame head{};
        head.kind = static_cast<std::uint16_t>(kind);
        head.key_hash = kind == FrameKind::Remove ? key_hash("default", names[0]) : 0;
        head.revision = ++revision;
        Batch batch;
        batch.add(head, encode_removal(keys));
        append(batch, true);
    }
    void accept_loss(std::uint64_t mark) {
        Frame head{};
        head.key_hash = mark;
        head.kind = static_cast<std::uint16_t>(FrameKind::AcceptLoss);
        head.revision = ++revision;
        Batch batch;
        batch.add(head, {});
        append(batch, true);
    }
    /// Flips a byte of the payload of the first frame of batch `number`.
    void damage_payload(std::size_t number, std::size_t at = 4) {
        disk.bytes("journal.1")[starts[number] + sizeof(BatchHeader) + sizeof(Frame) + at] ^= 0x01;
    }
    void damage_head(std::size_t number) {
        disk.bytes("journal.1")[starts[number] + sizeof(BatchHeader) + 16] ^= 0x01;
    }

    MemoryDisk disk;
    std::unique_ptr<JournalWriter> journal;
    std::vector<std::uint64_t> starts;
    std::uint64_t revision = 0;
};

using Names = std::vector<std::string>;

/// Where two rotations overtake a reader between the header of its journal and the rest: the
/// newest snapshot has the inode number of the one it has read, and its journal has been emptied.
class OvertakingDisk final : public Disk {
  public:
    OvertakingDisk(MemoryDisk &disk, std::map<std::string, std::vector<std::uint8_t>> later)
        : disk_(disk), later_(std::move(later)) {}
    bool overtook = false;

    Result<std::vector<std::string>> list() override { return disk_.list(); }
    Result<std::unique_ptr<File>> open(const std::string &name, OpenMode mode) override {
        Result<std::unique_ptr<File>> file = disk_.open(name, mode);
        if (!file.ok() || overtook || !name.starts_with("journal."))
            return file;
        return std::unique_ptr<File>(new Journal(*this, name, std::move(*file)));
    }
    Result<std::unique_ptr<Replacement>> begin_replace(const std::string &name) override {
        return disk_.begin_replace(name);
    }
    Result<FileIdentity> identity(const std::string &name) override { return disk_.identity(name); }
    Status unlink(const std::string &name) override { return disk_.unlink(name); }
    Status keep_damaged(const std::string &name, const std::string &kept_name) override {
        return disk_.keep_damaged(name, kept_name);
    }
    Status sync_directory() override { return disk_.sync_directory(); }

  private:
    void overtake(const std::string &journal) {
        overtook = true;
        const std::shared_ptr<MemoryDisk::Content> read = disk_.contents.at(journal);
        const std::uint64_t inode = disk_.contents.at(snapshot_name)->inode;
        disk_.contents.clear();
        for (const auto &[name, bytes] : later_)
            disk_.add(name, bytes);
        disk_.contents.at(snapshot_name)->inode = inode;
        read->bytes.resize(header_block_bytes);
    }

    class Journal final : public File {
      public:
        Journal(OvertakingDisk &disk, std::string name, std::unique_ptr<File> file)
            : disk_(disk), name_(std::move(name)), file_(std::move(file)) {}
        Result<std::size_t> read(std::uint64_t offset, std::span<std::uint8_t> out) override {
            if (offset >= header_block_bytes && !disk_.overtook)
                disk_.overtake(name_);
            return file_->read(offset, out);
        }
        Status write(std::uint64_t offset, Bytes bytes) override {
            return file_->write(offset, bytes);
        }
        Status sync() override { return file_->sync(); }
        Status allocate(std::uint64_t offset, std::uint64_t length) override {
            return file_->allocate(offset, length);
        }
        Result<std::uint64_t> size() override { return file_->size(); }
        Result<std::uint64_t> allocated_bytes() override { return file_->allocated_bytes(); }
        Result<FileIdentity> identity() override { return file_->identity(); }
        Result<std::uint64_t> data_from(std::uint64_t offset) override {
            return file_->data_from(offset);
        }
        void discard() noexcept override { file_->discard(); }

      private:
        OvertakingDisk &disk_;
        std::string name_;
        std::unique_ptr<File> file_;
    };

    MemoryDisk &disk_;
    const std::map<std::string, std::vector<std::uint8_t>> later_;
};

} // namespace

class RecoveryTest : public QObject {
    Q_OBJECT

  private slots:
    void storeIsMadeWhereNothingHasBeen();
    void readerOvertakenByTwoRotationsReadsAgain();
    void interruptedCreationIsDoneAgain();
    void damagedPutMarksTheOlderValueUncertain();
    void damagedFirstPutIsGoneAndMarksNobody();
    void laterPutSettlesAnUncertainName();
    void recordsInARowWithoutHeadsAreAllUncertain();
    void damagedRemoveMarksWhatItLeftAlive();
    void damagedPruneMarksWhatItMayHaveLeftAlive();
    void pruneOfManyNamesIsOneTransaction();
    void damagedPartOfAPruneMarksWhatItMayHaveLeftAlive();
    void marksOutliveAnotherRecovery();
    void acceptedLossClearsMarks();
    void acceptanceDoesNotCoverWhatIsDamagedLater();
    void damageAfterAnAcceptedLossCountsAgain();
    void journalCutOffBetweenBatchesIsDamage();
    void unreadableHeaderIsDamage();
    void oneDamagedHeaderCopyLosesNothing();
    void unreadableHeaderWithoutSnapshotIsCorrupt();
    void secondRecoveryFindsNothingToMend();
    void tornTailIsZeroedBeforeAnythingIsAppended();
    void wholeHeadsInTheTailArePossiblyAcknowledged();
    void revisionsGoOn();
    void journalOfAKilledRotationIsDropped();
    void journalsOlderThanTheSnapshotAreIgnoredAndDropped();
    void gapInGenerationsIsDamage();
    void generationThatNoStoreReachesIsPassedOver();
    void headerThatCannotBeCountedOnIsDamage();
    void whatWasFoundOutlivesALayerCheckThatFails();
    void otherReferenceModeIsRefused();
    void readOnlyOpeningWritesNothing();
    void readOnlyRecoveryOfADamagedStoreWritesNothing();
    void readOnlyOpeningOfNothingIsNotFound();
    void failureAtAnyCallLosesNothing_data();
    void failureAtAnyCallLosesNothing();
};

void RecoveryTest::storeIsMadeWhereNothingHasBeen() {
    MemoryDisk disk;
    Index index;
    Result<Recovered> made = recover_store(disk, {}, index);
    QVERIFY(made.ok());
    QVERIFY(made->created);
    QVERIFY(disk.has("snapshot"));
    QVERIFY(disk.has("journal.1"));
    QCOMPARE(index.image_count(), std::uint64_t{0});
    Result<Recovered> again = recover_store(disk, {}, index);
    QVERIFY(again.ok());
    QVERIFY(!again->created);
    QVERIFY(again->damage.empty());
}

void RecoveryTest::readerOvertakenByTwoRotationsReadsAgain() {
    SampleStore store;
    store.put({{"a", "1"}});
    FileHeader header = store.journal->header();
    MemoryDisk later(store.disk.copy());
    std::vector<FramePtr> frames;
    std::vector<const Frame *> views;
    for (const char *name : {"a", "b"}) {
        frames.push_back(SampleImage{name, "2"}.frame(frames.size() + 2));
        views.push_back(frames.back().get());
    }
    header.generation = 3;
    header.first_revision = 3;
    header.salt ^= 1;
    bool left_behind = false, named = false;
    QVERIFY(JournalWriter::start(later, header, 0, &left_behind).ok());
    header.salt ^= 2;
    QVERIFY(write_snapshot(later, header, views, &named).ok());
    QVERIFY(drop_older_journals(later, 3).ok());

    OvertakingDisk disk(store.disk, later.copy());
    Index index;
    Result<Recovered> read = read_beside_writer(disk, {true, ReferenceMode::Opaque}, index);
    QVERIFY(read.ok());
    QVERIFY(disk.overtook);
    QCOMPARE(read->revision, std::uint64_t{3});
    QCOMPARE(images_in(index), (Images{{"a", "2"}, {"b", "2"}}));
}

void RecoveryTest::interruptedCreationIsDoneAgain() {
    for (std::size_t last = 0;; ++last) {
        MemoryDisk disk;
        std::size_t calls = 0;
        disk.before = [&](const std::string &, const std::string &) {
            return calls++ >= last ? failure(Code::Io, "gone") : Status{};
        };
        Index index;
        if (recover_store(disk, {}, index).ok())
            break;
        disk.before = nullptr;
        Index fresh;
        Result<Recovered> made = recover_store(disk, {}, fresh);
        QVERIFY2(made.ok(), QByteArray::number(static_cast<qulonglong>(last)));
        QVERIFY(!made->degraded);
        QVERIFY(made->journal != nullptr);
        QCOMPARE(fresh.image_count(), std::uint64_t{0});
    }
}

void RecoveryTest::damagedPutMarksTheOlderValueUncertain() {
    SampleStore store;
    store.put({{"a", "1"}});
    store.put({{"b", "1"}});
    store.put({{"a", "2"}});
    store.put({{"c", "1"}});
    store.damage_payload(2, 40);
    Index index;
    Result<Recovered> recovered = recover_store(store.disk, {}, index);
    QVERIFY(recovered.ok());
    QCOMPARE(images_in(index), (Images{{"a", "1"}, {"b", "1"}, {"c", "1"}}));
    QCOMPARE(marked_in(index, frame_flag_uncertain), Names{"a"});
    QCOMPARE(marked_in(index, frame_flag_resurrected), Names{});
    QVERIFY(recovered->degraded);
    QCOMPARE(recovered->damage.size(), std::size_t{1});
    QCOMPARE(recovered->damage[0].file, std::string("journal.1"));
    QCOMPARE(recovered->damage[0].offset, store.starts[2] + sizeof(BatchHeader));
    QVERIFY(recovered->damage[0].loses);
}

void RecoveryTest::damagedFirstPutIsGoneAndMarksNobody() {
    SampleStore store;
    store.put({{"a", "1"}});
    store.put({{"b", "1"}});
    store.put({{"c", "1"}});
    store.damage_payload(1, 40);
    Index index;
    Result<Recovered> recovered = recover_store(store.disk, {}, index);
    QVERIFY(recovered.ok());
    QCOMPARE(images_in(index), (Images{{"a", "1"}, {"c", "1"}}));
    QCOMPARE(marked_in(index, frame_flags_stored), Names{});
    QVERIFY(recovered->degraded);
}

void RecoveryTest::laterPutSettlesAnUncertainName() {
    SampleStore store;
    store.put({{"a", "1"}});
    store.put({{"a", "2"}});
    store.put({{"a", "3"}});
    store.damage_payload(1, 40);
    Index index;
    Result<Recovered> recovered = recover_store(store.disk, {}, index);
    QVERIFY(recovered.ok());
    QCOMPARE(images_in(index), (Images{{"a", "3"}}));
    QCOMPARE(marked_in(index, frame_flags_stored), Names{});
}

/// Were only the first of them looked at, the older values of the others would pass for the last.
void RecoveryTest::recordsInARowWithoutHeadsAreAllUncertain() {
    SampleStore store;
    store.put({{"a", "1"}, {"b", "1"}, {"c", "1"}});
    store.put({{"a", "2"}, {"b", "2"}});
    store.put({{"d", "1"}});
    const std::size_t first = store.starts[1] + sizeof(BatchHeader);
    std::vector<std::uint8_t> &journal = store.disk.bytes("journal.1");
    Frame head;
    std::memcpy(&head, journal.data() + first, sizeof head);
    journal[first + offsetof(Frame, payload_bytes)] ^= 0x40;
    journal[first + frame_bytes(head.payload_bytes) + offsetof(Frame, revision)] ^= 0x01;
    Index index;
    Result<Recovered> found = recover_store(store.disk, {}, index);
    QVERIFY(found.ok());
    QCOMPARE(images_in(index), (Images{{"a", "1"}, {"b", "1"}, {"c", "1"}, {"d", "1"}}));
    QCOMPARE(marked_in(index, frame_flag_uncertain), (Names{"a", "b"}));
    QCOMPARE(marked_in(index, frame_flag_resurrected), Names{});
    Names lost;
    for (const Damage &damage : found->damage)
        lost.insert(lost.end(), damage.lost_names.begin(), damage.lost_names.end());
    QCOMPARE(lost, (Names{"default a", "default b"}));
    QCOMPARE(found->revision, store.revision);
}

void RecoveryTest::damagedRemoveMarksWhatItLeftAlive() {
    SampleStore store;
    store.put({{"a", "1"}, {"b", "1"}});
    store.remove({"a"}, FrameKind::Remove);
    store.put({{"c", "1"}});
    store.damage_payload(1);
    Index index;
    Result<Recovered> recovered = recover_store(store.disk, {}, index);
    QVERIFY(recovered.ok());
    QCOMPARE(images_in(index), (Images{{"a", "1"}, {"b", "1"}, {"c", "1"}}));
    QCOMPARE(marked_in(index, frame_flag_resurrected), Names{"a"});
    QVERIFY(recovered->degraded);
}

void RecoveryTest::damagedPruneMarksWhatItMayHaveLeftAlive() {
    SampleStore store;
    store.put({{"a", "1"}, {"b", "1"}});
    store.remove({"a"}, FrameKind::Prune);
    store.put({{"c", "1"}});
    store.damage_payload(1);
    Index index;
    Result<Recovered> recovered = recover_store(store.disk, {}, index);
    QVERIFY(recovered.ok());
    QCOMPARE(marked_in(index, frame_flag_resurrected), (Names{"a", "b"}));
    QVERIFY(recovered->degraded);
}

/// Eight of nine images go, in frames that hold few names each. Returns where their batch starts.
static std::uint64_t prune_in_several_frames(SampleStore &store, Index &index) {
    std::vector<SampleImage> images;
    for (char name = 'a'; name <= 'i'; ++name)
        images.push_back({std::string(1, name), "1"});
    store.put(images);
    const Host host = quiet_host();
    Result<Recovered> recovered = recover_store(store.disk, {}, index);
    if (!recovered.ok())
        qFatal("%s", recovered.status().message.c_str());
    const std::uint64_t revision = recovered->revision;
    const std::uint64_t start = recovered->journal->offset();
    Committer committer(
        store.disk, index, [](std::function<void()>) {}, host,
        {limits::images_max_default, limits::journal_bytes_default, 200}, std::move(*recovered));
    std::vector<Submission> arrivals(1);
    arrivals[0].verb = Verb::Prune;
    arrivals[0].operation = std::make_shared<Operation>();
    arrivals[0].keep.references = {"i"};
    const OperationPtr operation = arrivals[0].operation;
    committer.commit_round(arrivals);
    if (!operation->outcome().status.ok() || operation->outcome().revision != revision + 1)
        qFatal("the prune failed, or took more than one revision");
    return start;
}

static BatchHeader batch_header_at(MemoryDisk &disk, std::uint64_t offset) {
    BatchHeader header;
    std::memcpy(&header, disk.bytes("journal.1").data() + offset, sizeof header);
    return header;
}

/// Cut anywhere, it is as if it had never been.
void RecoveryTest::pruneOfManyNamesIsOneTransaction() {
    SampleStore store;
    Index pruned;
    const std::uint64_t start = prune_in_several_frames(store, pruned);
    QCOMPARE(images_in(pruned), (Images{{"i", "1"}}));
    const BatchHeader header = batch_header_at(store.disk, start);
    QVERIFY(header.frame_count >= 3);
    QCOMPARE(header.first_revision, header.last_revision);
    const std::vector<std::uint8_t> whole = store.disk.bytes("journal.1");
    const std::uint64_t end = start + sizeof header + header.body_bytes;
    for (std::uint64_t cut = start; cut <= end; cut += 8) {
        std::vector<std::uint8_t> &bytes = store.disk.bytes("journal.1");
        bytes = whole;
        std::fill(bytes.begin() + static_cast<std::ptrdiff_t>(cut), bytes.end(), std::uint8_t{0});
        Index index;
        Result<Recovered> recovered = recover_store(store.disk, {true, {}}, index);
        QVERIFY(recovered.ok());
        QVERIFY(!recovered->degraded && marked_in(index, frame_flags_stored).empty());
        QCOMPARE(images_in(index).size(), std::size_t(cut == end ? 1 : 9));
    }
}

void RecoveryTest::damagedPartOfAPruneMarksWhatItMayHaveLeftAlive() {
    SampleStore store;
    Index pruned;
    const std::uint64_t start = prune_in_several_frames(store, pruned);
    // A batch behind it: damage, and no torn end.
    store.journal = nullptr;
    {
        Index index;
        Result<Recovered> recovered = recover_store(store.disk, {}, index);
        QVERIFY(recovered.ok());
        Batch batch;
        const FramePtr frame = SampleImage{"z", "1"}.frame(recovered->revision + 1);
        batch.add(*frame, frame->payload_span());
        QVERIFY(recovered->journal->append(batch, 0, false).ok());
    }
    store.disk.bytes("journal.1")[start + sizeof(BatchHeader) + sizeof(Frame) + 4] ^= 0x01;
    Index index;
    Result<Recovered> recovered = recover_store(store.disk, {}, index);
    QVERIFY(recovered.ok());
    QVERIFY(recovered->degraded);
    const Images left = images_in(index);
    QVERIFY(left.size() > 2 && left.size() < 10 && left.contains("i") && left.contains("z"));
    // All that the damaged frame may have named, and what is certain not to be among them not.
    QCOMPARE(marked_in(index, frame_flag_resurrected).size(), left.size() - 1);
    QVERIFY(marked_in(index, frame_flag_uncertain).empty());
}

void RecoveryTest::marksOutliveAnotherRecovery() {
    SampleStore store;
    store.put({{"a", "1"}, {"b", "1"}});
    store.put({{"a", "2"}});
    store.remove({"b"}, FrameKind::Remove);
    store.put({{"c", "1"}});
    store.damage_payload(1, 40);
    store.damage_payload(2);
    for (int round = 0; round < 3; ++round) {
        Index index;
        Result<Recovered> recovered = recover_store(store.disk, {}, index);
        QVERIFY(recovered.ok());
        QVERIFY(recovered->degraded);
        QCOMPARE(marked_in(index, frame_flag_uncertain), Names{"a"});
        QCOMPARE(marked_in(index, frame_flag_resurrected), Names{"b"});
    }
}

void RecoveryTest::acceptedLossClearsMarks() {
    SampleStore store;
    store.put({{"a", "1"}});
    store.put({{"a", "2"}});
    store.put({{"b", "1"}});
    store.damage_payload(1, 40);
    Index seen;
    Result<Recovered> damaged =
        recover_store(store.disk, {.read_only = true, .references = {}}, seen);
    QVERIFY(damaged.ok());
    QVERIFY(damaged->degraded);
    store.accept_loss(damaged->loss_mark);
    Index index;
    Result<Recovered> recovered = recover_store(store.disk, {}, index);
    QVERIFY(recovered.ok());
    QVERIFY(!recovered->degraded);
    QVERIFY(!recovered->damage.empty());
    QCOMPARE(marked_in(index, frame_flags_stored), Names{});
}

void RecoveryTest::acceptanceDoesNotCoverWhatIsDamagedLater() {
    SampleStore store;
    store.put({{"a", "1"}});
    store.put({{"a", "2"}});
    store.accept_loss(0);
    store.damage_payload(1, 40);
    Index index;
    Result<Recovered> recovered = recover_store(store.disk, {}, index);
    QVERIFY(recovered.ok());
    QVERIFY(recovered->degraded);
    QCOMPARE(marked_in(index, frame_flag_uncertain), Names{"a"});
}

void RecoveryTest::damageAfterAnAcceptedLossCountsAgain() {
    SampleStore store;
    store.put({{"a", "1"}});
    store.accept_loss(0);
    store.put({{"a", "2"}});
    store.put({{"b", "1"}});
    store.damage_payload(2, 40);
    Index index;
    Result<Recovered> recovered = recover_store(store.disk, {}, index);
    QVERIFY(recovered.ok());
    QVERIFY(recovered->degraded);
    QCOMPARE(marked_in(index, frame_flag_uncertain), Names{"a"});
}

void RecoveryTest::journalCutOffBetweenBatchesIsDamage() {
    SampleStore store;
    store.put({{"a", "1"}});
    store.put({{"a", "2"}});
    store.disk.bytes("journal.1").resize(store.starts[1]);
    Index index;
    Result<Recovered> recovered = recover_store(store.disk, {}, index);
    QVERIFY(recovered.ok());
    QVERIFY2(recovered->degraded, "a file that lost its end passed for a whole one");
    QCOMPARE(recovered->damage[0].offset, std::uint64_t{store.starts[1]});
    QCOMPARE(marked_in(index, frame_flag_uncertain), Names{"a"});
}

void RecoveryTest::unreadableHeaderIsDamage() {
    SampleStore store;
    store.put({{"a", "1"}});
    store.disk.bytes("journal.1")[20] ^= 1;
    store.disk.bytes("journal.1")[header_copy_offset + 20] ^= 1;
    Index index;
    Result<Recovered> recovered = recover_store(store.disk, {}, index);
    QVERIFY(recovered.ok());
    QVERIFY(recovered->degraded);
    QCOMPARE(recovered->damage[0].file, std::string("journal.1"));
    QCOMPARE(store.disk.kept.size(), std::size_t{1});
    QVERIFY(recovered->journal != nullptr);
}

void RecoveryTest::oneDamagedHeaderCopyLosesNothing() {
    for (const std::size_t offset : {std::size_t{20}, header_copy_offset + 20}) {
        SampleStore store;
        store.put({{"a", "1"}});
        store.disk.bytes("journal.1")[offset] ^= 1;
        Index index;
        Result<Recovered> recovered = recover_store(store.disk, {}, index);
        QVERIFY(recovered.ok());
        QVERIFY(!recovered->degraded);
        QCOMPARE(recovered->damage.size(), std::size_t{1});
        QCOMPARE(images_in(index), (Images{{"a", "1"}}));
    }
}

void RecoveryTest::unreadableHeaderWithoutSnapshotIsCorrupt() {
    SampleStore store;
    store.put({{"a", "1"}});
    store.disk.contents.erase("snapshot");
    std::fill_n(store.disk.bytes("journal.1").begin(), header_block_bytes, std::uint8_t{0});
    const auto before = store.disk.copy();
    Index index;
    Result<Recovered> recovered = recover_store(store.disk, {}, index);
    QVERIFY(!recovered.ok());
    QCOMPARE(recovered.status().code, Code::Corrupt);
    QCOMPARE(store.disk.copy(), before);
}

void RecoveryTest::secondRecoveryFindsNothingToMend() {
    SampleStore store;
    store.put({{"a", "1"}});
    store.put({{"b", "1"}});
    store.put({{"c", "1"}});
    store.damage_head(1);
    Index first, second;
    QVERIFY(recover_store(store.disk, {}, first).ok());
    const auto before = store.disk.copy();
    Result<Recovered> again = recover_store(store.disk, {}, second);
    QVERIFY(again.ok());
    QVERIFY(again->damage.empty());
    QVERIFY(again->degraded);
    QCOMPARE(again->dropped_tail_bytes, std::uint64_t{0});
    QCOMPARE(images_in(second), images_in(first));
    QCOMPARE(store.disk.copy(), before);
}

void RecoveryTest::tornTailIsZeroedBeforeAnythingIsAppended() {
    SampleStore store;
    store.put({{"a", "1"}});
    store.put({{"b", std::string(3000, 'x')}});
    store.put({{"b", std::string(3000, 'y')}, {"c", std::string(3000, 'y')}});
    std::vector<std::uint8_t> &bytes = store.disk.bytes("journal.1");
    bytes[bytes.size() - 200] ^= 1;
    const std::uint64_t end = store.starts[2];
    Index index;
    Result<Recovered> recovered = recover_store(store.disk, {}, index);
    QVERIFY(recovered.ok());
    QVERIFY(recovered->dropped_tail_bytes > 6000);
    QVERIFY(recovered->damage.empty());
    QVERIFY(!recovered->degraded);
    // Behind the mark that all before it is durable.
    const std::uint64_t marked = end + sizeof(BatchHeader) + sizeof(Frame);
    QCOMPARE(recovered->journal->offset(), marked);
    for (std::size_t at = marked; at < bytes.size(); ++at)
        QVERIFY(bytes[at] == 0);
    Batch batch;
    const FramePtr frame = SampleImage{"d", "1"}.frame(recovered->revision + 1);
    batch.add(*frame, frame->payload_span());
    QVERIFY(recovered->journal->append(batch, 0, false).ok());
    Index later;
    Result<Recovered> again = recover_store(store.disk, {}, later);
    QVERIFY(again.ok());
    QCOMPARE(images_in(later), (Images{{"a", "1"}, {"b", std::string(3000, 'x')}, {"d", "1"}}));
    QCOMPARE(again->dropped_tail_bytes, std::uint64_t{0});
    QVERIFY(again->damage.empty());
}

void RecoveryTest::wholeHeadsInTheTailArePossiblyAcknowledged() {
    SampleStore store;
    store.put({{"a", "1"}});
    store.put({{"b", "1"}, {"c", "1"}, {"d", "1"}});
    std::vector<std::uint8_t> &bytes = store.disk.bytes("journal.1");
    bytes[store.starts[1] + sizeof(BatchHeader) + sizeof(Frame) + 30] ^= 1; // Payload of "b".
    Index index;
    Result<Recovered> recovered = recover_store(store.disk, {}, index);
    QVERIFY(recovered.ok());
    QCOMPARE(recovered->possibly_acknowledged, std::uint64_t{3});
    QCOMPARE(images_in(index), (Images{{"a", "1"}}));
}

void RecoveryTest::revisionsGoOn() {
    ScratchStore store;
    QVERIFY(store.open().ok());
    const std::uint64_t first = store.put({"a", "1"})->revision;
    QCOMPARE(store.remove("a")->revision, first + 1);
    QCOMPARE(store.remove("a")->revision, std::uint64_t{0}); // Nothing happened.
    QVERIFY(store.open().ok());
    QCOMPARE(store.put({"b", "1"})->revision, first + 2);
    QCOMPARE(store.prune()->revision, first + 3);
    QVERIFY(store.open().ok());
    QCOMPARE(store.put({"b", "1"})->revision, first + 4);
}

void RecoveryTest::journalOfAKilledRotationIsDropped() {
    for (const std::size_t length : {std::size_t{0}, std::size_t{100}, std::size_t{65536}}) {
        SampleStore store;
        store.put({{"a", "1"}});
        store.disk.add("journal.2", std::vector<std::uint8_t>(length, 0));
        Index index;
        Result<Recovered> recovered = recover_store(store.disk, {}, index);
        QVERIFY(recovered.ok());
        QVERIFY(recovered->damage.empty());
        QCOMPARE(images_in(index), (Images{{"a", "1"}}));
        QVERIFY(!store.disk.has("journal.2"));
        QCOMPARE(recovered->generation, std::uint64_t{1});
    }
}

void RecoveryTest::journalsOlderThanTheSnapshotAreIgnoredAndDropped() {
    ScratchStore store;
    store.settings.journal_bytes = 16 << 10;
    QVERIFY(store.open().ok());
    QVERIFY(store.put({"early", "1"})->status.ok());
    QVERIFY(store.remove("early")->existed);
    const QByteArray old = file_bytes(store.path("journal.1"));
    for (int i = 0; i < 200 && store.stats()["snapshots"].toDouble() == 0; ++i)
        QVERIFY(store.put({"filler", std::string(3000, 'f')})->status.ok());
    store.close();
    QVERIFY(!QFile::exists(store.path("journal.1")));
    QVERIFY(write_file(store.path("journal.1"), old)); // As if its removal had been cut.
    QVERIFY(store.open().ok());
    QVERIFY(store.report["damage"].toArray().isEmpty());
    QVERIFY(!store.images().contains("early"));
    QVERIFY(!QFile::exists(store.path("journal.1")));
}

void RecoveryTest::gapInGenerationsIsDamage() {
    SampleStore store;
    store.put({{"a", "1"}});
    FileHeader header = store.journal->header();
    header.generation = 3;
    header.first_revision = 4;
    header.salt = 99;
    bool left_behind = false;
    Result<std::unique_ptr<JournalWriter>> third =
        JournalWriter::start(store.disk, header, 0, &left_behind);
    QVERIFY(third.ok());
    Batch batch;
    const FramePtr frame = SampleImage{"z", "1"}.frame(5);
    batch.add(*frame, frame->payload_span());
    QVERIFY((*third)->append(batch, 0, false).ok());
    Index index;
    Result<Recovered> recovered = recover_store(store.disk, {}, index);
    QVERIFY(recovered.ok());
    QVERIFY(recovered->degraded);
    QCOMPARE(recovered->damage[0].file, std::string("journal.2"));
    QCOMPARE(images_in(index), (Images{{"a", "1"}, {"z", "1"}}));
    QCOMPARE(marked_in(index, frame_flag_uncertain), Names{"a"});
    QCOMPARE(recovered->revision, std::uint64_t{5});
}

/// The next generation would be 0, which no later recovery finds.
void RecoveryTest::generationThatNoStoreReachesIsPassedOver() {
    SampleStore store;
    store.put({{"a", "1"}});
    store.disk.add("journal.18446744073709551615", {1, 2, 3});
    for (int round = 0; round < 3; ++round) {
        Index index;
        Result<Recovered> found = recover_store(store.disk, {}, index);
        QVERIFY2(found.ok(), found.ok() ? "" : found.status().message.c_str());
        QVERIFY(found->damage.empty());
        QCOMPARE(images_in(index), (Images{{"a", "1"}}));
    }
}

/// A header's checksum has no salt: whoever can write to the directory can seal one.
void RecoveryTest::headerThatCannotBeCountedOnIsDamage() {
    for (const bool is_generation : {true, false}) {
        SampleStore store;
        store.put({{"a", "1"}});
        bool copy_damaged = false;
        FileHeader header = *decode_header(FileKind::Snapshot, store.disk.bytes("snapshot"),
                                           "snapshot", &copy_damaged);
        (is_generation ? header.generation : header.first_revision) = ~std::uint64_t{0};
        const std::vector<std::uint8_t> block = encode_header(FileKind::Snapshot, header);
        std::copy(block.begin(), block.end(), store.disk.bytes("snapshot").begin());
        Index index;
        Result<Recovered> found = recover_store(store.disk, {}, index);
        QVERIFY(found.ok());
        QVERIFY(!found->damage.empty());
        QVERIFY(found->revision < limits::revision_max);
        QCOMPARE(images_in(index), (Images{{"a", "1"}}));
        Index again;
        QVERIFY(recover_store(store.disk, {}, again).value().damage.empty());
        QCOMPARE(images_in(again), (Images{{"a", "1"}}));
    }
}

/// The first of two recoveries writes the damage away and drops the tail, so the second finds none.
void RecoveryTest::whatWasFoundOutlivesALayerCheckThatFails() {
    QTemporaryDir layers;
    ScratchStore store;
    QVERIFY(store.open().ok());
    for (const char *name : {"a", "b", "c"})
        QVERIFY(store.put({name, "1"})->status.ok());
    store.close();
    QByteArray journal = file_bytes(store.path("journal.1"));
    const qsizetype first = journal.indexOf("WBF1");
    journal[journal.indexOf("WBF1", first + 1) + qsizetype(sizeof(Frame)) + 60] ^= 1;
    const qsizetype last = journal.lastIndexOf("WBF1") + qsizetype(sizeof(Frame));
    journal.replace(last, 8, "unended "); // Behind the last batch.
    QVERIFY(write_file(store.path("journal.1"), journal));

    QVERIFY(QFile::link("elsewhere", layers.path() + "/blobs"));
    store.settings.layers = LayerSettings{layers.path().toStdString(), LayerLayout::Oci};
    QVERIFY(!store.open().ok());
    QVERIFY(QFile::remove(layers.path() + "/blobs"));
    const ScratchStore::OutcomePtr again = ScratchStore::ended(store->recover());
    QVERIFY2(again->status.ok(), again->status.message.c_str());
    const QJsonObject report =
        QJsonDocument::fromJson(QByteArray::fromStdString(again->report_json)).object();
    QVERIFY(report["degraded"].toBool());
    QVERIFY2(!report["damage"].toArray().isEmpty(), "what was lost is not told any more");
    QCOMPARE(report["droppedTailBytes"].toInt(), 8);
}

void RecoveryTest::otherReferenceModeIsRefused() {
    ScratchStore store;
    QVERIFY(store.open().ok());
    QVERIFY(store.put({"a", "1"})->status.ok());
    store.settings.references = ReferenceMode::Mesos;
    QCOMPARE(store.open().code, Code::Mode);
    store.settings.references.reset();
    QVERIFY(store.open().ok());
    QCOMPARE(store.images(), (Images{{"a", "1"}}));
}

void RecoveryTest::readOnlyOpeningWritesNothing() {
    ScratchStore store;
    QVERIFY(store.open().ok());
    QVERIFY(store.put({"a", "1"})->status.ok());
    store.close();
    QVERIFY(write_file(store.path("snapshot.AbCdEf"), "left over"));
    QByteArray journal = file_bytes(store.path("journal.1"));
    journal[journal.size() - 9] = 'x'; // A tail.
    QVERIFY(write_file(store.path("journal.1"), journal));
    const auto before = store.files();
    store.settings.read_only = true;
    QVERIFY(store.open().ok());
    QCOMPARE(store.images(), (Images{{"a", "1"}}));
    QCOMPARE(store.put({"b", "1"})->status.code, Code::ReadOnly);
    QCOMPARE(store.prune()->status.code, Code::ReadOnly);
    QCOMPARE(store.remove("a")->status.code, Code::ReadOnly);
    QCOMPARE(store.accept_loss()->status.code, Code::ReadOnly);
    QVERIFY(ScratchStore::ended(store->refresh())->status.ok());
    QCOMPARE(store.report["droppedTailBytes"].toInt(), 0);
    store.close();
    QCOMPARE(store.files(), before);
}

void RecoveryTest::readOnlyRecoveryOfADamagedStoreWritesNothing() {
    SampleStore store;
    store.put({{"a", "1"}});
    store.put({{"a", "2"}});
    store.put({{"b", "1"}});
    store.damage_payload(1, 40);
    const auto before = store.disk.copy();
    const std::size_t changes = store.disk.changes;
    Index index;
    Result<Recovered> recovered = recover_store(store.disk, {true, std::nullopt}, index);
    QVERIFY(recovered.ok());
    QVERIFY(recovered->degraded);
    QVERIFY(recovered->journal == nullptr);
    QCOMPARE(store.disk.copy(), before);
    QCOMPARE(store.disk.changes, changes);
    QVERIFY(store.disk.kept.empty());
}

void RecoveryTest::readOnlyOpeningOfNothingIsNotFound() {
    MemoryDisk disk;
    Index index;
    Result<Recovered> recovered = recover_store(disk, {true, std::nullopt}, index);
    QVERIFY(!recovered.ok());
    QCOMPARE(recovered.status().code, Code::NotFound);
    QCOMPARE(disk.changes, std::size_t{0});
}

void RecoveryTest::failureAtAnyCallLosesNothing_data() {
    QTest::addColumn<bool>("forGood");
    QTest::newRow("one call fails") << false;
    QTest::newRow("all that follow fail too") << true;
}

/// Recovery of a damaged store writes it anew. Whichever call fails meanwhile, what is put by a
/// store that recovery let open is there after the next recovery.
void RecoveryTest::failureAtAnyCallLosesNothing() {
    QFETCH(const bool, forGood);
    for (std::size_t failing = 0;; ++failing) {
        SampleStore store;
        store.put({{"a", "1"}});
        store.put({{"b", "1"}});
        store.put({{"c", "1"}});
        store.damage_payload(1, 40);
        std::size_t calls = 0;
        bool hit = false;
        store.disk.before = [&](const std::string &, const std::string &) {
            const bool fails = forGood ? calls >= failing : calls == failing;
            ++calls;
            hit = hit || fails;
            return fails ? failure(Code::Io, "failed") : Status{};
        };
        Index index;
        Result<Recovered> recovered = recover_store(store.disk, {}, index);
        store.disk.before = nullptr;
        Images expected{{"a", "1"}, {"c", "1"}};
        if (recovered.ok()) {
            QVERIFY(recovered->journal != nullptr);
            Batch batch;
            const FramePtr frame = SampleImage{"d", "1"}.frame(recovered->revision + 1);
            batch.add(*frame, frame->payload_span());
            QVERIFY(recovered->journal->append(batch, 0, false).ok());
            expected["d"] = "1";
            recovered->journal.reset();
        }
        Index later;
        Result<Recovered> again = recover_store(store.disk, {}, later);
        const QByteArray place = "call " + QByteArray::number(static_cast<qulonglong>(failing));
        QVERIFY2(again.ok(), place);
        QVERIFY2(images_in(later) == expected, place);
        QVERIFY2(again->degraded, place);
        QVERIFY2(!store.disk.kept.empty(), place);
        if (!hit)
            break;
    }
}

QTEST_APPLESS_MAIN(RecoveryTest)
#include "recovery_test.moc"
