/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: Waybill contributors
 *
 * Waybill for C++17: the table of waybill.h as classes. Header-only; needs no Qt, and nothing to
 * link with but what dlopen needs (-ldl before glibc 2.34).
 *
 *     waybill::Library library;
 *     waybill::Store store = waybill::Store::create(library, R"({"root": "/var/lib/waybill"})");
 *     store.recover().get();
 *
 *     waybill::ImageSpec image;
 *     image.reference = "ubuntu";
 *     image.target_digest = "sha256:…";
 *     image.layers = {{"", "sha256:…"}, {"", "sha256:…"}};
 *     store.put(image).get();
 *
 *     if (std::optional<waybill::Image> found = store.get("docker.io/library/ubuntu:latest"))
 *         use(found->layers());
 *
 * Rules that hold for everything here
 * -----------------------------------
 * Failure.    Functions throw waybill::Error; nothing else but std::bad_alloc leaves them. What an
 *   operation has to say when it ends arrives through its std::future, errors too.
 * Ownership.  Everything is a value that frees what it holds, also when something throws. Images
 *   may outlive their store, and a std::future of this header may be dropped at any time: its
 *   destructor does not wait, and the operation goes on.
 * Threads.    As in waybill.h: any member may be called from any thread, but nothing may be used
 *   while or after it is destroyed, assigned to or moved from.
 * Callbacks.  Waiting on a future of a store inside a callback of that store never ends. waybill.h
 *   answers WAYBILL_EDEADLK there; std::future cannot, so do not wait there.
 * Text.       UTF-8. A std::string with a NUL inside is refused (WAYBILL_EINVAL) rather than cut,
 *   since a shortened name could be another image's.
 * Namespaces. Where a member takes one it comes last and defaults to "default".
 */
#ifndef WAYBILL_WAYBILL_HPP
#define WAYBILL_WAYBILL_HPP

#include <waybill/waybill.h>

#include <dlfcn.h>

#include <cstddef>
#include <cstdint>
#include <exception>
#include <future>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace waybill {

/** The name by which dlopen finds an installed library. */
inline constexpr const char *soname = "libwaybill.so.1";

/** The namespace of images for which none is named. */
inline constexpr const char *default_namespace = "default";

/** A status code by its name in waybill.h: -2 is "WAYBILL_ENOTFOUND". */
inline const char *code_name(std::int32_t code) noexcept {
    static constexpr const char *names[] = {
        "WAYBILL_OK",        "WAYBILL_EINVAL",   "WAYBILL_ENOTFOUND", "WAYBILL_EEXIST",
        "WAYBILL_ECONFLICT", "WAYBILL_ESTATE",   "WAYBILL_ELOCKED",   "WAYBILL_EDEGRADED",
        "WAYBILL_ECORRUPT",  "WAYBILL_EIO",      "WAYBILL_ENOSPC",    "WAYBILL_EREADONLY",
        "WAYBILL_EFORMAT",   "WAYBILL_EFORKED",  "WAYBILL_EDEADLK",   "WAYBILL_ECANCELED",
        "WAYBILL_ENOMEM",    "WAYBILL_ELIMIT",   "WAYBILL_EACCES",    "WAYBILL_EAGAIN",
        "WAYBILL_ETIMEDOUT", "WAYBILL_EPENDING", "WAYBILL_ENOTSTORE", "WAYBILL_ESYMLINK",
        "WAYBILL_EMODE",     "WAYBILL_ENOBLOB",  "WAYBILL_EBADBLOB",  "WAYBILL_EINTERNAL",
    };
    constexpr std::int32_t count = sizeof names / sizeof names[0];
    return code <= 0 && code > -count ? names[-code] : "unknown";
}

/** A failed call or operation. what() is the library's one-line message. */
class Error : public std::runtime_error {
  public:
    explicit Error(const waybill_error &error)
        : Error(error.code, error.message, error.field, error.position, error.sys_errno) {}

    Error(std::int32_t code, const std::string &message, const std::string &field = {},
          std::int64_t position = -1, std::int32_t sys_errno = 0)
        : std::runtime_error(message), code_(code), sys_errno_(sys_errno), position_(position),
          field_(std::make_shared<const std::string>(field)) {}

    /** One of WAYBILL_E…. */
    std::int32_t code() const noexcept { return code_; }
    const char *name() const noexcept { return code_name(code_); }
    /** The argument at fault, such as "images[2].layers[0].digest", or "". */
    const std::string &field() const noexcept { return *field_; }
    /** The offending byte in that argument, or -1. */
    std::int64_t position() const noexcept { return position_; }
    /** errno of the system call behind it, or 0. (`errno` itself is a macro.) */
    std::int32_t sys_errno() const noexcept { return sys_errno_; }

  private:
    std::int32_t code_;
    std::int32_t sys_errno_;
    std::int64_t position_;
    std::shared_ptr<const std::string> field_; // shared: copying an exception must not throw
};

/** The library could not be loaded, or is no Waybill of this ABI. */
class LoadError final : public Error {
  public:
    using Error::Error;
};

/** One layer of an image, in both directions. "" and 0 mean: not given. */
struct Layer {
    std::string id;     ///< how the host names it on disk; "" on the way in: `digest` is the id
    std::string digest; ///< "sha256:…" as in the OCI descriptor
    std::string media_type = {};
    std::uint64_t size_bytes = 0;
};

/** Under which condition a put stores its image. */
enum class PutIf : std::uint32_t {
    any = WAYBILL_PUT_ANY,
    absent = WAYBILL_PUT_IF_ABSENT,
    revision = WAYBILL_PUT_IF_REVISION,
};

/** An image as the host describes it: waybill_image_spec, but owning its text. What is left as it
 *  is counts as not given; `reference`, `target_digest` and `layers` are required. */
struct ImageSpec {
    std::string reference = {};
    std::string target_digest = {};
    std::vector<Layer> layers = {}; ///< base first
    std::string name_space = default_namespace;
    std::string target_media_type = {};
    std::uint64_t target_size_bytes = 0;
    std::string config_digest = {};
    std::map<std::string, std::string> labels = {};
    std::map<std::string, std::string> annotations = {};
    bool pinned = false; ///< prune never removes it
    PutIf condition = PutIf::any;
    std::uint64_t expected_revision = 0; ///< for PutIf::revision
    std::string os = {};
    std::string architecture = {};
    std::string variant = {};
    std::string os_version = {};
    std::int64_t created_ns = 0;   ///< 0: kept from the image that is replaced, otherwise now
    std::int64_t updated_ns = 0;   ///< 0: now
    std::int64_t last_used_ns = 0; ///< 0: not known
};

/** Which images visit and list show. What is left as it is does not restrict. */
struct Query {
    std::optional<std::string> name_space = {}; ///< absent: every namespace
    std::string prefix = {};                    ///< of the canonical reference
    std::string digest = {};                    ///< target, config or a layer
    std::string label_key = {};
    std::optional<std::string> label_value = {}; ///< absent: any value of label_key
    std::uint32_t state_any = 0;                 ///< WAYBILL_IMAGE_… bits
    std::uint32_t limit = 0;                     ///< at most so many
    /** The cursor: start behind this image. Both or neither. */
    std::string after_name_space = {};
    std::string after_reference = {};
};

/** What a finished operation says. */
struct Outcome {
    bool existed = false;          ///< remove: there was such an image
    std::uint64_t revision = 0;    ///< of the transaction; 0 where nothing was written
    std::uint64_t image_count = 0; ///< recover: held; put, import_oci: stored
    std::string report_json;       ///< recover, refresh, accept_loss, import_oci; otherwise ""
};

/** An image's name: its key in the store. */
struct Key {
    std::string name_space;
    std::string reference;
};

/** A layer or a config that images use, or no longer use. */
struct Blob {
    std::uint32_t kind; ///< WAYBILL_BLOB_LAYER or WAYBILL_BLOB_CONFIG
    std::string id;
};

/** What a prune did. All three are sorted; the layers span all namespaces. */
struct Pruned {
    std::uint64_t revision = 0;
    std::vector<Key> removed;
    std::vector<Blob> used;   ///< must be kept
    std::vector<Blob> unused; ///< may be deleted
};

/* Not for hosts: what the classes below are made of. */
namespace detail {

inline waybill_error fresh_error() noexcept {
    waybill_error error{};
    error.struct_size = sizeof error;
    error.position = -1;
    return error;
}

/** Throws what a call returned, unless that is WAYBILL_OK. `code` counts, in case the library left
 *  `error` alone. */
inline void check(std::int32_t code, waybill_error &error) {
    if (code == WAYBILL_OK)
        return;
    error.code = code;
    if (error.message[0] == '\0')
        throw Error(code, code_name(code));
    throw Error(error);
}

/** The text for C, or an Error that says where its NUL is. */
inline const char *text(const std::string &value, const char *field) {
    const std::size_t nul = value.find('\0');
    if (nul != std::string::npos)
        throw Error(WAYBILL_EINVAL, "NUL byte inside a text", field,
                    static_cast<std::int64_t>(nul));
    return value.c_str();
}

inline const char *text_or_null(const std::string &value, const char *field) {
    return value.empty() ? nullptr : text(value, field);
}

inline std::uint32_t count(std::size_t size, const char *field) {
    if (size > std::numeric_limits<std::uint32_t>::max())
        throw Error(WAYBILL_ELIMIT, "more than 4,294,967,295 elements", field);
    return static_cast<std::uint32_t>(size);
}

/** The specs that C wants, pointing into the ImageSpecs they were made of. */
class BorrowedSpecs final {
  public:
    explicit BorrowedSpecs(const std::vector<ImageSpec> &images) {
        specs_.reserve(images.size());
        for (const ImageSpec &image : images)
            specs_.push_back(borrow(image));
    }

    explicit BorrowedSpecs(const ImageSpec &image) { specs_.push_back(borrow(image)); }

    BorrowedSpecs(const BorrowedSpecs &) = delete;
    BorrowedSpecs &operator=(const BorrowedSpecs &) = delete;

    const waybill_image_spec *data() const noexcept { return specs_.data(); }
    std::uint32_t size() const { return count(specs_.size(), "images"); }

  private:
    waybill_image_spec borrow(const ImageSpec &image) {
        waybill_image_spec spec{};
        spec.struct_size = sizeof spec;
        spec.pinned = image.pinned ? 1 : 0;
        spec.name_space = text(image.name_space, "name_space");
        spec.reference = text(image.reference, "reference");
        spec.target_digest = text(image.target_digest, "target_digest");
        spec.target_media_type = text_or_null(image.target_media_type, "target_media_type");
        spec.target_size_bytes = image.target_size_bytes;
        spec.config_digest = text_or_null(image.config_digest, "config_digest");
        spec.layers = borrow(image.layers);
        spec.layer_count = count(image.layers.size(), "layers");
        spec.labels = borrow(image.labels, "labels");
        spec.label_count = count(image.labels.size(), "labels");
        spec.annotations = borrow(image.annotations, "annotations");
        spec.annotation_count = count(image.annotations.size(), "annotations");
        spec.condition = static_cast<std::uint32_t>(image.condition);
        spec.expected_revision = image.expected_revision;
        spec.os = text_or_null(image.os, "os");
        spec.architecture = text_or_null(image.architecture, "architecture");
        spec.variant = text_or_null(image.variant, "variant");
        spec.os_version = text_or_null(image.os_version, "os_version");
        spec.created_ns = image.created_ns;
        spec.updated_ns = image.updated_ns;
        spec.last_used_ns = image.last_used_ns;
        return spec;
    }

    const waybill_layer *borrow(const std::vector<Layer> &layers) {
        std::vector<waybill_layer> borrowed;
        borrowed.reserve(layers.size());
        for (const Layer &layer : layers) {
            waybill_layer one{};
            one.struct_size = sizeof one;
            one.id = text_or_null(layer.id, "layers.id");
            one.digest = text_or_null(layer.digest, "layers.digest");
            one.media_type = text_or_null(layer.media_type, "layers.media_type");
            one.size_bytes = layer.size_bytes;
            borrowed.push_back(one);
        }
        layers_.push_back(std::move(borrowed));
        return layers_.back().data();
    }

    const waybill_pair *borrow(const std::map<std::string, std::string> &pairs, const char *field) {
        std::vector<waybill_pair> borrowed;
        borrowed.reserve(pairs.size());
        for (const auto &[key, value] : pairs)
            borrowed.push_back({text(key, field), text(value, field)});
        pairs_.push_back(std::move(borrowed));
        return pairs_.back().data();
    }

    std::vector<waybill_image_spec> specs_;
    // Growing the outer vectors moves the inner ones, which leaves their elements where they are.
    std::vector<std::vector<waybill_layer>> layers_;
    std::vector<std::vector<waybill_pair>> pairs_;
};

inline Outcome read_outcome(const waybill_api *api, const waybill_future *future) {
    waybill_outcome outcome{};
    outcome.struct_size = sizeof outcome;
    waybill_error error = fresh_error();
    check(api->future_result(future, &outcome, &error), error);
    Outcome result;
    result.existed = outcome.existed != 0;
    result.revision = outcome.revision;
    result.image_count = outcome.image_count;
    if (outcome.report_json != nullptr)
        result.report_json = outcome.report_json;
    return result;
}

inline std::vector<Blob> read_blobs(const waybill_api *api, const waybill_future *future,
                                    std::uint32_t set, std::uint64_t blob_count) {
    std::vector<Blob> blobs;
    waybill_error error = fresh_error();
    for (std::uint64_t index = 0; index < blob_count; ++index) {
        waybill_blob_view view{};
        view.struct_size = sizeof view;
        check(api->prune_layer(future, set, index, &view, &error), error);
        blobs.push_back({view.kind, view.id});
    }
    return blobs;
}

inline Pruned read_pruned(const waybill_api *api, const waybill_future *future) {
    waybill_outcome outcome{};
    outcome.struct_size = sizeof outcome;
    waybill_error error = fresh_error();
    check(api->future_result(future, &outcome, &error), error);
    Pruned result;
    result.revision = outcome.revision;
    for (std::uint64_t index = 0; index < outcome.image_count; ++index) {
        waybill_key_view view{};
        view.struct_size = sizeof view;
        check(api->prune_image(future, index, &view, &error), error);
        result.removed.push_back({view.name_space, view.reference});
    }
    result.used = read_blobs(api, future, WAYBILL_LAYERS_USED, outcome.used_layer_count);
    result.unused = read_blobs(api, future, WAYBILL_LAYERS_UNUSED, outcome.unused_layer_count);
    return result;
}

/** What travels through C as the payload of future_then. It owns itself from the moment that the
 *  callback is attached until the callback has run, which may be before future_then returns. */
class Completion {
  public:
    Completion() = default;
    Completion(const Completion &) = delete;
    Completion &operator=(const Completion &) = delete;
    virtual ~Completion() = default;
    virtual void finish(const waybill_future *future) noexcept = 0;
    /** Frees the future, too. */
    virtual void free_future(waybill_future *future) noexcept = 0;
};

template <typename T> class Promise final : public Completion {
  public:
    using Read = T (*)(const waybill_api *, const waybill_future *);

    Promise(const waybill_api *api, Read read) : api_(api), read_(read) {}

    std::future<T> future() { return promise_.get_future(); }

    void finish(const waybill_future *future) noexcept override {
        try {
            promise_.set_value(read_(api_, future));
        } catch (...) {
            promise_.set_exception(std::current_exception());
        }
    }

    void free_future(waybill_future *future) noexcept override { api_->future_free(future); }

  private:
    const waybill_api *api_;
    Read read_;
    std::promise<T> promise_;
};

extern "C" {
inline void waybill_hpp_completed(void *payload, waybill_future *future) {
    const std::unique_ptr<Completion> completion(static_cast<Completion *>(payload));
    completion->finish(future);
    completion->free_future(future);
}
}

} // namespace detail

/** The loaded library: a value that may be copied. The library is never unloaded, since its own
 *  rule forbids it; so the table stays good until the process ends. */
class Library final {
  public:
    /** [blocking] Loads the library by its soname or path. Throws LoadError, with
     *  dlopen's message, if it cannot be loaded, is no Waybill or has another ABI. */
    explicit Library(const std::string &path = soname) {
        void *handle = dlopen(detail::text(path, "path"), RTLD_NOW | RTLD_LOCAL);
        if (handle == nullptr) {
            const char *reason = dlerror();
            throw LoadError(WAYBILL_EINVAL,
                            reason != nullptr ? reason : path + ": cannot be loaded", "path");
        }
        try {
            api_ = table_of(handle, path);
        } catch (...) {
            dlclose(handle);
            throw;
        }
    }

    /** "major.minor.patch" */
    std::string version() const { return api_->plugin_version; }
    std::uint32_t abi_version() const noexcept { return api_->abi_version; }
    /** The table itself, for what this header does not wrap: queues, cancelling, extensions. */
    const waybill_api *api() const noexcept { return api_; }

  private:
    static const waybill_api *table_of(void *handle, const std::string &path) {
        const auto get = reinterpret_cast<waybill_api_get_fn>(dlsym(handle, WAYBILL_API_SYMBOL));
        if (get == nullptr)
            throw LoadError(WAYBILL_EINVAL, path + ": has no symbol " WAYBILL_API_SYMBOL, "path");
        const waybill_api *api = get(WAYBILL_ABI_VERSION);
        if (api == nullptr || api->abi_version != WAYBILL_ABI_VERSION)
            throw LoadError(WAYBILL_EINVAL,
                            path + ": has no table of ABI version " +
                                std::to_string(WAYBILL_ABI_VERSION),
                            "path");
        if (api->struct_size < sizeof(waybill_api))
            throw LoadError(WAYBILL_EINVAL,
                            path + ": its table has " + std::to_string(api->struct_size) +
                                " bytes of the " + std::to_string(sizeof(waybill_api)) + " needed",
                            "path");
        return api;
    }

    const waybill_api *api_ = nullptr;
};

/** One image, as it was when it was looked up. A value: copies share the record, which nothing
 *  changes. It may outlive the store. */
class Image final {
  public:
    /** Takes the image over; frees it also when this throws. */
    Image(const waybill_api *api, waybill_image *image)
        : api_(api), image_(image, api->image_free) {
        view_.struct_size = sizeof view_;
        waybill_error error = detail::fresh_error();
        detail::check(api_->image_view(image_.get(), &view_, &error), error);
    }

    std::string name_space() const { return view_.name_space; }
    std::string reference() const { return view_.reference; } ///< canonical: the key
    std::string spelled() const { return view_.spelled; }     ///< as the host wrote it
    std::string target_digest() const { return view_.target_digest; }
    std::string target_media_type() const { return view_.media_type; } ///< "" if not given
    std::uint64_t target_size_bytes() const noexcept { return view_.size_bytes; }
    std::string config_digest() const { return view_.config_digest; } ///< "" if there is none
    std::string os() const { return view_.os; }
    std::string architecture() const { return view_.architecture; }
    std::string variant() const { return view_.variant; }
    std::string os_version() const { return view_.os_version; }
    std::uint64_t revision() const noexcept { return view_.revision; }
    std::int64_t created_ns() const noexcept { return view_.created_ns; }
    std::int64_t updated_ns() const noexcept { return view_.updated_ns; }
    std::int64_t last_used_ns() const noexcept { return view_.last_used_ns; } ///< 0: not known
    bool pinned() const noexcept { return view_.pinned != 0; }
    std::uint32_t state() const noexcept { return view_.state; } ///< WAYBILL_IMAGE_… bits
    bool incomplete() const noexcept { return (view_.state & WAYBILL_IMAGE_INCOMPLETE) != 0; }
    bool uncertain() const noexcept { return (view_.state & WAYBILL_IMAGE_UNCERTAIN) != 0; }
    bool resurrected() const noexcept { return (view_.state & WAYBILL_IMAGE_RESURRECTED) != 0; }

    /** Base first. */
    std::vector<Layer> layers() const {
        std::vector<Layer> layers;
        layers.reserve(view_.layer_count);
        waybill_error error = detail::fresh_error();
        for (std::uint32_t index = 0; index < view_.layer_count; ++index) {
            waybill_layer_view layer{};
            layer.struct_size = sizeof layer;
            detail::check(api_->image_layer(image_.get(), index, &layer, &error), error);
            layers.push_back({layer.id, layer.digest, layer.media_type, layer.size_bytes});
        }
        return layers;
    }

    std::map<std::string, std::string> labels() const {
        return pairs(api_->image_label, view_.label_count);
    }

    std::map<std::string, std::string> annotations() const {
        return pairs(api_->image_annotation, view_.annotation_count);
    }

    /** Everything above without a copy. Its pointers live as long as any copy of this image. */
    const waybill_image_view &view() const noexcept { return view_; }

  private:
    using ReadPair = int32_t (*)(const waybill_image *, std::uint32_t, waybill_pair *,
                                 waybill_error *);

    std::map<std::string, std::string> pairs(ReadPair read, std::uint32_t pair_count) const {
        std::map<std::string, std::string> result;
        waybill_error error = detail::fresh_error();
        for (std::uint32_t index = 0; index < pair_count; ++index) {
            waybill_pair pair{};
            detail::check(read(image_.get(), index, &pair, &error), error);
            result.emplace_hint(result.end(), pair.key, pair.value);
        }
        return result;
    }

    const waybill_api *api_;
    std::shared_ptr<waybill_image> image_;
    waybill_image_view view_{};
};

/** An open store, with the five verbs of Mesos' MetadataManager (create, recover, put, get, prune)
 *  and what they need beside them. Movable; closes itself. */
class Store final {
  public:
    /** [blocking] Opens the directory, takes its lock and starts the store's threads; reads no
     *  image yet. `config_json` is the object that waybill.h describes at `create`. `host` is
     *  copied, but its callbacks and payload are used until the store is gone.
     *  Expected: WAYBILL_ELOCKED, WAYBILL_ENOTSTORE, WAYBILL_EACCES. */
    static Store create(const Library &library, const std::string &config_json,
                        const waybill_host *host = nullptr) {
        waybill_store *store = nullptr;
        waybill_error error = detail::fresh_error();
        detail::check(
            library.api()->create(detail::text(config_json, "config_json"), host, &store, &error),
            error);
        return Store(library.api(), store);
    }

    Store(Store &&other) noexcept
        : api_(other.api_), store_(std::exchange(other.store_, nullptr)) {}

    Store &operator=(Store &&other) noexcept {
        if (this != &other) {
            close_quietly();
            api_ = other.api_;
            store_ = std::exchange(other.store_, nullptr);
        }
        return *this;
    }

    Store(const Store &) = delete;
    Store &operator=(const Store &) = delete;

    /** [blocking] As destroy, but cannot say that it failed: inside a callback of this store, and
     *  in a forked child, the store lives on without an owner. */
    ~Store() { close_quietly(); }

    /** [blocking] Completes every accepted operation, ends the threads and gives the lock back.
     *  The store is empty afterwards and can only be assigned to. If this throws
     *  (WAYBILL_EDEADLK inside a callback), the store is still open. */
    void destroy() {
        waybill_error error = detail::fresh_error();
        if (store_ != nullptr)
            detail::check(api_->destroy(store_, &error), error);
        store_ = nullptr;
    }

    /** Reads the store, mends what a crash left, checks that the layers of every image are on
     *  disk, and opens it for the other verbs. The outcome's report_json says what was found.
     *  Expected: WAYBILL_ECORRUPT, WAYBILL_EFORMAT, WAYBILL_EMODE. */
    std::future<Outcome> recover() { return start<Outcome>(detail::read_outcome, api_->recover); }

    /** Stores one image. Once the future is ready it is on stable storage and visible to get.
     *  Throws WAYBILL_EINVAL and WAYBILL_ELIMIT at once; WAYBILL_EEXIST, WAYBILL_ECONFLICT and
     *  WAYBILL_ENOSPC come from the future. */
    std::future<Outcome> put(const ImageSpec &image) {
        return put_specs(detail::BorrowedSpecs(image));
    }

    /** Stores 1 to 10,000 images: all or none, in one revision. */
    std::future<Outcome> put(const std::vector<ImageSpec> &images) {
        return put_specs(detail::BorrowedSpecs(images));
    }

    /** Looks one image up, by any spelling of its name; waits for nobody. With `cached` false there
     *  is never an answer: the caller wants a fresh pull, and the record stays.
     *  Expected: WAYBILL_EINVAL. */
    std::optional<Image> get(const std::string &reference, bool cached = true,
                             const std::string &name_space = default_namespace) const {
        waybill_image *image = nullptr;
        waybill_error error = detail::fresh_error();
        const std::int32_t code =
            api_->get(store_, detail::text(name_space, "name_space"),
                      detail::text(reference, "reference"), cached ? 1 : 0, &image, &error);
        if (code == WAYBILL_ENOTFOUND)
            return std::nullopt;
        detail::check(code, error);
        return std::optional<Image>(std::in_place, api_, image);
    }

    /** A namespace in the place of `cached` would turn into `true`. */
    std::optional<Image> get(const std::string &, const char *) const = delete;

    /** Forgets every image of the namespace that is not pinned and whose name, in whatever
     *  spelling, is not in `excluded`. Expected: WAYBILL_EDEGRADED. */
    std::future<Pruned> prune(const std::vector<std::string> &excluded,
                              const std::string &name_space = default_namespace) {
        return prune_in(detail::text(name_space, "name_space"), excluded);
    }

    /** As prune, in all namespaces: `excluded` protects a name in each of them. */
    std::future<Pruned> prune_all_namespaces(const std::vector<std::string> &excluded) {
        return prune_in(nullptr, excluded);
    }

    /** Forgets one image, a pinned one too. The outcome says whether it existed. */
    std::future<Outcome> remove(const std::string &reference,
                                const std::string &name_space = default_namespace) {
        return start<Outcome>(detail::read_outcome, api_->remove,
                              detail::text(name_space, "name_space"),
                              detail::text(reference, "reference"));
    }

    /** Looks again: a read-only store follows its writer, a writing one checks its layers. */
    std::future<Outcome> refresh() { return start<Outcome>(detail::read_outcome, api_->refresh); }

    /** Accepts, durably, the loss that recover reported. */
    std::future<Outcome> accept_loss() {
        return start<Outcome>(detail::read_outcome, api_->accept_loss);
    }

    /** Puts every tagged image of an OCI image layout, in one transaction. `reference` completes
     *  bare tags ("name" + ":" + tag), or names the layout's only image; "": neither.
     *  Expected: WAYBILL_ENOBLOB, WAYBILL_EBADBLOB, WAYBILL_ENOTFOUND. */
    std::future<Outcome> import_oci(const std::string &layout_dir,
                                    const std::string &reference = {},
                                    const std::string &name_space = default_namespace) {
        return start<Outcome>(
            detail::read_outcome, api_->import_oci, detail::text(name_space, "name_space"),
            detail::text(layout_dir, "layout_dir"), detail::text_or_null(reference, "reference"));
    }

    /** Calls `visitor(const Image &)` for each image, sorted by namespace and reference, as they
     *  were at one moment. A visitor that returns bool ends the visit with false. What it throws
     *  ends the visit, too, and arrives here. It may keep copies of images and call the store. */
    template <typename Visitor> void visit(const Query &query, Visitor &&visitor) const {
        Visit<std::remove_reference_t<Visitor>> visit{api_, visitor, nullptr, false};
        const waybill_query borrowed = borrow(query);
        waybill_error error = detail::fresh_error();
        const std::int32_t code = api_->visit(store_, &borrowed, &visit.show, &visit, &error);
        if (visit.thrown)
            std::rethrow_exception(visit.thrown);
        detail::check(code, error);
    }

    std::vector<Image> list(const Query &query = {}) const {
        std::vector<Image> images;
        visit(query, [&images](const Image &image) { images.push_back(image); });
        return images;
    }

    /** A report by name, as a JSON object: "stats", "recovery". Expected: WAYBILL_ENOTFOUND. */
    std::string report(const std::string &name, const std::string &arguments_json = {}) const {
        char *json = nullptr;
        waybill_error error = detail::fresh_error();
        detail::check(api_->report(store_, detail::text(name, "name"),
                                   detail::text_or_null(arguments_json, "arguments_json"), &json,
                                   &error),
                      error);
        const std::unique_ptr<char, void (*)(char *)> owner(json, api_->text_free);
        return json;
    }

    /** The store itself, for what this header does not wrap. It stays this object's. */
    waybill_store *get_c() const noexcept { return store_; }

  private:
    template <typename Visitor> struct Visit {
        const waybill_api *api;
        Visitor &visitor;
        std::exception_ptr thrown;
        bool ended;

        /** KEEP is the answer as soon as an Image owns what C gave, also for the last one that is
         *  wanted; there is no "keep and stop", so the end is told at the next call. */
        static std::int32_t show(void *payload, waybill_image *image) noexcept {
            Visit &self = *static_cast<Visit *>(payload);
            if (self.ended)
                return WAYBILL_VISIT_STOP;
            try {
                const Image owner(self.api, image);
                if constexpr (std::is_void_v<decltype(self.visitor(owner))>)
                    self.visitor(owner);
                else
                    self.ended = !self.visitor(owner);
            } catch (...) {
                self.thrown = std::current_exception();
                self.ended = true;
            }
            return WAYBILL_VISIT_KEEP;
        }
    };

    Store(const waybill_api *api, waybill_store *store) noexcept : api_(api), store_(store) {}

    void close_quietly() noexcept {
        if (store_ != nullptr)
            api_->destroy(store_, nullptr);
        store_ = nullptr;
    }

    static waybill_query borrow(const Query &query) {
        waybill_query borrowed{};
        borrowed.struct_size = sizeof borrowed;
        borrowed.limit = query.limit;
        borrowed.state_any = query.state_any;
        if (query.name_space)
            borrowed.name_space = detail::text(*query.name_space, "name_space");
        borrowed.prefix = detail::text_or_null(query.prefix, "prefix");
        borrowed.digest = detail::text_or_null(query.digest, "digest");
        borrowed.label_key = detail::text_or_null(query.label_key, "label_key");
        if (query.label_value)
            borrowed.label_value = detail::text(*query.label_value, "label_value");
        borrowed.after_name_space =
            detail::text_or_null(query.after_name_space, "after_name_space");
        borrowed.after_reference = detail::text_or_null(query.after_reference, "after_reference");
        return borrowed;
    }

    std::future<Outcome> put_specs(const detail::BorrowedSpecs &specs) {
        return start<Outcome>(detail::read_outcome, api_->put, specs.data(), specs.size());
    }

    std::future<Pruned> prune_in(const char *name_space, const std::vector<std::string> &excluded) {
        std::vector<const char *> keep;
        keep.reserve(excluded.size());
        for (const std::string &reference : excluded)
            keep.push_back(detail::text(reference, "keep"));
        return start<Pruned>(detail::read_pruned, api_->prune, name_space,
                             static_cast<const char *const *>(keep.data()),
                             detail::count(keep.size(), "keep"));
    }

    /** Starts an operation and has its end told to a std::promise. All that can throw comes before
     *  the operation begins, so a caller who catches something knows that nothing was started. */
    template <typename T, typename Verb, typename... Arguments>
    std::future<T> start(typename detail::Promise<T>::Read read, Verb verb,
                         Arguments... arguments) {
        auto promise = std::make_unique<detail::Promise<T>>(api_, read);
        std::future<T> result = promise->future();
        waybill_future *future = nullptr;
        waybill_error error = detail::fresh_error();
        detail::check(verb(store_, arguments..., &future, &error), error);
        detail::Completion *completion = promise.release();
        if (api_->future_then(future, detail::waybill_hpp_completed, completion, nullptr) !=
            WAYBILL_OK) {
            // No callback to be had (memory): the operation is under way, so wait for its end here.
            api_->future_wait(future, -1, nullptr);
            detail::waybill_hpp_completed(completion, future);
        }
        return result;
    }

    const waybill_api *api_;
    waybill_store *store_;
};

} // namespace waybill

#endif
