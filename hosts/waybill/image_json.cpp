/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: Waybill contributors
 */
#include "image_json.h"

#include "text.h"

#include <fmt/format.h>

#include <functional>
#include <set>

namespace cli {
namespace {

using nlohmann::json;
using nlohmann::ordered_json;

[[noreturn]] void refuse(const std::string &message, const std::string &field,
                         std::int64_t position = -1) {
    throw waybill::Error(WAYBILL_EINVAL, message, field, position);
}

std::string text_of(const json &value, const std::string &field) {
    if (!value.is_string())
        refuse(fmt::format("expected a text, found {}", value.type_name()), field);
    return value.get<std::string>();
}

std::uint64_t number_of(const json &value, const std::string &field) {
    if (!value.is_number_unsigned())
        refuse("expected a whole number that is not negative", field);
    return value.get<std::uint64_t>();
}

bool truth_of(const json &value, const std::string &field) {
    if (!value.is_boolean())
        refuse(fmt::format("expected true or false, found {}", value.type_name()), field);
    return value.get<bool>();
}

std::map<std::string, std::string> texts_of(const json &value, const std::string &field) {
    if (!value.is_object())
        refuse(fmt::format("expected an object of texts, found {}", value.type_name()), field);
    std::map<std::string, std::string> result;
    for (const auto &[key, text] : value.items())
        result[key] = text_of(text, field + "." + key);
    return result;
}

bool is_digest(std::string_view text) {
    return text.rfind("sha256:", 0) == 0 || text.rfind("sha384:", 0) == 0 ||
           text.rfind("sha512:", 0) == 0;
}

/** Members by name; what is not in the list is refused. */
using Members = std::map<std::string, std::function<void(const json &, const std::string &)>>;

void read_members(const json &object, const std::string &path, const Members &members) {
    for (const auto &[key, value] : object.items()) {
        const std::string field = path.empty() ? key : path + "." + key;
        const auto member = members.find(key);
        if (member == members.end())
            refuse("unknown member", field);
        member->second(value, field);
    }
}

void pass_over(const json &, const std::string &) {}

Members::mapped_type into(std::string &target) {
    return
        [&target](const json &value, const std::string &field) { target = text_of(value, field); };
}

Members::mapped_type into(std::uint64_t &target) {
    return [&target](const json &value, const std::string &field) {
        target = number_of(value, field);
    };
}

Members::mapped_type time_into(std::int64_t &target) {
    return [&target](const json &value, const std::string &field) {
        const std::string text = text_of(value, field);
        target = text.empty() ? 0 : parse_time(text, field.c_str());
    };
}

void read_target(const json &value, const std::string &field, waybill::ImageSpec &image) {
    if (value.is_object())
        read_members(value, field,
                     {{"digest", into(image.target_digest)},
                      {"mediaType", into(image.target_media_type)},
                      {"size", into(image.target_size_bytes)}});
    else
        image.target_digest = text_of(value, field);
}

void read_layers(const json &value, const std::string &field, waybill::ImageSpec &image) {
    if (!value.is_array())
        refuse(fmt::format("expected an array, found {}", value.type_name()), field);
    for (std::size_t index = 0; index < value.size(); ++index) {
        const std::string path = fmt::format("{}[{}]", field, index);
        waybill::Layer layer;
        if (value[index].is_object())
            read_members(value[index], path,
                         {{"id", into(layer.id)},
                          {"digest", into(layer.digest)},
                          {"mediaType", into(layer.media_type)},
                          {"size", into(layer.size_bytes)}});
        else
            layer = parse_layer(text_of(value[index], path));
        image.layers.push_back(std::move(layer));
    }
}

void read_platform(const json &value, const std::string &field, waybill::ImageSpec &image) {
    if (value.is_object())
        read_members(value, field,
                     {{"os", into(image.os)},
                      {"architecture", into(image.architecture)},
                      {"variant", into(image.variant)},
                      {"osVersion", into(image.os_version)}});
    else
        parse_platform(text_of(value, field), image);
}

Members members_of(waybill::ImageSpec &image) {
    return {
        {"reference", into(image.reference)},
        {"namespace", into(image.name_space)},
        {"target", [&](const json &v, const std::string &f) { read_target(v, f, image); }},
        {"mediaType", into(image.target_media_type)},
        {"size", into(image.target_size_bytes)},
        {"config", into(image.config_digest)},
        {"layers", [&](const json &v, const std::string &f) { read_layers(v, f, image); }},
        {"labels", [&](const json &v, const std::string &f) { image.labels = texts_of(v, f); }},
        {"annotations",
         [&](const json &v, const std::string &f) { image.annotations = texts_of(v, f); }},
        {"platform", [&](const json &v, const std::string &f) { read_platform(v, f, image); }},
        {"pinned", [&](const json &v, const std::string &f) { image.pinned = truth_of(v, f); }},
        {"ifAbsent",
         [&](const json &v, const std::string &f) {
             if (truth_of(v, f))
                 image.condition = waybill::PutIf::absent;
         }},
        {"ifRevision",
         [&](const json &v, const std::string &f) {
             image.condition = waybill::PutIf::revision;
             image.expected_revision = number_of(v, f);
         }},
        {"created", time_into(image.created_ns)},
        {"updated", pass_over},
        {"lastUsed", time_into(image.last_used_ns)},
        {"spelled", pass_over},
        {"revision", pass_over},
        {"state", pass_over},
    };
}

/** Watches a text being parsed. The parser would take the last of two members of one name. */
class NoKeyTwice final {
  public:
    bool operator()(int, json::parse_event_t event, const json &parsed) {
        if (event == json::parse_event_t::object_start)
            keys_.emplace_back();
        else if (event == json::parse_event_t::object_end)
            keys_.pop_back();
        else if (event == json::parse_event_t::key &&
                 !keys_.back().insert(parsed.get<std::string>()).second)
            refuse("stands twice", parsed.get<std::string>());
        return true;
    }

  private:
    std::vector<std::set<std::string>> keys_;
};

void add_text(ordered_json &object, const char *key, const std::string &text) {
    if (!text.empty())
        object[key] = text;
}

} // namespace

ordered_json to_json(const waybill::Image &image) {
    ordered_json result = {{"namespace", image.name_space()}, {"reference", image.reference()},
                           {"spelled", image.spelled()},      {"revision", image.revision()},
                           {"state", states(image)},          {"pinned", image.pinned()}};
    result["target"] = {{"digest", image.target_digest()}};
    add_text(result["target"], "mediaType", image.target_media_type());
    if (image.target_size_bytes() != 0)
        result["target"]["size"] = image.target_size_bytes();
    add_text(result, "config", image.config_digest());
    result["layers"] = ordered_json::array();
    for (const waybill::Layer &layer : image.layers()) {
        ordered_json entry = {{"id", layer.id}};
        add_text(entry, "digest", layer.digest);
        add_text(entry, "mediaType", layer.media_type);
        if (layer.size_bytes != 0)
            entry["size"] = layer.size_bytes;
        result["layers"].push_back(std::move(entry));
    }
    result["labels"] = image.labels();
    result["annotations"] = image.annotations();
    ordered_json platform = ordered_json::object();
    add_text(platform, "os", image.os());
    add_text(platform, "architecture", image.architecture());
    add_text(platform, "variant", image.variant());
    add_text(platform, "osVersion", image.os_version());
    if (!platform.empty())
        result["platform"] = std::move(platform);
    add_text(result, "created", time_text(image.created_ns()));
    add_text(result, "updated", time_text(image.updated_ns()));
    add_text(result, "lastUsed", time_text(image.last_used_ns()));
    return result;
}

waybill::ImageSpec parse_image(std::string_view line, const std::string &name_space) {
    json document;
    try {
        document = json::parse(line, NoKeyTwice());
    } catch (const json::parse_error &error) {
        refuse("no JSON", "line", static_cast<std::int64_t>(error.byte) - 1);
    }
    if (!document.is_object())
        refuse(fmt::format("expected an object, found {}", document.type_name()), "line");
    if (document.contains("ifAbsent") && document.contains("ifRevision"))
        refuse("ifAbsent and ifRevision exclude each other", "ifRevision");
    waybill::ImageSpec image;
    image.name_space = name_space;
    read_members(document, "", members_of(image));
    return image;
}

waybill::Layer parse_layer(const std::string &text) {
    if (is_digest(text))
        return {"", text};
    const std::size_t equals = text.rfind('=');
    if (equals != std::string::npos && is_digest(std::string_view(text).substr(equals + 1)))
        return {text.substr(0, equals), text.substr(equals + 1)};
    return {text, ""};
}

void parse_platform(const std::string &text, waybill::ImageSpec &image) {
    const std::size_t first = text.find('/');
    const std::size_t second = text.find('/', first == std::string::npos ? first : first + 1);
    if (first == std::string::npos || first == 0 || first + 1 == text.size() ||
        first + 1 == second || second == text.size() - 1)
        refuse("not a platform such as linux/amd64 or linux/arm/v7", "platform");
    image.os = text.substr(0, first);
    image.architecture = text.substr(first + 1, second - first - 1);
    image.variant = second == std::string::npos ? "" : text.substr(second + 1);
}

} // namespace cli
