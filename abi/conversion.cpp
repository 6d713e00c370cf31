// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors
#include "conversion.h"

#include "plugin/limits.h"

#include <algorithm>
#include <ctime>

namespace waybill {

std::int32_t code_number(Code code) {
    switch (code) { // No default: the compiler names a forgotten code.
    case Code::Ok:
        return WAYBILL_OK;
    case Code::Invalid:
        return WAYBILL_EINVAL;
    case Code::NotFound:
        return WAYBILL_ENOTFOUND;
    case Code::Exists:
        return WAYBILL_EEXIST;
    case Code::Conflict:
        return WAYBILL_ECONFLICT;
    case Code::State:
        return WAYBILL_ESTATE;
    case Code::Locked:
        return WAYBILL_ELOCKED;
    case Code::Degraded:
        return WAYBILL_EDEGRADED;
    case Code::Corrupt:
        return WAYBILL_ECORRUPT;
    case Code::Io:
        return WAYBILL_EIO;
    case Code::NoSpace:
        return WAYBILL_ENOSPC;
    case Code::ReadOnly:
        return WAYBILL_EREADONLY;
    case Code::Format:
        return WAYBILL_EFORMAT;
    case Code::Forked:
        return WAYBILL_EFORKED;
    case Code::Deadlock:
        return WAYBILL_EDEADLK;
    case Code::Canceled:
        return WAYBILL_ECANCELED;
    case Code::NoMemory:
        return WAYBILL_ENOMEM;
    case Code::Limit:
        return WAYBILL_ELIMIT;
    case Code::Access:
        return WAYBILL_EACCES;
    case Code::Again:
        return WAYBILL_EAGAIN;
    case Code::TimedOut:
        return WAYBILL_ETIMEDOUT;
    case Code::Pending:
        return WAYBILL_EPENDING;
    case Code::NotStore:
        return WAYBILL_ENOTSTORE;
    case Code::Symlink:
        return WAYBILL_ESYMLINK;
    case Code::Mode:
        return WAYBILL_EMODE;
    case Code::NoBlob:
        return WAYBILL_ENOBLOB;
    case Code::BadBlob:
        return WAYBILL_EBADBLOB;
    case Code::Internal:
        return WAYBILL_EINTERNAL;
    }
    return WAYBILL_EINTERNAL;
}

// --- errors ------------------------------------------------------------------------------------

/// Cuts at a character's border, so that what the host gets is UTF-8 too.
static void copy_text(char *out, std::size_t capacity, std::string_view text) {
    std::size_t size = std::min(text.size(), capacity - 1);
    while (size > 0 && size < text.size() &&
           (static_cast<unsigned char>(text[size]) & 0xC0) == 0x80)
        --size;
    if (size > 0) // An empty view may point nowhere, and memcpy must not be told so.
        std::memcpy(out, text.data(), size);
    out[size] = '\0';
}

static void fill_error(waybill_error *error, std::int32_t number, int sys_errno,
                       std::int64_t position, std::string_view field, std::string_view message) {
    if (!error || error->struct_size < sizeof(waybill_error))
        return;
    error->code = number;
    error->sys_errno = sys_errno;
    error->position = position;
    copy_text(error->field, sizeof error->field, field);
    copy_text(error->message, sizeof error->message, message);
}

std::int32_t report(const Status &status, waybill_error *error) {
    const std::int32_t number = code_number(status.code);
    if (!status.ok())
        fill_error(error, number, status.sys_errno, status.position, status.field, status.message);
    return number;
}

std::int32_t report_text(Code code, const char *message, waybill_error *error) noexcept {
    const std::int32_t number = code_number(code);
    fill_error(error, number, 0, -1, {}, message);
    return number;
}

Status check_size(const void *structure, std::size_t size_bytes_min, std::size_t alignment,
                  const char *field) {
    if (!structure)
        return invalid(field, "NULL");
    std::uint32_t size = 0;
    std::memcpy(&size, structure, sizeof size);
    if (size < size_bytes_min || size > 65536 || size % alignment != 0)
        return invalid(std::string(field) + ".struct_size", std::to_string(size) +
                                                                " bytes, expected at least " +
                                                                std::to_string(size_bytes_min));
    return {};
}

// --- the host ----------------------------------------------------------------------------------

static std::int64_t system_clock_ns() {
    timespec now;
    ::clock_gettime(CLOCK_REALTIME, &now);
    return now.tv_sec * std::int64_t{1'000'000'000} + now.tv_nsec;
}

Result<Host> host_from(const waybill_host *host) {
    Host out;
    out.log = [](Severity, const std::string &) {};
    out.clock_ns = system_clock_ns;
    if (!host)
        return out;
    if (Status checked = check_struct(host, "host"); !checked.ok())
        return checked;
    void *payload = host->payload;
    if (host->log)
        out.log = [payload, log = host->log](Severity severity, const std::string &line) {
            log(payload, static_cast<std::int32_t>(severity), line.c_str());
        };
    if (host->layer_present)
        out.layer_present = [payload, present = host->layer_present](const char *id) {
            switch (present(payload, id)) {
            case WAYBILL_LAYER_MISSING:
                return Presence::Missing;
            case WAYBILL_LAYER_PRESENT:
                return Presence::Present;
            default:
                return Presence::Unknown;
            }
        };
    if (host->clock_ns)
        out.clock_ns = [payload, clock = host->clock_ns] { return clock(payload); };
    return out;
}

// --- images ------------------------------------------------------------------------------------

/// Steps by the size that the host's compiler gave the elements.
template <typename Struct> static const Struct &element(const Struct *first, std::uint32_t index) {
    const auto *bytes = reinterpret_cast<const unsigned char *>(first);
    return *reinterpret_cast<const Struct *>(bytes + std::size_t{first->struct_size} * index);
}

static Status pairs_from(const waybill_pair *pairs, std::uint32_t count, const char *field,
                         std::vector<PairSpec> &out) {
    if (count == 0)
        return {};
    if (!pairs)
        return invalid(field, "NULL");
    if (count > limits::pairs_max)
        return over_limit(field, std::to_string(count) + " entries, at most " +
                                     std::to_string(limits::pairs_max) + " are allowed");
    out.reserve(count);
    for (std::uint32_t i = 0; i < count; ++i) {
        if (!pairs[i].key || !pairs[i].value)
            return invalid(std::string(field) + "[" + std::to_string(i) + "]", "NULL");
        out.push_back({pairs[i].key, pairs[i].value});
    }
    return {};
}

static Status layers_from(const waybill_image_spec &image, std::vector<LayerSpec> &out) {
    if (image.layer_count == 0)
        return invalid("layers", "an image has at least one layer");
    if (image.layer_count > limits::layers_max)
        return over_limit("layers", std::to_string(image.layer_count) + " layers, at most " +
                                        std::to_string(limits::layers_max) + " are allowed");
    if (Status checked = check_struct(image.layers, "layers"); !checked.ok())
        return checked;
    out.reserve(image.layer_count);
    for (std::uint32_t i = 0; i < image.layer_count; ++i) {
        const waybill_layer &layer = element(image.layers, i);
        if (layer.struct_size != image.layers->struct_size)
            return invalid("layers[" + std::to_string(i) + "].struct_size",
                           "differs from the first one's");
        // What is given counts, even an empty text.
        if (layer.id && !*layer.id)
            return invalid("layers[" + std::to_string(i) + "].id", "empty");
        if (layer.digest && !*layer.digest)
            return invalid("layers[" + std::to_string(i) + "].digest", "empty");
        out.push_back(
            {view(layer.id), view(layer.digest), view(layer.media_type), layer.size_bytes});
    }
    return {};
}

/// A fault names the member of the image; which image it is, is told above.
static Status request_from(const waybill_image_spec &image, PutRequest &out) {
    if (!image.reference)
        return invalid("reference", "NULL");
    if (image.name_space && !*image.name_space)
        return invalid("name_space", "empty");
    if (!image.target_digest)
        return invalid("target_digest", "NULL");
    switch (image.condition) {
    case WAYBILL_PUT_ANY:
        out.condition = PutCondition::Any;
        break;
    case WAYBILL_PUT_IF_ABSENT:
        out.condition = PutCondition::IfAbsent;
        break;
    case WAYBILL_PUT_IF_REVISION:
        out.condition = PutCondition::IfRevision;
        break;
    default:
        return invalid("condition", std::to_string(image.condition) + " is unknown");
    }
    if (image.pinned > 1)
        return invalid("pinned", "neither 0 nor 1");
    // Without its config a prune would call the config unused.
    if (image.config_digest && !*image.config_digest)
        return invalid("config_digest", "empty");
    out.expected_revision = image.expected_revision;
    ImageSpec &spec = out.spec;
    spec.name_space = view(image.name_space);
    spec.reference = image.reference;
    spec.target_digest = image.target_digest;
    spec.target_media_type = view(image.target_media_type);
    spec.target_size_bytes = image.target_size_bytes;
    spec.config_digest = view(image.config_digest);
    spec.os = view(image.os);
    spec.architecture = view(image.architecture);
    spec.variant = view(image.variant);
    spec.os_version = view(image.os_version);
    spec.created_ns = image.created_ns;
    spec.updated_ns = image.updated_ns;
    spec.last_used_ns = image.last_used_ns;
    spec.pinned = image.pinned != 0;
    if (Status layers = layers_from(image, spec.layers); !layers.ok())
        return layers;
    if (Status labels = pairs_from(image.labels, image.label_count, "labels", spec.labels);
        !labels.ok())
        return labels;
    return pairs_from(image.annotations, image.annotation_count, "annotations", spec.annotations);
}

Result<std::vector<PutRequest>> requests_from(const waybill_image_spec *images,
                                              std::uint32_t count) {
    if (count == 0)
        return invalid("count", "no image given");
    if (count > limits::transaction_images_max)
        return over_limit("count", std::to_string(count) + " images in one call, at most " +
                                       std::to_string(limits::transaction_images_max) +
                                       " are allowed");
    if (Status checked = check_struct(images, "images"); !checked.ok())
        return checked;
    std::vector<PutRequest> requests(count);
    for (std::uint32_t i = 0; i < count; ++i) {
        const waybill_image_spec &image = element(images, i);
        Status converted = image.struct_size == images->struct_size
                               ? request_from(image, requests[i])
                               : invalid("struct_size", "differs from the first one's");
        if (!converted.ok()) {
            converted.field = "images[" + std::to_string(i) + "]." + converted.field;
            return converted;
        }
    }
    return requests;
}

Result<Query> query_from(const waybill_query *query) {
    Query out;
    if (!query)
        return out;
    if (Status checked = check_struct(query, "query"); !checked.ok())
        return checked;
    if (query->label_value && !query->label_key)
        return invalid("query.label_key", "NULL beside a label_value");
    // What is given restricts: an empty text, which no image has, must not mean every image.
    if (query->label_key && !*query->label_key)
        return invalid("query.label_key", "empty");
    if (query->digest && !*query->digest)
        return invalid("query.digest", "empty");
    if (!query->after_name_space != !query->after_reference)
        return invalid("query.after_reference", "a cursor has both a namespace and a reference");
    constexpr std::uint32_t known =
        WAYBILL_IMAGE_INCOMPLETE | WAYBILL_IMAGE_UNCERTAIN | WAYBILL_IMAGE_RESURRECTED;
    if ((query->state_any & ~known) != 0)
        return invalid("query.state_any", "an unknown bit");
    if (Status checked = check_namespace(query->name_space); !checked.ok())
        return checked;
    if (Result<std::string> checked = checked_namespace(view(query->name_space)); !checked.ok())
        return checked.status();
    out.name_space = view(query->name_space);
    out.prefix = view(query->prefix);
    out.digest = view(query->digest);
    out.label_key = view(query->label_key);
    if (query->label_value)
        out.label_value = query->label_value;
    out.state_any = ((query->state_any & WAYBILL_IMAGE_INCOMPLETE) ? frame_flag_incomplete : 0u) |
                    ((query->state_any & WAYBILL_IMAGE_UNCERTAIN) ? frame_flag_uncertain : 0u) |
                    ((query->state_any & WAYBILL_IMAGE_RESURRECTED) ? frame_flag_resurrected : 0u);
    out.limit = query->limit;
    if (query->after_name_space)
        out.after = Key{query->after_name_space, query->after_reference};
    return out;
}

} // namespace waybill
