// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors
//
// Runs itself as a child that puts and removes without end, and kills it at any moment. What was
// acknowledged through a pipe before must be there afterwards.
#include "store_fixture.h"

#include <QtTest>

#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <fcntl.h>
#include <poll.h>
#include <random>
#include <string>
#include <sys/wait.h>
#include <unistd.h>

using namespace waybill;

namespace {

constexpr int rounds = 25;
constexpr std::uint64_t names = 12;

/// What operation `number` does: every seventh removes, the others put. Each name is taken in turn.
std::string name_of(std::uint64_t number) { return "image" + std::to_string(number % names); }
bool removes(std::uint64_t number) { return number % 7 == 6; }
std::string content_of(std::uint64_t number) {
    return std::to_string(number) + std::string(number % 1500, 'x');
}

Settings settings_for(const std::string &root) {
    Settings settings;
    settings.root = root;
    settings.references = ReferenceMode::Opaque;
    settings.journal_bytes = 64 << 10; // Rotates often, so that kills fall into rotations too.
    return settings;
}

/// Puts from `first` on, one after the other, and writes each number once it is acknowledged.
int run_child(const std::string &root, std::uint64_t first, int acknowledge_fd) {
    Result<std::unique_ptr<Store>> store = Store::open(settings_for(root), quiet_host());
    if (!store.ok() || !ScratchStore::ended((*store)->recover())->status.ok())
        return 2;
    for (std::uint64_t number = first;; ++number) {
        OutcomePtr outcome;
        if (removes(number)) {
            outcome = ScratchStore::ended((*store)->remove({}, name_of(number)));
        } else {
            const SampleImage image{name_of(number), content_of(number)};
            outcome = ScratchStore::ended((*store)->put({image.request()}));
        }
        if (!outcome->status.ok())
            return 3;
        if (::write(acknowledge_fd, &number, sizeof number) != sizeof number)
            return 4;
    }
}

/// What the names hold after the operations up to `last`, 0 excluded.
Images state_after(std::uint64_t last) {
    Images images;
    for (std::uint64_t number = 1; number <= last; ++number) {
        if (removes(number))
            images.erase(name_of(number));
        else
            images[name_of(number)] = content_of(number);
    }
    return images;
}

} // namespace

class KillTest : public QObject {
    Q_OBJECT

  private slots:
    void whatWasAcknowledgedOutlivesTheKill();
};

void KillTest::whatWasAcknowledgedOutlivesTheKill() {
    const unsigned seed = std::random_device()();
    std::mt19937 random(seed);
    const QByteArray seed_text = "seed " + QByteArray::number(seed);
    ScratchStore store;
    store.settings = settings_for(store.settings.root);
    std::uint64_t done = 0; // Operations known to be in the store.
    for (int round = 0; round < rounds; ++round) {
        int ends[2];
        QVERIFY(::pipe2(ends, O_CLOEXEC) == 0);
        const std::string root = store.settings.root;
        const std::string first = std::to_string(done + 1);
        const std::string fd = std::to_string(ends[1]);
        const std::string program = "/proc/self/exe";
        const pid_t child = ::fork();
        QVERIFY(child >= 0);
        if (child == 0) {
            ::fcntl(ends[1], F_SETFD, 0);
            ::execl(program.c_str(), program.c_str(), "--child", root.c_str(), first.c_str(),
                    fd.c_str(), nullptr);
            ::_exit(127);
        }
        ::close(ends[1]);
        // The kill comes after so many acknowledgements and so many microseconds, either of which
        // may be the moment of a write, a sync, a rename or a removal.
        const unsigned wanted = random() % 60;
        std::uint64_t acknowledged = done, number = 0;
        for (unsigned i = 0; i < wanted; ++i) {
            if (::read(ends[0], &number, sizeof number) != sizeof number)
                break;
            acknowledged = number;
        }
        pollfd never{-1, 0, 0};
        const timespec pause{0, static_cast<long>(random() % 3'000'000)};
        (void)::ppoll(&never, 1, &pause, nullptr);
        QVERIFY(::kill(child, SIGKILL) == 0);
        while (::read(ends[0], &number, sizeof number) == sizeof number)
            acknowledged = number;
        ::close(ends[0]);
        int status = 0;
        QCOMPARE(::waitpid(child, &status, 0), child);
        QVERIFY2(WIFSIGNALED(status), "the child ended by itself; " + seed_text);

        const Status opened = store.open();
        QVERIFY2(opened.ok(), QByteArray::fromStdString(opened.message) + "; " + seed_text);
        QVERIFY2(store.report["damage"].toArray().isEmpty(), seed_text);
        const Images found = store.images();
        store.close();
        // One operation may be durable without the word having come through.
        if (found == state_after(acknowledged))
            done = acknowledged;
        else if (found == state_after(acknowledged + 1))
            done = acknowledged + 1;
        else
            QFAIL(qPrintable(QStringLiteral("round %1: state after operation %2 is lost; %3")
                                 .arg(round)
                                 .arg(acknowledged)
                                 .arg(QString::fromLatin1(seed_text))));
    }
    QVERIFY(done > 0);
}

int main(int argc, char *argv[]) {
    if (argc == 5 && std::string(argv[1]) == "--child")
        return run_child(argv[2], std::strtoull(argv[3], nullptr, 10), std::atoi(argv[4]));
    KillTest test;
    return QTest::qExec(&test, argc, argv);
}
#include "kill_test.moc"
