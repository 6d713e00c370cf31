// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors
#include "fault_scenario.h"

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <dirent.h>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <poll.h>

void Model::answered(std::int32_t status, Changes changes) {
    if (status != WAYBILL_OK && status != WAYBILL_EIO)
        return;
    if (status == WAYBILL_EIO)
        ++unknown_;
    else
        for (const auto &[name, number] : changes)
            number ? (void)(state_[name] = number) : (void)state_.erase(name);
    steps_.push_back({status == WAYBILL_OK, std::move(changes)});
}

bool Model::allows(const State &recovered) const {
    // Each transaction of unknown outcome is there as a whole or not at all.
    const std::uint64_t choices = std::uint64_t{1} << std::min<std::size_t>(unknown_, 16);
    for (std::uint64_t choice = 0; choice < choices; ++choice) {
        State state = start_;
        std::size_t unknown = 0;
        for (const Step &step : steps_) {
            if (!step.certain && !(choice >> unknown++ & 1))
                continue;
            for (const auto &[name, number] : step.changes)
                number ? (void)(state[name] = number) : (void)state.erase(name);
        }
        if (state == recovered)
            return true;
    }
    return false;
}

namespace {

std::string text_of(const State &state) {
    std::string text;
    for (const auto &[name, number] : state)
        text += " " + name.substr(name.rfind('/') + 1) + "=" + std::to_string(number);
    return "{" + text + " }";
}

std::string canonical(const std::string &name) {
    if (name.starts_with("docker.io/"))
        return name;
    return "docker.io/library/" + name + (name.find(':') == std::string::npos ? ":latest" : "");
}

std::size_t entries_in(const char *directory) {
    std::size_t count = 0;
    DIR *listed = ::opendir(directory);
    while (::readdir(listed))
        ++count;
    ::closedir(listed);
    return count;
}

std::string open_descriptors() {
    std::string text;
    for (const auto &entry : std::filesystem::directory_iterator("/proc/self/fd")) {
        std::error_code gone;
        text += " " + std::filesystem::read_symlink(entry, gone).string();
    }
    return text;
}

/// Faults of calls that touch no disk leave a store as it was.
bool touches_disk(const fault_plan &plan) {
    return plan.call != CALL_NEW && plan.call != CALL_MALLOC && plan.call != CALL_QT_MEMORY &&
           plan.call != CALL_THREAD && plan.call != CALL_EVENTFD && plan.error != EMFILE;
}

/// Whether a status says what went wrong.
bool fits(const fault_plan &plan, std::int32_t status) {
    switch (plan.error) {
    case EINTR: // Goes on, and nobody hears of it.
    case FAULT_SHORT:
    case EOPNOTSUPP:
        return false;
    case ENOMEM:
        return status == WAYBILL_ENOMEM;
    case EMFILE:
    case EAGAIN:
        return status == WAYBILL_EAGAIN;
    case ENOSPC:
    case EDQUOT:
        return status == WAYBILL_ENOSPC || status == WAYBILL_EIO || status == WAYBILL_EREADONLY;
    default:
        return status == WAYBILL_EIO || status == WAYBILL_EREADONLY;
    }
}

/// One image, with the memory that its description points to.
struct Described {
    std::string reference, number_text, filler;
    std::vector<waybill_layer> layers;
    std::vector<waybill_pair> labels;
    waybill_image_spec spec{};

    Described(std::string name, std::uint64_t number, std::size_t label_bytes = 0)
        : reference(std::move(name)), number_text(std::to_string(number)),
          filler(label_bytes, 'x') {
        waybill_layer layer{};
        layer.struct_size = sizeof layer;
        layer.digest = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
        layers.push_back(layer);
        labels.push_back({"number", number_text.c_str()});
        static const char *const keys[] = {"a", "b", "c", "d", "e"};
        for (const char *key : keys)
            if (label_bytes > 0)
                labels.push_back({key, filler.c_str()});
        spec.struct_size = sizeof spec;
        spec.reference = reference.c_str();
        spec.target_digest = layer.digest;
        spec.target_size_bytes = number;
        spec.layers = layers.data();
        spec.layer_count = 1;
        spec.labels = labels.data();
        spec.label_count = static_cast<std::uint32_t>(labels.size());
    }
    Described(const Described &) = delete;
};

struct Callback {
    std::atomic<int> calls{0};
    waybill_future *future = nullptr;
    static void called(void *payload, waybill_future *) {
        static_cast<Callback *>(payload)->calls.fetch_add(1);
    }
};

/// A host. Each call of the library goes through call(), so that only those are counted.
class Host final {
  public:
    Host(const Fixture &fixture, const fault_plan &plan, State start)
        : api(*fixture.api), model(std::move(start)), plan_(plan) {
        fds_before_ = entries_in("/proc/self/fd");
    }

    template <typename Function, typename... Arguments>
    auto call(Function function, Arguments... arguments) {
        fault_enter_library();
        auto answer = function(arguments...);
        fault_leave_library();
        return answer;
    }
    template <typename Free, typename Object> void free(Free function, Object object) {
        fault_enter_library();
        function(object);
        fault_leave_library();
    }

    waybill_error *slot() {
        error_ = {};
        error_.struct_size = sizeof error_;
        return &error_;
    }

    /// Checks an answer: what was to be expected, or an error that says what went wrong.
    std::int32_t check(const char *verb, std::int32_t status, std::int32_t expected) {
        if (status == expected)
            return status;
        const bool told = (fault_hits() > 0 && fits(plan_, status)) ||
                          (status == WAYBILL_EREADONLY && lost_disk_);
        if (!told)
            throw Broken(std::string(verb) + ": answered " + std::to_string(status) + " (" +
                         error_.message + "), expected " + std::to_string(expected));
        if (result.error == WAYBILL_OK)
            result.error = status;
        lost_disk_ = lost_disk_ || (touches_disk(plan_) && status == WAYBILL_EIO);
        return status;
    }

    waybill_store *create(const std::string &config, bool must = true) {
        waybill_store *store = nullptr;
        for (int attempt = 0; attempt < attempts_max; ++attempt) {
            const std::int32_t status =
                check("create", call(api.create, config.c_str(), nullptr, &store, slot()), 0);
            if (status == WAYBILL_OK)
                return store;
            if (store)
                throw Broken("create: failed and touched its out-parameter");
        }
        if (must)
            throw Broken("create: fails although nothing does any longer");
        return nullptr;
    }

    /// The future's status; 1 if there was no future.
    std::int32_t wait(const char *verb, waybill_future *future, std::int32_t expected) {
        std::int32_t status = call(api.future_wait, future, std::int64_t{-1}, slot());
        // The wait itself may have had no memory; the operation's own status needs none.
        const std::int32_t own = call(api.future_status, future);
        if (own == WAYBILL_EPENDING)
            throw Broken(std::string(verb) + ": still pending after the wait");
        if (status != own && status != WAYBILL_ENOMEM)
            throw Broken(std::string(verb) + ": the wait says " + std::to_string(status) +
                         ", the status is " + std::to_string(own));
        return check(verb, own, expected);
    }

    /// Starts and waits. `start` fills a future and answers a status.
    template <typename Start>
    std::int32_t run(const char *verb, std::int32_t expected, Start start,
                     waybill_outcome *outcome = nullptr, std::string *report = nullptr) {
        waybill_future *future = nullptr;
        const std::int32_t begun = start(&future);
        if (begun != WAYBILL_OK) {
            if (future)
                throw Broken(std::string(verb) + ": failed and touched its out-parameter");
            return check(verb, begun, expected);
        }
        std::int32_t status;
        try {
            status = wait(verb, future, expected);
        } catch (...) {
            api.future_free(future);
            throw;
        }
        if (outcome) {
            *outcome = {};
            outcome->struct_size = sizeof *outcome;
            if (call(api.future_result, future, outcome, slot()) == WAYBILL_OK && report &&
                outcome->report_json)
                *report = outcome->report_json;
        }
        free(api.future_free, future);
        return status;
    }

    std::string recover(waybill_store *store) {
        std::string report;
        for (int attempt = 0; attempt < attempts_max; ++attempt) {
            fault_forget_failed_sync();
            waybill_outcome outcome;
            const std::int32_t status = run(
                "recover", WAYBILL_OK,
                [&](waybill_future **future) { return call(api.recover, store, future, slot()); },
                &outcome, &report);
            if (status == WAYBILL_OK)
                return report;
        }
        throw Broken("recover: fails although nothing does any longer");
    }

    std::int32_t put(waybill_store *store, const std::vector<const Described *> &images,
                     std::int32_t expected = WAYBILL_OK) {
        std::vector<waybill_image_spec> specs;
        Model::Changes changes;
        for (const Described *image : images) {
            specs.push_back(image->spec);
            changes.emplace_back(canonical(image->reference), image->spec.target_size_bytes);
        }
        const std::int32_t status = run("put", expected, [&](waybill_future **future) {
            return call(api.put, store, specs.data(), static_cast<std::uint32_t>(specs.size()),
                        future, slot());
        });
        model.answered(status, std::move(changes));
        return status;
    }

    std::int32_t put(waybill_store *store, const std::string &name, std::uint64_t number,
                     std::size_t label_bytes = 0) {
        const Described image(name, number, label_bytes);
        return put(store, {&image});
    }

    std::int32_t remove(waybill_store *store, const std::string &name) {
        const std::int32_t status = run("remove", WAYBILL_OK, [&](waybill_future **future) {
            return call(api.remove, store, nullptr, name.c_str(), future, slot());
        });
        model.answered(status, {{canonical(name), 0}});
        return status;
    }

    std::int32_t prune(waybill_store *store, std::vector<const char *> keep,
                       std::int32_t expected = WAYBILL_OK) {
        const std::int32_t status = run("prune", expected, [&](waybill_future **future) {
            return call(api.prune, store, nullptr, keep.data(),
                        static_cast<std::uint32_t>(keep.size()), future, slot());
        });
        Model::Changes changes;
        for (const auto &[name, number] : model.state())
            if (std::ranges::none_of(
                    keep, [&name = name](const char *kept) { return canonical(kept) == name; }))
                changes.emplace_back(name, 0);
        model.answered(status, std::move(changes));
        return status;
    }

    /// Comes back only when background work that began before has ended: there is one thread.
    void refresh(waybill_store *store) {
        run("refresh", WAYBILL_OK,
            [&](waybill_future **future) { return call(api.refresh, store, future, slot()); });
    }

    void get(waybill_store *store, const std::string &name) {
        waybill_image *image = nullptr;
        const auto held = model.state().find(canonical(name));
        const std::int32_t expected = held == model.state().end() ? WAYBILL_ENOTFOUND : WAYBILL_OK;
        const std::int32_t status =
            check("get", call(api.get, store, nullptr, name.c_str(), 1u, &image, slot()), expected);
        if ((status == WAYBILL_OK) != (image != nullptr))
            throw Broken("get: status and image do not fit");
        if (image && number_of(image) != held->second)
            throw Broken("get: another image than was put");
        free(api.image_free, image);
    }

    std::uint64_t number_of(const waybill_image *image) {
        waybill_image_view view{};
        view.struct_size = sizeof view;
        waybill_pair pair{};
        if (api.image_view(image, &view, slot()) != WAYBILL_OK)
            throw Broken("an image cannot be viewed");
        for (std::uint32_t i = 0; i < view.label_count; ++i)
            if (api.image_label(image, i, &pair, slot()) == WAYBILL_OK &&
                std::strcmp(pair.key, "number") == 0 &&
                pair.value != std::to_string(view.size_bytes))
                throw Broken("an image was altered");
        return view.size_bytes;
    }

    State visited(waybill_store *store) {
        struct Visit {
            Host &host;
            State state;
        } visit{*this, {}};
        const auto note = [](void *payload, waybill_image *image) -> std::int32_t {
            fault_leave_library();
            Visit &to = *static_cast<Visit *>(payload);
            waybill_image_view view{};
            view.struct_size = sizeof view;
            (void)to.host.api.image_view(image, &view, nullptr);
            to.state[view.reference] = to.host.number_of(image);
            fault_enter_library();
            return WAYBILL_VISIT_NEXT;
        };
        if (check("visit", call(api.visit, store, nullptr, +note, &visit, slot()), WAYBILL_OK) !=
            WAYBILL_OK)
            return model.state();
        return visit.state;
    }

    std::string report(waybill_store *store, const char *name) {
        char *json = nullptr;
        check("report", call(api.report, store, name, nullptr, &json, slot()), WAYBILL_OK);
        const std::string text = json ? json : "";
        free(api.text_free, json);
        return text;
    }

    void destroy(waybill_store *store) {
        if (const std::int32_t status = call(api.destroy, store, slot()); status != WAYBILL_OK)
            throw Broken("destroy: answered " + std::to_string(status));
    }

    void check_live(waybill_store *store);
    void check_afterwards(const std::string &directory, bool was_degraded, bool is_degraded);

    const waybill_api &api;
    Model model;
    RunResult result;

  private:
    /// A fault that lasts takes that many attempts to pass.
    static constexpr int attempts_max = 64;

    const fault_plan plan_;
    waybill_error error_{};
    bool lost_disk_ = false;
    std::size_t fds_before_;
};

/// With nothing failing: memory is what was answered, gets are served, and the store works or says
/// that it is read-only.
void Host::check_live(waybill_store *store) {
    fault_disarm();
    const State live = visited(store);
    if (live != model.state())
        throw Broken("the live store shows " + text_of(live) + ", answered was " +
                     text_of(model.state()));
    for (const auto &[name, number] : live)
        get(store, name);
    const Described probe("probe", 99);
    waybill_future *future = nullptr;
    std::int32_t status = api.put(store, &probe.spec, 1, &future, slot());
    if (status == WAYBILL_OK) {
        status = api.future_wait(future, -1, slot());
        api.future_free(future);
    }
    if (status == WAYBILL_OK) {
        model.answered(status, {{canonical("probe"), 99}});
    } else {
        if (status != WAYBILL_EREADONLY || !touches_disk(plan_))
            throw Broken("a put afterwards: answered " + std::to_string(status) + " (" +
                         error_.message + ")");
        result.read_only = true;
    }
    if (visited(store) != model.state())
        throw Broken("the live store differs after one more put");
    fault_rearm(); // What destroy does counts, too.
}

/// With the store closed: nothing is left behind, and disk is what was answered.
void Host::check_afterwards(const std::string &directory, bool was_degraded, bool is_degraded) {
    fault_disarm();
    if (fault_sync_was_retried())
        throw Broken("a sync that had failed was tried again");
    if (const std::size_t fds = entries_in("/proc/self/fd"); fds != fds_before_)
        throw Broken("descriptors: " + std::to_string(fds_before_) + " before, " +
                     std::to_string(fds) + " after:" + open_descriptors());
    // A thread that has been joined may stay in the list for a moment.
    std::size_t tasks = entries_in("/proc/self/task") - 2;
    for (int patience = 0; patience < 5000 && tasks != 1; ++patience) {
        (void)::poll(nullptr, 0, 1);
        tasks = entries_in("/proc/self/task") - 2;
    }
    if (tasks != 1)
        throw Broken("threads left: " + std::to_string(tasks - 1));
    waybill_store *store = nullptr;
    const std::string config = "{\"root\":\"" + directory + "\",\"threads\":1}";
    if (api.create(config.c_str(), nullptr, &store, slot()) != WAYBILL_OK)
        throw Broken(std::string("the store does not open again: ") + error_.message);
    waybill_future *future = nullptr;
    std::int32_t status = api.recover(store, &future, slot());
    if (status == WAYBILL_OK)
        status = api.future_wait(future, -1, slot());
    if (status != WAYBILL_OK)
        throw Broken(std::string("the store does not recover: ") + error_.message);
    waybill_outcome outcome{};
    outcome.struct_size = sizeof outcome;
    (void)api.future_result(future, &outcome, slot());
    const std::string found = outcome.report_json;
    api.future_free(future);
    const State recovered = visited(store);
    const bool degraded = found.find("\"degraded\":true") != std::string::npos;
    if (api.destroy(store, slot()) != WAYBILL_OK)
        throw Broken("the recovered store cannot be destroyed");
    if (!model.allows(recovered))
        throw Broken("recovered is " + text_of(recovered) + ", answered was " +
                     text_of(model.state()));
    if (degraded != is_degraded && !(was_degraded && model.outcome_unknown()))
        throw Broken(std::string("the recovered store is ") + (degraded ? "" : "not ") +
                     "degraded: " + found);
    if (!was_degraded && found.find("\"damage\":[]") == std::string::npos)
        throw Broken("damage was found where there was none: " + found);
}

/// A put that is heard of in every way there is.
void put_heard_of(Host &host, waybill_store *store, Callback &callback) {
    waybill_queue *queue = nullptr;
    waybill_future *future = nullptr;
    const Described image("heard", 12);
    host.check("queue_create", host.call(host.api.queue_create, &queue, host.slot()), WAYBILL_OK);
    std::int32_t status = host.check(
        "put", host.call(host.api.put, store, &image.spec, 1u, &future, host.slot()), WAYBILL_OK);
    if (status == WAYBILL_OK) {
        for (int attempt = 0; attempt < 64 && !callback.future; ++attempt)
            if (host.check("then",
                           host.call(host.api.future_then, future, Callback::called,
                                     static_cast<void *>(&callback), host.slot()),
                           WAYBILL_OK) == WAYBILL_OK)
                callback.future = future;
        if (!callback.future)
            throw Broken("then: fails although nothing does any longer");
        const bool attached = queue && host.check("queue_attach",
                                                  host.call(host.api.queue_attach, queue, future,
                                                            std::uint64_t{7}, host.slot()),
                                                  WAYBILL_OK) == WAYBILL_OK;
        status = host.wait("put", future, WAYBILL_OK);
        if (attached) {
            pollfd polled{host.api.queue_fd(queue), POLLIN, 0};
            waybill_completion completion{};
            std::uint32_t count = 0;
            if (::poll(&polled, 1, 10'000) != 1)
                throw Broken("a queue was never told of a completion");
            if (host.call(host.api.queue_drain, queue, &completion, 1u, &count, host.slot()) !=
                    WAYBILL_OK ||
                count != 1 || completion.token != 7 || completion.status != status)
                throw Broken("a queue handed out another completion");
        }
        host.free(host.api.future_free, future);
    }
    host.model.answered(status, {{canonical("heard"), 12}});
    host.free(host.api.queue_free, queue);
}

/// Three operations under way at once.
void put_several_at_once(Host &host, waybill_store *store) {
    const Described images[] = {{"alpha", 21}, {"beta", 22}, {"gamma", 23}};
    waybill_future *futures[3] = {};
    std::int32_t statuses[3];
    for (int i = 0; i < 3; ++i)
        statuses[i] = host.check(
            "put", host.call(host.api.put, store, &images[i].spec, 1u, &futures[i], host.slot()),
            WAYBILL_OK);
    for (int i = 0; i < 3; ++i) {
        if (statuses[i] == WAYBILL_OK)
            statuses[i] = host.wait("put", futures[i], WAYBILL_OK);
        host.free(host.api.future_free, futures[i]);
        host.model.answered(statuses[i],
                            {{canonical(images[i].reference), images[i].spec.target_size_bytes}});
    }
}

/// Enough to start a new journal; the refresh waits for the snapshot, which the one worker writes.
void rotate(Host &host, waybill_store *store) {
    for (std::uint64_t number = 31; number < 36; ++number)
        host.put(store, "big", number, 4000);
    host.put(store, "after", 36);
    host.refresh(store);
}

/// More in one transaction than the table of a new store has room for.
void put_many(Host &host, waybill_store *store) {
    std::vector<std::unique_ptr<Described>> images;
    std::vector<const Described *> all;
    for (std::uint64_t number = 100; number < 140; ++number) {
        images.push_back(std::make_unique<Described>("many" + std::to_string(number), number));
        all.push_back(images.back().get());
    }
    host.put(store, all);
}

std::string config_for(const std::string &directory, const char *more = "") {
    return "{\"root\":\"" + directory + "\",\"threads\":1,\"limits\":{\"journalBytes\":65536}" +
           more + "}";
}

std::int32_t import(Host &host, const Fixture &fixture, waybill_store *store) {
    waybill_outcome outcome{};
    std::string report;
    const std::int32_t status = host.run(
        "import", WAYBILL_OK,
        [&](waybill_future **future) {
            return host.call(host.api.import_oci, store, nullptr, fixture.layout.c_str(), nullptr,
                             future, host.slot());
        },
        &outcome, &report);
    // Its number is the size of the manifest.
    std::uint64_t size = 0;
    for (const auto &entry : std::filesystem::directory_iterator(fixture.layout + "/blobs/sha256"))
        size = std::max<std::uint64_t>(size, entry.file_size());
    host.model.answered(status, {{canonical("fixture:1"), size}});
    return status;
}

void copy_store(const std::string &from, const std::string &to) {
    std::filesystem::copy(from, to, std::filesystem::copy_options::recursive);
}

} // namespace

RunResult run_life(const Fixture &fixture, const fault_plan &plan) {
    const std::string directory = fixture.scratch + "/new/store";
    Host host(fixture, plan, {});
    Callback callback;
    fault_arm(&plan);
    waybill_store *store = host.create(config_for(directory));
    host.recover(store);
    host.put(store, "one", 1);
    const Described two("two", 2), three("three", 3), four("four", 4);
    host.put(store, {&two, &three, &four});
    Described again("one", 5);
    again.spec.condition = WAYBILL_PUT_IF_ABSENT;
    host.put(store, {&again},
             host.model.state().contains(canonical("one")) ? WAYBILL_EEXIST : WAYBILL_OK);
    host.put(store, "one", 6);
    host.get(store, "one");
    host.get(store, "docker.io/library/two:latest");
    host.get(store, "nothing");
    if (const State live = host.visited(store); live != host.model.state())
        throw Broken("visit shows " + text_of(live));
    host.report(store, "stats");
    host.remove(store, "two");
    put_several_at_once(host, store);
    put_many(host, store);
    rotate(host, store);
    host.prune(store, {"one", "big", "alpha"});
    import(host, fixture, store);
    put_heard_of(host, store, callback);
    host.check_live(store);
    host.destroy(store);
    if (callback.future && callback.calls.load() != 1)
        throw Broken("a callback was called " + std::to_string(callback.calls.load()) + " times");
    host.check_afterwards(directory, false, false);
    return host.result;
}

RunResult run_worn(const Fixture &fixture, const fault_plan &plan) {
    const std::string directory = fixture.scratch + "/worn";
    copy_store(fixture.worn, directory);
    Host host(fixture, plan, worn_state());
    fault_arm(&plan);
    waybill_store *store = host.create(config_for(directory));
    host.recover(store);
    host.get(store, "hurt");
    host.put(store, "new", 41);
    host.prune(store, {"new"}, WAYBILL_EDEGRADED);

    waybill_store *reader = host.create(config_for(directory, ",\"readOnly\":true"));
    host.recover(reader);
    if (!host.model.outcome_unknown()) // Else the reader may see what the writer does not show.
        host.get(reader, "new");
    host.put(store, "newer", 42);
    host.refresh(reader);
    host.destroy(reader);

    const std::int32_t accepted = host.run("accept_loss", WAYBILL_OK, [&](waybill_future **future) {
        return host.call(host.api.accept_loss, store, future, host.slot());
    });
    host.put(store, "newest", 43);
    host.refresh(store); // The loss being accepted, a snapshot is written.
    host.report(store, "recovery");
    host.prune(store, {"new", "hurt"}, accepted == WAYBILL_OK ? WAYBILL_OK : WAYBILL_EDEGRADED);
    host.model.answered(accepted == WAYBILL_EIO ? WAYBILL_EIO : WAYBILL_EINVAL, {});
    host.check_live(store);
    host.destroy(store);
    host.check_afterwards(directory, true, accepted != WAYBILL_OK);
    return host.result;
}

State worn_state() {
    return {{canonical("kept"), 51}, {canonical("hurt"), 52}, {canonical("last"), 54}};
}

void make_worn_store(const Fixture &fixture) {
    const fault_plan none{CALL_KINDS, 0, 0, 0};
    Host host(fixture, none, {});
    waybill_store *store = host.create(config_for(fixture.worn));
    host.recover(store);
    host.put(store, "kept", 51);
    host.put(store, "hurt", 52);
    host.put(store, "hurt", 987654321); // Will be damaged.
    host.put(store, "last", 54);
    host.destroy(store);
    const std::string path = fixture.worn + "/journal.1";
    std::ifstream in(path, std::ios::binary);
    std::string bytes((std::istreambuf_iterator<char>(in)), {});
    const std::size_t label = bytes.find("987654321");
    if (label == std::string::npos)
        throw Broken("the record to be damaged was not found");
    bytes[label] ^= 1;
    const std::size_t end = (bytes.find_last_not_of('\0') + 8) / 8 * 8;
    bytes.replace(end, 24, "WBB1 that was being cut.");
    std::ofstream out(path, std::ios::binary | std::ios::trunc);
    out << bytes;
    out.close();
    if (in.bad() || out.fail())
        throw Broken("the record could not be damaged");
}
