// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors
#include "plugin/committer.h"

#include "memory_disk.h"
#include "store_fixture.h"

#include <QtTest>

#include <functional>
#include <string>
#include <utility>
#include <vector>

using namespace waybill;

namespace {

/// A writer on a MemoryDisk. Snapshots are written when the test says so.
struct Writer {
    explicit Writer(MemoryDisk &its_disk, const CommitterLimits &its_limits = {1000, 1u << 30})
        : disk(its_disk), limits(its_limits) {
        Result<Recovered> recovered = recover_store(disk, {false, ReferenceMode::Opaque}, index);
        if (!recovered.ok())
            qFatal("%s", recovered.status().message.c_str());
        not_mended = recovered->not_mended;
        degraded = recovered->degraded;
        committer.emplace(
            disk, index, [this](std::function<void()> job) { jobs.push_back(std::move(job)); },
            host, limits, std::move(*recovered));
    }
    ScratchStore::OutcomePtr commit(Submission submission) {
        std::vector<Submission> arrivals(1);
        auto operation = std::make_shared<Operation>();
        arrivals[0] = std::move(submission);
        arrivals[0].operation = operation;
        committer->commit_round(arrivals);
        return ScratchStore::ended(operation);
    }
    ScratchStore::OutcomePtr accept_loss() {
        Submission submission;
        submission.verb = Verb::AcceptLoss;
        return commit(std::move(submission));
    }
    void write_snapshots() {
        for (const auto &job : std::exchange(jobs, {}))
            job();
    }

    MemoryDisk &disk;
    Index index;
    Host host = quiet_host();
    CommitterLimits limits;
    std::string not_mended;
    bool degraded = false;
    std::vector<std::function<void()>> jobs;
    std::optional<Committer> committer;
};

PutImage put_image(const SampleImage &image) {
    Result<FramePtr> frame =
        encode_image(image.spec(), ReferenceMode::Opaque, limits::record_bytes_max_default);
    if (!frame.ok())
        qFatal("%s", frame.status().message.c_str());
    return {std::move(*frame), PutCondition::Any, 0};
}

Submission put(const SampleImage &image) {
    Submission submission;
    submission.images.push_back(put_image(image));
    return submission;
}

/// Fails every call of that name; the others work.
auto refusing(const std::string &refused) {
    return [refused](const std::string &call, const std::string &) {
        return call == refused ? failure(Code::NoSpace, call + " was refused") : Status{};
    };
}

/// A store of three images of which the second was lost to damage in `file`, and whose writer
/// could not mend that.
void make_damaged_store(MemoryDisk &disk, const std::string &file) {
    {
        Writer writer(disk);
        for (const char *name : {"a", "b", "c"})
            QVERIFY(writer.commit(put({name, "1"}))->status.ok());
        if (file == snapshot_name) {
            QVERIFY(writer.committer->rotate().ok());
            writer.write_snapshots();
        }
        writer.committer->close_journal();
    }
    std::vector<std::uint8_t> &bytes = disk.bytes(file);
    std::size_t found = 0;
    for (std::size_t at = header_block_bytes; at + sizeof(Frame) <= bytes.size(); at += 8) {
        Frame head;
        std::memcpy(&head, bytes.data() + at, sizeof head);
        if (head.magic == frame_magic && head.frame_kind() == FrameKind::Put && ++found == 2)
            bytes[at + sizeof head + 60] ^= 0x01;
    }
    QCOMPARE(found, std::size_t{3});
    disk.before = refusing("keep_damaged");
}

bool is_degraded(const MemoryDisk &disk) {
    MemoryDisk copy(disk.copy());
    Index index;
    Result<Recovered> recovered = recover_store(copy, {}, index);
    if (!recovered.ok())
        qFatal("%s", recovered.status().message.c_str());
    return recovered->degraded;
}

} // namespace

class CommitterTest : public QObject {
    Q_OBJECT

  private slots:
    void acceptanceOutlivesARestart_data();
    void acceptanceOutlivesARestart();
    void acceptanceDuringASnapshotOutlivesARestart_data();
    void acceptanceDuringASnapshotOutlivesARestart();
    void acceptanceDoesNotCoverTheSamePlaceOfTheNextSnapshot();
    void soundFileIsNotKeptAsDamaged();
    void refusedPutLeavesItsTimesToNobody();
    void putBeyondWhatRecoveryReadsIsRefused();
};

void CommitterTest::acceptanceOutlivesARestart_data() {
    QTest::addColumn<QString>("file");
    QTest::addColumn<bool>("rotates");
    for (const char *file : {"journal.1", "snapshot"})
        for (const bool rotates : {false, true})
            QTest::addRow("%s damaged, %s", file, rotates ? "written away" : "still there")
                << file << rotates;
}

/// Recovery could not mend; perhaps a rotation wrote the damage away later. The loss is accepted,
/// and the snapshot that would show that is never written.
void CommitterTest::acceptanceOutlivesARestart() {
    QFETCH(const QString, file);
    QFETCH(const bool, rotates);
    MemoryDisk disk;
    make_damaged_store(disk, file.toStdString());
    Writer writer(disk);
    QVERIFY(writer.degraded);
    QVERIFY(!writer.not_mended.empty());
    disk.before = nullptr;
    if (rotates) {
        QVERIFY(writer.committer->rotate().ok());
        writer.write_snapshots();
        QCOMPARE(writer.committer->stats().snapshot_failures, std::uint64_t{0});
    }
    QVERIFY(is_degraded(disk));
    disk.before = refusing("begin_replace");
    QVERIFY(writer.accept_loss()->status.ok());
    writer.write_snapshots();
    QVERIFY(!writer.committer->degraded());
    disk.before = nullptr;
    QVERIFY2(!is_degraded(disk), "a restart undid an acceptance that was acknowledged");
}

void CommitterTest::acceptanceDuringASnapshotOutlivesARestart_data() {
    QTest::addColumn<QString>("file");
    QTest::addColumn<bool>("finishes");
    for (const char *file : {"journal.1", "snapshot"})
        for (const bool finishes : {false, true})
            QTest::addRow("%s damaged, snapshot %s", file, finishes ? "finished" : "lost")
                << file << finishes;
}

/// The snapshot's header, decided before, says degraded.
void CommitterTest::acceptanceDuringASnapshotOutlivesARestart() {
    QFETCH(const QString, file);
    QFETCH(const bool, finishes);
    MemoryDisk disk;
    make_damaged_store(disk, file.toStdString());
    Writer writer(disk);
    disk.before = nullptr;
    QVERIFY(writer.committer->rotate().ok());
    QVERIFY(writer.accept_loss()->status.ok());
    if (finishes)
        writer.write_snapshots();
    QVERIFY2(!is_degraded(disk), "a restart undid an acceptance that was acknowledged");
}

/// All records of the sample are of one size: what the next snapshot loses may lie where the last
/// one did.
void CommitterTest::acceptanceDoesNotCoverTheSamePlaceOfTheNextSnapshot() {
    MemoryDisk disk;
    make_damaged_store(disk, snapshot_name);
    Writer writer(disk);
    disk.before = nullptr;
    QVERIFY(writer.commit(put({"b", "1"}))->status.ok());
    QVERIFY(writer.committer->rotate().ok());
    QVERIFY(writer.accept_loss()->status.ok());
    writer.write_snapshots();
    QVERIFY(!is_degraded(disk));
    MemoryDisk damaged(disk.copy());
    std::vector<std::uint8_t> &bytes = damaged.bytes(snapshot_name);
    std::size_t first = 0;
    for (std::size_t at = header_block_bytes; at + sizeof(Frame) <= bytes.size(); at += 8) {
        Frame head;
        std::memcpy(&head, bytes.data() + at, sizeof head);
        if (head.magic != frame_magic || head.frame_kind() != FrameKind::Put)
            continue;
        first = first == 0 ? at : first;
        MemoryDisk one(disk.copy());
        one.bytes(snapshot_name)[at + sizeof head + 60] ^= 0x01;
        QVERIFY2(is_degraded(one), "an acceptance covered damage that came after it");
    }
    QVERIFY(first != 0);
}

void CommitterTest::soundFileIsNotKeptAsDamaged() {
    MemoryDisk disk;
    make_damaged_store(disk, snapshot_name);
    Writer writer(disk);
    disk.before = refusing("unlink");
    QVERIFY(writer.committer->rotate().ok());
    writer.write_snapshots();
    QCOMPARE(writer.committer->stats().snapshot_failures, std::uint64_t{1});
    disk.before = nullptr;
    QCOMPARE(disk.kept.size(), std::size_t{1});
    QVERIFY(writer.commit(put({"d", "1"}))->status.ok());
    QVERIFY(writer.committer->rotate().ok());
    writer.write_snapshots();
    QVERIFY2(disk.kept.size() == 1, "the snapshot that replaced the damaged one was kept, too");
}

/// Both in one batch, for which there is no room: each is tried by itself then.
void CommitterTest::refusedPutLeavesItsTimesToNobody() {
    MemoryDisk disk;
    Writer writer(disk);
    disk.capacity = 0;
    for (const auto &[name, content] : disk.contents)
        disk.capacity += content->bytes.size();
    std::vector<Submission> arrivals(2);
    const std::string long_text(200'000, 'x');
    const SampleImage sample{"a", "large"};
    ImageSpec large = sample.spec();
    std::vector<std::string> keys;
    for (int i = 0; i < 60; ++i)
        keys.push_back(std::to_string(i));
    for (const std::string &key : keys)
        large.annotations.push_back({key, std::string_view(long_text).substr(0, 4000)});
    large.created_ns = 5;
    large.updated_ns = 6;
    Result<FramePtr> frame =
        encode_image(large, ReferenceMode::Opaque, limits::record_bytes_max_default);
    QVERIFY(frame.ok());
    arrivals[0].images.push_back({std::move(*frame), PutCondition::Any, 0});
    arrivals[1].images.push_back(put_image({"a", "1"}));
    std::vector<OperationPtr> operations;
    for (Submission &submission : arrivals)
        operations.push_back(submission.operation = std::make_shared<Operation>());
    writer.committer->commit_round(arrivals);
    QCOMPARE(operations[0]->outcome().status.code, Code::NoSpace);
    QVERIFY(operations[1]->outcome().status.ok());
    const Frame *stored = writer.index.find("default", "a");
    QVERIFY(stored);
    QVERIFY2(image_of(*stored)->created_ns() == writer.host.clock_ns(),
             "an image took over when another, which was refused, had been created");
    QCOMPARE(image_of(*stored)->updated_ns(), writer.host.clock_ns());
}

void CommitterTest::putBeyondWhatRecoveryReadsIsRefused() {
    MemoryDisk disk;
    Writer writer(disk, {.images_max = 1000, .journal_bytes = 1u << 30, .live_bytes = 2000});
    QVERIFY(writer.commit(put({"a", "1"}))->status.ok());
    const ScratchStore::OutcomePtr refused = writer.commit(put({"b", std::string(1500, 'b')}));
    QCOMPARE(refused->status.code, Code::Limit);
    QVERIFY(writer.commit(put({"c", "1"}))->status.ok());
    Index index;
    Result<Recovered> recovered = recover_store(disk, {}, index);
    QVERIFY(recovered.ok());
    QVERIFY(recovered->damage.empty());
    QCOMPARE(images_in(index), (Images{{"a", "1"}, {"c", "1"}}));
}

QTEST_APPLESS_MAIN(CommitterTest)
#include "committer_test.moc"
