// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors
//
// A reader that follows a writer: what it shows while it looks, and when it cannot.
#include "plugin/store.h"

#include "store_fixture.h"

#include <QtTest>

#include <atomic>
#include <filesystem>
#include <memory>
#include <string>

using namespace waybill;
namespace fs = std::filesystem;

namespace {

const std::string present_layer = numbered_digest(7);
const std::string missing_layer = numbered_digest(8);

/// A read-only store beside a ScratchStore.
struct Reader {
    Reader(const ScratchStore &beside, Host host, std::optional<LayerSettings> layers = {}) {
        Settings settings = beside.settings;
        settings.read_only = true;
        settings.layers = std::move(layers);
        Result<std::unique_ptr<Store>> opened = Store::open(settings, std::move(host));
        if (!opened.ok())
            qFatal("%s", opened.status().message.c_str());
        store = std::move(*opened);
        const Status recovered = ScratchStore::ended(store->recover())->status;
        if (!recovered.ok())
            qFatal("%s", recovered.message.c_str());
    }
    Status refresh() { return ScratchStore::ended(store->refresh())->status; }
    bool is_incomplete(const std::string &name) const {
        Result<ImagePin> image = store->get({}, name, true);
        if (!image.ok())
            qFatal("%s", image.status().message.c_str());
        return ((*image)->frame().flags_now() & frame_flag_incomplete) != 0;
    }
    std::string value(const std::string &name) const {
        Result<ImagePin> image = store->get({}, name, true);
        return image.ok() ? value_of((*image)->frame()) : std::string();
    }

    std::unique_ptr<Store> store;
};

Host host_that_misses(const std::string &missing) {
    Host host = quiet_host();
    host.layer_present = [missing](const char *id) {
        return id == missing ? Presence::Missing : Presence::Present;
    };
    return host;
}

} // namespace

class RefreshTest : public QObject {
    Q_OBJECT

  private slots:
    void incompleteImageStaysSoWhileARefreshLooks();
    void changedImageIsShownOnlyOnceItsLayersHaveBeenLookedAt();
    void failedRefreshChangesNothing();
    void imageThatBecameCompleteIsShownSo();
    void readerFollowsABackupThatWasPutBack();
    void putOfAnIncompleteImageLooksAtItsLayersAgain_data();
    void putOfAnIncompleteImageLooksAtItsLayersAgain();
    void putThatCannotLookKeepsTheMark();
    void refreshDoesNotMarkWhatWasPutMeanwhile();
};

void RefreshTest::incompleteImageStaysSoWhileARefreshLooks() {
    ScratchStore writer;
    QVERIFY(writer.open().ok());
    QVERIFY(writer.put({"a", "1", "default", missing_layer})->status.ok());
    const Reader *looking = nullptr;
    std::atomic<int> looks{0}, unmarked{0};
    Host host = host_that_misses(missing_layer);
    host.layer_present = [&, ask = host.layer_present](const char *id) {
        if (looking) {
            ++looks;
            unmarked += !looking->is_incomplete("a");
        }
        return ask(id);
    };
    Reader reader(writer, host);
    QVERIFY(reader.is_incomplete("a"));
    looking = &reader;
    QVERIFY(reader.refresh().ok());
    QVERIFY(looks > 0);
    QVERIFY2(unmarked == 0, "an image that lacks a layer passed for complete during a refresh");
    QVERIFY(reader.is_incomplete("a"));
}

void RefreshTest::changedImageIsShownOnlyOnceItsLayersHaveBeenLookedAt() {
    ScratchStore writer;
    QVERIFY(writer.open().ok());
    QVERIFY(writer.put({"a", "1", "default", present_layer})->status.ok());
    const Reader *looking = nullptr;
    std::atomic<int> wrong{0};
    Host host = host_that_misses(missing_layer);
    host.layer_present = [&, ask = host.layer_present](const char *id) {
        if (looking)
            wrong += looking->value("a") != "1";
        return ask(id);
    };
    Reader reader(writer, host);
    QVERIFY(writer.put({"a", "2", "default", missing_layer})->status.ok());
    looking = &reader;
    QVERIFY(reader.refresh().ok());
    QVERIFY2(wrong == 0, "an image was shown before its layers had been looked at");
    QCOMPARE(reader.value("a"), std::string("2"));
    QVERIFY(reader.is_incomplete("a"));
}

void RefreshTest::failedRefreshChangesNothing() {
    QTemporaryDir layers;
    const fs::path blobs = fs::path(layers.path().toStdString()) / "blobs" / "sha256";
    fs::create_directories(blobs);
    ScratchStore writer;
    QVERIFY(writer.open().ok());
    QVERIFY(writer.put({"a", "1", "default", missing_layer})->status.ok());
    Reader reader(writer, quiet_host(),
                  LayerSettings{layers.path().toStdString(), LayerLayout::Oci});
    QVERIFY(reader.is_incomplete("a"));
    QVERIFY(writer.put({"a", "2", "default", missing_layer})->status.ok());
    QVERIFY(writer.put({"b", "1", "default", missing_layer})->status.ok());
    fs::remove(blobs);
    fs::create_directory_symlink("elsewhere", blobs);
    QVERIFY(!reader.refresh().ok());
    QVERIFY2(reader.is_incomplete("a"), "a refresh that failed took the mark away");
    QCOMPARE(reader.value("a"), std::string("1"));
    QCOMPARE(reader.value("b"), std::string());
    fs::remove(blobs);
    fs::create_directories(blobs);
    QVERIFY(reader.refresh().ok());
    QCOMPARE(reader.value("a"), std::string("2"));
    QVERIFY(reader.is_incomplete("a"));
    QVERIFY(reader.is_incomplete("b"));
}

void RefreshTest::imageThatBecameCompleteIsShownSo() {
    ScratchStore writer;
    QVERIFY(writer.open().ok());
    QVERIFY(writer.put({"a", "1", "default", missing_layer})->status.ok());
    std::atomic<bool> is_there{false};
    Host host = quiet_host();
    host.layer_present = [&](const char *) {
        return is_there ? Presence::Present : Presence::Missing;
    };
    Reader reader(writer, host);
    QVERIFY(reader.is_incomplete("a"));
    is_there = true;
    QVERIFY(reader.refresh().ok());
    QVERIFY(!reader.is_incomplete("a"));
    is_there = false;
    QVERIFY(reader.refresh().ok());
    QVERIFY(reader.is_incomplete("a"));
}

/// Revisions are used again then, for something else.
void RefreshTest::readerFollowsABackupThatWasPutBack() {
    ScratchStore writer;
    QVERIFY(writer.open().ok());
    QVERIFY(writer.put({"a", "1"})->status.ok());
    writer.close();
    const fs::path root = writer.settings.root;
    QTemporaryDir elsewhere;
    const fs::path backup = fs::path(elsewhere.path().toStdString()) / "backup";
    fs::copy(root, backup, fs::copy_options::recursive);
    QVERIFY(writer.open().ok());
    const std::uint64_t revision = writer.put({"a", "2"})->revision;
    Reader reader(writer, quiet_host());
    QCOMPARE(reader.value("a"), std::string("2"));
    writer.close();

    for (const fs::directory_entry &entry : fs::directory_iterator(root))
        fs::remove_all(entry.path());
    fs::copy(backup, root, fs::copy_options::recursive);
    QVERIFY(writer.open().ok());
    QCOMPARE(writer.put({"a", "3"})->revision, revision);
    QVERIFY(reader.refresh().ok());
    QVERIFY2(reader.value("a") == "3", "a reader went on showing what the backup had undone");
}

void RefreshTest::putOfAnIncompleteImageLooksAtItsLayersAgain_data() {
    QTest::addColumn<bool>("came");
    QTest::addColumn<QString>("layer");
    QTest::addColumn<bool>("incomplete");
    const QString missing = QString::fromStdString(missing_layer);
    const QString other = QString::fromStdString(present_layer);
    QTest::newRow("another label, layer still missing") << false << missing << true;
    QTest::newRow("the layer was pulled") << true << missing << false;
    QTest::newRow("another layer in its place") << false << other << false;
}

/// A host that has pulled what was missing puts the image and looks at it: what it sees then must
/// be true.
void RefreshTest::putOfAnIncompleteImageLooksAtItsLayersAgain() {
    QFETCH(const bool, came);
    QFETCH(const QString, layer);
    QFETCH(const bool, incomplete);
    ScratchStore scratch;
    std::atomic<bool> is_there{false};
    std::atomic<int> asked{0};
    Host host = quiet_host();
    host.layer_present = [&](const char *id) {
        ++asked;
        return id == missing_layer && !is_there ? Presence::Missing : Presence::Present;
    };
    Result<std::unique_ptr<Store>> opened = Store::open(scratch.settings, host);
    QVERIFY(opened.ok());
    Store &store = **opened;
    QVERIFY(ScratchStore::ended(store.recover())->status.ok());
    const auto put = [&](const SampleImage &image) {
        return ScratchStore::ended(store.put({image.request()}))->status.ok();
    };
    const auto is_incomplete = [&](const std::string &name) {
        return (store.get({}, name, true).value()->frame().flags_now() & frame_flag_incomplete) !=
               0;
    };
    QVERIFY(put({"a", "1", "default", missing_layer}));
    QVERIFY(put({"other", "1", "default", present_layer}));
    QVERIFY(ScratchStore::ended(store.refresh())->status.ok());
    QVERIFY(is_incomplete("a"));
    is_there = came;
    asked = 0;
    QVERIFY(put({"other", "2", "default", present_layer}));
    QVERIFY2(asked == 0, "a put of a complete image looked at layers");
    QVERIFY(put({"a", "2", "default", layer.toStdString()}));
    QVERIFY2(is_incomplete("a") == incomplete,
             incomplete ? "a put took the mark away, and nobody had looked at the layers"
                        : "an image kept the mark although its layers are there");
    QVERIFY(!is_incomplete("other"));
}

void RefreshTest::putThatCannotLookKeepsTheMark() {
    QTemporaryDir layers;
    const fs::path blobs = fs::path(layers.path().toStdString()) / "blobs" / "sha256";
    fs::create_directories(blobs);
    ScratchStore store;
    store.settings.layers = LayerSettings{layers.path().toStdString(), LayerLayout::Oci};
    QVERIFY(store.open().ok());
    QVERIFY(store.put({"a", "1", "default", missing_layer})->status.ok());
    QVERIFY(ScratchStore::ended(store->refresh())->status.ok());
    fs::remove(blobs);
    fs::create_directory_symlink("elsewhere", blobs);
    QVERIFY2(store.put({"a", "2", "default", missing_layer})->status.ok(),
             "a put failed that was durable");
    QVERIFY(store->get({}, "a", true).value()->frame().flags_now() & frame_flag_incomplete);
}

/// The refresh has been told that the layer is missing; then it comes, and the image is put.
void RefreshTest::refreshDoesNotMarkWhatWasPutMeanwhile() {
    ScratchStore scratch;
    std::atomic<bool> is_there{false}, holds{false}, holding{false}, put_ended{false};
    Host host = quiet_host();
    host.layer_present = [&](const char *) {
        const Presence answer = is_there ? Presence::Present : Presence::Missing;
        if (holds.exchange(false)) {
            holding = true;
            holding.notify_one();
            put_ended.wait(false);
        }
        return answer;
    };
    Result<std::unique_ptr<Store>> opened = Store::open(scratch.settings, host);
    QVERIFY(opened.ok());
    Store &store = **opened;
    QVERIFY(ScratchStore::ended(store.recover())->status.ok());
    const SampleImage image{"a", "1", "default", missing_layer};
    const auto is_incomplete = [&] {
        return (store.get({}, "a", true).value()->frame().flags_now() & frame_flag_incomplete) != 0;
    };
    QVERIFY(ScratchStore::ended(store.put({image.request()}))->status.ok());
    QVERIFY(ScratchStore::ended(store.refresh())->status.ok());
    QVERIFY(is_incomplete());
    holds = true;
    const Result<OperationPtr> refresh = store.refresh();
    QVERIFY(refresh.ok());
    holding.wait(false);
    is_there = true;
    QVERIFY(ScratchStore::ended(store.put({image.request()}))->status.ok());
    const bool after_put = is_incomplete();
    put_ended = true;
    put_ended.notify_one();
    QVERIFY(ScratchStore::ended(refresh)->status.ok());
    QVERIFY(!after_put);
    QVERIFY2(!is_incomplete(), "a refresh marked an image by an answer older than its put");
}

QTEST_APPLESS_MAIN(RefreshTest)
#include "refresh_test.moc"
