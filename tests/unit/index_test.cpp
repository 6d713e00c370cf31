// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors
#include "plugin/index.h"

#include "store_fixture.h"

#include <QtTest>

#include <atomic>
#include <optional>
#include <random>
#include <string>
#include <thread>
#include <vector>

using namespace waybill;

namespace {

void put(Index &index, const std::string &name, const std::string &value,
         std::uint64_t revision = 1) {
    index.put(SampleImage{name, value}.frame(revision).release());
}

std::string find(const Index &index, const std::string &name) {
    bool out_of_memory = false;
    const FramePtr found = index.find_copy("default", name, &out_of_memory);
    return found ? value_of(*found) : "(none)";
}

} // namespace

class IndexTest : public QObject {
    Q_OBJECT

  private slots:
    void emptyIndexFindsNothing();
    void lastPutIsFound();
    void namespacesDoNotMix();
    void erasedImageIsGone();
    void countsFollowWhatIsHeld();
    void agreesWithAMapUnderRandomUse();
    void clearedIndexIsLikeNew();
    void copyOutlivesTheImage();
    void blockIsSharedByItsFrames();
    void frameIsFreedOnlyAfterItsReaderHasLeft();
    void epochWaitsForReaders();
    void scanSeesWholeTransactions();
    void readersSeeWholeRecordsDuringHeavyWriting();
};

void IndexTest::emptyIndexFindsNothing() {
    const Index index;
    QCOMPARE(find(index, "a"), std::string("(none)"));
    QVERIFY(index.find("default", "a") == nullptr);
    QVERIFY(index.find_hash(key_hash("default", "a")) == nullptr);
}

void IndexTest::lastPutIsFound() {
    Index index;
    put(index, "a", "1");
    put(index, "a", "2");
    QCOMPARE(find(index, "a"), std::string("2"));
    QCOMPARE(index.image_count(), std::uint64_t{1});
    QVERIFY(index.find_hash(key_hash("default", "a")) != nullptr);
}

void IndexTest::namespacesDoNotMix() {
    Index index;
    index.put(SampleImage{"a", "1", "one"}.frame(1).release());
    index.put(SampleImage{"a", "2", "two"}.frame(1).release());
    bool out_of_memory = false;
    QCOMPARE(value_of(*index.find_copy("one", "a", &out_of_memory)), std::string("1"));
    QCOMPARE(value_of(*index.find_copy("two", "a", &out_of_memory)), std::string("2"));
    QVERIFY(!index.find_copy("three", "a", &out_of_memory));
    QVERIFY(!out_of_memory);
    QVERIFY(index.erase("one", "a"));
    QCOMPARE(index.image_count(), std::uint64_t{1});
}

void IndexTest::erasedImageIsGone() {
    Index index;
    put(index, "a", "1");
    put(index, "b", "1");
    QVERIFY(index.erase("default", "a"));
    QVERIFY(!index.erase("default", "a"));
    QCOMPARE(find(index, "a"), std::string("(none)"));
    QCOMPARE(find(index, "b"), std::string("1"));
    put(index, "a", "2");
    QCOMPARE(find(index, "a"), std::string("2"));
}

void IndexTest::countsFollowWhatIsHeld() {
    Index index;
    put(index, "a", "1");
    const std::uint64_t live = index.live_bytes(), removal = index.removal_bytes();
    QVERIFY(live > 0);
    QVERIFY(removal > 0);
    put(index, "a", std::string(1000, 'x'));
    QVERIFY(index.live_bytes() >= live + 900);
    QCOMPARE(index.removal_bytes(), removal);
    put(index, "b", "1");
    QVERIFY(index.erase("default", "a"));
    QVERIFY(index.erase("default", "b"));
    QCOMPARE(index.image_count(), std::uint64_t{0});
    QCOMPARE(index.live_bytes(), std::uint64_t{0});
    QCOMPARE(index.removal_bytes(), std::uint64_t{0});
}

void IndexTest::agreesWithAMapUnderRandomUse() {
    const unsigned seed = std::random_device()();
    qInfo("seed %u", seed);
    std::mt19937 random(seed);
    Index index;
    Images model;
    for (int i = 0; i < 30'000; ++i) {
        const std::string name = "image" + std::to_string(random() % 700);
        if (random() % 3 == 0) {
            QCOMPARE(index.erase("default", name), model.erase(name) == 1);
        } else {
            model[name] = std::to_string(i);
            put(index, name, model[name]);
        }
        if (i % 16 == 0)
            index.reclaim();
        if (i % 1000 == 0)
            QCOMPARE(images_in(index), model);
        const std::string other = "image" + std::to_string(random() % 700);
        QCOMPARE(find(index, other), model.contains(other) ? model[other] : "(none)");
    }
    QCOMPARE(images_in(index), model);
    QCOMPARE(index.image_count(), std::uint64_t{model.size()});
}

void IndexTest::clearedIndexIsLikeNew() {
    Index index;
    for (int i = 0; i < 500; ++i)
        put(index, "image" + std::to_string(i % 300), "x");
    index.clear();
    QCOMPARE(index.image_count(), std::uint64_t{0});
    QVERIFY(images_in(index).empty());
    put(index, "a", "1");
    QCOMPARE(images_in(index), (Images{{"a", "1"}}));
}

void IndexTest::copyOutlivesTheImage() {
    FramePtr copy;
    {
        Index index;
        put(index, "a", "1");
        bool out_of_memory = false;
        copy = index.find_copy("default", "a", &out_of_memory);
    }
    QCOMPARE(value_of(*copy), std::string("1"));
}

void IndexTest::blockIsSharedByItsFrames() {
    Index index;
    for (int round = 0; round < 50; ++round) {
        std::vector<FramePtr> frames;
        std::size_t size = 0;
        for (int i = 0; i < 10; ++i) {
            frames.push_back(
                SampleImage{"image" + std::to_string(i), std::to_string(round)}.frame(1));
            size += frame_bytes(frames.back()->payload_bytes);
        }
        std::uint32_t number = 0;
        std::uint8_t *memory = index.add_block(size, &number);
        for (const FramePtr &frame : frames) {
            auto *placed = reinterpret_cast<Frame *>(memory);
            std::memcpy(memory, frame.get(), sizeof(Frame) + frame->payload_bytes);
            placed->block = number;
            index.put(placed);
            memory += frame_bytes(frame->payload_bytes);
        }
        index.seal_block(number, 10);
        index.reclaim();
        QVERIFY(number <= 5); // Freed blocks give their numbers back.
        QCOMPARE(find(index, "image3"), std::to_string(round));
    }
    for (int i = 0; i < 10; ++i)
        QVERIFY(index.erase("default", "image" + std::to_string(i)));
    for (int i = 0; i < 4; ++i)
        index.reclaim();
    std::uint32_t number = 0;
    index.add_block(8, &number);
    index.seal_block(number, 0);
    QVERIFY(number <= 5);
}

/// The sanitizers say so if the frame is read after it was freed.
void IndexTest::frameIsFreedOnlyAfterItsReaderHasLeft() {
    Index index;
    put(index, "a", "first");
    std::optional<Epoch::Reader> reader(std::in_place, index.epoch());
    const Frame *seen = index.find("default", "a");
    const std::uint64_t entered = index.epoch().current();
    put(index, "a", "second");
    for (int i = 0; i < 100; ++i) {
        put(index, "b", std::to_string(i));
        index.reclaim();
    }
    QVERIFY(index.epoch().current() <= entered + 1);
    QCOMPARE(value_of(*seen), std::string("first"));
    reader.reset();
    for (int i = 0; i < 3; ++i) {
        put(index, "b", std::to_string(i));
        index.reclaim();
    }
    QVERIFY(index.epoch().current() >= entered + 2);
}

void IndexTest::epochWaitsForReaders() {
    Epoch epoch;
    const std::uint64_t start = epoch.current();
    epoch.try_advance();
    QCOMPARE(epoch.current(), start + 1);
    std::optional<Epoch::Reader> older(std::in_place, epoch);
    epoch.try_advance(); // Nobody of the epoch before is left.
    QCOMPARE(epoch.current(), start + 2);
    std::optional<Epoch::Reader> younger(std::in_place, epoch);
    epoch.try_advance();
    QCOMPARE(epoch.current(), start + 2);
    older.reset();
    epoch.try_advance();
    QCOMPARE(epoch.current(), start + 3);
    epoch.try_advance();
    QCOMPARE(epoch.current(), start + 3);
    younger.reset();
    epoch.try_advance();
    QCOMPARE(epoch.current(), start + 4);
}

void IndexTest::scanSeesWholeTransactions() {
    Index index;
    std::atomic<bool> stop{false};
    std::atomic<int> torn{0};
    std::vector<std::thread> readers;
    for (int i = 0; i < 3; ++i)
        readers.emplace_back([&] {
            while (!stop) {
                std::size_t count = 0;
                index.scan([&](const Frame &) { ++count; });
                torn += count % 5 != 0;
            }
        });
    for (int round = 0; round < 500; ++round) {
        {
            const auto lock = index.publish();
            for (int i = 0; i < 5; ++i) {
                const std::string name = std::to_string(round % 40) + "-" + std::to_string(i);
                if (round / 40 % 2 == 0)
                    put(index, name, "x");
                else
                    index.erase("default", name);
            }
        }
        index.reclaim();
    }
    stop = true;
    for (std::thread &reader : readers)
        reader.join();
    QCOMPARE(torn.load(), 0);
}

void IndexTest::readersSeeWholeRecordsDuringHeavyWriting() {
    Index index;
    constexpr int names = 300;
    const auto name_of = [](unsigned i) { return "image" + std::to_string(i); };
    // The content says whose it is.
    const auto write = [&](unsigned i, unsigned turn) {
        put(index, name_of(i), name_of(i) + ":" + std::string(turn % 200, 'x'), turn + 1);
    };
    for (unsigned i = 0; i < names; i += 2)
        write(i, 0); // These are only ever replaced: a reader must always find them.
    std::atomic<bool> stop{false};
    std::atomic<int> wrong{0};
    std::atomic<long> reads{0};
    std::vector<std::thread> readers;
    for (unsigned thread = 0; thread < 4; ++thread)
        readers.emplace_back([&, thread] {
            std::mt19937 random(thread);
            do {
                const unsigned i = random() % names;
                bool out_of_memory = false;
                const FramePtr found = index.find_copy("default", name_of(i), &out_of_memory);
                wrong += !found && i % 2 == 0;
                wrong += found && (!verified_image(found->payload_span()) ||
                                   reference_of(*found) != name_of(i) ||
                                   !value_of(*found).starts_with(name_of(i) + ":"));
                ++reads;
            } while (!stop);
        });
    std::mt19937 random(1);
    for (unsigned turn = 0; turn < 60'000; ++turn) {
        const unsigned i = random() % names;
        if (i % 2 == 1 && turn % 3 == 0)
            index.erase("default", name_of(i));
        else
            write(i, turn);
        index.reclaim();
        // Names that pass through once make the table grow and be swept.
        if (turn % 10 == 0) {
            put(index, "passing" + std::to_string(turn), "x");
            index.erase("default", "passing" + std::to_string(turn));
        }
    }
    stop = true;
    for (std::thread &reader : readers)
        reader.join();
    QCOMPARE(wrong.load(), 0);
    QVERIFY(reads > 0);
}

QTEST_APPLESS_MAIN(IndexTest)
#include "index_test.moc"
