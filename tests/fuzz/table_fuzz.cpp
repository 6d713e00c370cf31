// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors
//
// Every text that a host hands through the public table to an open store.
// Input: calls, one a line: a verb, then its fields, each behind a tab. A field that is not there
// is NULL. The store is emptied before each input.
#include "property.h"
#include "scratch_directory.h"

#include "waybill/waybill.h"

#include <array>
#include <optional>
#include <string>
#include <utility>
#include <vector>

using namespace waybill::fuzz;

namespace {

constexpr std::size_t calls_max = 24;

const waybill_api &api() {
    static const waybill_api *const table = waybill_api_get(WAYBILL_ABI_VERSION);
    return *table;
}

waybill_store *open_store() {
    const std::string config =
        R"({"root":")" + ScratchDirectory::path() +
        R"(/store","references":"opaque","threads":1,"limits":{"images":64}})";
    waybill_store *store = nullptr;
    waybill_future *future = nullptr;
    require(api().create(config.c_str(), nullptr, &store, nullptr) == WAYBILL_OK,
            "a store can be made");
    require(api().recover(store, &future, nullptr) == WAYBILL_OK &&
                api().future_wait(future, -1, nullptr) == WAYBILL_OK,
            "a new store recovers");
    api().future_free(future);
    return store;
}

/// One call's fields, behind the verb.
class Fields final {
  public:
    explicit Fields(Input input) {
        while (!input.empty() && fields_.size() < 10)
            fields_.push_back(input.text('\t'));
        for (std::string &field : fields_) // As a host's text ends.
            field.resize(std::strlen(field.c_str()));
    }
    const char *operator[](std::size_t index) const {
        return index < fields_.size() ? fields_[index].c_str() : nullptr;
    }
    std::uint32_t number(std::size_t index) const {
        return index < fields_.size()
                   ? static_cast<std::uint32_t>(std::strtoul(fields_[index].c_str(), nullptr, 10))
                   : 0;
    }
    std::size_t size() const { return fields_.size(); }

  private:
    std::vector<std::string> fields_;
};

bool is_refusal(std::int32_t status) {
    switch (status) {
    case WAYBILL_EINVAL:
    case WAYBILL_ENOTFOUND:
    case WAYBILL_EEXIST:
    case WAYBILL_ECONFLICT:
    case WAYBILL_ELIMIT:
    case WAYBILL_ENOBLOB:
    case WAYBILL_EBADBLOB:
    case WAYBILL_EFORMAT:
    case WAYBILL_EACCES:
    case WAYBILL_ESYMLINK:
        return true;
    default:
        return false;
    }
}

/// A call's status and error must fit each other, and blame the host's text only.
bool succeeded(std::int32_t status, const waybill_error &error) {
    if (status == WAYBILL_OK) {
        require(error.code == 0 && error.message[0] == '\0', "success leaves the error alone");
        return true;
    }
    require(is_refusal(status), "a text can only be refused", error.message);
    require(error.code == status, "the error says the same as the status", error.message);
    require(error.message[0] != '\0', "a refusal has a message");
    require(std::memchr(error.message, 0, sizeof error.message) &&
                std::memchr(error.field, 0, sizeof error.field),
            "an error's texts end");
    return false;
}

class Session final {
  public:
    Session() : store_(open_store()) {}

    void empty() { (void)finish(api().prune(store_, nullptr, nullptr, 0, begin(), &error_)); }

    void call(const std::string &verb, const Fields &fields) {
        if (verb == "put")
            put(fields);
        else if (verb == "get")
            get(fields);
        else if (verb == "visit")
            visit(fields);
        else if (verb == "remove")
            (void)finish(api().remove(store_, fields[0], fields[1], begin(), &error_));
        else if (verb == "prune")
            prune(fields);
        else if (verb == "report")
            report(fields);
        else if (verb == "import")
            (void)finish(
                api().import_oci(store_, fields[0], fields[1], fields[2], begin(), &error_));
    }

  private:
    waybill_future **begin() {
        error_ = {};
        error_.struct_size = sizeof error_;
        future_ = nullptr;
        return &future_;
    }

    /// Waits for what was submitted.
    bool finish(std::int32_t submitted) {
        if (!succeeded(submitted, error_)) {
            require(future_ == nullptr, "a refused call leaves the future alone");
            return false;
        }
        const bool ended = succeeded(api().future_wait(future_, -1, &error_), error_);
        waybill_outcome outcome{};
        outcome.struct_size = sizeof outcome;
        require((api().future_result(future_, &outcome, nullptr) == WAYBILL_OK) == ended,
                "an outcome is there after success");
        api().future_free(future_);
        return ended;
    }

    void put(const Fields &fields) {
        waybill_layer layer{};
        layer.struct_size = sizeof layer;
        layer.id = fields[4];
        layer.digest = fields[3];
        const waybill_pair pair{fields[5], fields[6]};
        waybill_image_spec spec{};
        spec.struct_size = sizeof spec;
        spec.name_space = fields[0];
        spec.reference = fields[1];
        spec.target_digest = fields[2];
        spec.layers = &layer;
        spec.layer_count = 1;
        spec.labels = spec.annotations = &pair;
        spec.label_count = spec.annotation_count = fields[5] ? 1 : 0;
        spec.target_media_type = layer.media_type = spec.os = fields[7];
        spec.condition = fields.number(8);
        spec.expected_revision = fields.number(9);
        if (!finish(api().put(store_, &spec, 1, begin(), &error_)))
            return;
        const std::optional<std::string> found = find(fields[0], fields[1]);
        require(found.has_value(), "what was put is there", spec.reference);
    }

    std::optional<std::string> find(const char *name_space, const char *reference) {
        begin();
        waybill_image *image = nullptr;
        if (!succeeded(api().get(store_, name_space, reference, 1, &image, &error_), error_))
            return std::nullopt;
        waybill_image_view view{};
        view.struct_size = sizeof view;
        require(api().image_view(image, &view, nullptr) == WAYBILL_OK, "an image can be viewed");
        require(std::strcmp(view.reference, reference) == 0, "get finds what it was asked for",
                view.reference);
        std::string found = view.reference;
        api().image_free(image);
        return found;
    }
    void get(const Fields &fields) { (void)find(fields[0], fields[1]); }

    void visit(const Fields &fields) {
        struct Seen {
            const waybill_query &query;
            std::vector<std::pair<std::string, std::string>> names;
        };
        waybill_query query{};
        query.struct_size = sizeof query;
        const std::array texts = {
            &query.name_space,  &query.prefix,           &query.digest,         &query.label_key,
            &query.label_value, &query.after_name_space, &query.after_reference};
        for (std::size_t i = 0; i < texts.size(); ++i)
            *texts[i] = fields[i];
        query.limit = fields.number(7);
        query.state_any = fields.number(8);
        Seen seen{query, {}};
        const auto look = [](void *payload, waybill_image *image) -> std::int32_t {
            auto &names = static_cast<Seen *>(payload)->names;
            waybill_image_view view{};
            view.struct_size = sizeof view;
            require(api().image_view(image, &view, nullptr) == WAYBILL_OK, "an image is shown");
            names.emplace_back(view.name_space, view.reference);
            return WAYBILL_VISIT_NEXT;
        };
        begin();
        if (!succeeded(api().visit(store_, &query, look, &seen, &error_), error_)) {
            require(seen.names.empty(), "a refused query shows nothing");
            return;
        }
        require(query.limit == 0 || seen.names.size() <= query.limit, "the limit is kept");
        std::pair<std::string, std::string> last;
        if (query.after_name_space)
            last = {query.after_name_space, query.after_reference};
        for (const auto &name : seen.names) {
            require(last < name || (last.first.empty() && last.second.empty()),
                    "images come sorted, behind the cursor", name.second);
            last = name;
            require(!query.prefix || name.second.starts_with(query.prefix), "the prefix is there",
                    name.second);
            require(!query.name_space || name.first == query.name_space, "the namespace is right",
                    name.first);
        }
    }

    void prune(const Fields &fields) {
        std::vector<const char *> keep;
        for (std::size_t i = 1; i < fields.size(); ++i)
            keep.push_back(fields[i]);
        (void)finish(api().prune(store_, fields[0], keep.data(),
                                 static_cast<std::uint32_t>(keep.size()), begin(), &error_));
    }

    void report(const Fields &fields) {
        begin();
        char *json = nullptr;
        if (succeeded(api().report(store_, fields[0], fields[1], &json, &error_), error_))
            require(json && json[0] == '{', "a report is a JSON object", json ? json : "NULL");
        else
            require(json == nullptr, "a refused report is not touched");
        api().text_free(json);
    }

    waybill_store *store_;
    waybill_error error_{};
    waybill_future *future_ = nullptr;
};

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t *data, std::size_t size) {
    static Session &session = *new Session; // Its threads end with the process.
    session.empty();
    Input input(data, size);
    for (std::size_t calls = 0; calls < calls_max && !input.empty(); ++calls) {
        const std::string line = input.text('\n');
        Input call(reinterpret_cast<const std::uint8_t *>(line.data()), line.size());
        const std::string verb = call.text('\t');
        session.call(verb, Fields(call));
    }
    return 0;
}
