// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors
#include "plugin/record.h"

#include "image_generated.h"
#include "plugin/media_type.h"

#include <QtTest>

#include <functional>
#include <memory>
#include <string>
#include <vector>

using namespace waybill;

namespace {

const std::string sha256 = "sha256:" + std::string(64, 'a');
const std::string sha512 = "sha512:" + std::string(128, 'b');
const std::string other_digest = "sha256:" + std::string(64, 'c');

ImageSpec full_spec() {
    ImageSpec spec;
    spec.name_space = "k8s.io";
    spec.reference = "busybox";
    spec.target_digest = sha256;
    spec.target_media_type = "application/vnd.oci.image.manifest.v1+json";
    spec.target_size_bytes = 1234;
    spec.config_digest = other_digest;
    spec.layers = {{"v1-id", sha512, "application/tar", 10}, {{}, sha256, {}, 20}};
    spec.labels = {{"z", "last"}, {"a", "first"}, {"empty", ""}};
    spec.annotations = {{"key", "value"}};
    spec.os = "linux";
    spec.architecture = "arm";
    spec.variant = "v7";
    spec.os_version = "10.0.1";
    spec.created_ns = 111;
    spec.updated_ns = 222;
    spec.last_used_ns = 333;
    spec.pinned = true;
    return spec;
}

ImageSpec small_spec() {
    ImageSpec spec;
    spec.reference = "busybox";
    spec.target_digest = sha256;
    spec.layers = {{{}, sha256, {}, 0}};
    return spec;
}

Result<FramePtr> encode(const ImageSpec &spec, std::uint64_t bytes_max = 1 << 24) {
    return encode_image(spec, ReferenceMode::Canonical, bytes_max);
}

std::string text(const flatbuffers::String *string) { return string ? string->str() : "(none)"; }
std::string text(const flatbuffers::Vector<std::uint8_t> *packed) {
    return packed ? id_text({packed->data(), packed->size()}) : "(none)";
}

/// Touches every byte that an accessor would lead to.
std::size_t read_everything(const record::Image &image) {
    std::size_t sum = text(image.spelled()).size() + text(image.target()).size() +
                      text(image.media_type()).size() + text(image.config()).size() +
                      text(image.os()).size() + text(image.architecture()).size() +
                      text(image.variant()).size() + text(image.os_version()).size();
    sum +=
        static_cast<std::size_t>(image.created_ns() ^ image.updated_ns() ^ image.last_used_ns()) +
        image.size_bytes() + image.pinned();
    const LayerList layers(image);
    for (std::uint32_t i = 0; i < layers.size(); ++i)
        sum += id_text(layers[i].id).size() + id_text(layers[i].digest).size() +
               layers[i].media_type.size() + layers[i].size_bytes;
    for (const PairList &pairs : {labels_of(image), annotations_of(image)})
        for (std::uint32_t i = 0; i < pairs.size(); ++i)
            sum += pairs.key(i).size() + pairs.value(i).size();
    return sum;
}

using Change = std::function<void(ImageSpec &)>;

} // namespace

Q_DECLARE_METATYPE(Change)

class RecordTest : public QObject {
    Q_OBJECT

  private slots:
    void everyFieldComesBack();
    void absentFieldsAreAbsent();
    void layersComeBackWhateverTheirForm_data();
    void layersComeBackWhateverTheirForm();
    void everyNumberedMediaTypeComesBack();
    void defaultNamespaceIsNamed();
    void timesAreSetAndSetAgain();
    void updateTimeIsNoneUnlessGiven();
    void badSpecIsRefused_data();
    void badSpecIsRefused();
    void largestSpecIsTaken_data();
    void largestSpecIsTaken();
    void recordOverItsLimitIsRefused();
    void removalComesBack();
    void removalFitsItsEstimate_data();
    void removalFitsItsEstimate();
    void flippedByteNeverLeadsOutOfTheRecord();
    void truncatedRecordIsNoRecord();
    void garbageIsNoRecord();
    void flippedByteNeverLeadsOutOfARemoval();
    void imageIsNoRemoval();
    void copyIsIndependent();
};

void RecordTest::everyFieldComesBack() {
    Result<FramePtr> frame = encode(full_spec());
    QVERIFY(frame.ok());
    const record::Image *image = verified_image((*frame)->payload_span());
    QVERIFY(image);
    QCOMPARE(namespace_of(**frame), std::string_view("k8s.io"));
    QCOMPARE(reference_of(**frame), std::string_view("docker.io/library/busybox:latest"));
    QCOMPARE(text(image->spelled()), std::string("busybox"));
    QCOMPARE(text(image->target()), sha256);
    QVERIFY(!image->media_type()); // It has a number.
    QCOMPARE(media_type_of(*image), std::string_view("application/vnd.oci.image.manifest.v1+json"));
    QCOMPARE(image->size_bytes(), std::uint64_t{1234});
    QCOMPARE(id_text(config_of(*image)), other_digest);
    const LayerList layers(*image);
    QCOMPARE(layers.size(), 2u);
    QCOMPARE(id_text(layers[0].id), std::string("v1-id"));
    QCOMPARE(id_text(layers[0].digest), sha512);
    QCOMPARE(layers[0].media_type, std::string_view("application/tar"));
    QCOMPARE(layers[0].size_bytes, std::uint64_t{10});
    QCOMPARE(id_text(layers[1].id), sha256);
    QCOMPARE(id_text(layers[1].digest), sha256);
    QVERIFY(!image->layers()->Get(1)->digest()); // As the id, so not kept twice.
    QCOMPARE(layers[1].size_bytes, std::uint64_t{20});
    const PairList labels = labels_of(*image);
    QCOMPARE(labels.size(), 3u); // Sorted by key.
    QCOMPARE(labels.key(0), std::string_view("a"));
    QCOMPARE(labels.value(0), std::string_view("first"));
    QCOMPARE(labels.value(1), std::string_view());
    QCOMPARE(labels.key(2), std::string_view("z"));
    const PairList annotations = annotations_of(*image);
    QCOMPARE(annotations.size(), 1u);
    QCOMPARE(annotations.value(0), std::string_view("value"));
    QCOMPARE(text(image->os()), std::string("linux"));
    QCOMPARE(text(image->architecture()), std::string("arm"));
    QCOMPARE(text(image->variant()), std::string("v7"));
    QCOMPARE(text(image->os_version()), std::string("10.0.1"));
    QCOMPARE(image->created_ns(), std::int64_t{111});
    QCOMPARE(image->updated_ns(), std::int64_t{222});
    QCOMPARE(image->last_used_ns(), std::int64_t{333});
    QVERIFY(image->pinned());
    QCOMPARE((*frame)->frame_kind(), FrameKind::Put);
    QCOMPARE((*frame)->key_hash, key_hash("k8s.io", "docker.io/library/busybox:latest"));
}

void RecordTest::absentFieldsAreAbsent() {
    ImageSpec spec = small_spec();
    spec.reference = "docker.io/library/busybox:latest";
    Result<FramePtr> frame = encode(spec);
    QVERIFY(frame.ok());
    const record::Image *image = verified_image((*frame)->payload_span());
    QVERIFY(image);
    QVERIFY(!image->spelled());
    QVERIFY(!image->media_type());
    QVERIFY(!image->config());
    QVERIFY(config_of(*image).empty());
    QVERIFY(media_type_of(*image).empty());
    QVERIFY(!image->labels());
    QVERIFY(!image->annotations());
    QVERIFY(!image->os());
    QVERIFY(!image->architecture());
    QVERIFY(!image->variant());
    QVERIFY(!image->os_version());
    QVERIFY(!image->pinned());
    QCOMPARE(image->created_ns(), std::int64_t{0});
    QCOMPARE(image->last_used_ns(), std::int64_t{0});
}

/// Each layer in turn is one that has no plain form, or one that just has.
void RecordTest::layersComeBackWhateverTheirForm_data() {
    QTest::addColumn<std::string>("id");
    QTest::addColumn<std::string>("digest");
    QTest::addColumn<std::string>("mediaType");
    QTest::addColumn<quint64>("sizeBytes");
    QTest::addColumn<bool>("plain");
    const std::string gzip = "application/vnd.oci.image.layer.v1.tar+gzip";
    const quint64 most = (quint64{1} << 48) - 1;
    QTest::newRow("plain") << std::string() << sha256 << std::string() << quint64{0} << true;
    QTest::newRow("plain by id") << sha256 << std::string() << gzip << quint64{7} << true;
    QTest::newRow("the same twice") << sha256 << sha256 << gzip << quint64{7} << true;
    QTest::newRow("largest plain") << std::string() << sha256 << gzip << most << true;
    QTest::newRow("too large") << std::string() << sha256 << gzip << most + 1 << false;
    QTest::newRow("text id") << std::string("v1") << sha256 << gzip << quint64{7} << false;
    QTest::newRow("chain id") << other_digest << sha256 << gzip << quint64{7} << false;
    QTest::newRow("sha512") << std::string() << sha512 << gzip << quint64{7} << false;
    QTest::newRow("rare type") << std::string() << sha256 << std::string("application/rare")
                               << quint64{7} << false;
}

void RecordTest::layersComeBackWhateverTheirForm() {
    QFETCH(std::string, id);
    QFETCH(std::string, digest);
    QFETCH(std::string, mediaType);
    QFETCH(quint64, sizeBytes);
    QFETCH(bool, plain);
    ImageSpec spec = small_spec();
    spec.layers = {{{}, other_digest, {}, 1}, {id, digest, mediaType, sizeBytes}};
    Result<FramePtr> frame = encode(spec);
    QVERIFY(frame.ok());
    const record::Image *image = verified_image((*frame)->payload_span());
    QVERIFY(image);
    QCOMPARE(image->plain_layers() != nullptr, plain);
    QCOMPARE(image->layers() != nullptr, !plain);
    const LayerList layers(*image);
    QCOMPARE(layers.size(), 2u);
    QCOMPARE(id_text(layers[0].id), other_digest);
    QCOMPARE(layers[0].size_bytes, std::uint64_t{1});
    QCOMPARE(id_text(layers[1].id), id.empty() ? digest : id);
    QCOMPARE(id_text(layers[1].digest), digest.empty() ? id : digest);
    QCOMPARE(layers[1].media_type, std::string_view(mediaType));
    QCOMPARE(layers[1].size_bytes, std::uint64_t{sizeBytes});
}

void RecordTest::everyNumberedMediaTypeComesBack() {
    for (std::size_t i = 1; i < numbered_media_type_count; ++i) {
        ImageSpec spec = small_spec();
        spec.target_media_type = numbered_media_types[i];
        spec.layers = {{{}, sha256, numbered_media_types[i], 1}};
        Result<FramePtr> frame = encode(spec);
        QVERIFY(frame.ok());
        const record::Image *image = verified_image((*frame)->payload_span());
        QVERIFY(image && image->plain_layers());
        QCOMPARE(media_type_of(*image), numbered_media_types[i]);
        QCOMPARE(LayerList(*image)[0].media_type, numbered_media_types[i]);
    }
    QCOMPARE(numbered_media_type_count, static_cast<std::size_t>(record::MediaType::MAX) + 1);
}

void RecordTest::defaultNamespaceIsNamed() {
    QCOMPARE(namespace_of(**encode(small_spec())), default_namespace);
}

void RecordTest::timesAreSetAndSetAgain() {
    Result<FramePtr> frame = encode(small_spec());
    QVERIFY(frame.ok());
    set_times(**frame, 5, 7);
    QCOMPARE(image_of(**frame)->created_ns(), std::int64_t{5});
    QCOMPARE(image_of(**frame)->updated_ns(), std::int64_t{7});
    set_times(**frame, 6, 8); // A batch may be planned twice.
    QCOMPARE(image_of(**frame)->created_ns(), std::int64_t{6});
    QCOMPARE(image_of(**frame)->updated_ns(), std::int64_t{8});
    QVERIFY(verified_image((*frame)->payload_span()));
}

void RecordTest::updateTimeIsNoneUnlessGiven() {
    QCOMPARE(image_of(**encode(small_spec()))->updated_ns(), std::int64_t{0});
    ImageSpec spec = small_spec();
    spec.updated_ns = -7;
    QCOMPARE(image_of(**encode(spec))->updated_ns(), std::int64_t{-7});
}

void RecordTest::badSpecIsRefused_data() {
    QTest::addColumn<Change>("change");
    QTest::addColumn<int>("code");
    QTest::addColumn<QString>("field");
    const auto row = [](const char *name, Code code, const char *field, Change change) {
        QTest::newRow(name) << change << static_cast<int>(code) << QString(field);
    };
    static const std::string long_text(5000, 'x');
    static const std::string bad_utf8 = "a\xff";
    using S = ImageSpec;
    row("namespace with a slash", Code::Invalid, "name_space", [](S &s) { s.name_space = "a/b"; });
    row("namespace too long", Code::Limit, "name_space",
        [](S &s) { s.name_space = std::string_view(long_text).substr(0, 77); });
    row("no reference", Code::Invalid, "reference", [](S &s) { s.reference = {}; });
    row("reference in capitals", Code::Invalid, "reference", [](S &s) { s.reference = "Busybox"; });
    row("reference too long", Code::Limit, "reference",
        [](S &s) { s.reference = std::string_view(long_text).substr(0, 1025); });
    row("no target", Code::Invalid, "target_digest", [](S &s) { s.target_digest = {}; });
    row("target cut short", Code::Invalid, "target_digest",
        [](S &s) { s.target_digest = std::string_view(sha256).substr(0, 70); });
    row("target of an unknown algorithm", Code::Invalid, "target_digest",
        [](S &s) { s.target_digest = "md5:d41d8cd98f00b204e9800998ecf8427e"; });
    row("config that is no digest", Code::Invalid, "config_digest",
        [](S &s) { s.config_digest = "config"; });
    row("media type too long", Code::Limit, "target_media_type",
        [](S &s) { s.target_media_type = std::string_view(long_text).substr(0, 256); });
    row("media type not UTF-8", Code::Invalid, "target_media_type",
        [](S &s) { s.target_media_type = bad_utf8; });
    row("os not UTF-8", Code::Invalid, "os", [](S &s) { s.os = bad_utf8; });
    row("os too long", Code::Limit, "os",
        [](S &s) { s.os = std::string_view(long_text).substr(0, 129); });
    row("architecture too long", Code::Limit, "architecture",
        [](S &s) { s.architecture = std::string_view(long_text).substr(0, 129); });
    row("variant not UTF-8", Code::Invalid, "variant", [](S &s) { s.variant = bad_utf8; });
    row("os_version not UTF-8", Code::Invalid, "os_version", [](S &s) { s.os_version = bad_utf8; });
    row("no layers", Code::Invalid, "layers", [](S &s) { s.layers.clear(); });
    row("too many layers", Code::Limit, "layers", [](S &s) {
        s.layers.assign(10'001, {"a", {}, {}, 0});
    });
    row("layer without id and digest", Code::Invalid, "layers[1]",
        [](S &s) { s.layers.push_back({}); });
    row("layer id that leads up", Code::Invalid, "layers[1].id", [](S &s) {
        s.layers.push_back({"..", {}, {}, 0});
    });
    row("layer id that is a path", Code::Invalid, "layers[1].id", [](S &s) {
        s.layers.push_back({"a/b", {}, {}, 0});
    });
    row("layer id too long", Code::Limit, "layers[1].id", [](S &s) {
        s.layers.push_back({std::string_view(long_text).substr(0, 256), {}, {}, 0});
    });
    row("layer digest that is none", Code::Invalid, "layers[1].digest", [](S &s) {
        s.layers.push_back({"a", "sha256:xyz", {}, 0});
    });
    row("layer media type not UTF-8", Code::Invalid, "layers[1].media_type", [](S &s) {
        s.layers.push_back({"a", {}, bad_utf8, 0});
    });
    row("label without a key", Code::Invalid, "labels[0].key", [](S &s) {
        s.labels = {{"", "x"}};
    });
    row("label key not UTF-8", Code::Invalid, "labels[0].key", [](S &s) {
        s.labels = {{bad_utf8, "x"}};
    });
    row("label value not UTF-8", Code::Invalid, "labels[0].value", [](S &s) {
        s.labels = {{"x", bad_utf8}};
    });
    row("label too long", Code::Limit, "labels[0]", [](S &s) {
        s.labels = {{"x", std::string_view(long_text).substr(0, 4096)}};
    });
    row("label twice", Code::Invalid, "labels", [](S &s) {
        s.labels = {{"x", "1"}, {"y", "1"}, {"x", "2"}};
    });
    row("annotation twice", Code::Invalid, "annotations", [](S &s) {
        s.annotations = {{"x", "1"}, {"x", "2"}};
    });
    row("too many annotations", Code::Limit, "annotations", [](S &s) {
        s.annotations.assign(1025, {"x", "1"});
    });
}

void RecordTest::badSpecIsRefused() {
    QFETCH(const Change, change);
    QFETCH(const int, code);
    QFETCH(const QString, field);
    ImageSpec spec = small_spec();
    change(spec);
    Result<FramePtr> frame = encode(spec);
    QVERIFY(!frame.ok());
    QCOMPARE(static_cast<int>(frame.status().code), code);
    QString found = QString::fromStdString(frame.status().field);
    QCOMPARE(found, field);
    QVERIFY(!frame.status().message.empty());
}

void RecordTest::largestSpecIsTaken_data() {
    QTest::addColumn<Change>("change");
    static const std::string long_text(5000, 'x');
    static std::vector<std::string> keys;
    for (int i = 0; i < 1024; ++i)
        keys.push_back("key" + std::to_string(i));
    using S = ImageSpec;
    const auto row = [](const char *name, Change change) { QTest::newRow(name) << change; };
    row("namespace", [](S &s) { s.name_space = std::string_view(long_text).substr(0, 76); });
    row("media type",
        [](S &s) { s.target_media_type = std::string_view(long_text).substr(0, 255); });
    row("os", [](S &s) { s.os = std::string_view(long_text).substr(0, 128); });
    row("layer id", [](S &s) {
        s.layers = {{std::string_view(long_text).substr(0, 255), {}, {}, 0}};
    });
    row("layers", [](S &s) {
        s.layers.assign(10'000, {std::string_view(long_text).substr(0, 255), {}, {}, 0});
    });
    row("label", [](S &s) { s.labels = {{"x", std::string_view(long_text).substr(0, 4095)}}; });
    row("labels", [](S &s) {
        for (const std::string &key : keys)
            s.labels.push_back({key, std::string_view(long_text).substr(0, 4000)});
    });
}

void RecordTest::largestSpecIsTaken() {
    QFETCH(const Change, change);
    ImageSpec spec = small_spec();
    change(spec);
    Result<FramePtr> frame = encode(spec);
    QVERIFY2(frame.ok(), frame.ok() ? "" : frame.status().message.c_str());
    QVERIFY(verified_image((*frame)->payload_span()));
}

void RecordTest::recordOverItsLimitIsRefused() {
    Result<FramePtr> frame = encode(full_spec());
    QVERIFY(frame.ok());
    QVERIFY(encode(full_spec(), (*frame)->payload_bytes).ok());
    QCOMPARE(encode(full_spec(), (*frame)->payload_bytes - 1).status().code, Code::Limit);
}

void RecordTest::removalComesBack() {
    const std::vector<Key> keys = {{"default", "a"}, {"default", "b"}, {"other", "a"}};
    const std::vector<std::uint8_t> bytes = encode_removal(keys);
    const record::Removal *removal = verified_removal(bytes);
    QVERIFY(removal);
    std::vector<Key> found;
    for (const record::Key *key : *removal->images())
        found.push_back({key->name_space()->str(), key->reference()->str()});
    QCOMPARE(found, keys);
}

void RecordTest::removalFitsItsEstimate_data() {
    QTest::addColumn<int>("bytes");
    for (const int bytes : {1, 2, 3, 4, 5, 6, 7, 8, 9, 100, 255})
        QTest::addRow("name of %d bytes", bytes) << bytes;
}

/// The journal keeps so much space back; see the reserve.
void RecordTest::removalFitsItsEstimate() {
    QFETCH(const int, bytes);
    const std::string name(static_cast<std::size_t>(bytes), 'n');
    ImageSpec spec = small_spec();
    spec.reference = name;
    Result<FramePtr> frame = encode_image(spec, ReferenceMode::Opaque, 1 << 20);
    QVERIFY(frame.ok());
    Batch batch;
    batch.add({}, encode_removal({{"default", name}}));
    QVERIFY(batch.size_bytes() <= removal_bytes(**frame));
}

void RecordTest::flippedByteNeverLeadsOutOfTheRecord() {
    Result<FramePtr> frame = encode(full_spec());
    QVERIFY(frame.ok());
    const std::size_t size = (*frame)->payload_bytes;
    std::size_t verified = 0;
    for (std::size_t at = 0; at < size; ++at)
        for (const int mask : {0x01, 0x02, 0x04, 0x10, 0x40, 0x80, 0xff}) {
            // A buffer of its own, so that the sanitizers see every step beyond it.
            const std::unique_ptr<std::uint64_t[]> memory(new std::uint64_t[(size + 7) / 8]);
            auto *bytes = reinterpret_cast<std::uint8_t *>(memory.get());
            std::memcpy(bytes, (*frame)->payload(), size);
            bytes[at] ^= static_cast<std::uint8_t>(mask);
            if (const record::Image *image = verified_image({bytes, size})) {
                ++verified;
                read_everything(*image);
            }
        }
    QVERIFY(verified > 0); // Most bytes are plain content.
}

void RecordTest::truncatedRecordIsNoRecord() {
    Result<FramePtr> frame = encode(small_spec());
    QVERIFY(frame.ok());
    for (std::size_t size = 0; size < (*frame)->payload_bytes; ++size) {
        const std::unique_ptr<std::uint64_t[]> memory(new std::uint64_t[size / 8 + 1]);
        auto *bytes = reinterpret_cast<std::uint8_t *>(memory.get());
        std::memcpy(bytes, (*frame)->payload(), size);
        if (const record::Image *image = verified_image({bytes, size}))
            read_everything(*image); // Only alignment at the end was cut.
    }
    QVERIFY(!verified_image((*frame)->payload_span().first(64)));
    QVERIFY(!verified_image((*frame)->payload_span().first(1)));
    QVERIFY(!verified_image({}));
}

void RecordTest::garbageIsNoRecord() {
    for (const std::uint8_t filling : {0x00, 0x01, 0x04, 0x7f, 0x80, 0xff}) {
        const std::vector<std::uint8_t> bytes(1024, filling);
        QVERIFY(!verified_image(bytes));
        QVERIFY(!verified_removal(bytes));
    }
}

void RecordTest::flippedByteNeverLeadsOutOfARemoval() {
    const std::vector<std::uint8_t> whole = encode_removal({{"default", "a"}, {"other", "bcd"}});
    for (std::size_t at = 0; at < whole.size(); ++at)
        for (const int mask : {0x01, 0x08, 0x80, 0xff}) {
            std::vector<std::uint8_t> bytes = whole;
            bytes[at] ^= static_cast<std::uint8_t>(mask);
            const record::Removal *removal = verified_removal(bytes);
            if (!removal)
                continue;
            std::size_t sum = 0;
            for (const record::Key *key : *removal->images())
                sum += key->name_space()->str().size() + key->reference()->str().size();
            QVERIFY(sum < whole.size());
        }
}

void RecordTest::imageIsNoRemoval() {
    Result<FramePtr> frame = encode(small_spec());
    QVERIFY(!verified_image(encode_removal({{"default", "a"}})));
    QVERIFY(frame.ok());
}

void RecordTest::copyIsIndependent() {
    Result<FramePtr> frame = encode(full_spec());
    QVERIFY(frame.ok());
    (*frame)->revision = 9;
    const FramePtr copy = copy_frame(**frame);
    frame->reset();
    QCOMPARE(copy->revision, std::uint64_t{9});
    QVERIFY(verified_image(copy->payload_span()));
    QVERIFY(read_everything(*image_of(*copy)) > 0);
}

QTEST_APPLESS_MAIN(RecordTest)
#include "record_test.moc"
