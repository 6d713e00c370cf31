// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors
//
// Facts re-expressed as data from the public tests of github.com/distribution/reference
// (Apache-2.0), with upstream's rows; rows that upstream repeats are listed once:
//   TestReferenceParse 48 (1 repeated), TestWithNameFailure 7, TestDomainAndPath 6,
//   TestSerialization 4 (the texts, not the JSON around them), TestWithTag 4 of 5, TestParseNamed
//   8, TestValidateReferenceName 27 + 14, TestValidateRemoteName 8 + 13, TestParseRepositoryInfo
//   20, TestParseReferenceWithTagAndDigest 1, TestInvalidReferenceComponents 3,
//   TestParseAnyReference 12 of 14, TestNormalizedSplitHostname 11, TestParseDockerRef 11,
//   TestDomainRegexp 30, TestFullNameRegexp 63 (2 repeated), TestReferenceRegexp 12,
//   TestIdentifierRegexp 5.
// Not covered: TestWithDigest 4 and the fifth row of TestWithTag, whose digests of 37 digits only
// upstream's constructors accept; two rows of TestParseAnyReference, for a bare digest names no
// image; TestMatch, TestMatchError, TestReferenceSorting and the familiar names of
// TestParseRepositoryInfo, for nothing here matches, sorts or shortens.
// Different on purpose: upstream refuses sha512 in a program that did not link it; it is valid
// here.
//
// The Mesos rows are the inputs of Mesos' DockerSpecTest.ParseImageReference (Apache-2.0), 8 rows,
// and what the unmodified parser and its stream operator answered to 27 probes (2 repeated).
#include "plugin/reference.h"

#include "plugin/limits.h"

#include <QtTest/QtTest>

#include <initializer_list>
#include <vector>

using namespace waybill;

namespace {

std::string repeat(std::string_view text, int times) {
    std::string repeated;
    for (int time = 0; time < times; ++time)
        repeated += text;
    return repeated;
}

const std::string all_f = "sha256:" + std::string(64, 'f');
const std::string identifier = "1a3f5e7d9c1b3a5f7e9d1c3b5a7f9e1d3c5b7a9f1e3d5d7c9b1a3f5e7d9c1b3a";
const std::string sha_1234 =
    "sha256:1234567890098765432112345667890098765432112345667890098765432112";
const std::string sha_86e0 =
    "sha256:86e0e091d0da6bde2456dbb48306f3956bbeb2eae1b5b9a43045843f69fe4aaa";
const std::string sha_bc88 =
    "sha256:bc8813ea7b3603864987522f02a76101c17ad122e1c46d790efc0fca78ca7bfb";
const std::string sha_be17 =
    "sha256:be178c0543eb17f5f3043021c9e5fcf30285e557a4fc309cce97ff9ca6182912";
const std::string sha_dbcc =
    "sha256:dbcc1c35ac38df41fd2f5e4130b32ffdb93ebae8b3dbe638c23575912276fc9c";
const std::string sha_e669 =
    "sha256:e6693c20186f837fc393390135d8a598a96a833917917789d63766cab6c59582";
const std::string song = "thisisthesongthatneverendsitgoesonandonandonthisisthesongthatnev";

using Texts = std::vector<std::string>;

/// Rows of as many texts as there are columns, named after the first.
void add_rows(std::initializer_list<const char *> columns, const std::vector<Texts> &rows) {
    for (const char *column : columns)
        QTest::addColumn<std::string>(column);
    for (const Texts &row : rows) {
        const std::string &name = row.front();
        QTestData &data = QTest::newRow(name.empty() ? "nothing" : name.c_str());
        for (const std::string &text : row)
            data << text;
    }
}

void add_texts(const Texts &texts) {
    QTest::addColumn<std::string>("text");
    for (const std::string &text : texts)
        QTest::newRow(text.empty() ? "nothing" : text.c_str()) << text;
}

const std::string absent = "-";
std::string or_absent(const std::optional<std::string> &text) { return text.value_or(absent); }

/// The texts of a reference that is a name without tag and digest.
bool is_name(const Result<Reference> &parsed) {
    return parsed.ok() && !parsed.value().tag && !parsed.value().digest;
}

} // namespace

class ReferenceTest : public QObject {
    Q_OBJECT

  private slots:
    void strictTextIsDividedIntoParts_data();
    void strictTextIsDividedIntoParts();
    void wrongStrictTextIsRefusedForItsReason_data();
    void wrongStrictTextIsRefusedForItsReason();
    void strictNameIsDividedIntoDomainAndPath_data();
    void strictNameIsDividedIntoDomainAndPath();
    void whatIsNoNameIsNotTakenForOne_data();
    void whatIsNoNameIsNotTakenForOne();
    void domainIsAccepted_data();
    void domainIsAccepted();
    void wrongDomainIsRefused_data();
    void wrongDomainIsRefused();
    void commonNameIsValid_data();
    void commonNameIsValid();
    void wrongNameIsInvalid_data();
    void wrongNameIsInvalid();
    void onlyAnIdentifierIsRefusedAsOne_data();
    void onlyAnIdentifierIsRefusedAsOne();
    void nameIsNormalizedIntoDomainAndPath_data();
    void nameIsNormalizedIntoDomainAndPath();
    void onlyCanonicalNameStaysAsItIs_data();
    void onlyCanonicalNameStaysAsItIs();
    void normalizedTextKeepsTagAndDigest_data();
    void normalizedTextKeepsTagAndDigest();
    void keyIsCanonical_data();
    void keyIsCanonical();
    void tagAndDigestMeansDigest();
    void threeSpellingsAreOneKey();
    void wrongKeyIsRefusedAtItsByte_data();
    void wrongKeyIsRefusedAtItsByte();
    void longTextIsRefusedInEveryMode();
    void keyThatDefaultsMakeTooLongIsRefused();
    void brokenTextIsRefusedInEveryMode_data();
    void brokenTextIsRefusedInEveryMode();
    void opaqueKeyIsTheTextItself();
    void mesosTextIsDividedAndWrittenAsMesosDoes_data();
    void mesosTextIsDividedAndWrittenAsMesosDoes();
    void mesosKeyIsItsOwnKey();
    void secondAtSignIsRefusedByMesosMode();
    void utf8IsJudged_data();
    void utf8IsJudged();
};

void ReferenceTest::strictTextIsDividedIntoParts_data() {
    // TestReferenceParse, TestSerialization, TestWithTag, TestReferenceRegexp; the last rows ours.
    const std::string all_f_512 = "sha512:" + std::string(128, 'f');
    const std::string all_f_384 = "sha384:" + std::string(96, 'f');
    const std::vector<Texts> rows = {
        {"test_com", "", "test_com", "-", "-"},
        {"test.com:tag", "", "test.com", "tag", "-"},
        {"test.com:5000", "", "test.com", "5000", "-"},
        {"test.com/repo:tag", "test.com", "repo", "tag", "-"},
        {"test:5000/repo", "test:5000", "repo", "-", "-"},
        {"test:5000/repo:tag", "test:5000", "repo", "tag", "-"},
        {"test:5000/repo@" + all_f, "test:5000", "repo", "-", all_f},
        {"test:5000/repo:tag@" + all_f, "test:5000", "repo", "tag", all_f},
        {"lowercase:Uppercase", "", "lowercase", "Uppercase", "-"},
        {repeat("a/", 127) + "a:tag-puts-this-over-max", "a", repeat("a/", 126) + "a",
         "tag-puts-this-over-max", "-"},
        {"sub-dom1.foo.com/bar/baz/quux", "sub-dom1.foo.com", "bar/baz/quux", "-", "-"},
        {"sub-dom1.foo.com/bar/baz/quux:some-long-tag", "sub-dom1.foo.com", "bar/baz/quux",
         "some-long-tag", "-"},
        {"b.gcr.io/test.example.com/my-app:test.example.com", "b.gcr.io", "test.example.com/my-app",
         "test.example.com", "-"},
        {"xn--n3h.com/myimage:xn--n3h.com", "xn--n3h.com", "myimage", "xn--n3h.com", "-"},
        {"xn--7o8h.com/myimage:xn--7o8h.com@" + all_f, "xn--7o8h.com", "myimage", "xn--7o8h.com",
         all_f},
        {"foo_bar.com:8080", "", "foo_bar.com", "8080", "-"},
        {"foo/foo_bar.com:8080", "foo", "foo_bar.com", "8080", "-"},
        {"192.168.1.1", "", "192.168.1.1", "-", "-"},
        {"192.168.1.1:tag", "", "192.168.1.1", "tag", "-"},
        {"192.168.1.1:5000", "", "192.168.1.1", "5000", "-"},
        {"192.168.1.1/repo", "192.168.1.1", "repo", "-", "-"},
        {"192.168.1.1:5000/repo", "192.168.1.1:5000", "repo", "-", "-"},
        {"192.168.1.1:5000/repo:5050", "192.168.1.1:5000", "repo", "5050", "-"},
        {"[2001:db8::1]/repo", "[2001:db8::1]", "repo", "-", "-"},
        {"[2001:db8:1:2:3:4:5:6]/repo:tag", "[2001:db8:1:2:3:4:5:6]", "repo", "tag", "-"},
        {"[2001:db8::1]:5000/repo", "[2001:db8::1]:5000", "repo", "-", "-"},
        {"[2001:db8::1]:5000/repo:tag", "[2001:db8::1]:5000", "repo", "tag", "-"},
        {"[2001:db8::1]:5000/repo@" + all_f, "[2001:db8::1]:5000", "repo", "-", all_f},
        {"[2001:db8::1]:5000/repo:tag@" + all_f, "[2001:db8::1]:5000", "repo", "tag", all_f},
        {"[2001:db8::]:5000/repo", "[2001:db8::]:5000", "repo", "-", "-"},
        {"[::1]:5000/repo", "[::1]:5000", "repo", "-", "-"},
        {"example.com/" + repeat("a", 255) + ":tag", "example.com", repeat("a", 255), "tag", "-"},
        {"example.com:8000/named", "example.com:8000", "named", "-", "-"},
        {"example.com:8000/named:tagged", "example.com:8000", "named", "tagged", "-"},
        {"other.com/named@" + sha_1234, "other.com", "named", "-", sha_1234},
        {"test.com/foo:tag", "test.com", "foo", "tag", "-"},
        {"foo:tag2", "", "foo", "tag2", "-"},
        {"test.com:8000/foo:tag4", "test.com:8000", "foo", "tag4", "-"},
        {"test.com:8000/foo:TAG5", "test.com:8000", "foo", "TAG5", "-"},
        {"registry.com:8080/myapp:tag", "registry.com:8080", "myapp", "tag", "-"},
        {"registry.com:8080/myapp@" + sha_be17, "registry.com:8080", "myapp", "-", sha_be17},
        {"registry.com:8080/myapp:tag2@" + sha_be17, "registry.com:8080", "myapp", "tag2",
         sha_be17},
        {"localhost:8080@" + sha_be17, "", "localhost", "8080", sha_be17},
        {"localhost:8080/name@" + sha_be17, "localhost:8080", "name", "-", sha_be17},
        {"localhost@" + sha_be17, "", "localhost", "-", sha_be17},
        {"validname@" + all_f_512, "", "validname", "-", all_f_512},
        {"validname@" + all_f_384, "", "validname", "-", all_f_384},
        {"a:" + std::string(128, 'T'), "", "a", std::string(128, 'T'), "-"},
        {"a:_", "", "a", "_", "-"},
        {"Uppercase/lowercase:tag", "Uppercase", "lowercase", "tag", "-"},
    };
    add_rows({"text", "domain", "path", "tag", "digest"}, rows);
}

void ReferenceTest::strictTextIsDividedIntoParts() {
    QFETCH(std::string, text);
    QFETCH(std::string, domain);
    QFETCH(std::string, path);
    QFETCH(std::string, tag);
    QFETCH(std::string, digest);
    const Result<Reference> parsed = parse_strict(text);
    QVERIFY(parsed.ok());
    QCOMPARE(parsed.value().domain, domain);
    QCOMPARE(parsed.value().path, path);
    QCOMPARE(or_absent(parsed.value().tag), tag);
    QCOMPARE(or_absent(parsed.value().digest), digest);
}

void ReferenceTest::wrongStrictTextIsRefusedForItsReason_data() {
    // TestReferenceParse, TestSerialization, TestReferenceRegexp; the last rows ours.
    const std::vector<Texts> rows = {
        {"", "empty", "0"},
        {":justtag", "format", "0"},
        {"@" + all_f, "format", "0"},
        {"repo@sha256:ffffffffffffffffffffffffffffffffff", "digits", "46"},
        {"validname@invaliddigest:" + std::string(64, 'f'), "did not start", "10"},
        {"Uppercase:tag", "lower case", "0"},
        {"test:5000/Uppercase/lowercase:tag", "lower case", "10"},
        {"domain/" + repeat("a", 256) + ":tag", "longer", "262"},
        {"aa/asdf$$^/aa", "format", "7"},
        {"[2001:db8::1]", "format", "0"},
        {"[2001:db8::1]:5000", "format", "0"},
        {"[2001:db8::1]:tag", "format", "0"},
        {"[fe80::1%eth0]:5000/repo", "format", "8"},
        {"[fe80::1%@invalidzone]:5000/repo", "format", "0"},
        {"registry.com:8080/myapp@sha256:badbadbadbad", "digits", "43"},
        {"registry.com:8080/myapp:invalid~tag", "tag", "31"},
        {"bad_hostname.com:8080/myapp:tag", "format", "16"},
        {"localhost:http/name@" + sha_be17, "format", "10"},
        {"registry.com:8080/myapp@bad", "did not start", "24"},
        {"registry.com:8080/myapp@2bad", "did not start", "24"},
        {"Foo_bar/x", "lower case", "0"},
        {"name:", "tag", "5"},
        {"name:-x", "tag", "5"},
        {"name:" + std::string(129, 't'), "tag", "133"},
        {"name@", "did not start", "5"},
        {"name@sha256:" + std::string(64, 'F'), "character", "12"},
        {"name\n", "format", "4"},
    };
    add_rows({"text", "reason", "position"}, rows);
}

void ReferenceTest::wrongStrictTextIsRefusedForItsReason() {
    QFETCH(std::string, text);
    QFETCH(std::string, reason);
    QFETCH(std::string, position);
    const Result<Reference> parsed = parse_strict(text);
    QVERIFY(!parsed.ok());
    const Status &fault = parsed.status();
    QCOMPARE(fault.code, Code::Invalid);
    QCOMPARE(fault.field, std::string("reference"));
    QVERIFY2(fault.message.find(reason) != std::string::npos, fault.message.c_str());
    QCOMPARE(std::to_string(fault.position), position);
}

void ReferenceTest::strictNameIsDividedIntoDomainAndPath_data() {
    // TestDomainAndPath, TestFullNameRegexp; upstream leaves the last row's parts unsaid.
    const std::vector<Texts> rows = {
        {"test.com/foo", "test.com", "foo"},
        {"test_com/foo", "", "test_com/foo"},
        {"test:8080/foo", "test:8080", "foo"},
        {"test.com:8080/foo", "test.com:8080", "foo"},
        {"test-com:8080/foo", "test-com:8080", "foo"},
        {"xn--n3h.com:18080/foo", "xn--n3h.com:18080", "foo"},
        {"short", "", "short"},
        {"simple/name", "simple", "name"},
        {"library/ubuntu", "library", "ubuntu"},
        {"docker/stevvooe/app", "docker", "stevvooe/app"},
        {"aa/aa/aa/aa/aa/aa/aa/aa/aa/bb/bb/bb/bb/bb/bb", "aa",
         "aa/aa/aa/aa/aa/aa/aa/aa/bb/bb/bb/bb/bb/bb"},
        {"aa/aa/bb/bb/bb", "aa", "aa/bb/bb/bb"},
        {"a/a/a/a", "a", "a/a/a"},
        {"a", "", "a"},
        {"a/aa", "a", "aa"},
        {"a/aa/a", "a", "aa/a"},
        {"foo.com", "", "foo.com"},
        {"foo.com:8080/bar", "foo.com:8080", "bar"},
        {"foo.com/bar", "foo.com", "bar"},
        {"foo.com/bar/baz", "foo.com", "bar/baz"},
        {"localhost:8080/bar", "localhost:8080", "bar"},
        {"sub-dom1.foo.com/bar/baz/quux", "sub-dom1.foo.com", "bar/baz/quux"},
        {"blog.foo.com/bar/baz", "blog.foo.com", "bar/baz"},
        {"aa-a/a", "aa-a", "a"},
        {repeat("a/", 128) + "a", "a", repeat("a/", 127) + "a"},
        {"foo_bar", "", "foo_bar"},
        {"foo_bar.com", "", "foo_bar.com"},
        {"foo.com/foo_bar", "foo.com", "foo_bar"},
        {"b.gcr.io/test.example.com/my-app", "b.gcr.io", "test.example.com/my-app"},
        {"xn--n3h.com/myimage", "xn--n3h.com", "myimage"},
        {"xn--7o8h.com/myimage", "xn--7o8h.com", "myimage"},
        {"example.com/xn--7o8h.com/myimage", "example.com", "xn--7o8h.com/myimage"},
        {"example.com/some_separator__underscore/myimage", "example.com",
         "some_separator__underscore/myimage"},
        {"do__cker/docker", "", "do__cker/docker"},
        {"registry.io/foo/project--id.module--name.ver---sion--name", "registry.io",
         "foo/project--id.module--name.ver---sion--name"},
        {"Asdf.com/foo/bar", "Asdf.com", "foo/bar"},
    };
    add_rows({"text", "domain", "path"}, rows);
}

void ReferenceTest::strictNameIsDividedIntoDomainAndPath() {
    QFETCH(std::string, text);
    QFETCH(std::string, domain);
    QFETCH(std::string, path);
    const Result<Reference> parsed = parse_strict(text);
    QVERIFY(is_name(parsed));
    QCOMPARE(parsed.value().domain, domain);
    QCOMPARE(parsed.value().path, path);
}

void ReferenceTest::whatIsNoNameIsNotTakenForOne_data() {
    // TestWithNameFailure, TestFullNameRegexp.
    add_texts(
        {"",
         ":justtag",
         "@" + all_f,
         "validname@invaliddigest:ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
         "example.com/repo:tag",
         "example.com/" + repeat("a", 256),
         "aa/asdf$$^/aa",
         "a/a/a/a/",
         "a//a/a",
         "foo.com/",
         "foo.com:http/bar",
         "a^a",
         "asdf$$^/aa",
         "a-/a/a/a",
         "foo.com/a-/a/a",
         "-foo/bar",
         "foo/bar-",
         "foo-/bar",
         "foo/-bar",
         "_foo/bar",
         "foo_bar.com:8080",
         "foo_bar.com:8080/app",
         "____/____",
         "_docker/_docker",
         "docker_/docker_",
         "example.com/__underscore/myimage",
         "example.com/..dots/myimage",
         "example.com/.dots/myimage",
         "example.com/nodouble..dots/myimage",
         "docker./docker",
         ".docker/docker",
         "docker-/docker",
         "-docker/docker",
         "do..cker/docker",
         "do__cker:8080/docker",
         "Foo/FarB"});
}

void ReferenceTest::whatIsNoNameIsNotTakenForOne() {
    QFETCH(std::string, text);
    QVERIFY(!is_name(parse_strict(text)));
}

void ReferenceTest::domainIsAccepted_data() {
    // TestDomainRegexp, its matches.
    add_texts({"test.com",
               "test.com:10304",
               "localhost",
               "localhost:8080",
               "a",
               "a.b",
               "ab.cd.com",
               "a-b.com",
               "ab.c-om",
               "0101.com",
               "001a.com",
               "b.gbc.io:443",
               "b.gbc.io",
               "xn--n3h.com",
               "Asdf.com",
               "192.168.1.1:75050",
               "192.168.1.1:750050",
               "[fd00:1:2::3]:75050",
               "[fd00123123123]:75050",
               "[2001:0db8:85a3:0000:0000:8a2e:0370:7334]:75050",
               "[2001:0db8:85a3:0000:0000:8a2e:0370:7334]:750505"});
}

void ReferenceTest::domainIsAccepted() {
    QFETCH(std::string, text);
    const Result<Reference> parsed = parse_strict(text + "/x");
    QVERIFY(parsed.ok());
    QCOMPARE(parsed.value().domain, text);
}

void ReferenceTest::wrongDomainIsRefused_data() {
    // TestDomainRegexp, what does not match.
    add_texts({"test.com:http", "-ab.com", "ab-.com", "ab.-com", "ab.com-", "[fd00:1:2::3]75050",
               "[fd00:1:2::3]::75050", "[fd00:1:2::3%eth0]:75050", "fd00:1:2::3:75050"});
}

void ReferenceTest::wrongDomainIsRefused() {
    QFETCH(std::string, text);
    QVERIFY(!parse_strict(text + "/x").ok());
}

void ReferenceTest::commonNameIsValid_data() {
    // TestValidateReferenceName, TestValidateRemoteName (2 rows are in both); the last row ours.
    add_texts({"docker/docker",
               "library/debian",
               "debian",
               "localhost/library/debian",
               "localhost/debian",
               "LOCALDOMAIN/library/debian",
               "LOCALDOMAIN/debian",
               "docker.io/docker/docker",
               "docker.io/library/debian",
               "docker.io/debian",
               "index.docker.io/docker/docker",
               "index.docker.io/library/debian",
               "index.docker.io/debian",
               "127.0.0.1:5000/docker/docker",
               "127.0.0.1:5000/library/debian",
               "127.0.0.1:5000/debian",
               "192.168.0.1",
               "192.168.0.1:80",
               "192.168.0.1:8/debian",
               "192.168.0.2:25000/debian",
               song,
               "[fc00::1]:5000/docker",
               "[fc00::1]:5000/docker/docker",
               "[fc00:1:2:3:4:5:6:7]:5000/library/debian",
               "docker.io/" + identifier,
               "Docker/docker",
               "DOCKER/docker",
               "docker-rules/docker",
               "docker---rules/docker",
               "doc/docker",
               "d/docker",
               "jess/t",
               "dock__er/docker",
               "foo_bar.com/x"});
}

void ReferenceTest::commonNameIsValid() {
    QFETCH(std::string, text);
    QVERIFY(parse_normalized(text).ok());
    const Result<std::string> key = canonical_key(text, ReferenceMode::Canonical);
    QVERIFY(key.ok());
    const Result<std::string> again = canonical_key(key.value(), ReferenceMode::Canonical);
    QVERIFY(again.ok());
    QCOMPARE(again.value(), key.value());
}

void ReferenceTest::wrongNameIsInvalid_data() {
    // TestValidateReferenceName, TestValidateRemoteName (4 rows are in both),
    // TestInvalidReferenceComponents; the last row ours.
    add_texts({"https://github.com/docker/docker",
               "docker/Docker",
               "-docker",
               "-docker/docker",
               "-docker.io/docker/docker",
               "docker///docker",
               "docker.io/docker/Docker",
               "docker.io/docker///docker",
               "[fc00::1]",
               "[fc00::1]:5000",
               "fc00::1:5000/debian",
               "[fe80::1%eth0]:5000/debian",
               "[2001:db8:3:4::192.0.2.33]:5000/debian",
               identifier,
               "docker-/docker",
               "-docker-/docker",
               "____/____",
               "_docker/_docker",
               "dock..er/docker",
               "dock_.er/docker",
               "dock-.er/docker",
               "docker/",
               repeat("this_is_not_a_valid_namespace_because_its_lenth_is_greater_than_255_", 3) +
                   "this_is_not_a_valid_namespace_because_its_lenth_is_greater_than_255/docker",
               "-foo",
               "busybox:-foo",
               "busybox@foo",
               ""});
}

void ReferenceTest::wrongNameIsInvalid() {
    QFETCH(std::string, text);
    const Result<Reference> parsed = parse_normalized(text);
    QVERIFY(!parsed.ok());
    QCOMPARE(parsed.status().code, Code::Invalid);
    QCOMPARE(parsed.status().field, std::string("reference"));
    QVERIFY(parsed.status().position >= 0);
    QVERIFY(parsed.status().position <= std::int64_t(text.size()));
}

void ReferenceTest::onlyAnIdentifierIsRefusedAsOne_data() {
    // TestIdentifierRegexp.
    const std::string da30 = "da304e823d8ca2b9d863a3c897baeb852ba21ea9a9f1414736394ae7fcaf";
    const std::vector<Texts> rows = {
        {da30 + "9821", "yes"},
        {"7EC43B381E5AEFE6E04EFB0B3F0693FF2A4A50652D64AEC573905F2DB5889A1C", "no"},
        {da30, "no"},
        {"sha256:" + da30 + "9821", "no"},
        {da30 + "98218482", "no"},
    };
    add_rows({"text", "is_identifier"}, rows);
}

void ReferenceTest::onlyAnIdentifierIsRefusedAsOne() {
    QFETCH(std::string, text);
    QFETCH(std::string, is_identifier);
    const Result<Reference> parsed = parse_normalized(text);
    const bool refused =
        !parsed.ok() && parsed.status().message.find("identifier") != std::string::npos;
    QCOMPARE(refused, is_identifier == "yes");
}

void ReferenceTest::nameIsNormalizedIntoDomainAndPath_data() {
    // TestNormalizedSplitHostname, TestParseRepositoryInfo (each spelling a row); the last two
    // ours.
    const std::vector<Texts> rows = {
        {"test.com/foo", "test.com", "foo"},
        {"test_com/foo", "docker.io", "test_com/foo"},
        {"docker/migrator", "docker.io", "docker/migrator"},
        {"test.com:8080/foo", "test.com:8080", "foo"},
        {"test-com:8080/foo", "test-com:8080", "foo"},
        {"foo", "docker.io", "library/foo"},
        {"xn--n3h.com/foo", "xn--n3h.com", "foo"},
        {"xn--n3h.com:18080/foo", "xn--n3h.com:18080", "foo"},
        {"docker.io/foo", "docker.io", "library/foo"},
        {"docker.io/library/foo", "docker.io", "library/foo"},
        {"docker.io/library/foo/bar", "docker.io", "library/foo/bar"},
        {"localhost/fooo", "localhost", "fooo"},
        {"localhost/fooo/bar", "localhost", "fooo/bar"},
        {"LOCALDOMAIN/fooo", "LOCALDOMAIN", "fooo"},
        {"LOCALDOMAIN/fooo/bar", "LOCALDOMAIN", "fooo/bar"},
        {"fooo/bar", "docker.io", "fooo/bar"},
        {"docker.io/fooo/bar", "docker.io", "fooo/bar"},
        {"index.docker.io/fooo/bar", "docker.io", "fooo/bar"},
        {"ubuntu", "docker.io", "library/ubuntu"},
        {"docker.io/library/ubuntu", "docker.io", "library/ubuntu"},
        {"library/ubuntu", "docker.io", "library/ubuntu"},
        {"nonlibrary/ubuntu", "docker.io", "nonlibrary/ubuntu"},
        {"docker.io/nonlibrary/ubuntu", "docker.io", "nonlibrary/ubuntu"},
        {"other/library", "docker.io", "other/library"},
        {"docker.io/other/library", "docker.io", "other/library"},
        {"127.0.0.1:8000/private/moonbase", "127.0.0.1:8000", "private/moonbase"},
        {"127.0.0.1:8000/privatebase", "127.0.0.1:8000", "privatebase"},
        {"example.com/private/moonbase", "example.com", "private/moonbase"},
        {"example.com/privatebase", "example.com", "privatebase"},
        {"example.com:8000/private/moonbase", "example.com:8000", "private/moonbase"},
        {"example.com:8000/privatebasee", "example.com:8000", "privatebasee"},
        {"ubuntu-12.04-base", "docker.io", "library/ubuntu-12.04-base"},
        {"docker.io/library/ubuntu-12.04-base", "docker.io", "library/ubuntu-12.04-base"},
        {"index.docker.io/library/ubuntu-12.04-base", "docker.io", "library/ubuntu-12.04-base"},
        {"library/foo/bar", "docker.io", "library/foo/bar"},
        {"store/foo/bar", "docker.io", "store/foo/bar"},
        {"docker.io/store/foo/bar", "docker.io", "store/foo/bar"},
        {"Foo/bar", "Foo", "bar"},
        {"FOO/bar", "FOO", "bar"},
        {"foo_bar.com/x", "", "foo_bar.com/x"},
        {"localhost", "docker.io", "library/localhost"},
    };
    add_rows({"text", "domain", "path"}, rows);
}

void ReferenceTest::nameIsNormalizedIntoDomainAndPath() {
    QFETCH(std::string, text);
    QFETCH(std::string, domain);
    QFETCH(std::string, path);
    const Result<Reference> parsed = parse_normalized(text);
    QVERIFY(is_name(parsed));
    QCOMPARE(parsed.value().domain, domain);
    QCOMPARE(parsed.value().path, path);
}

void ReferenceTest::onlyCanonicalNameStaysAsItIs_data() {
    // TestParseNamed.
    const std::vector<Texts> rows = {
        {"test.com/foo", "yes"},
        {"test:8080/foo", "yes"},
        {"test_com/foo", "no"},
        {"test.com", "no"},
        {"foo", "no"},
        {"library/foo", "no"},
        {"docker.io/library/foo", "yes"},
        {"docker.io/foo", "no"},
    };
    add_rows({"text", "stays"}, rows);
}

void ReferenceTest::onlyCanonicalNameStaysAsItIs() {
    QFETCH(std::string, text);
    QFETCH(std::string, stays);
    const Result<Reference> parsed = parse_normalized(text);
    QVERIFY(parsed.ok());
    QCOMPARE(canonical_text(parsed.value()) == text + ":latest", stays == "yes");
}

void ReferenceTest::normalizedTextKeepsTagAndDigest_data() {
    // TestParseAnyReference, TestParseReferenceWithTagAndDigest.
    const std::string short_hex = sha_dbcc.substr(7, 63);
    const std::vector<Texts> rows = {
        {"redis", "docker.io/library/redis"},
        {"redis:latest", "docker.io/library/redis:latest"},
        {"docker.io/library/redis:latest", "docker.io/library/redis:latest"},
        {"redis@" + sha_dbcc, "docker.io/library/redis@" + sha_dbcc},
        {"docker.io/library/redis@" + sha_dbcc, "docker.io/library/redis@" + sha_dbcc},
        {"dmcgowan/myapp", "docker.io/dmcgowan/myapp"},
        {"dmcgowan/myapp:latest", "docker.io/dmcgowan/myapp:latest"},
        {"docker.io/mcgowan/myapp:latest", "docker.io/mcgowan/myapp:latest"},
        {"dmcgowan/myapp@" + sha_dbcc, "docker.io/dmcgowan/myapp@" + sha_dbcc},
        {"docker.io/dmcgowan/myapp@" + sha_dbcc, "docker.io/dmcgowan/myapp@" + sha_dbcc},
        {short_hex, "docker.io/library/" + short_hex},
        {"dbcc1", "docker.io/library/dbcc1"},
        {"busybox:latest@" + sha_86e0, "docker.io/library/busybox:latest@" + sha_86e0},
    };
    add_rows({"text", "equivalent"}, rows);
}

void ReferenceTest::normalizedTextKeepsTagAndDigest() {
    QFETCH(std::string, text);
    QFETCH(std::string, equivalent);
    const Result<Reference> parsed = parse_normalized(text);
    const Result<Reference> expected = parse_strict(equivalent);
    QVERIFY(parsed.ok());
    QVERIFY(expected.ok());
    QCOMPARE(parsed.value().domain, expected.value().domain);
    QCOMPARE(parsed.value().path, expected.value().path);
    QCOMPARE(or_absent(parsed.value().tag), or_absent(expected.value().tag));
    QCOMPARE(or_absent(parsed.value().digest), or_absent(expected.value().digest));
}

void ReferenceTest::keyIsCanonical_data() {
    // TestParseDockerRef; the last rows ours.
    const std::vector<Texts> rows = {
        {"busybox", "docker.io/library/busybox:latest"},
        {"busybox:latest", "docker.io/library/busybox:latest"},
        {"busybox@" + sha_e669, "docker.io/library/busybox@" + sha_e669},
        {"library/busybox", "docker.io/library/busybox:latest"},
        {"docker.io/busybox", "docker.io/library/busybox:latest"},
        {"docker.io/library/busybox", "docker.io/library/busybox:latest"},
        {"docker.io/busybox:latest", "docker.io/library/busybox:latest"},
        {"library/busybox:latest", "docker.io/library/busybox:latest"},
        {"docker.io/library/busybox:latest", "docker.io/library/busybox:latest"},
        {"gcr.io/library/busybox", "gcr.io/library/busybox:latest"},
        {"gcr.io/library/busybox:latest@" + sha_e669, "gcr.io/library/busybox@" + sha_e669},
        {"index.docker.io/busybox:1", "docker.io/library/busybox:1"},
        {"index.docker.io/x/y:1", "docker.io/x/y:1"},
        {"docker.io/library/busybox@" + sha_e669, "docker.io/library/busybox@" + sha_e669},
        {"foo_bar.com/x:1", "foo_bar.com/x:1"},
    };
    add_rows({"text", "key"}, rows);
}

void ReferenceTest::keyIsCanonical() {
    QFETCH(std::string, text);
    QFETCH(std::string, key);
    const Result<std::string> found = canonical_key(text, ReferenceMode::Canonical);
    QVERIFY(found.ok());
    QCOMPARE(found.value(), key);
    const Result<Reference> parsed = parse_normalized(text);
    QVERIFY(parsed.ok());
    QCOMPARE(canonical_text(parsed.value()), key);
}

void ReferenceTest::tagAndDigestMeansDigest() {
    const Result<Reference> parsed = parse_normalized("a:1@" + all_f);
    QVERIFY(parsed.ok());
    QCOMPARE(or_absent(parsed.value().tag), std::string("1"));
    const std::string key = "docker.io/library/a@" + all_f;
    for (const std::string &text : {"a:1@" + all_f, "a:2@" + all_f, "a@" + all_f})
        QCOMPARE(canonical_key(text, ReferenceMode::Canonical).value(), key);
}

void ReferenceTest::threeSpellingsAreOneKey() {
    const std::string key = "docker.io/library/ubuntu:latest";
    for (const char *text : {"ubuntu", "docker.io/ubuntu", "docker.io/library/ubuntu:latest"}) {
        QCOMPARE(canonical_key(text, ReferenceMode::Canonical).value(), key);
        QCOMPARE(canonical_key(text, ReferenceMode::Mesos).value(), std::string(text));
    }
}

void ReferenceTest::wrongKeyIsRefusedAtItsByte_data() {
    const std::vector<Texts> rows = {
        {"", "0"},
        {"docker/Docker", "7"},
        {"docker///docker", "7"},
        {"docker/", "7"},
        {"docker-/docker", "7"},
        {"dock..er/docker", "5"},
        {"index.docker.io/a b", "17"},
        {"ubuntu:a b", "8"},
        {"ubuntu@sha256:zz", "14"},
        {"https://github.com/docker", "6"},
        {std::string(248, 'a'), "247"},
        {identifier, "0"},
    };
    add_rows({"text", "position"}, rows);
}

void ReferenceTest::wrongKeyIsRefusedAtItsByte() {
    QFETCH(std::string, text);
    QFETCH(std::string, position);
    const Result<std::string> key = canonical_key(text, ReferenceMode::Canonical);
    QVERIFY(!key.ok());
    QCOMPARE(key.status().code, Code::Invalid);
    QCOMPARE(key.status().field, std::string("reference"));
    QCOMPARE(std::to_string(key.status().position), position);
}

void ReferenceTest::longTextIsRefusedInEveryMode() {
    const std::string text(limits::reference_bytes_max + 1, 'a');
    for (const auto mode : {ReferenceMode::Canonical, ReferenceMode::Opaque, ReferenceMode::Mesos})
        QCOMPARE(canonical_key(text, mode).status().code, Code::Limit);
    const std::string longest(limits::reference_bytes_max, 'a');
    QVERIFY(canonical_key(longest, ReferenceMode::Opaque).ok());
    QVERIFY(canonical_key(longest, ReferenceMode::Mesos).ok());
}

void ReferenceTest::keyThatDefaultsMakeTooLongIsRefused() {
    const std::string domain = repeat("a.", 510) + "a";
    const std::string text = domain + "/x";
    QVERIFY(text.size() <= limits::reference_bytes_max);
    QCOMPARE(canonical_key(text, ReferenceMode::Canonical).status().code, Code::Limit);
}

void ReferenceTest::brokenTextIsRefusedInEveryMode_data() {
    const std::vector<Texts> rows = {
        {std::string("a\0b", 3), "1"}, {"ab\xff", "2"}, {"a/\xed\xa0\x80", "2"}};
    add_rows({"text", "position"}, rows);
}

void ReferenceTest::brokenTextIsRefusedInEveryMode() {
    QFETCH(std::string, text);
    QFETCH(std::string, position);
    for (const auto mode :
         {ReferenceMode::Canonical, ReferenceMode::Opaque, ReferenceMode::Mesos}) {
        const Result<std::string> key = canonical_key(text, mode);
        QVERIFY(!key.ok());
        QCOMPARE(key.status().code, Code::Invalid);
        QCOMPARE(key.status().field, std::string("reference"));
        QCOMPARE(std::to_string(key.status().position), position);
    }
}

void ReferenceTest::opaqueKeyIsTheTextItself() {
    for (const char *text : {"a", "Any Name: @@ at all", "caf\xc3\xa9"})
        QCOMPARE(canonical_key(text, ReferenceMode::Opaque).value(), std::string(text));
    QCOMPARE(canonical_key("", ReferenceMode::Opaque).status().code, Code::Invalid);
}

void ReferenceTest::mesosTextIsDividedAndWrittenAsMesosDoes_data() {
    // DockerSpecTest.ParseImageReference, then the probes.
    const std::string b = "library/busybox";
    const std::string io = "registry.io:80";
    const std::vector<Texts> rows = {
        {b, "", b, "-", "-", b},
        {"busybox", "", "busybox", "-", "-", "busybox"},
        {b + ":tag", "", b, "tag", "-", b + ":tag"},
        {b + "@" + sha_bc88, "", b, "-", sha_bc88, b + "@" + sha_bc88},
        {"registry.io/" + b, "registry.io", b, "-", "-", "registry.io/" + b},
        {"registry.io/" + b + ":tag", "registry.io", b, "tag", "-", "registry.io/" + b + ":tag"},
        {io + "/" + b + ":tag", io, b, "tag", "-", io + "/" + b + ":tag"},
        {io + "/" + b + "@" + sha_bc88, io, b, "-", sha_bc88, io + "/" + b + "@" + sha_bc88},
        {"", "", "", "-", "-", ""},
        {"busybox:1", "", "busybox", "1", "-", "busybox:1"},
        {"busybox:", "", "busybox", "", "-", "busybox:"},
        {":tag", "", "", "tag", "-", ":tag"},
        {"a:b:c", "", "a:b", "c", "-", "a:b:c"},
        {"localhost/x", "localhost", "x", "-", "-", "localhost/x"},
        {"localhost:5000/x", "localhost:5000", "x", "-", "-", "localhost:5000/x"},
        {"localhost:5000/x:t", "localhost:5000", "x", "t", "-", "localhost:5000/x:t"},
        {"localhost:5000", "", "localhost", "5000", "-", "localhost:5000"},
        {"host.io/x@sha256:aa", "host.io", "x", "-", "sha256:aa", "host.io/x@sha256:aa"},
        {"host.io/x:t@sha256:aa", "host.io", "x", "t", "sha256:aa", "host.io/x@sha256:aa"},
        {"x@", "", "x", "-", "", "x@"},
        {"@sha256:aa", "", "", "-", "sha256:aa", "@sha256:aa"},
        {"/x", "", "/x", "-", "-", "/x"},
        {"host.io/", "host.io", "", "-", "-", "host.io/"},
        {"host.io//x", "host.io", "/x", "-", "-", "host.io//x"},
        {"UPPER/Case:Tag", "", "UPPER/Case", "Tag", "-", "UPPER/Case:Tag"},
        {"a/b/c:1", "", "a/b/c", "1", "-", "a/b/c:1"},
        {"x:5000/y", "x:5000", "y", "-", "-", "x:5000/y"},
        {"registry:5000/y:z:w", "registry:5000", "y:z", "w", "-", "registry:5000/y:z:w"},
        {"docker.io/library/x", "docker.io", "library/x", "-", "-", "docker.io/library/x"},
        {"-x", "", "-x", "-", "-", "-x"},
        {"a b", "", "a b", "-", "-", "a b"},
        {"[::1]:5000/x:t", "[::1]:5000", "x", "t", "-", "[::1]:5000/x:t"},
    };
    add_rows({"text", "registry", "repository", "tag", "digest", "written"}, rows);
}

void ReferenceTest::mesosTextIsDividedAndWrittenAsMesosDoes() {
    QFETCH(std::string, text);
    QFETCH(std::string, registry);
    QFETCH(std::string, repository);
    QFETCH(std::string, tag);
    QFETCH(std::string, digest);
    QFETCH(std::string, written);
    const Result<Reference> parsed = parse_mesos(text);
    QVERIFY(parsed.ok());
    QCOMPARE(parsed.value().domain, registry);
    QCOMPARE(parsed.value().path, repository);
    QCOMPARE(or_absent(parsed.value().tag), tag);
    QCOMPARE(or_absent(parsed.value().digest), digest);
    QCOMPARE(mesos_text(parsed.value()), written);
    QCOMPARE(canonical_key(text, ReferenceMode::Mesos).value(), written);
}

/// Mesos drops one tag beside a digest. Were the next one kept, the key that a listing shows would
/// name another image, or none: it could not be removed by it, nor kept from a prune.
void ReferenceTest::mesosKeyIsItsOwnKey() {
    QCOMPARE(mesos_text(parse_mesos("a:b:c@d").value()), std::string("a:b@d"));
    for (const char *text : {"a:b:c@d", "a:b@d", "a::@d", "a@d"})
        QCOMPARE(canonical_key(text, ReferenceMode::Mesos).value(), std::string("a@d"));
    QCOMPARE(canonical_key("h.io:80/a:b:c@d", ReferenceMode::Mesos).value(),
             std::string("h.io:80/a@d"));
}

void ReferenceTest::secondAtSignIsRefusedByMesosMode() {
    const Result<std::string> key = canonical_key("x@a@b", ReferenceMode::Mesos);
    QVERIFY(!key.ok());
    QCOMPARE(key.status().code, Code::Invalid);
    QCOMPARE(key.status().message, std::string("Multiple '@' symbols found"));
    QCOMPARE(key.status().position, std::int64_t(3));
}

void ReferenceTest::utf8IsJudged_data() {
    QTest::addColumn<std::string>("text");
    QTest::addColumn<int>("position"); // -1: well-formed
    const auto add = [](const char *name, std::string text, int position) {
        QTest::newRow(name) << text << position;
        // Once more past the part that is read eight bytes at a time.
        QTest::newRow((std::string(name) + ", after 11 bytes").c_str())
            << "hello world" + text << (position < 0 ? position : position + 11);
    };
    add("nothing", "", -1);
    add("ASCII", "plain text of some length", -1);
    add("first of two bytes", "\xc2\x80", -1);
    add("last of two bytes", "\xdf\xbf", -1);
    add("first of three bytes", "\xe0\xa0\x80", -1);
    add("last before the surrogates", "\xed\x9f\xbf", -1);
    add("first after the surrogates", "\xee\x80\x80", -1);
    add("last of three bytes", "\xef\xbf\xbf", -1);
    add("first of four bytes", "\xf0\x90\x80\x80", -1);
    add("last of four bytes", "\xf4\x8f\xbf\xbf", -1);
    add("lone continuation", "a\x80", 1);
    add("overlong slash in two bytes", "\xc0\xaf", 0);
    add("overlong in two bytes, last", "\xc1\xbf", 0);
    add("overlong in three bytes", "\xe0\x9f\xbf", 0);
    add("overlong in four bytes", "\xf0\x8f\xbf\xbf", 0);
    add("first surrogate", "\xed\xa0\x80", 0);
    add("last surrogate", "\xed\xbf\xbf", 0);
    add("beyond the last code point", "\xf4\x90\x80\x80", 0);
    add("lead byte of five", "\xf8\x88\x80\x80\x80", 0);
    add("byte that is never used", "a\xff", 1);
    add("two bytes cut", "ab\xc3", 2);
    add("three bytes cut", "\xe2\x82", 0);
    add("four bytes cut", "\xf0\x9f\x98", 0);
    add("continuation missing", "\xe2\x82(", 0);
    add("fault after good characters", "\xc3\xa9\xe2\x82\xac\xc3(", 5);
}

void ReferenceTest::utf8IsJudged() {
    QFETCH(std::string, text);
    QFETCH(int, position);
    std::int64_t found = -1;
    QCOMPARE(is_utf8(text, &found), position < 0);
    QCOMPARE(int(found), position);
}

QTEST_APPLESS_MAIN(ReferenceTest)
#include "reference_test.moc"
