// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors
#include "plugin/oci_layout.h"

#include "plugin/limits.h"
#include "plugin/rfc3339.h"

#include <QCryptographicHash>
#include <QDir>
#include <QFile>
#include <QJsonArray>
#include <QJsonDocument>
#include <QJsonObject>
#include <QTemporaryDir>
#include <QtTest>

#include <string>
#include <sys/stat.h>
#include <unistd.h>

using namespace waybill;

namespace {

const QString oci_index = QStringLiteral("application/vnd.oci.image.index.v1+json");
const QString oci_manifest = QStringLiteral("application/vnd.oci.image.manifest.v1+json");
const QString oci_config = QStringLiteral("application/vnd.oci.image.config.v1+json");
const QString oci_layer = QStringLiteral("application/vnd.oci.image.layer.v1.tar+gzip");
const QString docker_list =
    QStringLiteral("application/vnd.docker.distribution.manifest.list.v2+json");
const QString docker_manifest =
    QStringLiteral("application/vnd.docker.distribution.manifest.v2+json");
const QString docker_config = QStringLiteral("application/vnd.docker.container.image.v1+json");
const QString docker_layer = QStringLiteral("application/vnd.docker.image.rootfs.diff.tar.gzip");
const QString ref_name = QStringLiteral("org.opencontainers.image.ref.name");
const QString containerd_name = QStringLiteral("io.containerd.image.name");

QByteArray text(const QJsonObject &object) {
    return QJsonDocument(object).toJson(QJsonDocument::Compact);
}

std::string digest_of(const QJsonObject &descriptor) {
    return descriptor[QStringLiteral("digest")].toString().toStdString();
}

/// Writes a layout into a directory of its own, blob by blob.
class LayoutBuilder final {
  public:
    LayoutBuilder() {
        QDir(directory_.path()).mkpath(QStringLiteral("blobs/sha256"));
        write(QStringLiteral("oci-layout"), R"({"imageLayoutVersion": "1.0.0"})");
    }

    std::string path() const { return directory_.path().toStdString(); }

    QString blob_path(const QJsonObject &descriptor) const {
        return directory_.path() + QStringLiteral("/blobs/") +
               descriptor[QStringLiteral("digest")].toString().replace(QChar(u':'), QChar(u'/'));
    }

    void write(const QString &name, const QByteArray &bytes) const {
        QFile file(directory_.path() + QChar(u'/') + name);
        if (!file.open(QIODevice::WriteOnly) || file.write(bytes) != bytes.size())
            qFatal("the test directory cannot be written");
    }

    QJsonObject blob(const QByteArray &bytes, const QString &media_type) const {
        const QString hex = QString::fromLatin1(
            QCryptographicHash::hash(bytes, QCryptographicHash::Sha256).toHex());
        write(QStringLiteral("blobs/sha256/") + hex, bytes);
        QJsonObject descriptor{{QStringLiteral("digest"), QString(QStringLiteral("sha256:") + hex)},
                               {QStringLiteral("size"), bytes.size()}};
        if (!media_type.isEmpty())
            descriptor[QStringLiteral("mediaType")] = media_type;
        return descriptor;
    }

    QJsonObject config(const QString &architecture = QStringLiteral("amd64"),
                       const QString &media_type = oci_config) const {
        return blob(text({{QStringLiteral("os"), QStringLiteral("linux")},
                          {QStringLiteral("architecture"), architecture},
                          {QStringLiteral("created"), QStringLiteral("2024-02-29T12:00:00.5Z")}}),
                    media_type);
    }

    QJsonObject layer(const QByteArray &content, const QString &media_type = oci_layer) const {
        return blob(content, media_type);
    }

    QJsonObject manifest(const QJsonObject &config, const QJsonArray &layers,
                         const QString &media_type = oci_manifest) const {
        return blob(text({{QStringLiteral("schemaVersion"), 2},
                          {QStringLiteral("config"), config},
                          {QStringLiteral("layers"), layers}}),
                    media_type);
    }

    /// A manifest with a config and a layer of its own.
    QJsonObject image(const QString &architecture) const {
        QJsonObject descriptor = manifest(config(architecture), {layer(architecture.toUtf8())});
        descriptor[QStringLiteral("platform")] =
            QJsonObject{{QStringLiteral("os"), QStringLiteral("linux")},
                        {QStringLiteral("architecture"), architecture}};
        return descriptor;
    }

    QJsonObject index(const QJsonArray &manifests, const QString &media_type = oci_index) const {
        return blob(text(index_object(manifests)), media_type);
    }

    void write_index_json(const QJsonArray &entries) const {
        write(QStringLiteral("index.json"), text(index_object(entries)));
    }

    static QJsonObject index_object(const QJsonArray &manifests) {
        return {{QStringLiteral("schemaVersion"), 2}, {QStringLiteral("manifests"), manifests}};
    }

    static QJsonObject named(QJsonObject descriptor, const QString &name,
                             const QString &key = ref_name) {
        QJsonObject annotations = descriptor[QStringLiteral("annotations")].toObject();
        annotations[key] = name;
        descriptor[QStringLiteral("annotations")] = annotations;
        return descriptor;
    }

    void remove(const QJsonObject &descriptor) const { QFile::remove(blob_path(descriptor)); }

    /// One byte of the blob is changed, its size is not.
    void damage(const QJsonObject &descriptor) const {
        QFile file(blob_path(descriptor));
        if (!file.open(QIODevice::ReadWrite) || file.write("?") != 1)
            qFatal("the test directory cannot be written");
    }

  private:
    QTemporaryDir directory_;
};

const QString full_name = QStringLiteral("example.com/app:1");

} // namespace

class OciLayoutTest : public QObject {
    Q_OBJECT

  private slots:
    void singleImageIsReadWhole();
    void severalTagsAreSeveralImages();
    void dockerMediaTypesAreRead();
    void absentMediaTypesAreRecognisedByShape();
    void indexCollectsEveryPlatform();
    void partialIndexIsReadAsFarAsItGoes();
    void emptyPartialIndexIsNoBlob();
    void attestationLeavesThePlatformAlone();
    void nestedIndexIsFollowed();
    void deepNestingIsOverLimit();
    void repeatedLayersOfAManifestStay();
    void artifactHasNoPlatform();
    void descriptorsAnnotationsCountBeforeTheManifests_data();
    void descriptorsAnnotationsCountBeforeTheManifests();
    void missingBlobIsNoBlob_data();
    void missingBlobIsNoBlob();
    void undistributedLayerMayBeMissing();
    void damagedDocumentIsBadBlob_data();
    void damagedDocumentIsBadBlob();
    void wrongSizeIsBadBlob_data();
    void wrongSizeIsBadBlob();
    void symlinkedBlobIsRefused_data();
    void symlinkedBlobIsRefused();
    void fifoIsBadBlob();
    void malformedDescriptorIsBadBlob_data();
    void malformedDescriptorIsBadBlob();
    void oversizedDocumentIsOverLimit();
    void brokenDocumentIsBadBlob_data();
    void brokenDocumentIsBadBlob();
    void keyThatStandsTwiceIsBadBlob_data();
    void keyThatStandsTwiceIsBadBlob();
    void keyThatStandsTwiceWhereNobodyReadsIsPassedOver();
    void contradictoryMediaTypeIsBadBlob();
    void bareTagJoinsTheReference();
    void bareTagWithoutReferenceIsInvalid();
    void containerdNameWins();
    void onlyImageIsNamedOutright();
    void outrightNameNeedsOneImage();
    void foreignDigestInTheReferenceIsInvalid();
    void untaggedEntriesAreReported();
    void nothingTaggedIsNotFound();
    void unknownMediaTypeCountsAsUntagged();
    void sameTagForTwoImagesIsBadBlob();
    void sameTagForOneImageCountsOnce();
    void noLayoutIsNotFound();
    void unknownVersionIsFormat_data();
    void unknownVersionIsFormat();
    void timesAreReadToTheNanosecond_data();
    void timesAreReadToTheNanosecond();

  private:
    static void verify_failure(const Result<OciLayout> &layout, Code code,
                               const std::string &part) {
        QVERIFY(!layout.ok());
        QVERIFY2(layout.status().code == code, layout.status().message.c_str());
        QVERIFY2(layout.status().message.find(part) != std::string::npos,
                 layout.status().message.c_str());
    }
};

void OciLayoutTest::singleImageIsReadWhole() {
    const LayoutBuilder builder;
    const QJsonObject config = builder.config();
    const QJsonObject base = builder.layer("base"), top = builder.layer("top");
    const QJsonObject manifest = builder.manifest(config, {base, top});
    builder.write_index_json({LayoutBuilder::named(manifest, full_name)});
    const auto layout = read_oci_layout(builder.path(), {});
    QVERIFY2(layout.ok(), layout.ok() ? "" : layout.status().message.c_str());
    QCOMPARE(layout.value().images.size(), std::size_t(1));
    QVERIFY(layout.value().untagged.empty());
    const OciImage &image = layout.value().images[0];
    QCOMPARE(image.reference, full_name.toStdString());
    QCOMPARE(image.target_digest, digest_of(manifest));
    QCOMPARE(image.target_media_type, oci_manifest.toStdString());
    QCOMPARE(image.target_size_bytes, std::uint64_t(manifest[QStringLiteral("size")].toInteger()));
    QCOMPARE(image.config_digest, digest_of(config));
    QCOMPARE(image.layers.size(), std::size_t(2));
    QCOMPARE(image.layers[0].digest, digest_of(base));
    QCOMPARE(image.layers[0].media_type, oci_layer.toStdString());
    QCOMPARE(image.layers[0].size_bytes, std::uint64_t(4));
    QCOMPARE(image.layers[1].digest, digest_of(top));
    QCOMPARE(image.os, std::string("linux"));
    QCOMPARE(image.architecture, std::string("amd64"));
    QCOMPARE(image.created_ns, std::int64_t(1'709'208'000'500'000'000));
    QCOMPARE(image.annotations.size(), std::size_t(1));
    QCOMPARE(image.annotations[0].second, full_name.toStdString());
}

void OciLayoutTest::severalTagsAreSeveralImages() {
    const LayoutBuilder builder;
    const QJsonObject one = builder.image(QStringLiteral("amd64"));
    const QJsonObject two = builder.image(QStringLiteral("arm64"));
    builder.write_index_json({LayoutBuilder::named(one, QStringLiteral("example.com/app:1")),
                              LayoutBuilder::named(one, QStringLiteral("example.com/app:latest")),
                              LayoutBuilder::named(two, QStringLiteral("example.com/app:2"))});
    const auto layout = read_oci_layout(builder.path(), {});
    QVERIFY(layout.ok());
    QCOMPARE(layout.value().images.size(), std::size_t(3));
    QCOMPARE(layout.value().images[1].reference, std::string("example.com/app:latest"));
    QCOMPARE(layout.value().images[1].target_digest, digest_of(one));
    QCOMPARE(layout.value().images[2].architecture, std::string("arm64"));
}

void OciLayoutTest::dockerMediaTypesAreRead() {
    const LayoutBuilder builder;
    const QJsonObject manifest =
        builder.manifest(builder.config(QStringLiteral("s390x"), docker_config),
                         {builder.layer("layer", docker_layer)}, docker_manifest);
    builder.write_index_json(
        {LayoutBuilder::named(manifest, full_name),
         LayoutBuilder::named(builder.index({manifest}, docker_list), QStringLiteral("list:1"))});
    const auto layout = read_oci_layout(builder.path(), {});
    QVERIFY(layout.ok());
    QCOMPARE(layout.value().images.size(), std::size_t(2));
    for (const OciImage &image : layout.value().images) {
        QCOMPARE(image.architecture, std::string("s390x"));
        QCOMPARE(image.layers[0].media_type, docker_layer.toStdString());
    }
    QCOMPARE(layout.value().images[0].target_media_type, docker_manifest.toStdString());
    QCOMPARE(layout.value().images[1].target_media_type, docker_list.toStdString());
}

void OciLayoutTest::absentMediaTypesAreRecognisedByShape() {
    const LayoutBuilder builder;
    const QJsonObject manifest =
        builder.manifest(builder.config(QStringLiteral("amd64"), {}), {builder.layer("l", {})}, {});
    builder.write_index_json({LayoutBuilder::named(builder.index({manifest}, {}), full_name)});
    const auto layout = read_oci_layout(builder.path(), {});
    QVERIFY(layout.ok());
    QCOMPARE(layout.value().images[0].layers.size(), std::size_t(1));
    QCOMPARE(layout.value().images[0].architecture, std::string("amd64"));
}

void OciLayoutTest::indexCollectsEveryPlatform() {
    const LayoutBuilder builder;
    const QJsonObject shared = builder.layer("shared");
    const QJsonObject one =
        builder.manifest(builder.config(QStringLiteral("amd64")), {shared, builder.layer("1")});
    const QJsonObject two =
        builder.manifest(builder.config(QStringLiteral("arm64")), {shared, builder.layer("2")});
    const QJsonObject index = builder.index({one, two});
    builder.write_index_json({LayoutBuilder::named(index, full_name)});
    const auto layout = read_oci_layout(builder.path(), {});
    QVERIFY(layout.ok());
    const OciImage &image = layout.value().images[0];
    QCOMPARE(image.target_digest, digest_of(index));
    QCOMPARE(image.layers.size(), std::size_t(3));
    QCOMPARE(image.layers[0].digest, digest_of(shared));
    QVERIFY(image.config_digest.empty());
    QVERIFY(image.os.empty() && image.architecture.empty());
    QCOMPARE(image.created_ns, std::int64_t(0));
}

void OciLayoutTest::partialIndexIsReadAsFarAsItGoes() {
    const LayoutBuilder builder;
    const QJsonObject absent = builder.image(QStringLiteral("amd64"));
    const QJsonObject present = builder.image(QStringLiteral("arm64"));
    builder.write_index_json({LayoutBuilder::named(builder.index({absent, present}), full_name)});
    builder.remove(absent);
    const auto layout = read_oci_layout(builder.path(), {});
    QVERIFY(layout.ok());
    QCOMPARE(layout.value().images[0].layers.size(), std::size_t(1));
    QCOMPARE(layout.value().images[0].architecture, std::string("arm64"));
    QVERIFY(!layout.value().images[0].config_digest.empty());
}

void OciLayoutTest::emptyPartialIndexIsNoBlob() {
    const LayoutBuilder builder;
    const QJsonObject absent = builder.image(QStringLiteral("amd64"));
    const QJsonObject index = builder.index({absent});
    builder.write_index_json({LayoutBuilder::named(index, full_name)});
    builder.remove(absent);
    verify_failure(read_oci_layout(builder.path(), {}), Code::NoBlob,
                   digest_of(absent).substr(7) + ": is missing; blobs/sha256/" +
                       digest_of(index).substr(7));
}

void OciLayoutTest::attestationLeavesThePlatformAlone() {
    const LayoutBuilder builder;
    const QJsonObject unknown{{QStringLiteral("os"), QStringLiteral("unknown")},
                              {QStringLiteral("architecture"), QStringLiteral("unknown")}};
    const QJsonObject attestation =
        builder.manifest(builder.blob(text(unknown), oci_config), {builder.layer("in-toto")});
    builder.write_index_json({LayoutBuilder::named(
        builder.index({builder.image(QStringLiteral("amd64")), attestation}), full_name)});
    const auto layout = read_oci_layout(builder.path(), {});
    QVERIFY(layout.ok());
    QCOMPARE(layout.value().images[0].architecture, std::string("amd64"));
    QCOMPARE(layout.value().images[0].layers.size(), std::size_t(2));
}

void OciLayoutTest::nestedIndexIsFollowed() {
    const LayoutBuilder builder;
    const QJsonObject inner = builder.index({builder.image(QStringLiteral("arm64"))});
    builder.write_index_json({LayoutBuilder::named(
        builder.index({builder.image(QStringLiteral("amd64")), inner, inner}), full_name)});
    const auto layout = read_oci_layout(builder.path(), {});
    QVERIFY(layout.ok());
    QCOMPARE(layout.value().images[0].layers.size(), std::size_t(2));
}

void OciLayoutTest::deepNestingIsOverLimit() {
    const LayoutBuilder builder;
    QJsonObject nested = builder.image(QStringLiteral("amd64"));
    for (int depth = 0; depth < limits::index_depth_max; ++depth)
        nested = builder.index({nested});
    builder.write_index_json({LayoutBuilder::named(nested, full_name)});
    QVERIFY(read_oci_layout(builder.path(), {}).ok());
    builder.write_index_json({LayoutBuilder::named(builder.index({nested}), full_name)});
    verify_failure(read_oci_layout(builder.path(), {}), Code::Limit, "nest deeper than 4");
}

void OciLayoutTest::repeatedLayersOfAManifestStay() {
    const LayoutBuilder builder;
    const QJsonObject empty = builder.layer("empty");
    builder.write_index_json({LayoutBuilder::named(
        builder.manifest(builder.config(), {empty, builder.layer("x"), empty}), full_name)});
    const auto layout = read_oci_layout(builder.path(), {});
    QVERIFY(layout.ok());
    QCOMPARE(layout.value().images[0].layers.size(), std::size_t(3));
}

void OciLayoutTest::artifactHasNoPlatform() {
    const LayoutBuilder builder;
    const QJsonObject config =
        builder.blob("no JSON", QStringLiteral("application/vnd.example.config"));
    builder.write_index_json(
        {LayoutBuilder::named(builder.manifest(config, {builder.layer("chart")}), full_name)});
    const auto layout = read_oci_layout(builder.path(), {});
    QVERIFY(layout.ok());
    QCOMPARE(layout.value().images[0].config_digest, digest_of(config));
    QVERIFY(layout.value().images[0].os.empty());
}

void OciLayoutTest::descriptorsAnnotationsCountBeforeTheManifests_data() {
    QTest::addColumn<QJsonObject>("of_descriptor");
    QTest::addColumn<QJsonObject>("of_manifest");
    QTest::addColumn<QJsonObject>("expected");
    const auto row = [](const char *name, const char *of_descriptor, const char *of_manifest,
                        const char *expected) {
        const auto object = [](const char *json) { return QJsonDocument::fromJson(json).object(); };
        QTest::newRow(name) << object(of_descriptor) << object(of_manifest) << object(expected);
    };
    row("only the manifest's", "{}", R"({"v": "2"})", R"({"v": "2"})");
    row("only the descriptor's", R"({"v": "1"})", "{}", R"({"v": "1"})");
    row("different keys", R"({"v": "1"})", R"({"w": "2"})", R"({"v": "1", "w": "2"})");
    row("both", R"({"v": "1"})", R"({"v": "2"})", R"({"v": "1"})");
    row("empty in the descriptor", R"({"v": ""})", R"({"v": "2"})", R"({"v": ""})");
    row("null in the descriptor", R"({"v": null})", R"({"v": "2"})", R"({"v": ""})");
    row("empty in the manifest", R"({"v": "1"})", R"({"v": ""})", R"({"v": "1"})");
    row("empty in both", R"({"v": ""})", R"({"v": ""})", R"({"v": ""})");
}

void OciLayoutTest::descriptorsAnnotationsCountBeforeTheManifests() {
    QFETCH(QJsonObject, of_descriptor);
    QFETCH(QJsonObject, of_manifest);
    QFETCH(QJsonObject, expected);
    const LayoutBuilder builder;
    QJsonObject entry =
        builder.blob(text({{QStringLiteral("schemaVersion"), 2},
                           {QStringLiteral("config"), builder.config()},
                           {QStringLiteral("layers"), QJsonArray{builder.layer("layer")}},
                           {QStringLiteral("annotations"), of_manifest}}),
                     oci_manifest);
    entry[QStringLiteral("annotations")] = of_descriptor;
    builder.write_index_json({LayoutBuilder::named(entry, full_name)});
    const auto layout = read_oci_layout(builder.path(), {});
    QVERIFY2(layout.ok(), layout.ok() ? "" : layout.status().message.c_str());
    expected[ref_name] = full_name;
    QJsonObject found;
    for (const auto &[key, value] : layout.value().images[0].annotations) {
        QVERIFY2(!found.contains(QString::fromStdString(key)), "one key stands twice");
        found[QString::fromStdString(key)] = QString::fromStdString(value);
    }
    QCOMPARE(found, expected);
}

void OciLayoutTest::missingBlobIsNoBlob_data() {
    QTest::addColumn<int>("victim");
    QTest::addColumn<int>("referrer");
    QTest::newRow("manifest") << 0 << -1;
    QTest::newRow("config") << 1 << 0;
    QTest::newRow("layer") << 2 << 0;
}

void OciLayoutTest::missingBlobIsNoBlob() {
    QFETCH(int, victim);
    QFETCH(int, referrer);
    const LayoutBuilder builder;
    const QJsonObject config = builder.config(), layer = builder.layer("layer");
    const QJsonObject manifest = builder.manifest(config, {layer});
    builder.write_index_json({LayoutBuilder::named(manifest, full_name)});
    const QJsonObject blobs[] = {manifest, config, layer};
    builder.remove(blobs[victim]);
    const auto layout = read_oci_layout(builder.path(), {});
    verify_failure(layout, Code::NoBlob, digest_of(blobs[victim]).substr(7));
    verify_failure(layout, Code::NoBlob,
                   referrer < 0 ? "index.json" : digest_of(blobs[referrer]).substr(7));
}

void OciLayoutTest::undistributedLayerMayBeMissing() {
    const LayoutBuilder builder;
    QJsonObject layer = builder.layer("windows");
    builder.remove(layer);
    layer[QStringLiteral("urls")] = QJsonArray{QStringLiteral("https://example.com/layer")};
    builder.write_index_json(
        {LayoutBuilder::named(builder.manifest(builder.config(), {layer}), full_name)});
    const auto layout = read_oci_layout(builder.path(), {});
    QVERIFY(layout.ok());
    QCOMPARE(layout.value().images[0].layers[0].digest, digest_of(layer));
}

void OciLayoutTest::damagedDocumentIsBadBlob_data() {
    QTest::addColumn<int>("victim");
    QTest::newRow("index") << 0;
    QTest::newRow("manifest") << 1;
    QTest::newRow("config") << 2;
}

void OciLayoutTest::damagedDocumentIsBadBlob() {
    QFETCH(int, victim);
    const LayoutBuilder builder;
    const QJsonObject config = builder.config();
    const QJsonObject manifest = builder.manifest(config, {builder.layer("layer")});
    const QJsonObject index = builder.index({manifest});
    builder.write_index_json({LayoutBuilder::named(index, full_name)});
    const QJsonObject blobs[] = {index, manifest, config};
    builder.damage(blobs[victim]);
    verify_failure(read_oci_layout(builder.path(), {}), Code::BadBlob,
                   digest_of(blobs[victim]).substr(7) + ": digest mismatch: found sha256:");
}

void OciLayoutTest::wrongSizeIsBadBlob_data() { missingBlobIsNoBlob_data(); }

void OciLayoutTest::wrongSizeIsBadBlob() {
    QFETCH(int, victim);
    const LayoutBuilder builder;
    const QJsonObject config = builder.config(), layer = builder.layer("layer");
    const QJsonObject manifest = builder.manifest(config, {layer});
    builder.write_index_json({LayoutBuilder::named(manifest, full_name)});
    const QJsonObject blobs[] = {manifest, config, layer};
    QFile file(builder.blob_path(blobs[victim]));
    QVERIFY(file.resize(file.size() - 1));
    verify_failure(read_oci_layout(builder.path(), {}), Code::BadBlob, "says");
}

void OciLayoutTest::symlinkedBlobIsRefused_data() { missingBlobIsNoBlob_data(); }

void OciLayoutTest::symlinkedBlobIsRefused() {
    QFETCH(int, victim);
    const LayoutBuilder builder;
    const QJsonObject config = builder.config(), layer = builder.layer("layer");
    const QJsonObject manifest = builder.manifest(config, {layer});
    builder.write_index_json({LayoutBuilder::named(manifest, full_name)});
    const QJsonObject blobs[] = {manifest, config, layer};
    const QString blob = builder.blob_path(blobs[victim]);
    const QString moved = blob + QStringLiteral(".moved");
    QVERIFY(QFile::rename(blob, moved));
    QCOMPARE(::symlink(moved.toStdString().c_str(), blob.toStdString().c_str()), 0);
    verify_failure(read_oci_layout(builder.path(), {}), Code::Symlink,
                   digest_of(blobs[victim]).substr(7));
}

void OciLayoutTest::fifoIsBadBlob() {
    const LayoutBuilder builder;
    const QJsonObject manifest = builder.image(QStringLiteral("amd64"));
    builder.write_index_json({LayoutBuilder::named(manifest, full_name)});
    builder.remove(manifest);
    QCOMPARE(::mkfifo(builder.blob_path(manifest).toStdString().c_str(), 0600), 0);
    verify_failure(read_oci_layout(builder.path(), {}), Code::BadBlob, "no plain file");
}

void OciLayoutTest::malformedDescriptorIsBadBlob_data() {
    QTest::addColumn<QString>("key");
    QTest::addColumn<QJsonValue>("value");
    const auto row = [](const char *name, const char *key, const QJsonValue &value) {
        QTest::newRow(name) << QString::fromLatin1(key) << value;
    };
    row("digest leaves the layout", "digest", QStringLiteral("sha256:../../index.json"));
    row("algorithm leaves the layout", "digest",
        QString(QStringLiteral("../x:") + QString(64, u'a')));
    row("digest short", "digest", QStringLiteral("sha256:abc"));
    row("digest with a NUL", "digest", QString(QStringLiteral("sha256:") + QChar(u'\0')));
    row("digest in capitals", "digest", QString(QStringLiteral("sha256:") + QString(64, u'A')));
    row("digest unknown", "digest", QString(QStringLiteral("md5:") + QString(32, u'a')));
    row("digest a number", "digest", 7);
    row("size negative", "size", -1);
    row("size a fraction", "size", 1.5);
    row("size a text", "size", QStringLiteral("7"));
    row("mediaType a number", "mediaType", 7);
    row("annotations a list", "annotations", QJsonArray());
    row("annotation a number", "annotations", QJsonObject{{QStringLiteral("a"), 1}});
    row("platform a text", "platform", QStringLiteral("linux/amd64"));
}

void OciLayoutTest::malformedDescriptorIsBadBlob() {
    QFETCH(QString, key);
    QFETCH(QJsonValue, value);
    const LayoutBuilder builder;
    QJsonObject entry = LayoutBuilder::named(builder.image(QStringLiteral("amd64")), full_name);
    entry[key] = value;
    builder.write_index_json({entry});
    verify_failure(read_oci_layout(builder.path(), {}), Code::BadBlob, "index.json: manifests[0]");
}

void OciLayoutTest::oversizedDocumentIsOverLimit() {
    const LayoutBuilder builder;
    QJsonObject manifest = builder.image(QStringLiteral("amd64"));
    const qint64 size = qint64(limits::document_bytes_max) + 1;
    QVERIFY(QFile::resize(builder.blob_path(manifest), size));
    manifest[QStringLiteral("size")] = size;
    builder.write_index_json({LayoutBuilder::named(manifest, full_name)});
    verify_failure(read_oci_layout(builder.path(), {}), Code::Limit, std::to_string(size));
}

void OciLayoutTest::brokenDocumentIsBadBlob_data() {
    QTest::addColumn<QByteArray>("bytes");
    QTest::newRow("empty") << QByteArray();
    QTest::newRow("cut") << QByteArray(R"({"schemaVersion": 2, "layers": [)");
    QTest::newRow("a list") << QByteArray("[]");
    QTest::newRow("no kind") << QByteArray(R"({"schemaVersion": 2})");
    QTest::newRow("schema 1") << QByteArray(R"({"schemaVersion": 1, "layers": []})");
    QTest::newRow("no schema") << QByteArray(R"({"layers": []})");
    QTest::newRow("both kinds") << QByteArray(
        R"({"schemaVersion": 2, "layers": [], "manifests": []})");
    QTest::newRow("no config") << QByteArray(R"({"schemaVersion": 2, "layers": []})");
    QTest::newRow("layers an object")
        << QByteArray(R"({"schemaVersion": 2, "config": {}, "layers": {}})");
    QTest::newRow("no manifest") << QByteArray(R"({"schemaVersion": 2, "manifests": []})");
}

void OciLayoutTest::brokenDocumentIsBadBlob() {
    QFETCH(QByteArray, bytes);
    const LayoutBuilder builder;
    const QJsonObject broken = builder.blob(bytes, {});
    builder.write_index_json({LayoutBuilder::named(broken, full_name)});
    verify_failure(read_oci_layout(builder.path(), {}), Code::BadBlob,
                   "blobs/sha256/" + digest_of(broken).substr(7));
}

/// Readers differ in which of the two they take.
void OciLayoutTest::keyThatStandsTwiceIsBadBlob_data() {
    QTest::addColumn<QByteArray>("before");
    QTest::addColumn<QByteArray>("after");
    QTest::addColumn<QByteArray>("key");
    QTest::newRow("at the top") << QByteArray(R"("layers":)")
                                << QByteArray(R"("layers": [], "layers":)") << QByteArray("layers");
    QTest::newRow("in a descriptor")
        << QByteArray(R"("size":)") << QByteArray(R"("size": 1, "size":)") << QByteArray("size");
    QTest::newRow("spelled otherwise")
        << QByteArray(R"("size":)") << QByteArray(R"("\u0073ize": 1, "size":)")
        << QByteArray("size");
    QTest::newRow("an annotation")
        << QByteArray(R"("layers":)")
        << QByteArray(R"("annotations": {"a": "{", "a": "}"}, "layers":)") << QByteArray("a");
}

void OciLayoutTest::keyThatStandsTwiceIsBadBlob() {
    QFETCH(QByteArray, before);
    QFETCH(QByteArray, after);
    QFETCH(QByteArray, key);
    const LayoutBuilder builder;
    QByteArray bytes = text({{QStringLiteral("schemaVersion"), 2},
                             {QStringLiteral("config"), builder.config()},
                             {QStringLiteral("layers"), QJsonArray{builder.layer("layer")}}});
    QVERIFY(bytes.contains(before));
    bytes.replace(bytes.indexOf(before), before.size(), after);
    const QJsonObject manifest = builder.blob(bytes, oci_manifest);
    builder.write_index_json({LayoutBuilder::named(manifest, full_name)});
    verify_failure(read_oci_layout(builder.path(), {}), Code::BadBlob,
                   "blobs/sha256/" + digest_of(manifest).substr(7) + ": key '" + key.toStdString() +
                       "' stands twice");
}

/// In a config much stands that nobody here reads.
void OciLayoutTest::keyThatStandsTwiceWhereNobodyReadsIsPassedOver() {
    const LayoutBuilder builder;
    const QJsonObject config =
        builder.blob(R"({"os": "linux", "config": {"Labels": {"a": "1", "a": "2"}}})", oci_config);
    const QJsonObject twice = builder.blob(R"({"os": "linux", "os": "windows"})", oci_config);
    builder.write_index_json(
        {LayoutBuilder::named(builder.manifest(config, {builder.layer("layer")}), full_name)});
    const auto layout = read_oci_layout(builder.path(), {});
    QVERIFY2(layout.ok(), layout.ok() ? "" : layout.status().message.c_str());
    builder.write_index_json(
        {LayoutBuilder::named(builder.manifest(twice, {builder.layer("layer")}), full_name)});
    verify_failure(read_oci_layout(builder.path(), {}), Code::BadBlob, "key 'os' stands twice");
}

void OciLayoutTest::contradictoryMediaTypeIsBadBlob() {
    const LayoutBuilder builder;
    QJsonObject manifest = builder.image(QStringLiteral("amd64"));
    manifest[QStringLiteral("mediaType")] = oci_index;
    builder.write_index_json({LayoutBuilder::named(manifest, full_name)});
    verify_failure(read_oci_layout(builder.path(), {}), Code::BadBlob, oci_index.toStdString());
}

void OciLayoutTest::bareTagJoinsTheReference() {
    const LayoutBuilder builder;
    const QJsonObject one = builder.image(QStringLiteral("amd64"));
    const QJsonObject two = builder.image(QStringLiteral("arm64"));
    builder.write_index_json({LayoutBuilder::named(one, QStringLiteral("1.0")),
                              LayoutBuilder::named(two, QStringLiteral("other/app:2"))});
    const auto layout = read_oci_layout(builder.path(), "localhost:5000/app");
    QVERIFY(layout.ok());
    QCOMPARE(layout.value().images[0].reference, std::string("localhost:5000/app:1.0"));
    QCOMPARE(layout.value().images[1].reference, std::string("other/app:2"));
}

void OciLayoutTest::bareTagWithoutReferenceIsInvalid() {
    const LayoutBuilder builder;
    builder.write_index_json(
        {LayoutBuilder::named(builder.image(QStringLiteral("amd64")), QStringLiteral("1.0"))});
    const auto layout = read_oci_layout(builder.path(), {});
    verify_failure(layout, Code::Invalid, "'1.0'");
    QCOMPARE(layout.status().field, std::string("reference"));
}

void OciLayoutTest::containerdNameWins() {
    const LayoutBuilder builder;
    builder.write_index_json({LayoutBuilder::named(
        LayoutBuilder::named(builder.image(QStringLiteral("amd64")), QStringLiteral("latest")),
        QStringLiteral("docker.io/library/app:latest"), containerd_name)});
    const auto layout = read_oci_layout(builder.path(), {});
    QVERIFY(layout.ok());
    QCOMPARE(layout.value().images[0].reference, std::string("docker.io/library/app:latest"));
}

void OciLayoutTest::onlyImageIsNamedOutright() {
    const LayoutBuilder builder;
    const QJsonObject image = builder.image(QStringLiteral("amd64"));
    builder.write_index_json({image});
    const std::string by_digest = "app@" + digest_of(image);
    for (const std::string &name : {std::string("example.com/app:7"), by_digest}) {
        const auto layout = read_oci_layout(builder.path(), name);
        QVERIFY(layout.ok());
        QCOMPARE(layout.value().images[0].reference, name);
        QVERIFY(layout.value().untagged.empty());
    }
    builder.write_index_json({LayoutBuilder::named(image, QStringLiteral("1")),
                              LayoutBuilder::named(image, QStringLiteral("latest"))});
    const auto layout = read_oci_layout(builder.path(), "app:7");
    QVERIFY(layout.ok());
    QCOMPARE(layout.value().images.size(), std::size_t(1));
}

void OciLayoutTest::outrightNameNeedsOneImage() {
    const LayoutBuilder builder;
    builder.write_index_json(
        {LayoutBuilder::named(builder.image(QStringLiteral("amd64")), QStringLiteral("1")),
         LayoutBuilder::named(builder.image(QStringLiteral("arm64")), QStringLiteral("2"))});
    verify_failure(read_oci_layout(builder.path(), "app:7"), Code::Invalid, "exactly one image");
}

void OciLayoutTest::foreignDigestInTheReferenceIsInvalid() {
    const LayoutBuilder builder;
    builder.write_index_json({builder.image(QStringLiteral("amd64"))});
    verify_failure(read_oci_layout(builder.path(), "app@sha256:" + std::string(64, 'a')),
                   Code::Invalid, "digest");
}

void OciLayoutTest::untaggedEntriesAreReported() {
    const LayoutBuilder builder;
    const QJsonObject untagged = builder.image(QStringLiteral("arm64"));
    builder.write_index_json(
        {untagged, LayoutBuilder::named(builder.image(QStringLiteral("amd64")), full_name)});
    const auto layout = read_oci_layout(builder.path(), {});
    QVERIFY(layout.ok());
    QCOMPARE(layout.value().images.size(), std::size_t(1));
    QCOMPARE(layout.value().untagged, std::vector<std::string>{digest_of(untagged)});
}

void OciLayoutTest::nothingTaggedIsNotFound() {
    const LayoutBuilder builder;
    builder.write_index_json({builder.image(QStringLiteral("arm64"))});
    verify_failure(read_oci_layout(builder.path(), {}), Code::NotFound, "tagged");
    verify_failure(read_oci_layout(builder.path(), "app"), Code::NotFound, "tagged");
    builder.write_index_json({});
    verify_failure(read_oci_layout(builder.path(), {}), Code::NotFound, "tagged");
}

void OciLayoutTest::unknownMediaTypeCountsAsUntagged() {
    const LayoutBuilder builder;
    const QJsonObject unknown = builder.blob("?", QStringLiteral("application/vnd.example"));
    builder.write_index_json(
        {LayoutBuilder::named(unknown, QStringLiteral("example.com/odd:1")),
         LayoutBuilder::named(builder.image(QStringLiteral("amd64")), full_name)});
    const auto layout = read_oci_layout(builder.path(), {});
    QVERIFY(layout.ok());
    QCOMPARE(layout.value().images.size(), std::size_t(1));
    QCOMPARE(layout.value().untagged, std::vector<std::string>{digest_of(unknown)});
}

void OciLayoutTest::sameTagForTwoImagesIsBadBlob() {
    const LayoutBuilder builder;
    builder.write_index_json(
        {LayoutBuilder::named(builder.image(QStringLiteral("amd64")), full_name),
         LayoutBuilder::named(builder.image(QStringLiteral("arm64")), full_name)});
    verify_failure(read_oci_layout(builder.path(), {}), Code::BadBlob, full_name.toStdString());
}

void OciLayoutTest::sameTagForOneImageCountsOnce() {
    const LayoutBuilder builder;
    const QJsonObject image =
        LayoutBuilder::named(builder.image(QStringLiteral("amd64")), full_name);
    builder.write_index_json({image, image});
    const auto layout = read_oci_layout(builder.path(), {});
    QVERIFY(layout.ok());
    QCOMPARE(layout.value().images.size(), std::size_t(1));
}

void OciLayoutTest::noLayoutIsNotFound() {
    const QTemporaryDir empty;
    const std::string path = empty.path().toStdString();
    verify_failure(read_oci_layout(path, {}), Code::NotFound, "is not an OCI image layout");
    verify_failure(read_oci_layout(path + "/none", {}), Code::NotFound, "/none");
    const LayoutBuilder without_index;
    verify_failure(read_oci_layout(without_index.path(), {}), Code::NotFound, "index.json");
}

void OciLayoutTest::unknownVersionIsFormat_data() {
    QTest::addColumn<QByteArray>("version");
    QTest::addColumn<bool>("is_known");
    QTest::newRow("patch") << QByteArray("1.0.12") << true;
    QTest::newRow("minor") << QByteArray("1.1.0") << false;
    QTest::newRow("major") << QByteArray("2.0.0") << false;
    QTest::newRow("short") << QByteArray("1.0.") << false;
    QTest::newRow("suffix") << QByteArray("1.0.0-rc5") << false;
    QTest::newRow("none") << QByteArray() << false;
}

void OciLayoutTest::unknownVersionIsFormat() {
    QFETCH(QByteArray, version);
    QFETCH(bool, is_known);
    const LayoutBuilder builder;
    builder.write(QStringLiteral("oci-layout"), R"({"imageLayoutVersion": ")" + version + R"("})");
    builder.write_index_json(
        {LayoutBuilder::named(builder.image(QStringLiteral("amd64")), full_name)});
    const auto layout = read_oci_layout(builder.path(), {});
    QCOMPARE(layout.ok(), is_known);
    if (!is_known)
        QVERIFY(layout.status().code == Code::Format);
}

void OciLayoutTest::timesAreReadToTheNanosecond_data() {
    QTest::addColumn<std::string>("written");
    QTest::addColumn<bool>("is_time");
    QTest::addColumn<qint64>("expected_ns");
    const auto row = [](const char *written, bool is_time, qint64 expected_ns) {
        QTest::newRow(written) << std::string(written) << is_time << expected_ns;
    };
    row("1970-01-01T00:00:00Z", true, 0);
    row("1970-01-01T00:00:01.000000001Z", true, 1'000'000'001);
    row("1970-01-01T00:00:00.1234567899Z", true, 123'456'789);
    row("2024-02-29T12:00:00.5Z", true, 1'709'208'000'500'000'000);
    row("1970-01-01T02:00:00+01:30", true, 1'800'000'000'000);
    row("1969-12-31T23:59:59.5-00:00", true, -500'000'000);
    row("0001-01-01T00:00:00Z", true, 0);
    row("9999-12-31T23:59:59Z", true, 0);
    row("2023-02-29T12:00:00Z", false, 0);
    row("2024-02-29T24:00:00Z", false, 0);
    row("2024-02-29T12:00:00", false, 0);
    row("2024-02-29T12:00:00.Z", false, 0);
    row("2024-02-29 12:00:00Z", false, 0);
    row("2024-02-29T12:00:00Zulu", false, 0);
    row("2024-02-29T12:00:00+0100", false, 0);
    row("yesterday", false, 0);
}

void OciLayoutTest::timesAreReadToTheNanosecond() {
    QFETCH(std::string, written);
    QFETCH(bool, is_time);
    QFETCH(qint64, expected_ns);
    const auto found = parse_rfc3339(written);
    QCOMPARE(found.has_value(), is_time);
    if (is_time)
        QCOMPARE(qint64(*found), expected_ns);
}

QTEST_APPLESS_MAIN(OciLayoutTest)
#include "oci_layout_test.moc"
