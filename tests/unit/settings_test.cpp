// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors
#include "plugin/settings.h"

#include "plugin/json_keys.h"

#include <QtTest>

#include <string>

using namespace waybill;

class SettingsTest : public QObject {
    Q_OBJECT

  private slots:
    void rootAloneGivesTheDefaults();
    void everyKeyIsRead();
    void keyWithAMarkOfByteOrderIsAnotherKey();
    void unknownKeyNamesTheNearest_data();
    void unknownKeyNamesTheNearest();
    void wrongValueNamesItsKey_data();
    void wrongValueNamesItsKey();
    void bordersOfLimitsAreAccepted();
    void keyThatStandsTwiceGivesThePosition();
    void brokenJsonGivesThePosition();
    void positionIsInATextThatEndsWithinAString();
    void brokenUtf8GivesThePosition();
    void overlongTextIsOverLimit();
    void overlongPathIsOverLimit();
    void relativeComponentGivesThePosition();
    void messageStaysOneLine();
};

void SettingsTest::rootAloneGivesTheDefaults() {
    const auto settings = parse_settings(R"({"root": "/var/lib/waybill"})");
    QVERIFY(settings.ok());
    QCOMPARE(settings.value().root, std::string("/var/lib/waybill"));
    QVERIFY(settings.value().create);
    QVERIFY(!settings.value().read_only);
    QVERIFY(!settings.value().references);
    QVERIFY(!settings.value().layers);
    QCOMPARE(settings.value().threads, limits::threads_default);
    QCOMPARE(settings.value().images_max, limits::images_max_default);
    QCOMPARE(settings.value().record_bytes_max, std::uint64_t(limits::record_bytes_max_default));
    QCOMPARE(settings.value().journal_bytes, limits::journal_bytes_default);
}

void SettingsTest::everyKeyIsRead() {
    const auto settings = parse_settings(R"({
        "root": "/srv/waybill", "create": false, "readOnly": true, "references": "mesos",
        "layers": {"root": "/srv/store/docker", "layout": "mesos"}, "threads": 16,
        "limits": {"images": 7, "recordBytes": 2048, "journalBytes": 131072}})");
    QVERIFY(settings.ok());
    QVERIFY(!settings.value().create);
    QVERIFY(settings.value().read_only);
    QVERIFY(settings.value().references == ReferenceMode::Mesos);
    QCOMPARE(settings.value().layers->root, std::string("/srv/store/docker"));
    QVERIFY(settings.value().layers->layout == LayerLayout::Mesos);
    QCOMPARE(settings.value().threads, 16);
    QCOMPARE(settings.value().images_max, std::uint64_t(7));
    QCOMPARE(settings.value().record_bytes_max, std::uint64_t(2048));
    QCOMPARE(settings.value().journal_bytes, std::uint64_t(131072));
}

void SettingsTest::unknownKeyNamesTheNearest_data() {
    QTest::addColumn<std::string>("json");
    QTest::addColumn<std::string>("field");
    QTest::addColumn<std::string>("message");
    QTest::newRow("case") << std::string(R"({"root": "/r", "readonly": true})")
                          << std::string("config.readonly")
                          << std::string("unknown key 'readonly'; did you mean 'readOnly'?");
    QTest::newRow("typing error") << std::string(R"({"rot": "/r"})") << std::string("config.rot")
                                  << std::string("unknown key 'rot'; did you mean 'root'?");
    QTest::newRow("in layers") << std::string(R"({"root": "/r", "layers": {"layuot": "oci"}})")
                               << std::string("config.layers.layuot")
                               << std::string("unknown key 'layuot'; did you mean 'layout'?");
    QTest::newRow("in limits") << std::string(R"({"root": "/r", "limits": {"journal": 1}})")
                               << std::string("config.limits.journal")
                               << std::string(
                                      "unknown key 'journal'; did you mean 'journalBytes'?");
    QTest::newRow("empty") << std::string(R"({"root": "/r", "": 1})") << std::string("config.")
                           << std::string("unknown key ''; did you mean 'root'?");
}

void SettingsTest::unknownKeyNamesTheNearest() {
    QFETCH(std::string, json);
    QFETCH(std::string, field);
    QFETCH(std::string, message);
    const auto settings = parse_settings(json);
    QVERIFY(!settings.ok());
    QVERIFY(settings.status().code == Code::Invalid);
    QCOMPARE(settings.status().field, field);
    QCOMPARE(settings.status().message, message);
}

void SettingsTest::wrongValueNamesItsKey_data() {
    QTest::addColumn<std::string>("json");
    QTest::addColumn<std::string>("field");
    QTest::addColumn<std::string>("part");
    const auto row = [](const char *name, const char *json, const char *field, const char *part) {
        QTest::newRow(name) << std::string(json) << std::string(field) << std::string(part);
    };
    row("no object", "[]", "config", "an object");
    row("no root", "{}", "config.root", "required");
    row("root a number", R"({"root": 7})", "config.root", "expected a string, found a number");
    row("root null", R"({"root": null})", "config.root", "found null");
    row("root empty", R"({"root": ""})", "config.root", "absolute");
    row("root relative", R"({"root": "var"})", "config.root", "absolute");
    row("root with NUL", R"({"root": "/a\u0000b"})", "config.root", "NUL");
    row("root with half a pair", R"({"root": "/a\ud800b"})", "config.root", "surrogate");
    row("root ends in dots", R"({"root": "/a/.."})", "config.root", "'..' component");
    row("root holds a dot", R"({"root": "/./a"})", "config.root", "'.' component");
    row("create a text", R"({"root": "/r", "create": "yes"})", "config.create",
        "expected a boolean, found a string");
    row("readOnly null", R"({"root": "/r", "readOnly": null})", "config.readOnly", "a boolean");
    row("threads none", R"({"root": "/r", "threads": 0})", "config.threads", "from 1 to 16");
    row("threads many", R"({"root": "/r", "threads": 17})", "config.threads", "from 1 to 16");
    row("threads split", R"({"root": "/r", "threads": 1.5})", "config.threads", "an integer");
    row("threads text", R"({"root": "/r", "threads": "2"})", "config.threads", "found a string");
    row("references unknown", R"({"root": "/r", "references": "docker"})", "config.references",
        "'docker'");
    row("references a list", R"({"root": "/r", "references": []})", "config.references",
        "found an array");
    row("layers a text", R"({"root": "/r", "layers": "/l"})", "config.layers", "an object");
    row("layers without root", R"({"root": "/r", "layers": {}})", "config.layers.root", "required");
    row("layers relative", R"({"root": "/r", "layers": {"root": "l"}})", "config.layers.root",
        "absolute");
    row("layout unknown", R"({"root": "/r", "layers": {"root": "/l", "layout": "Oci"}})",
        "config.layers.layout", "'Oci'");
    row("limits a number", R"({"root": "/r", "limits": 1})", "config.limits", "an object");
    row("images none", R"({"root": "/r", "limits": {"images": 0}})", "config.limits.images",
        "from 1");
    row("images negative", R"({"root": "/r", "limits": {"images": -1}})", "config.limits.images",
        "from 1");
    row("images beyond 64 bits", R"({"root": "/r", "limits": {"images": 1e30}})",
        "config.limits.images", "from 1");
    row("record small", R"({"root": "/r", "limits": {"recordBytes": 1023}})",
        "config.limits.recordBytes", "from 1024");
    row("record large", R"({"root": "/r", "limits": {"recordBytes": 67108865}})",
        "config.limits.recordBytes", "to 67108864");
    row("root twice", R"({"root": "/r", "root": "/s"})", "config", "key 'root' stands twice");
    row("root twice, once escaped", R"({"root": "/r", "ro\u006ft": "/s"})", "config",
        "key 'root' stands twice");
    row("images twice", R"({"root": "/r", "limits": {"images": 7, "images": 7}})", "config",
        "key 'images' stands twice");
    row("journal that recovery would not read",
        R"({"root": "/r", "limits": {"journalBytes": 68719476736}})", "config.limits.journalBytes",
        "to 17179869184");
    row("journal small", R"({"root": "/r", "limits": {"journalBytes": 65535}})",
        "config.limits.journalBytes", "from 65536");
}

void SettingsTest::wrongValueNamesItsKey() {
    QFETCH(std::string, json);
    QFETCH(std::string, field);
    QFETCH(std::string, part);
    const auto settings = parse_settings(json);
    QVERIFY(!settings.ok());
    QVERIFY(settings.status().code == Code::Invalid);
    QCOMPARE(settings.status().field, field);
    QVERIFY2(settings.status().message.find(part) != std::string::npos,
             settings.status().message.c_str());
}

void SettingsTest::bordersOfLimitsAreAccepted() {
    QVERIFY(parse_settings(R"({"root": "/r", "threads": 1, "limits":
        {"images": 1, "recordBytes": 1024, "journalBytes": 65536}})")
                .ok());
    QVERIFY(parse_settings(R"({"root": "/r", "limits": {"recordBytes": 67108864}})").ok());
    QVERIFY(parse_settings(R"({"root": "/...", "limits": {}})").ok());
}

void SettingsTest::keyThatStandsTwiceGivesThePosition() {
    // The same key in two objects is fine, and what looks like a key in a text is none.
    QVERIFY(parse_settings(
                R"({"root": "/a\",\"root\":\"b", "layers": {"layout": "oci", "root": "/root"}})")
                .ok());
    const std::string text = R"({"layers": {"root": "/l"}, "root": "/r", "root": "/r"})";
    const auto settings = parse_settings(text);
    QVERIFY(!settings.ok());
    QCOMPARE(settings.status().position, static_cast<std::int64_t>(text.rfind("\"root\"")));
}

void SettingsTest::brokenJsonGivesThePosition() {
    const auto settings = parse_settings(R"({"root": "/r",, })");
    QVERIFY(!settings.ok());
    QVERIFY(settings.status().code == Code::Invalid);
    QCOMPARE(settings.status().field, std::string("config"));
    // The parser reports where it stopped: at the offending byte or right behind it.
    QVERIFY(settings.status().position == 14 || settings.status().position == 15);
    QVERIFY(!parse_settings("").ok());
}

void SettingsTest::positionIsInATextThatEndsWithinAString() {
    const std::string text = R"({"root":"/a)";
    const Result<Settings> settings = parse_settings(text);
    QVERIFY(!settings.ok());
    QCOMPARE(settings.status().position, static_cast<std::int64_t>(text.size()));
}

void SettingsTest::brokenUtf8GivesThePosition() {
    const auto settings = parse_settings("{\"root\": \"/r\xff\"}");
    QVERIFY(!settings.ok());
    QVERIFY(settings.status().code == Code::Invalid);
    QCOMPARE(settings.status().position, std::int64_t(12));
}

void SettingsTest::overlongTextIsOverLimit() {
    std::string json = R"({"root": "/r"})";
    json.append(limits::configuration_bytes_max - json.size(), ' ');
    QVERIFY(parse_settings(json).ok());
    json.push_back(' ');
    const auto settings = parse_settings(json);
    QVERIFY(!settings.ok());
    QVERIFY(settings.status().code == Code::Limit);
}

void SettingsTest::overlongPathIsOverLimit() {
    const std::string path = "/" + std::string(limits::root_path_bytes_max - 1, 'a');
    QVERIFY(parse_settings(R"({"root": ")" + path + "\"}").ok());
    const auto settings = parse_settings(R"({"root": ")" + path + "a\"}");
    QVERIFY(!settings.ok());
    QVERIFY(settings.status().code == Code::Limit);
    QCOMPARE(settings.status().field, std::string("config.root"));
}

void SettingsTest::relativeComponentGivesThePosition() {
    const auto settings = parse_settings(R"({"root": "/var/../etc"})");
    QVERIFY(!settings.ok());
    QCOMPARE(settings.status().position, std::int64_t(5));
}

void SettingsTest::keyWithAMarkOfByteOrderIsAnotherKey() {
    QVERIFY(!repeated_key("{\"\xEF\xBB\xBF"
                          "a\": 1, \"a\": 2}",
                          8));
    QVERIFY(repeated_key("{\"\xEF\xBB\xBF"
                         "a\": 1, \"\\uFEFFa\": 2}",
                         8));
}

void SettingsTest::messageStaysOneLine() {
    const auto settings =
        parse_settings(R"({"root": "/r", "a\nb)" + std::string(1000, 'x') + R"(": 1})");
    QVERIFY(!settings.ok());
    QVERIFY(settings.status().message.find('\n') == std::string::npos);
    QVERIFY(settings.status().message.size() < 424);
}

QTEST_APPLESS_MAIN(SettingsTest)
#include "settings_test.moc"
