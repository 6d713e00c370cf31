// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors
#include "store_fixture.h"

#include <QtTest>

#include <atomic>
#include <barrier>
#include <chrono>
#include <future>
#include <mutex>
#include <random>
#include <set>
#include <string>
#include <thread>
#include <vector>

using namespace waybill;

namespace {

/// Runs `body(number)` in so many threads that begin together, and waits for all.
template <typename Body> void in_threads(int count, Body body) {
    std::barrier together(count);
    std::vector<std::thread> threads;
    for (int i = 0; i < count; ++i)
        threads.emplace_back([&, i] {
            together.arrive_and_wait();
            body(i);
        });
    for (std::thread &thread : threads)
        thread.join();
}

constexpr int threads = 8;

} // namespace

class ConcurrencyTest : public QObject {
    Q_OBJECT

  private slots:
    void stateAfterARestartIsWhatWasAcknowledged();
    void pruneBesideEverythingElseLosesNothingElse();
    void transactionsAreSeenWhole();
    void transactionsAreSeenWholeWhileRotating();
    void onlyOneOfManyIfAbsentSucceeds();
    void compareAndSwapCountsEveryStep();
    void revisionsAreUniqueAndWithoutGaps();
    void updatesOfAFullStoreAreNoAdditions();
    void removalMakesRoomInTheSameBatch();
    void everythingAcceptedEndsBeforeTheStoreGoes();
    void futuresEndWithTheirOperation();
    void everybodyWhoWaitsIsWoken();
    void waitersForOneOperationAreAllWoken();
    void whoWaitsForOneThatEndsAloneIsWoken();
};

void ConcurrencyTest::stateAfterARestartIsWhatWasAcknowledged() {
    const unsigned seed = std::random_device()();
    qInfo("seed %u", seed);
    ScratchStore store;
    store.settings.journal_bytes = 128 << 10;
    QVERIFY(store.open().ok());
    std::vector<Images> own(threads); // Each thread has names of its own.
    std::atomic<int> wrong{0};
    in_threads(threads, [&](int thread) {
        std::mt19937 random(seed + static_cast<unsigned>(thread));
        Images &mine = own[static_cast<std::size_t>(thread)];
        for (int i = 0; i < 200; ++i) {
            const std::string name =
                "t" + std::to_string(thread) + "-" + std::to_string(random() % 20);
            switch (random() % 6) {
            case 0:
                wrong += store.remove(name)->existed != (mine.erase(name) == 1);
                break;
            case 1:
            case 2: {
                Result<ImagePin> found = store->get({}, name, true);
                const auto known = mine.find(name);
                wrong += found.ok() != (known != mine.end()) ||
                         (found.ok() && value_of((*found)->frame()) != known->second);
                break;
            }
            case 3: {
                Query query;
                query.prefix = "t" + std::to_string(thread) + "-";
                Result<std::vector<ImagePin>> listed = store->list(query);
                wrong += !listed.ok() || listed->size() != mine.size();
                break;
            }
            default: {
                const std::string value = std::to_string(i) + std::string(random() % 400, 'v');
                wrong += !store.put({name, value})->status.ok();
                mine[name] = value;
            }
            }
        }
    });
    QCOMPARE(wrong.load(), 0);
    Images expected;
    for (const Images &images : own)
        expected.insert(images.begin(), images.end());
    QCOMPARE(store.images(), expected);
    QVERIFY(store.open().ok());
    QCOMPARE(store.images(), expected);
    QVERIFY(store.report["damage"].toArray().isEmpty());
}

/// Prunes keep the names of all threads but one, whose images come and go.
void ConcurrencyTest::pruneBesideEverythingElseLosesNothingElse() {
    ScratchStore store;
    store.settings.journal_bytes = 64 << 10;
    QVERIFY(store.open().ok());
    std::vector<std::string> kept;
    for (int i = 0; i < 60; ++i)
        kept.push_back("kept" + std::to_string(i));
    const std::vector<std::string_view> keep(kept.begin(), kept.end());
    std::atomic<int> wrong{0};
    in_threads(threads, [&](int thread) {
        for (int i = 0; i < 60; ++i) {
            if (thread == 0)
                wrong += !store.prune(keep)->status.ok();
            else if (thread == 1)
                wrong += !store.put({"passing" + std::to_string(i), "x"})->status.ok();
            else if (thread < 6)
                wrong += !store.put({kept[static_cast<std::size_t>(i)], "x"})->status.ok();
            else
                wrong += !store->list({}).ok();
        }
    });
    QCOMPARE(wrong.load(), 0);
    QVERIFY(store.prune(keep)->status.ok());
    QCOMPARE(store.images().size(), kept.size());
    QVERIFY(store.open().ok());
    QCOMPARE(store.images().size(), kept.size());
}

static void check_transactions(ScratchStore &store, std::uint64_t journal_bytes) {
    store.settings.journal_bytes = journal_bytes;
    QVERIFY(store.open().ok());
    std::atomic<int> torn{0}, writers{2};
    in_threads(6, [&](int thread) {
        const auto transaction = [](const std::string &value) {
            std::vector<SampleImage> images;
            for (int i = 0; i < 10; ++i)
                images.push_back({"image" + std::to_string(i), value});
            return images;
        };
        if (thread < 2) {
            for (int i = 0; i < 150; ++i)
                torn +=
                    !store.put_all(transaction(std::to_string(thread) + "-" + std::to_string(i)))
                         ->status.ok();
            --writers;
            return;
        }
        while (writers > 0) {
            const Images images = store.images();
            std::set<std::string> values;
            for (const auto &[name, value] : images)
                values.insert(value);
            torn += images.size() % 10 != 0 || values.size() > 1;
        }
    });
    QCOMPARE(torn.load(), 0);
}

void ConcurrencyTest::transactionsAreSeenWhole() {
    ScratchStore store;
    check_transactions(store, 4 << 20);
}

void ConcurrencyTest::transactionsAreSeenWholeWhileRotating() {
    ScratchStore store;
    check_transactions(store, 8 << 10);
    if (QTest::currentTestFailed())
        return;
    QVERIFY(store.stats()["snapshots"].toDouble() > 0);
    const Images before = store.images();
    QVERIFY(store.open().ok());
    QCOMPARE(store.images(), before);
}

void ConcurrencyTest::onlyOneOfManyIfAbsentSucceeds() {
    ScratchStore store;
    QVERIFY(store.open().ok());
    std::atomic<int> first{0}, late{0};
    in_threads(threads, [&](int thread) {
        for (int i = 0; i < 20; ++i) {
            const SampleImage image{"image" + std::to_string(i), std::to_string(thread)};
            PutRequest request = image.request();
            request.condition = PutCondition::IfAbsent;
            const Code code = ScratchStore::ended(store->put({request}))->status.code;
            first += code == Code::Ok;
            late += code == Code::Exists;
        }
    });
    QCOMPARE(first.load(), 20);
    QCOMPARE(late.load(), 20 * (threads - 1));
}

void ConcurrencyTest::compareAndSwapCountsEveryStep() {
    ScratchStore store;
    QVERIFY(store.open().ok());
    QVERIFY(store.put({"counter", "0"})->status.ok());
    std::atomic<int> wrong{0};
    in_threads(4, [&](int) {
        for (int done = 0; done < 15;) {
            Result<ImagePin> found = store->get({}, "counter", true);
            const SampleImage next{"counter",
                                   std::to_string(std::stoi(value_of((*found)->frame())) + 1)};
            PutRequest request = next.request();
            request.condition = PutCondition::IfRevision;
            request.expected_revision = (*found)->frame().revision;
            const Code code = ScratchStore::ended(store->put({request}))->status.code;
            done += code == Code::Ok;
            wrong += code != Code::Ok && code != Code::Conflict;
        }
    });
    QCOMPARE(wrong.load(), 0);
    QCOMPARE(store.images(), (Images{{"counter", "60"}}));
}

void ConcurrencyTest::revisionsAreUniqueAndWithoutGaps() {
    ScratchStore store;
    QVERIFY(store.open().ok());
    std::mutex mutex;
    std::set<std::uint64_t> revisions;
    in_threads(threads, [&](int thread) {
        for (int i = 0; i < 30; ++i) {
            const auto outcome = store.put({"image" + std::to_string(thread), std::to_string(i)});
            const std::lock_guard lock(mutex);
            revisions.insert(outcome->revision);
        }
    });
    QCOMPARE(revisions.size(), std::size_t{threads * 30});
    QCOMPARE(*revisions.rbegin() - *revisions.begin() + 1, std::uint64_t{threads * 30});
}

/// Updates that share a batch are not counted as images to come.
void ConcurrencyTest::updatesOfAFullStoreAreNoAdditions() {
    ScratchStore store;
    store.settings.images_max = 4;
    QVERIFY(store.open().ok());
    for (int i = 0; i < 4; ++i)
        QVERIFY(store.put({"image" + std::to_string(i), "old"})->status.ok());
    QCOMPARE(store.put({"one too many", "x"})->status.code, Code::Limit);
    // Submitted without waiting, so that all but the first stand in one batch.
    std::vector<Result<OperationPtr>> operations;
    for (int i = 0; i < 400; ++i) {
        const SampleImage image{"image" + std::to_string(i % 4), std::to_string(i)};
        operations.push_back(store->put({image.request()}));
    }
    int refused = 0;
    for (const Result<OperationPtr> &operation : operations)
        refused += !ScratchStore::ended(operation)->status.ok();
    QCOMPARE(refused, 0);
    QCOMPARE(store.images().size(), std::size_t{4});
}

void ConcurrencyTest::removalMakesRoomInTheSameBatch() {
    ScratchStore store;
    store.settings.images_max = 2;
    QVERIFY(store.open().ok());
    QVERIFY(store.put({"fixed", "x"})->status.ok());
    std::vector<Result<OperationPtr>> operations;
    for (int i = 0; i < 200; ++i) {
        const SampleImage image{"passing" + std::to_string(i), "x"};
        operations.push_back(store->put({image.request()}));
        operations.push_back(store->remove({}, image.name));
    }
    int refused = 0;
    for (const Result<OperationPtr> &operation : operations)
        refused += !ScratchStore::ended(operation)->status.ok();
    QCOMPARE(refused, 0);
    QCOMPARE(store.images(), (Images{{"fixed", "x"}}));
}

void ConcurrencyTest::everythingAcceptedEndsBeforeTheStoreGoes() {
    ScratchStore store;
    QVERIFY(store.open().ok());
    std::vector<OperationPtr> operations;
    for (int i = 0; i < 500; ++i) {
        const SampleImage image{"image" + std::to_string(i), "x"};
        Result<OperationPtr> operation = store->put({image.request()});
        QVERIFY(operation.ok());
        operations.push_back(*operation);
    }
    store.close();
    for (const OperationPtr &operation : operations) {
        QVERIFY(operation->finished());
        QVERIFY(operation->outcome().status.ok());
    }
    QVERIFY(store.open().ok());
    QCOMPARE(store.images().size(), std::size_t{500});
}

void ConcurrencyTest::futuresEndWithTheirOperation() {
    ScratchStore store;
    QVERIFY(store.open().ok());
    Result<OperationPtr> operation = store->put({SampleImage{"image", "x"}.request()});
    QVERIFY(operation.ok());
    const QFuture<void> early = (*operation)->future();
    (*operation)->wait(-1);
    QFuture<void> same = early;
    same.waitForFinished();
    QVERIFY(early.isFinished());
    QVERIFY((*operation)->future().isFinished());

    Result<OperationPtr> other = store->put({SampleImage{"other", "x"}.request()});
    QVERIFY(other.ok());
    (*other)->wait(-1);
    QVERIFY((*other)->future().isStarted());
    QVERIFY((*other)->future().isFinished());
}

/// Each wakes one more when its own is over: nobody must be left out, whatever they wait for.
void ConcurrencyTest::everybodyWhoWaitsIsWoken() {
    ScratchStore store;
    QVERIFY(store.open().ok());
    constexpr int waiters = 48, rounds = 40;
    std::atomic<int> woken{0};
    std::vector<std::thread> waiting;
    for (int thread = 0; thread < waiters; ++thread)
        waiting.emplace_back([&, thread] {
            for (int round = 0; round < rounds; ++round) {
                const SampleImage image{"image" + std::to_string(thread % 7), "x"};
                Result<OperationPtr> operation = store->put({image.request()});
                // Some wait twice, some not for long, some not at all.
                if (!operation.ok() || thread % 5 == 0)
                    continue;
                (void)(*operation)->wait(thread % 3 == 0 ? 0 : -1);
                woken += (*operation)->wait(-1);
            }
        });
    for (std::thread &thread : waiting)
        thread.join();
    QCOMPARE(woken.load(), (waiters - (waiters + 4) / 5) * rounds);
}

/// Several threads wait for one operation, and the first to wake may not wake the others at once.
void ConcurrencyTest::waitersForOneOperationAreAllWoken() {
    ScratchStore store;
    QVERIFY(store.open().ok());
    for (int round = 0; round < 50; ++round) {
        Result<OperationPtr> operation = store->put({SampleImage{"image", "x"}.request()});
        QVERIFY(operation.ok());
        std::vector<std::thread> waiting;
        for (int thread = 0; thread < 12; ++thread)
            waiting.emplace_back([&] { (void)(*operation)->wait(-1); });
        for (std::thread &thread : waiting)
            thread.join();
        QVERIFY((*operation)->finished());
    }
}

/// One that is withdrawn ends before those that it was submitted with, whose waiters came first.
void ConcurrencyTest::whoWaitsForOneThatEndsAloneIsWoken() {
    const auto bell = std::make_shared<Bell>();
    std::vector<OperationPtr> going_on;
    std::vector<std::thread> waiting;
    std::atomic<int> begun{0};
    for (int i = 0; i < 64; ++i) {
        going_on.push_back(std::make_shared<Operation>(bell));
        waiting.emplace_back([&begun, operation = going_on.back()] {
            ++begun;
            (void)operation->wait(-1);
        });
    }
    while (begun < 64 || !bell->anybody_sleeps())
        std::this_thread::yield();
    const auto withdrawn = std::make_shared<Operation>(bell);
    std::promise<void> woken;
    waiting.emplace_back([&] {
        ++begun;
        (void)withdrawn->wait(-1);
        woken.set_value();
    });
    while (begun < 65)
        std::this_thread::yield();
    QVERIFY(withdrawn->cancel());
    const bool in_time =
        woken.get_future().wait_for(std::chrono::seconds(60)) == std::future_status::ready;
    for (const OperationPtr &operation : going_on)
        operation->finish();
    bell->wake_all();
    for (std::thread &thread : waiting)
        thread.join();
    QVERIFY2(in_time, "it sleeps until the others end");
}

QTEST_APPLESS_MAIN(ConcurrencyTest)
#include "concurrency_test.moc"
