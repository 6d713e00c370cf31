// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors
#include "plugin/index.h"

#include "store_fixture.h"

#include "plugin/forked.h"

#include <QtTest>

#include <atomic>
#include <malloc.h>
#include <optional>
#include <random>
#include <semaphore>
#include <string>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>
#include <vector>

using namespace waybill;

namespace {

void put(Index &index, const std::string &name, const std::string &value,
         std::uint64_t revision = 1) {
    index.put(SampleImage{name, value}.frame(revision).release());
}

std::string find(const Index &index, const std::string &name) {
    bool out_of_memory = false;
    const ImagePin found = index.pin("default", name, &out_of_memory);
    return found ? value_of(found->frame()) : "(none)";
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
    void heldImageOutlivesTheIndex();
    void onlyWhatIsKeptOutlivesItsReplacement();
    void heldImageStaysWhileItIsReplaced();
    void replacedImagesAreFreedWhileOneIsHeld();
    void namesThatPassThroughAreFreed();
    void imageFreedOnAnotherThreadIsFree();
    void childOfAForkFreesWhileItsParentWas();
    void blockIsSharedByItsFrames();
    void frameIsFreedOnlyAfterItsReaderHasLeft();
    void epochWaitsForReaders();
    void scanSeesWholeTransactions();
    void readersSeeWholeRecordsDuringHeavyWriting();
    void manyHeldImagesAreKeptApart();
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
    QCOMPARE(value_of(index.pin("one", "a", &out_of_memory)->frame()), std::string("1"));
    QCOMPARE(value_of(index.pin("two", "a", &out_of_memory)->frame()), std::string("2"));
    QVERIFY(!index.pin("three", "a", &out_of_memory));
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

namespace {

ImagePin pin_of(const Index &index, const std::string &name) {
    bool out_of_memory = false;
    return index.pin("default", name, &out_of_memory);
}

/// A frame in a block of its own, as recovery makes them.
const Frame *put_in_block(Index &index, const std::string &name, const std::string &value,
                          std::uint64_t revision = 1) {
    const FramePtr frame = SampleImage{name, value}.frame(revision);
    const std::size_t size = sizeof(Frame) + frame->payload_bytes;
    std::uint32_t number = 0;
    auto *placed = reinterpret_cast<Frame *>(index.add_block(size, &number));
    std::memcpy(static_cast<void *>(placed), frame.get(), size);
    placed->block = number;
    index.put(placed);
    index.seal_block(number, 1);
    return placed;
}

} // namespace

/// The sanitizers say so if a frame is read after it was freed, or never freed.
void IndexTest::heldImageOutlivesTheIndex() {
    ImagePin held, in_block, replaced, removed;
    {
        Index index;
        put(index, "a", "1");
        put_in_block(index, "b", "2");
        put(index, "c", "3");
        put(index, "d", "4");
        held = pin_of(index, "a");
        in_block = pin_of(index, "b");
        replaced = pin_of(index, "c");
        removed = pin_of(index, "d");
        put(index, "c", "4");
        index.erase("default", "d");
        index.reclaim();
    }
    QCOMPARE(value_of(held->frame()), std::string("1"));
    QCOMPARE(value_of(in_block->frame()), std::string("2"));
    QCOMPARE(value_of(replaced->frame()), std::string("3"));
    QCOMPARE(value_of(removed->frame()), std::string("4"));
}

/// Of what a snapshot reads nothing goes before its end; what came after its cut does not wait.
void IndexTest::onlyWhatIsKeptOutlivesItsReplacement() {
    Index index;
    const Frame *first = put_in_block(index, "a", "first"); // In revision 1.
    index.keep_up_to(1);
    std::uint32_t before = 0, after = 0;
    index.seal_block((static_cast<void>(index.add_block(64, &before)), before), 0);
    for (std::uint64_t revision = 2; revision < 5000; ++revision) {
        put_in_block(index, "a", "later", revision);
        index.reclaim();
    }
    index.seal_block((static_cast<void>(index.add_block(64, &after)), after), 0);
    QVERIFY2(after < before + 200, "blocks of replaced frames are not used again");
    QCOMPARE(value_of(*first), std::string("first"));
    index.keep_no_longer();
    for (std::uint64_t revision = 5000; revision < 5100; ++revision) {
        put_in_block(index, "a", "last", revision);
        index.reclaim();
    }
    QCOMPARE(index.image_count(), std::uint64_t{1});
}

void IndexTest::heldImageStaysWhileItIsReplaced() {
    Index index;
    put(index, "a", "first");
    const ImagePin held = pin_of(index, "a");
    std::vector<ImagePin> more;
    for (int i = 0; i < 1000; ++i) {
        put(index, "a", std::to_string(i));
        if (i % 3 == 0)
            more.push_back(pin_of(index, "a"));
        index.reclaim();
    }
    QCOMPARE(value_of(held->frame()), std::string("first"));
    for (std::size_t i = 0; i < more.size(); ++i)
        QCOMPARE(value_of(more[i]->frame()), std::to_string(3 * i));
}

void IndexTest::manyHeldImagesAreKeptApart() {
    constexpr int count = 10'000;
    Index index;
    for (int i = 0; i < count; ++i)
        put(index, std::to_string(i), std::to_string(i));
    std::vector<ImagePin> held(count);
    std::mt19937 random(1);
    for (int turn = 0; turn < 5 * count; ++turn) {
        const auto i = random() % count;
        held[i] = held[i] ? nullptr : pin_of(index, std::to_string(i));
    }
    for (std::size_t i = 0; i < held.size(); ++i)
        QVERIFY(!held[i] || value_of(held[i]->frame()) == std::to_string(i));
    QVERIFY(Pins::of_process().capacity() <= 8 * count); // Free ones are found again.
}

void IndexTest::replacedImagesAreFreedWhileOneIsHeld() {
    Index index;
    put(index, "a", "first");
    const ImagePin held = pin_of(index, "a");
    const std::string value(2000, 'v');
    // Were they all kept, it would be 200 MB.
    const std::size_t before = mallinfo2().uordblks;
    for (int i = 0; i < 100'000; ++i) {
        put(index, "a", value);
        index.reclaim();
    }
    QVERIFY(mallinfo2().uordblks < before + (64u << 20));
}

void IndexTest::namesThatPassThroughAreFreed() {
    Index index;
    const auto memory = [] { return mallinfo2().uordblks + mallinfo2().hblkhd; };
    const std::string padding(900, 'n');
    // Were they all kept, it would be 90 MB.
    const std::size_t before = memory();
    for (int i = 0; i < 100'000; ++i) {
        const std::string name = padding + std::to_string(i);
        put(index, name, "x");
        QVERIFY(index.erase("default", name));
        index.reclaim();
    }
    QCOMPARE(index.image_count(), std::uint64_t{0});
    QVERIFY(memory() < before + (8u << 20));
}

void IndexTest::imageFreedOnAnotherThreadIsFree() {
    Index index;
    put(index, "a", "1");
    for (int round = 0; round < 100; ++round) {
        ImagePin held = pin_of(index, "a");
        std::thread([&] { held.reset(); }).join();
    }
    QVERIFY(Pins::of_process().pinned().empty());
}

/// A thread of the parent is freeing what a store left behind when the child is forked off. There
/// it never ends.
void IndexTest::childOfAForkFreesWhileItsParentWas() {
    forked::install();
    struct Memory {
        Frame frame;
        std::binary_semaphore begun{0}, may_end{0};
        std::atomic<bool> is_freed{false};
    };
    static Memory of_parent, of_child;
    Pins &pins = Pins::of_process();
    std::thread freeing([&] {
        pins.adopt({{&of_parent, &of_parent + 1, [](void *) {
                         of_parent.begun.release();
                         of_parent.may_end.acquire();
                     }}});
    });
    of_parent.begun.acquire();
    const pid_t child = ::fork();
    if (child == 0) {
        ::alarm(10); // Ends a child that waits for the parent's thread.
        Pin *held = pins.begin_lookup();
        Pins::keep(*held, of_child.frame);
        pins.adopt({{&of_child, &of_child + 1, [](void *) { of_child.is_freed = true; }}});
        const bool was_kept = !of_child.is_freed;
        pins.release(held);
        ::_exit(was_kept && of_child.is_freed ? 0 : 1);
    }
    of_parent.may_end.release();
    freeing.join();
    int status = 0;
    QCOMPARE(::waitpid(child, &status, 0), child);
    QVERIFY2(!WIFSIGNALED(status), "the child waits for a thread that only its parent has");
    QVERIFY2(WEXITSTATUS(status) == 0, "what was held was freed, or what was not was left");
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
        QVERIFY(number <= 8); // Freed blocks give their numbers back.
        QCOMPARE(find(index, "image3"), std::to_string(round));
    }
    for (int i = 0; i < 10; ++i)
        QVERIFY(index.erase("default", "image" + std::to_string(i)));
    for (int i = 0; i < 4; ++i)
        index.reclaim();
    std::uint32_t number = 0;
    index.add_block(8, &number);
    index.seal_block(number, 0);
    QVERIFY(number <= 8);
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
    for (int i = 0; i < 40; ++i) {
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
                const ImagePin found = index.pin("default", name_of(i), &out_of_memory);
                wrong += !found && i % 2 == 0;
                wrong += found && (!verified_image(found->frame().payload_span()) ||
                                   reference_of(found->frame()) != name_of(i) ||
                                   !value_of(found->frame()).starts_with(name_of(i) + ":"));
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
