// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors
#include "plugin/retention.h"

#include "store_fixture.h"

#include <QtTest>

#include <algorithm>
#include <random>
#include <set>
#include <string>
#include <vector>

using namespace waybill;

namespace {

using Names = std::set<std::string>;

struct Kept {
    std::string name_space, name;
    std::vector<std::string> layers;
    std::string config;
    bool pinned;
};

FramePtr frame_of(const Kept &kept) {
    const std::string target = numbered_digest(1);
    ImageSpec spec;
    spec.name_space = kept.name_space;
    spec.reference = kept.name;
    spec.target_digest = target;
    for (const std::string &layer : kept.layers)
        spec.layers.push_back({layer, {}, {}, 0});
    spec.config_digest = kept.config;
    spec.pinned = kept.pinned;
    Result<FramePtr> frame = encode_image(spec, ReferenceMode::Opaque, 1 << 20);
    if (!frame.ok())
        qFatal("%s", frame.status().message.c_str());
    return std::move(*frame);
}

Names texts_of(const BlobSet &set) {
    Names texts;
    for (std::size_t i = 0; i < set.size(); ++i)
        texts.insert(id_text(set.id(i)));
    return texts;
}

Names configs_of(const BlobSet &set) {
    Names texts;
    for (std::size_t i = 0; i < set.size(); ++i)
        if (set.is_config(i))
            texts.insert(id_text(set.id(i)));
    return texts;
}

Names names_of(const Images &images) {
    Names names;
    for (const auto &[name, value] : images)
        names.insert(name);
    return names;
}

} // namespace

class RetentionTest : public QObject {
    Q_OBJECT

  private slots:
    void agreesWithANaiveCount();
    void layerOfASurvivorIsNeverUnused();
    void idThatIsLayerAndConfigIsALayer();
    void pinnedImageSurvives();
    void otherNamespacesAreLeftAlone();
    void answersAreSorted();

    void keepListIsExactInMesosMode();
    void configDigestIsRetained();
    void unknownKeepIsIgnored();
    void duplicateKeepsAreOne();
    void emptyKeepListEmptiesTheStore();
    void tagBesideADigestDoesNotCountInMesosMode();
    void spellingsAreDistinctInMesosMode();
    void spellingsAreOneInCanonicalMode();
    void anySpellingInAKeepListProtects();
    void brokenKeepFailsTheCallAndRemovesNothing();
    void pruneOutlivesARestart();
    void uncachedGetIsNotFoundAndKeepsTheRecord();
};

void RetentionTest::agreesWithANaiveCount() {
    const unsigned seed = std::random_device()();
    qInfo("seed %u", seed);
    std::mt19937 random(seed);
    for (int round = 0; round < 60; ++round) {
        Index index;
        std::vector<Kept> images;
        std::set<Key> keys;
        for (unsigned i = random() % 60; i > 0; --i) {
            Kept image{random() % 3 ? "default" : "other",
                       "image" + std::to_string(random() % 50),
                       {},
                       {},
                       random() % 10 == 0};
            if (!keys.insert({image.name_space, image.name}).second)
                continue;
            for (unsigned j = 1 + random() % 6; j > 0; --j)
                image.layers.push_back(random() % 2 ? numbered_digest(random() % 40)
                                                    : "layer-" + std::to_string(random() % 40));
            if (random() % 2)
                image.config = numbered_digest(100 + random() % 20);
            index.put(frame_of(image).release());
            images.push_back(image);
        }
        KeepList keep;
        if (random() % 2)
            keep.name_space = "default";
        for (unsigned i = random() % 30; i > 0; --i)
            keep.references.push_back("image" + std::to_string(random() % 60));

        std::set<Key> removed;
        Names used, all, used_configs, unused_configs;
        for (const Kept &image : images) {
            const bool survives = image.pinned ||
                                  (keep.name_space && image.name_space != *keep.name_space) ||
                                  std::ranges::count(keep.references, image.name) > 0;
            Names blobs(image.layers.begin(), image.layers.end());
            if (!image.config.empty())
                blobs.insert(image.config);
            all.insert(blobs.begin(), blobs.end());
            if (survives)
                used.insert(blobs.begin(), blobs.end());
            else
                removed.insert({image.name_space, image.name});
        }
        Names unused;
        std::ranges::set_difference(all, used, std::inserter(unused, unused.end()));

        const Retained retained = apply_keep_list(index, keep);
        QCOMPARE(std::set<Key>(retained.removed.sorted().begin(), retained.removed.sorted().end()),
                 removed);
        QCOMPARE(retained.removed.size(), removed.size());
        QCOMPARE(texts_of(retained.used), used);
        QCOMPARE(texts_of(retained.unused), unused);
        QCOMPARE(retained.used.size(), used.size());
        QCOMPARE(retained.unused.size(), unused.size());
        QCOMPARE(index.image_count(), std::uint64_t{images.size()}); // Only a plan.
    }
}

void RetentionTest::layerOfASurvivorIsNeverUnused() {
    Index index;
    index.put(frame_of({"default", "going", {"shared", "own"}, {}, false}).release());
    index.put(frame_of({"other", "staying", {"shared"}, {}, false}).release());
    const Retained retained = apply_keep_list(index, {"default", {}});
    QCOMPARE(texts_of(retained.unused), Names{"own"});
    QCOMPARE(texts_of(retained.used), Names{"shared"});
}

void RetentionTest::idThatIsLayerAndConfigIsALayer() {
    Index index;
    index.put(
        frame_of({"default", "a", {numbered_digest(1)}, numbered_digest(2), false}).release());
    index.put(
        frame_of({"default", "b", {numbered_digest(2)}, numbered_digest(3), false}).release());
    const Retained retained = apply_keep_list(index, {});
    QCOMPARE(configs_of(retained.unused), Names{numbered_digest(3)});
    QCOMPARE(retained.unused.size(), std::size_t{3});
}

void RetentionTest::pinnedImageSurvives() {
    Index index;
    index.put(frame_of({"default", "pinned", {"kept"}, {}, true}).release());
    index.put(frame_of({"default", "plain", {"gone"}, {}, false}).release());
    const Retained retained = apply_keep_list(index, {});
    QCOMPARE(retained.removed.sorted(), (std::vector<Key>{{"default", "plain"}}));
    QCOMPARE(texts_of(retained.used), Names{"kept"});
}

void RetentionTest::otherNamespacesAreLeftAlone() {
    Index index;
    index.put(frame_of({"one", "a", {"x"}, {}, false}).release());
    index.put(frame_of({"two", "a", {"y"}, {}, false}).release());
    QCOMPARE(apply_keep_list(index, {"one", {}}).removed.sorted(),
             (std::vector<Key>{{"one", "a"}}));
    QCOMPARE(apply_keep_list(index, {"one", {"a"}}).removed.sorted(), std::vector<Key>{});
    QCOMPARE(apply_keep_list(index, {std::nullopt, {}}).removed.size(), std::size_t{2});
    QCOMPARE(apply_keep_list(index, {"three", {}}).removed.sorted(), std::vector<Key>{});
}

void RetentionTest::answersAreSorted() {
    Index index;
    for (int i = 0; i < 50; ++i)
        index.put(frame_of({"default",
                            "image" + std::to_string(i * 37 % 50),
                            {"layer" + std::to_string(i * 31 % 50)},
                            {},
                            false})
                      .release());
    const Retained retained = apply_keep_list(index, {});
    QVERIFY(std::ranges::is_sorted(retained.removed.sorted()));
    for (std::size_t i = 1; i < retained.unused.size(); ++i)
        QVERIFY(
            std::ranges::lexicographical_compare(retained.unused.id(i - 1), retained.unused.id(i)));
}

void RetentionTest::keepListIsExactInMesosMode() {
    ScratchStore store;
    store.settings.references = ReferenceMode::Mesos;
    QVERIFY(store.open().ok());
    QVERIFY(store.put({"abc", "1"})->status.ok());
    QVERIFY(store.put({"abc/def:latest", "1"})->status.ok());
    QVERIFY(store.put({"abc:latest", "1"})->status.ok());
    const auto pruned = store.prune({"abc:latest"});
    QVERIFY(pruned->status.ok());
    QCOMPARE(names_of(store.images()), Names{"abc:latest"});
    QCOMPARE(pruned->retained.removed.size(), std::size_t{2});
}

void RetentionTest::configDigestIsRetained() {
    ScratchStore store;
    store.settings.references = ReferenceMode::Mesos;
    QVERIFY(store.open().ok());
    const SampleImage image{"abc", "1"};
    ImageSpec spec = image.spec();
    const std::string config = numbered_digest(42);
    spec.config_digest = config;
    QVERIFY(ScratchStore::ended(store->put({{spec, PutCondition::Any, 0}}))->status.ok());
    const auto kept = store.prune({"abc"});
    QVERIFY(texts_of(kept->retained.used).contains(config));
    QCOMPARE(configs_of(kept->retained.used), Names{config});
    QCOMPARE(configs_of(store.prune()->retained.unused), Names{config});
}

void RetentionTest::unknownKeepIsIgnored() {
    ScratchStore store;
    store.settings.references = ReferenceMode::Mesos;
    QVERIFY(store.open().ok());
    QVERIFY(store.put({"abc", "1"})->status.ok());
    const auto pruned = store.prune({"abc", "never/heard:of"});
    QVERIFY(pruned->status.ok());
    QVERIFY(pruned->retained.removed.empty());
    QCOMPARE(names_of(store.images()), Names{"abc"});
}

void RetentionTest::duplicateKeepsAreOne() {
    ScratchStore store;
    store.settings.references = ReferenceMode::Mesos;
    QVERIFY(store.open().ok());
    QVERIFY(store.put({"abc", "1"})->status.ok());
    QVERIFY(store.put({"def", "1"})->status.ok());
    QVERIFY(store.prune({"abc", "abc", "abc"})->status.ok());
    QCOMPARE(names_of(store.images()), Names{"abc"});
}

void RetentionTest::emptyKeepListEmptiesTheStore() {
    ScratchStore store;
    QVERIFY(store.open().ok());
    for (int i = 0; i < 20; ++i)
        QVERIFY(store.put({"image" + std::to_string(i), "x"})->status.ok());
    const auto pruned = store.prune();
    QCOMPARE(pruned->retained.removed.size(), std::size_t{20});
    QCOMPARE(pruned->retained.used.size(), std::size_t{0});
    QVERIFY(store.images().empty());
    QVERIFY(store.prune()->status.ok());
}

void RetentionTest::tagBesideADigestDoesNotCountInMesosMode() {
    ScratchStore store;
    store.settings.references = ReferenceMode::Mesos;
    QVERIFY(store.open().ok());
    QVERIFY(store.put({"a:1@sha256:d", "first"})->status.ok());
    QVERIFY(store.put({"a:2@sha256:d", "second"})->status.ok());
    QCOMPARE(store.images(), (Images{{"a@sha256:d", "second"}}));
    QVERIFY(store->get({}, "a:3@sha256:d", true).ok());
    QVERIFY(store.prune({"a:4@sha256:d"})->retained.removed.empty());
}

void RetentionTest::spellingsAreDistinctInMesosMode() {
    ScratchStore store;
    store.settings.references = ReferenceMode::Mesos;
    QVERIFY(store.open().ok());
    for (const char *name :
         {"busybox", "busybox:latest", "library/busybox", "docker.io/library/busybox"})
        QVERIFY(store.put({name, name})->status.ok());
    QCOMPARE(store.images().size(), std::size_t{4});
    QCOMPARE(value_of((*store->get({}, "library/busybox", true))->frame()),
             std::string("library/busybox"));
    QVERIFY(store.prune({"busybox"})->status.ok());
    QCOMPARE(names_of(store.images()), Names{"busybox"});
}

void RetentionTest::spellingsAreOneInCanonicalMode() {
    ScratchStore store;
    store.settings.references = ReferenceMode::Canonical;
    QVERIFY(store.open().ok());
    for (const char *name :
         {"busybox", "busybox:latest", "library/busybox", "docker.io/library/busybox"})
        QVERIFY(store.put({name, name})->status.ok());
    QCOMPARE(store.images(),
             (Images{{"docker.io/library/busybox:latest", "docker.io/library/busybox"}}));
    QVERIFY(store->get({}, "index.docker.io/busybox", true).ok());
    QVERIFY(store.remove("library/busybox")->existed);
}

void RetentionTest::anySpellingInAKeepListProtects() {
    for (const char *name : {"busybox", "busybox:latest", "docker.io/library/busybox"}) {
        ScratchStore store;
        store.settings.references = ReferenceMode::Canonical;
        QVERIFY(store.open().ok());
        QVERIFY(store.put({"library/busybox", "x"})->status.ok());
        QVERIFY(store.put({"other", "x"})->status.ok());
        QVERIFY(store.prune({name})->status.ok());
        QCOMPARE(names_of(store.images()), Names{"docker.io/library/busybox:latest"});
    }
}

void RetentionTest::brokenKeepFailsTheCallAndRemovesNothing() {
    ScratchStore store;
    store.settings.references = ReferenceMode::Mesos;
    QVERIFY(store.open().ok());
    QVERIFY(store.put({"abc", "1"})->status.ok());
    const Status status = store.prune({"abc", "a@b@c"})->status;
    QCOMPARE(status.code, Code::Invalid);
    QCOMPARE(status.field, std::string("keep[1]"));
    QCOMPARE(names_of(store.images()), Names{"abc"});
}

void RetentionTest::pruneOutlivesARestart() {
    ScratchStore store;
    QVERIFY(store.open().ok());
    for (const char *name : {"a", "b", "c"})
        QVERIFY(store.put({name, name})->status.ok());
    QVERIFY(store.prune({"b"})->status.ok());
    QVERIFY(store.open().ok());
    QCOMPARE(names_of(store.images()), Names{"b"});
    QVERIFY(!store.report["degraded"].toBool());
}

void RetentionTest::uncachedGetIsNotFoundAndKeepsTheRecord() {
    ScratchStore store;
    store.settings.references = ReferenceMode::Mesos;
    QVERIFY(store.open().ok());
    QVERIFY(store.put({"abc", "1"})->status.ok());
    Result<ImagePin> fresh = store->get({}, "abc", false);
    QVERIFY(!fresh.ok());
    QCOMPARE(fresh.status().code, Code::NotFound);
    QVERIFY(store->get({}, "abc", true).ok());
    QCOMPARE(names_of(store.images()), Names{"abc"});
}

QTEST_APPLESS_MAIN(RetentionTest)
#include "retention_test.moc"
