// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors
#include "plugin/layer_directory.h"

#include "plugin/digest.h"

#include <QDir>
#include <QFile>
#include <QTemporaryDir>
#include <QtTest>

#include <cerrno>
#include <dirent.h>
#include <dlfcn.h>
#include <string>
#include <sys/stat.h>
#include <unistd.h>

using namespace waybill;

/// What a file system does that keeps no kinds in its directories; and what looking at an entry
/// answers there, if it fails.
static bool kinds_are_unknown = false;
static int stat_errno = 0;

template <typename Call> static Call next_definition(const char *name) {
    return reinterpret_cast<Call>(::dlsym(RTLD_NEXT, name));
}

extern "C" dirent *readdir(DIR *directory) {
    static const auto real = next_definition<dirent *(*)(DIR *)>("readdir");
    dirent *found = real(directory);
    if (found && kinds_are_unknown)
        found->d_type = DT_UNKNOWN;
    return found;
}

extern "C" int fstatat(int directory, const char *name, struct stat *found, int flags) noexcept {
    static const auto real =
        next_definition<int (*)(int, const char *, struct stat *, int)>("fstatat");
    if (kinds_are_unknown && stat_errno != 0) {
        errno = stat_errno;
        return -1;
    }
    return real(directory, name, found, flags);
}

static const std::string digest_hex(64, 'a');
static const std::string digest = "sha256:" + digest_hex;

class LayerDirectoryTest : public QObject {
    Q_OBJECT

  private slots:
    void init();
    void missingRootIsEmpty();
    void rootThatIsAFileIsAnError();
    void mesosLayerNeedsARootfs();
    void mesosConfigIsAPlainFile();
    void ociBlobsAreFound_data();
    void ociBlobsAreFound();
    void ociNamesThatAreNoDigestDoNotCount();
    void symlinkedEntriesDoNotCount();
    void symlinkedDirectoryIsAnError();
    void rootMayBeReachedThroughASymlink();
    void unreadableDirectoryIsAnError();
    void entryThatCannotBeLookedAtIsAnError_data();
    void entryThatCannotBeLookedAtIsAnError();

  private:
    std::string path(const std::string &below) const {
        return directory_->path().toStdString() + "/" + below;
    }
    void make_directory(const std::string &below) {
        QVERIFY(QDir().mkpath(QString::fromStdString(path(below))));
    }
    void make_file(const std::string &below) {
        QFile file(QString::fromStdString(path(below)));
        QVERIFY(file.open(QIODevice::WriteOnly));
    }
    Result<LayerDirectory> list(LayerLayout layout, const std::string &below = "store") {
        return LayerDirectory::list({path(below), layout});
    }
    static bool has_layer(const Result<LayerDirectory> &listed, const std::string &id) {
        return listed.value().has_layer(parse_layer_id(id).value().span());
    }
    static bool has_config(const Result<LayerDirectory> &listed, const std::string &text) {
        return listed.value().has_config(parse_digest(text).value().span());
    }

    std::unique_ptr<QTemporaryDir> directory_;
};

void LayerDirectoryTest::init() {
    directory_ = std::make_unique<QTemporaryDir>();
    QVERIFY(directory_->isValid());
    kinds_are_unknown = false;
    stat_errno = 0;
}

void LayerDirectoryTest::missingRootIsEmpty() {
    for (const LayerLayout layout : {LayerLayout::Mesos, LayerLayout::Oci}) {
        const auto listed = list(layout);
        QVERIFY(listed.ok());
        QVERIFY(!has_layer(listed, digest));
        QVERIFY(!has_config(listed, digest));
    }
    make_directory("store");
    QVERIFY(list(LayerLayout::Mesos).ok());
    QVERIFY(list(LayerLayout::Oci).ok());
}

void LayerDirectoryTest::rootThatIsAFileIsAnError() {
    make_file("store");
    const auto listed = list(LayerLayout::Oci);
    QVERIFY(!listed.ok());
    QVERIFY(listed.status().code == Code::Io);
    QCOMPARE(listed.status().sys_errno, ENOTDIR);
}

void LayerDirectoryTest::mesosLayerNeedsARootfs() {
    make_directory("store/layers/whole/rootfs");
    make_directory("store/layers/overlay/rootfs.overlay");
    make_directory("store/layers/bare");
    make_directory("store/layers/other/root");
    make_directory("store/layers/file");
    make_file("store/layers/file/rootfs");
    make_directory("store/layers/" + digest + "/rootfs");
    const auto listed = list(LayerLayout::Mesos);
    QVERIFY(listed.ok());
    QVERIFY(has_layer(listed, "whole"));
    QVERIFY(has_layer(listed, "overlay"));
    QVERIFY(has_layer(listed, digest));
    QVERIFY(!has_layer(listed, "bare"));
    QVERIFY(!has_layer(listed, "other"));
    QVERIFY(!has_layer(listed, "file"));
    QVERIFY(!has_config(listed, digest));
}

void LayerDirectoryTest::mesosConfigIsAPlainFile() {
    make_directory("store/layers");
    make_file("store/layers/" + digest);
    make_file("store/layers/readme");
    const auto listed = list(LayerLayout::Mesos);
    QVERIFY(listed.ok());
    QVERIFY(has_config(listed, digest));
    QVERIFY(!has_layer(listed, digest));
    QVERIFY(!has_layer(listed, "readme"));
}

void LayerDirectoryTest::ociBlobsAreFound_data() {
    QTest::addColumn<std::string>("algorithm");
    QTest::addColumn<int>("digits");
    QTest::newRow("sha256") << std::string("sha256") << 64;
    QTest::newRow("sha384") << std::string("sha384") << 96;
    QTest::newRow("sha512") << std::string("sha512") << 128;
}

void LayerDirectoryTest::ociBlobsAreFound() {
    QFETCH(std::string, algorithm);
    QFETCH(int, digits);
    const std::string hex(static_cast<std::size_t>(digits), '7');
    make_directory("store/blobs/" + algorithm);
    make_file("store/blobs/" + algorithm + "/" + hex);
    const auto listed = list(LayerLayout::Oci);
    QVERIFY(listed.ok());
    QVERIFY(has_layer(listed, algorithm + ":" + hex));
    QVERIFY(has_config(listed, algorithm + ":" + hex));
    QVERIFY(!has_layer(listed, digest));
}

void LayerDirectoryTest::ociNamesThatAreNoDigestDoNotCount() {
    make_directory("store/blobs/sha256/" + digest_hex);
    make_file("store/blobs/sha256/" + std::string(64, 'B'));
    make_file("store/blobs/sha256/short");
    const auto listed = list(LayerLayout::Oci);
    QVERIFY(listed.ok());
    QVERIFY(!has_layer(listed, digest));
    QVERIFY(!has_layer(listed, "short"));
}

void LayerDirectoryTest::symlinkedEntriesDoNotCount() {
    make_directory("elsewhere/rootfs");
    make_file("blob");
    make_directory("store/layers/half");
    make_directory("store/blobs/sha256");
    QCOMPARE(::symlink(path("elsewhere").c_str(), path("store/layers/linked").c_str()), 0);
    QCOMPARE(::symlink(path("elsewhere/rootfs").c_str(), path("store/layers/half/rootfs").c_str()),
             0);
    QCOMPARE(::symlink(path("blob").c_str(), path("store/layers/" + digest).c_str()), 0);
    QCOMPARE(::symlink(path("blob").c_str(), path("store/blobs/sha256/" + digest_hex).c_str()), 0);
    const auto mesos = list(LayerLayout::Mesos);
    QVERIFY(mesos.ok());
    QVERIFY(!has_layer(mesos, "linked"));
    QVERIFY(!has_layer(mesos, "half"));
    QVERIFY(!has_config(mesos, digest));
    const auto oci = list(LayerLayout::Oci);
    QVERIFY(oci.ok());
    QVERIFY(!has_layer(oci, digest));
}

void LayerDirectoryTest::symlinkedDirectoryIsAnError() {
    make_directory("elsewhere/sha256");
    make_directory("store");
    QCOMPARE(::symlink(path("elsewhere").c_str(), path("store/blobs").c_str()), 0);
    QCOMPARE(::symlink(path("elsewhere").c_str(), path("store/layers").c_str()), 0);
    for (const LayerLayout layout : {LayerLayout::Mesos, LayerLayout::Oci}) {
        const auto listed = list(layout);
        QVERIFY(!listed.ok());
        QVERIFY(listed.status().code == Code::Symlink);
    }
}

void LayerDirectoryTest::rootMayBeReachedThroughASymlink() {
    make_directory("store/layers/whole/rootfs");
    QCOMPARE(::symlink("store", path("link").c_str()), 0);
    const auto listed = list(LayerLayout::Mesos, "link");
    QVERIFY(listed.ok());
    QVERIFY(has_layer(listed, "whole"));
}

void LayerDirectoryTest::unreadableDirectoryIsAnError() {
    make_directory("store/layers/closed");
    QCOMPARE(::chmod(path("store/layers/closed").c_str(), 0), 0);
    // Root may read everything, so it looks as somebody else.
    const bool is_root = ::geteuid() == 0;
    if (is_root)
        QCOMPARE(::seteuid(65534), 0);
    const auto listed = list(LayerLayout::Mesos);
    if (is_root)
        QCOMPARE(::seteuid(0), 0);
    QCOMPARE(::chmod(path("store/layers/closed").c_str(), 0700), 0);
    QVERIFY(!listed.ok());
    QVERIFY(listed.status().code == Code::Access);
}

void LayerDirectoryTest::entryThatCannotBeLookedAtIsAnError_data() {
    QTest::addColumn<int>("error");
    QTest::addColumn<bool>("is_listed");
    QTest::addRow("found") << 0 << true;
    QTest::addRow("vanished since it was listed") << ENOENT << true;
    QTest::addRow("the disk fails") << EIO << false;
    QTest::addRow("access denied") << EACCES << false;
}

/// Otherwise an image whose layers are all there would be marked as incomplete.
void LayerDirectoryTest::entryThatCannotBeLookedAtIsAnError() {
    QFETCH(const int, error);
    QFETCH(const bool, is_listed);
    make_directory("store/blobs/sha256");
    make_file("store/blobs/sha256/" + digest_hex);
    kinds_are_unknown = true;
    stat_errno = error;
    const auto listed = list(LayerLayout::Oci);
    kinds_are_unknown = false;
    QCOMPARE(listed.ok(), is_listed);
    if (is_listed)
        QCOMPARE(has_layer(listed, digest), error == 0);
    else
        QCOMPARE(listed.status().sys_errno, error);
}

QTEST_APPLESS_MAIN(LayerDirectoryTest)
#include "layer_directory_test.moc"
