/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: Waybill contributors
 */
#include "put_stream.h"

#include "image_json.h"
#include "input.h"
#include "output.h"
#include "text.h"

#include <fmt/format.h>

#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>

namespace cli {
namespace {

/** How many puts may wait for the disk together: enough to fill a group commit, and few enough
 *  that a reader who falls behind holds the stream up. */
constexpr std::size_t pending_max = 256;

/** A record has at most 16 MiB, and JSON takes up to six characters for a byte of it. */
constexpr std::size_t line_bytes_max = 128u << 20;

struct Pending {
    std::uint64_t line;
    std::string reference;
    std::string name_space;
    std::future<waybill::Outcome> future;
};

waybill::Error in_line(std::uint64_t line, const waybill::Error &error) {
    return waybill::Error(error.code(), fmt::format("line {}: {}", line, error.what()),
                          error.field(), error.position(), error.sys_errno());
}

/** A thread of its own acknowledges: the reading one may be waiting for the next line, and a put
 *  that is durable must not wait for that. */
class Acknowledgements final {
  public:
    explicit Acknowledgements(bool json) : json_(json), thread_([this] { acknowledge_all(); }) {}
    Acknowledgements(const Acknowledgements &) = delete;
    Acknowledgements &operator=(const Acknowledgements &) = delete;
    ~Acknowledgements() { close(); }

    /** False: something failed, and nothing more is wanted. */
    bool expect(Pending pending) {
        std::unique_lock lock(mutex_);
        changed_.wait(lock, [this] { return pending_.size() < pending_max || failure_; });
        pending_.push_back(std::move(pending));
        changed_.notify_all();
        return !failure_;
    }

    /** Waits for what is pending, and throws the first failure. */
    void finish() {
        close();
        if (failure_)
            std::rethrow_exception(failure_);
    }

  private:
    void close() {
        {
            const std::lock_guard lock(mutex_);
            closed_ = true;
            changed_.notify_all();
        }
        if (thread_.joinable())
            thread_.join();
    }

    std::optional<Pending> next() {
        std::unique_lock lock(mutex_);
        changed_.wait(lock, [this] { return !pending_.empty() || closed_; });
        if (pending_.empty())
            return std::nullopt;
        Pending pending = std::move(pending_.front());
        pending_.pop_front();
        changed_.notify_all();
        return pending;
    }

    void acknowledge_all() {
        while (std::optional<Pending> pending = next()) {
            try {
                acknowledge(*pending);
            } catch (const OutputError &) {
                can_print_ = false; // The next line would stand behind half of this one.
                note_failure();
            } catch (...) {
                note_failure();
            }
        }
    }

    /** Of the exception that is being handled. */
    void note_failure() {
        const std::lock_guard lock(mutex_);
        if (!failure_)
            failure_ = std::current_exception();
        changed_.notify_all();
    }

    void acknowledge(Pending &pending) {
        waybill::Outcome outcome;
        try {
            outcome = pending.future.get();
        } catch (const waybill::Error &error) {
            throw in_line(pending.line, error);
        }
        if (!can_print_)
            return;
        if (json_)
            print_json_line({{"namespace", pending.name_space},
                             {"reference", pending.reference},
                             {"revision", outcome.revision}});
        else
            print(fmt::format("ok {} {}\n", printable(pending.reference), outcome.revision));
    }

    const bool json_;
    std::mutex mutex_;
    std::condition_variable changed_;
    std::deque<Pending> pending_;
    std::exception_ptr failure_;
    bool closed_ = false;
    bool can_print_ = true;
    std::thread thread_; // last: it uses the others
};

/** False: something failed, and nothing more is wanted. */
bool put_line(waybill::Store &store, const Options &options, std::uint64_t line,
              const std::string &text, Acknowledgements &acknowledgements) {
    try {
        const waybill::ImageSpec image = parse_image(text, options.name_space);
        return acknowledgements.expect({line, image.reference, image.name_space, store.put(image)});
    } catch (const waybill::Error &error) {
        throw in_line(line, error);
    }
}

} // namespace

void put_stream(waybill::Store &store, const Options &options) {
    Acknowledgements acknowledgements(options.json);
    std::exception_ptr refused;
    try {
        Input input("-", line_bytes_max);
        for (std::string text; input.next(text);) {
            if (text.find_first_not_of(" \t\r") != std::string::npos &&
                !put_line(store, options, input.line_number(), text, acknowledgements))
                break;
        }
    } catch (...) {
        refused = std::current_exception(); // What came before it is acknowledged first.
    }
    acknowledgements.finish();
    if (refused)
        std::rethrow_exception(refused);
}

} // namespace cli
