// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors
#include "plugin/digest.h"

#include <QtTest/QtTest>

#include <vector>

using namespace waybill;

namespace {

std::string repeat(std::string_view text, int times) {
    std::string repeated;
    for (int time = 0; time < times; ++time)
        repeated += text;
    return repeated;
}

const std::string hex_256 = repeat("0123456789abcdef", 4);
const std::string hex_384 = repeat("0123456789abcdef", 6);
const std::string hex_512 = repeat("0123456789abcdef", 8);

std::vector<std::uint8_t> packed_text(std::string_view text) {
    std::vector<std::uint8_t> packed = {id_is_text};
    packed.insert(packed.end(), text.begin(), text.end());
    return packed;
}

} // namespace

class DigestTest : public QObject {
    Q_OBJECT

  private slots:
    void digestIsPackedAndWrittenBack_data();
    void digestIsPackedAndWrittenBack();
    void wrongDigestIsRefusedAtItsByte_data();
    void wrongDigestIsRefusedAtItsByte();
    void rawBytesAreThoseOfTheHexDigits();
    void layerIdIsPackedAndWrittenBack_data();
    void layerIdIsPackedAndWrittenBack();
    void layerIdThatIsNoPathComponentIsRefused_data();
    void layerIdThatIsNoPathComponentIsRefused();
    void layerIdOverTheLimitIsRefused();
    void packedFormFromADiskIsJudged_data();
    void packedFormFromADiskIsJudged();
    void emptyInputGivesEmptyText();
    void unknownAlgorithmGivesEmptyText();
};

void DigestTest::digestIsPackedAndWrittenBack_data() {
    QTest::addColumn<std::string>("text");
    QTest::addColumn<int>("algorithm");
    QTest::addColumn<int>("packed_size");
    QTest::newRow("sha256") << "sha256:" + hex_256 << int(id_is_sha256) << 33;
    QTest::newRow("sha384") << "sha384:" + hex_384 << int(id_is_sha384) << 49;
    QTest::newRow("sha512") << "sha512:" + hex_512 << int(id_is_sha512) << 65;
}

void DigestTest::digestIsPackedAndWrittenBack() {
    QFETCH(std::string, text);
    QFETCH(int, algorithm);
    QFETCH(int, packed_size);
    const Result<PackedId> packed = parse_digest(text);
    QVERIFY(packed.ok());
    QCOMPARE(int(packed.value().bytes[0]), algorithm);
    QCOMPARE(int(packed.value().size), packed_size);
    QVERIFY(is_packed_digest(packed.value().span()));
    QVERIFY(is_packed_id(packed.value().span()));
    char out[136];
    QCOMPARE(write_id_text(packed.value().span(), out), text.size());
    QCOMPARE(std::string(out), text);
    QCOMPARE(id_text(packed.value().span()), text);
}

void DigestTest::wrongDigestIsRefusedAtItsByte_data() {
    QTest::addColumn<std::string>("text");
    QTest::addColumn<int>("position");
    QTest::newRow("empty") << std::string() << 0;
    QTest::newRow("no algorithm") << hex_256 << 0;
    QTest::newRow("unknown algorithm") << "md5:" + hex_256 << 0;
    QTest::newRow("upper-case algorithm") << "SHA256:" + hex_256 << 0;
    QTest::newRow("no separator") << "sha256" + hex_256 << 0;
    QTest::newRow("nothing after the algorithm") << std::string("sha256:") << 7;
    QTest::newRow("one digit missing") << "sha256:" + hex_256.substr(1) << 70;
    QTest::newRow("one digit too many") << "sha256:" + hex_256 + "0" << 71;
    QTest::newRow("sha256 with the length of sha512") << "sha256:" + hex_512 << 71;
    QTest::newRow("sha512 with the length of sha256") << "sha512:" + hex_256 << 71;
    QTest::newRow("upper-case digit") << "sha256:0A" + hex_256.substr(2) << 8;
    QTest::newRow("letter after f") << "sha256:g" + hex_256.substr(1) << 7;
    QTest::newRow("space at the end") << "sha256:" + hex_256.substr(1) + " " << 70;
    QTest::newRow("byte over 127") << "sha256:\xff" + hex_256.substr(1) << 7;
    QTest::newRow("NUL among the digits") << "sha256:" + std::string(64, '\0') << 7;
}

void DigestTest::wrongDigestIsRefusedAtItsByte() {
    QFETCH(std::string, text);
    QFETCH(int, position);
    const Result<PackedId> packed = parse_digest(text);
    QVERIFY(!packed.ok());
    QCOMPARE(packed.status().code, Code::Invalid);
    QCOMPARE(int(packed.status().position), position);
    QVERIFY(packed.status().field.empty());
    QVERIFY(!packed.status().message.empty());
}

void DigestTest::rawBytesAreThoseOfTheHexDigits() {
    const Result<PackedId> packed = parse_digest("sha256:00ff7f80" + std::string(56, '1'));
    QVERIFY(packed.ok());
    const auto bytes = packed.value().span();
    QCOMPARE(int(bytes[1]), 0x00);
    QCOMPARE(int(bytes[2]), 0xff);
    QCOMPARE(int(bytes[3]), 0x7f);
    QCOMPARE(int(bytes[4]), 0x80);
    QCOMPARE(int(bytes[32]), 0x11);
}

void DigestTest::layerIdIsPackedAndWrittenBack_data() {
    QTest::addColumn<std::string>("text");
    QTest::addColumn<int>("algorithm");
    QTest::newRow("digest") << "sha256:" + hex_256 << int(id_is_sha256);
    QTest::newRow("bare hex as Mesos names layers") << hex_256 << int(id_is_text);
    QTest::newRow("short text") << std::string("L1") << int(id_is_text);
    QTest::newRow("digest with a digit missing")
        << "sha256:" + hex_256.substr(1) << int(id_is_text);
    QTest::newRow("upper-case digest") << "sha256:" + std::string(64, 'A') << int(id_is_text);
    QTest::newRow("three dots") << std::string("...") << int(id_is_text);
    QTest::newRow("leading dot") << std::string(".x") << int(id_is_text);
    QTest::newRow("space inside") << std::string("a b") << int(id_is_text);
    QTest::newRow("letters beyond ASCII") << std::string("\xc3\xa9tage") << int(id_is_text);
    QTest::newRow("as long as allowed") << std::string(255, 'x') << int(id_is_text);
}

void DigestTest::layerIdIsPackedAndWrittenBack() {
    QFETCH(std::string, text);
    QFETCH(int, algorithm);
    const Result<PackedId> packed = parse_layer_id(text);
    QVERIFY(packed.ok());
    QCOMPARE(int(packed.value().bytes[0]), algorithm);
    QVERIFY(is_packed_id(packed.value().span()));
    QCOMPARE(is_packed_digest(packed.value().span()), algorithm != id_is_text);
    char out[256];
    QCOMPARE(write_id_text(packed.value().span(), out), text.size());
    QCOMPARE(std::string(out), text);
}

void DigestTest::layerIdThatIsNoPathComponentIsRefused_data() {
    QTest::addColumn<std::string>("text");
    QTest::addColumn<int>("position");
    QTest::newRow("empty") << std::string() << 0;
    QTest::newRow("this directory") << std::string(".") << 0;
    QTest::newRow("parent directory") << std::string("..") << 0;
    QTest::newRow("absolute") << std::string("/x") << 0;
    QTest::newRow("climbs out") << std::string("../../etc") << 2;
    QTest::newRow("slash at the end") << std::string("x/") << 1;
    QTest::newRow("line feed") << std::string("ab\n") << 2;
    QTest::newRow("escape") << std::string("a\x1b[0m") << 1;
    QTest::newRow("delete") << std::string("a\x7f") << 1;
    QTest::newRow("NUL inside") << std::string("a\0b", 3) << 1;
}

void DigestTest::layerIdThatIsNoPathComponentIsRefused() {
    QFETCH(std::string, text);
    QFETCH(int, position);
    const Result<PackedId> packed = parse_layer_id(text);
    QVERIFY(!packed.ok());
    QCOMPARE(packed.status().code, Code::Invalid);
    QCOMPARE(int(packed.status().position), position);
    const std::vector<std::uint8_t> bytes = packed_text(text);
    QVERIFY(!is_packed_id(bytes));
}

void DigestTest::layerIdOverTheLimitIsRefused() {
    const Result<PackedId> packed = parse_layer_id(std::string(256, 'x'));
    QVERIFY(!packed.ok());
    QCOMPARE(packed.status().code, Code::Limit);
    QVERIFY(!is_packed_id(packed_text(std::string(256, 'x'))));
}

void DigestTest::packedFormFromADiskIsJudged_data() {
    using Bytes = std::vector<std::uint8_t>;
    const auto raw = [](std::uint8_t algorithm, std::size_t size) {
        Bytes bytes(1 + size, 0xee);
        bytes[0] = algorithm;
        return bytes;
    };
    QTest::addColumn<Bytes>("packed");
    QTest::addColumn<bool>("is_digest");
    QTest::addColumn<bool>("is_id");
    QTest::newRow("nothing") << Bytes() << false << false;
    QTest::newRow("algorithm byte only") << raw(id_is_sha256, 0) << false << false;
    QTest::newRow("text byte only") << raw(id_is_text, 0) << false << false;
    QTest::newRow("sha256 one byte short") << raw(id_is_sha256, 31) << false << false;
    QTest::newRow("sha256") << raw(id_is_sha256, 32) << true << true;
    QTest::newRow("sha256 one byte long") << raw(id_is_sha256, 33) << false << false;
    QTest::newRow("sha384") << raw(id_is_sha384, 48) << true << true;
    QTest::newRow("sha512") << raw(id_is_sha512, 64) << true << true;
    QTest::newRow("unknown algorithm") << raw(4, 32) << false << false;
    QTest::newRow("text") << packed_text("456") << false << true;
    QTest::newRow("digest in the form of text")
        << packed_text("sha256:" + hex_256) << false << false;
}

void DigestTest::packedFormFromADiskIsJudged() {
    QFETCH(std::vector<std::uint8_t>, packed);
    QFETCH(bool, is_digest);
    QFETCH(bool, is_id);
    QCOMPARE(is_packed_digest(packed), is_digest);
    QCOMPARE(is_packed_id(packed), is_id);
}

void DigestTest::emptyInputGivesEmptyText() {
    char out[256] = "x";
    QCOMPARE(write_id_text({}, out), std::size_t(0));
    QCOMPARE(out[0], '\0');
    QVERIFY(id_text({}).empty());
}

void DigestTest::unknownAlgorithmGivesEmptyText() {
    const std::uint8_t packed[] = {9, 1, 2, 3};
    QVERIFY(id_text(packed).empty());
}

QTEST_APPLESS_MAIN(DigestTest)
#include "digest_test.moc"
