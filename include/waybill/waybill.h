/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: Waybill contributors
 *
 * Waybill: which images does this node hold, and which layers are they made of?
 *
 * The whole contract of libwaybill.so.1. C99 and C++11 or newer.
 *
 * A host loads the library, asks for the table, and works through it:
 *
 *     void *library = dlopen("libwaybill.so.1", RTLD_NOW | RTLD_LOCAL);
 *     waybill_api_get_fn get = (waybill_api_get_fn)dlsym(library, WAYBILL_API_SYMBOL);
 *     const waybill_api *api = get(WAYBILL_ABI_VERSION);
 *
 * Rules that hold for every function in the table
 * -----------------------------------------------
 * Ownership.  Input is copied before the call returns; the host may free it at once. What the
 *   library hands out is freed by the function that the pointer's comment names ("Free: …").
 *   Every free function takes NULL.
 * Failure.    Functions return a status: WAYBILL_OK (0) or a negative WAYBILL_E… code. On failure
 *   no out-parameter has been touched and, unless the code is WAYBILL_EIO, nothing has changed.
 *   `error` may be NULL; otherwise it is filled on failure and left alone on success.
 * Threads.    Any function may be called from any thread, from a different one each time, and at
 *   the same time as any other, except that nothing may use an object while or after it is freed.
 *   [blocking] marks functions that may wait for a disk or for another thread; all others return
 *   promptly and are fit for an event loop.
 * Text.       UTF-8 and NUL-terminated, both ways.
 * Sizes.      Every structure that a host fills starts with `struct_size`: set it to sizeof the
 *   structure. Arrays of such structures step by the first element's `struct_size`.
 * Time.       Nanoseconds since 1970-01-01 UTC.
 * fork.       In a child process every call on a store, future or queue of the parent answers
 *   WAYBILL_EFORKED (or does nothing where there is no status) until exec. Images are plain memory
 *   and stay readable. A store created in the child works.
 * Signals, stdio, locale, environment, umask: untouched. Nothing is printed, ever.
 */
#ifndef WAYBILL_WAYBILL_H
#define WAYBILL_WAYBILL_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/** 64-bit members of structures. i386 alone would align them to 4 bytes; so the layout is one on
 *  all 64-bit targets, and one on all 32-bit targets. */
typedef uint64_t waybill_u64 __attribute__((aligned(8)));
typedef int64_t waybill_i64 __attribute__((aligned(8)));

/** The version of this header. The library's own is in its table. */
#define WAYBILL_VERSION "0.1.0"
#define WAYBILL_VERSION_MAJOR 0
#define WAYBILL_VERSION_MINOR 1
#define WAYBILL_VERSION_PATCH 0

/** The table's version. Before 1.0 the library answers exactly this one and no other. */
#define WAYBILL_ABI_VERSION 1u

/** The one symbol that the library exports, under the version node WAYBILL_1. */
#define WAYBILL_API_SYMBOL "waybill_api_get"

/** What the plugin is, for hosts that list theirs: type and id as in containerd's plugin table. */
#define WAYBILL_PLUGIN_TYPE "io.waybill.image-metadata.v1"
#define WAYBILL_PLUGIN_ID "waybill"

/* ---------------------------------------------------------------------------------------------
 * Status codes. The numbers never change and are never reused.
 * ------------------------------------------------------------------------------------------- */

/** Done. */
#define WAYBILL_OK 0
/** An argument is wrong: NULL, struct_size, UTF-8, reference, digest, configuration.
 *  `waybill_error.field` names it and `position` is the offending byte where that makes sense. */
#define WAYBILL_EINVAL (-1)
/** No such image, report or index. */
#define WAYBILL_ENOTFOUND (-2)
/** WAYBILL_PUT_IF_ABSENT found an image of that name. */
#define WAYBILL_EEXIST (-3)
/** WAYBILL_PUT_IF_REVISION found another revision, or no image. */
#define WAYBILL_ECONFLICT (-4)
/** The verb does not fit the state: before recover, a second recover, after destroy began. */
#define WAYBILL_ESTATE (-5)
/** Another opener holds the directory; the message names its process id and program. */
#define WAYBILL_ELOCKED (-6)
/** The store lost records to damage and refuses to collect until the loss is accepted. */
#define WAYBILL_EDEGRADED (-7)
/** Bytes on disk are not what was written. */
#define WAYBILL_ECORRUPT (-8)
/** The disk failed. For a put, remove or prune: the outcome is unknown until the next recover.
 *  Afterwards the store is read-only; gets go on working. */
#define WAYBILL_EIO (-9)
/** The disk or quota is full, or a file-size limit was met. Nothing was stored. */
#define WAYBILL_ENOSPC (-10)
/** The store was opened read-only, or became so after WAYBILL_EIO. */
#define WAYBILL_EREADONLY (-11)
/** The store was written by a newer format. It has been left as it was. */
#define WAYBILL_EFORMAT (-12)
/** The object belongs to the parent of this process. */
#define WAYBILL_EFORKED (-13)
/** Waiting or destroying inside a callback would never end. */
#define WAYBILL_EDEADLK (-14)
/** The future was cancelled before its operation began. */
#define WAYBILL_ECANCELED (-15)
/** Memory ran out. */
#define WAYBILL_ENOMEM (-16)
/** Over a limit: too long, too many, too large. The message states the limit. */
#define WAYBILL_ELIMIT (-17)
/** The operating system denied access. */
#define WAYBILL_EACCES (-18)
/** A thread or descriptor that `create` needs cannot be had now; or a read-only recover or refresh
 *  was overtaken by the writer each time it looked. Try again later. */
#define WAYBILL_EAGAIN (-19)
/** The wait ended before the operation did. */
#define WAYBILL_ETIMEDOUT (-20)
/** The operation is still under way. */
#define WAYBILL_EPENDING (-21)
/** The directory is not a Waybill store, and is not empty either. It has been left as it was. */
#define WAYBILL_ENOTSTORE (-22)
/** A symbolic link, or something else that is no plain file, stands where a store file should. */
#define WAYBILL_ESYMLINK (-23)
/** The store was created for another reference mode. */
#define WAYBILL_EMODE (-24)
/** A blob of the OCI layout is missing. */
#define WAYBILL_ENOBLOB (-25)
/** A blob of the OCI layout does not match its digest or size, or is no document of its kind. */
#define WAYBILL_EBADBLOB (-26)
/** A fault of the library itself; the message carries the text of what was caught. */
#define WAYBILL_EINTERNAL (-27)

/** What went wrong, and where. The host owns it; the library fills it.
 *  No allocation is needed to report an error, so WAYBILL_ENOMEM arrives too. */
typedef struct waybill_error {
    uint32_t struct_size; /**< in: sizeof(waybill_error) */
    int32_t code;         /**< the status that was returned */
    int32_t sys_errno;    /**< errno of the system call behind it, or 0 */
    uint32_t reserved;
    waybill_i64 position; /**< offending byte in `field`, or -1 */
    char field[64];       /**< the argument, such as "images[2].layers[0].digest", or "" */
    char message[424];    /**< one line: what was found, in which file, at which byte */
} waybill_error;

/* ---------------------------------------------------------------------------------------------
 * Objects. All are opaque; none belongs to a thread.
 * ------------------------------------------------------------------------------------------- */

typedef struct waybill_store waybill_store;   /**< an open store. Free: destroy */
typedef struct waybill_image waybill_image;   /**< one image, as it was. Free: image_free */
typedef struct waybill_future waybill_future; /**< an operation under way. Free: future_free */
typedef struct waybill_queue waybill_queue;   /**< completions, with an fd. Free: queue_free */

/* ---------------------------------------------------------------------------------------------
 * The host's side
 * ------------------------------------------------------------------------------------------- */

#define WAYBILL_LOG_ERROR 3
#define WAYBILL_LOG_WARNING 4
#define WAYBILL_LOG_INFO 6
#define WAYBILL_LOG_DEBUG 7

#define WAYBILL_LAYER_MISSING 0
#define WAYBILL_LAYER_PRESENT 1
#define WAYBILL_LAYER_UNKNOWN 2

/** Callbacks into the host, each optional. They run on the library's threads; they must return
 * promptly (puts wait for them), must not call back into the store that calls them, must not throw
 * and must not longjmp. They are called until `destroy` returns. */
typedef struct waybill_host {
    uint32_t struct_size;
    uint32_t reserved;
    void *payload; /**< handed to each callback unchanged */
    /** One line of log; severity as in syslog. The text is the library's, valid for the call. */
    void (*log)(void *payload, int32_t severity, const char *message);
    /** Is this layer on disk? Answers WAYBILL_LAYER_…. Called once per distinct layer id during
     *  recover and refresh, instead of looking into the configured layer directory; and for the
     *  layers of incomplete images when one of them is put again. */
    int32_t (*layer_present)(void *payload, const char *layer_id);
    /** The time, for tests that need one of their own. */
    int64_t (*clock_ns)(void *payload);
} waybill_host;

/* ---------------------------------------------------------------------------------------------
 * Images in
 * ------------------------------------------------------------------------------------------- */

/** A label or an annotation. Fixed for ever. Key and value together: at most 4,096 bytes. */
typedef struct waybill_pair {
    const char *key;
    const char *value;
} waybill_pair;

/** One layer of an image. */
typedef struct waybill_layer {
    uint32_t struct_size;
    uint32_t reserved;
    /** How the host names the layer on disk: a digest, a chain id, any name of at most 255 bytes
     *  that is one path component ("/", "." and ".." are refused). NULL: `digest` is the id. */
    const char *id;
    const char *digest;     /**< "sha256:…" as in the OCI descriptor, or NULL */
    const char *media_type; /**< or NULL */
    waybill_u64 size_bytes; /**< 0: not known */
} waybill_layer;

#define WAYBILL_PUT_ANY 0u         /**< insert or replace */
#define WAYBILL_PUT_IF_ABSENT 1u   /**< only a new name; otherwise WAYBILL_EEXIST */
#define WAYBILL_PUT_IF_REVISION 2u /**< only over `expected_revision`; else WAYBILL_ECONFLICT */

/** An image as the host describes it. Zeroed members mean "not given"; an empty name space, digest
 *  or layer id is given, and WAYBILL_EINVAL. */
typedef struct waybill_image_spec {
    uint32_t struct_size;
    uint32_t pinned;        /**< 1: prune never removes it */
    const char *name_space; /**< NULL: "default". 1–76 of [A-Za-z0-9._-] */
    /** The image's name, parsed as the store's reference mode says: distribution's grammar and
     *  normalisation ("canonical"), byte for byte ("opaque"), or as Mesos does ("mesos"). */
    const char *reference;
    const char *target_digest; /**< manifest or index: "sha256:…", "sha384:…", "sha512:…" */
    const char *target_media_type; /**< or NULL */
    waybill_u64 target_size_bytes;
    const char *config_digest;   /**< or NULL */
    const waybill_layer *layers; /**< in order, base first; 1 to 10,000 */
    uint32_t layer_count;
    uint32_t label_count; /**< at most 1,024 */
    const waybill_pair *labels;
    const waybill_pair *annotations;
    uint32_t annotation_count; /**< at most 1,024 */
    uint32_t condition;        /**< WAYBILL_PUT_… */
    waybill_u64 expected_revision;
    const char *os; /**< platform as in the OCI image index, or NULL */
    const char *architecture;
    const char *variant;
    const char *os_version;
    waybill_i64 created_ns;   /**< 0: kept from the image that is replaced, otherwise now */
    waybill_i64 updated_ns;   /**< 0: now */
    waybill_i64 last_used_ns; /**< 0: not known */
} waybill_image_spec;

/* ---------------------------------------------------------------------------------------------
 * Images out. Digests are packed inside; the accessors write their text into views that the
 * caller owns. Pointers in a view point into the image and live as long as it does.
 * ------------------------------------------------------------------------------------------- */

#define WAYBILL_DIGEST_TEXT_BYTES 136 /**< "sha512:" + 128 hex digits + NUL */
#define WAYBILL_LAYER_ID_BYTES 256    /**< 255 + NUL */

#define WAYBILL_IMAGE_INCOMPLETE 1u  /**< a layer it depends on was not on disk when last checked  \
                                      */
#define WAYBILL_IMAGE_UNCERTAIN 2u   /**< a newer record of this name was lost to damage */
#define WAYBILL_IMAGE_RESURRECTED 4u /**< a lost record may have removed this image */

typedef struct waybill_image_view {
    uint32_t struct_size;
    uint32_t state;       /**< WAYBILL_IMAGE_… bits */
    waybill_u64 revision; /**< of the transaction that stored it; grows, never reused */
    const char *name_space;
    const char *reference;  /**< canonical: the key */
    const char *spelled;    /**< as the host wrote it */
    const char *media_type; /**< of the target; "" if not given, as all texts below */
    const char *os;
    const char *architecture;
    const char *variant;
    const char *os_version;
    waybill_u64 size_bytes; /**< of the target */
    waybill_i64 created_ns;
    waybill_i64 updated_ns;
    waybill_i64 last_used_ns;
    uint32_t pinned;
    uint32_t layer_count;
    uint32_t label_count;
    uint32_t annotation_count;
    char target_digest[WAYBILL_DIGEST_TEXT_BYTES];
    char config_digest[WAYBILL_DIGEST_TEXT_BYTES]; /**< "" if there is none */
} waybill_image_view;

typedef struct waybill_layer_view {
    uint32_t struct_size;
    uint32_t reserved;
    waybill_u64 size_bytes;
    const char *media_type;
    char id[WAYBILL_LAYER_ID_BYTES];
    char digest[WAYBILL_DIGEST_TEXT_BYTES]; /**< "" if there is none */
} waybill_layer_view;

/** Which images `visit` shows, and where it starts. Zeroed members do not restrict; an empty name
 *  space, digest or label key is WAYBILL_EINVAL, and not every image. */
typedef struct waybill_query {
    uint32_t struct_size;
    uint32_t limit;         /**< at most so many; 0: all */
    const char *name_space; /**< NULL: every namespace */
    const char *prefix;     /**< of the canonical reference */
    const char *digest;     /**< target, config or a layer */
    const char *label_key;
    const char *label_value; /**< NULL: any value of label_key */
    uint32_t state_any;      /**< images with any of these WAYBILL_IMAGE_… bits */
    uint32_t reserved;
    /** The cursor: start behind this image. Both NULL: from the start. */
    const char *after_name_space;
    const char *after_reference;
} waybill_query;

#define WAYBILL_VISIT_NEXT 0 /**< go on; the library frees the image */
#define WAYBILL_VISIT_STOP 1 /**< end; the library frees the image */
#define WAYBILL_VISIT_KEEP 2 /**< go on; the host frees the image with image_free */

/* ---------------------------------------------------------------------------------------------
 * What a finished operation says
 * ------------------------------------------------------------------------------------------- */

typedef struct waybill_outcome {
    uint32_t struct_size;
    uint32_t existed;               /**< remove: 1 if there was such an image */
    waybill_u64 revision;           /**< of the transaction; 0 where nothing was written */
    waybill_u64 image_count;        /**< recover: held; put, import: stored; prune: removed */
    waybill_u64 unused_layer_count; /**< prune: layers that no image uses any longer */
    waybill_u64 used_layer_count;   /**< prune: layers that images still use, in all namespaces */
    /** recover, refresh, accept_loss, import: a JSON object, valid as long as the future.
     *  NULL for the others. */
    const char *report_json;
} waybill_outcome;

#define WAYBILL_LAYERS_UNUSED 0u /**< may be deleted */
#define WAYBILL_LAYERS_USED 1u   /**< must be kept */

#define WAYBILL_BLOB_LAYER 0u
#define WAYBILL_BLOB_CONFIG 1u /**< an image's config; kept and dropped like a layer */

typedef struct waybill_blob_view {
    uint32_t struct_size;
    uint32_t kind; /**< WAYBILL_BLOB_… */
    char id[WAYBILL_LAYER_ID_BYTES];
} waybill_blob_view;

/** An image's name. The pointers live as long as the future that they come from. */
typedef struct waybill_key_view {
    uint32_t struct_size;
    uint32_t reserved;
    const char *name_space;
    const char *reference;
} waybill_key_view;

/** One completion taken from a queue. */
typedef struct waybill_completion {
    waybill_u64 token; /**< what the host passed to queue_attach */
    waybill_future *future;
    int32_t status; /**< of the operation */
    uint32_t reserved;
} waybill_completion;

/* ---------------------------------------------------------------------------------------------
 * The table. Members are only ever appended, and none is declared before it works.
 * All members since 0.1.
 * ------------------------------------------------------------------------------------------- */

typedef struct waybill_api {
    uint32_t struct_size; /**< of the library's table: a member behind it does not exist */
    uint32_t abi_version;
    const char *plugin_type;
    const char *plugin_id;
    const char *plugin_version; /**< "major.minor.patch" */

    /* --- life ------------------------------------------------------------------------------ */

    /** [thread-safe] [blocking] Opens the store's directory, takes its lock and starts all the
     *  threads that the store will ever have. Reads no image yet: see recover.
     *
     *  `config_json` is one JSON object; an unknown key is an error that names the nearest known
     *  one:
     *    root        directory of the store (required, absolute)
     *    create      make the directory and what is missing above it, 0700 (default true); an
     *                empty directory becomes a store either way
     *    readOnly    take no lock and write nothing (default false)
     *    references  "canonical" (default), "opaque" or "mesos"; fixed once the store exists
     *    layers      {"root": DIR, "layout": "mesos" | "oci"}: where recover, refresh and puts of
     *                incomplete images look for layers:
     *                root/layers/<id>/rootfs… or root/blobs/<algorithm>/<hex>
     *    threads     1–16 threads for background work (default 2), beside the two that every
     *                store has
     *    limits      {"images": N, "recordBytes": N, "journalBytes": N}; journalBytes: at most
     *                17179869184 (16 GiB)
     *
     *  Expected: WAYBILL_ELOCKED, WAYBILL_ENOTSTORE, WAYBILL_EACCES.
     *  Free `*store` with destroy. `host` may be NULL. */
    int32_t (*create)(const char *config_json, const waybill_host *host, waybill_store **store,
                      waybill_error *error);

    /** [thread-safe] [blocking] Completes every operation that was accepted, ends the threads,
     *  gives the lock back and frees the store. Futures, queues and images stay valid.
     *  Expected: WAYBILL_EDEADLK inside a callback of this store (the store lives on). */
    int32_t (*destroy)(waybill_store *store, waybill_error *error);

    /** [thread-safe] Reads snapshot and journals, mends what a crash left, checks that the layers
     *  of every image are on disk, and opens the store for the other verbs. Images whose layers
     *  are missing are kept and marked WAYBILL_IMAGE_INCOMPLETE. The outcome's report_json says
     *  what was found: images, incompleteImages, droppedTailBytes, possiblyAcknowledged, damage
     *  [{file, offset, bytes, lost}], degraded, revision, milliseconds; lacksReserve, if the disk
     *  is full and the space kept for removals is not there, as after a copy with holes; and
     *  storeId, which a store is given when it is made and keeps for ever.
     *  A failed recover may be tried again; a second successful one is WAYBILL_ESTATE. It cannot
     *  be cancelled. Read-only, before the writer has made the store: WAYBILL_ENOTFOUND; while
     *  the writer replaces files faster than they are read: WAYBILL_EAGAIN.
     *  Expected: WAYBILL_ECORRUPT, WAYBILL_EFORMAT, WAYBILL_EMODE. */
    int32_t (*recover)(waybill_store *store, waybill_future **future, waybill_error *error);

    /** [thread-safe] Looks again. A read-only store follows its writer; a writing store checks
     *  anew which layers are on disk. Cost grows with the store.
     *  Expected, read-only: WAYBILL_EAGAIN. */
    int32_t (*refresh)(waybill_store *store, waybill_future **future, waybill_error *error);

    /** [thread-safe] The host has read the damage report and accepts the loss: the store is no
     *  longer degraded, durably, and uncertain images count as they are. The damaged files stay
     *  in `damaged/`. On a store that is not degraded it does nothing. */
    int32_t (*accept_loss)(waybill_store *store, waybill_future **future, waybill_error *error);

    /* --- the verbs ------------------------------------------------------------------------- */

    /** [thread-safe] Stores `count` images (1 to 10,000): all or none, as one transaction, in one
     *  revision. The future completes when they are on stable storage and visible to get.
     *  A name may stand in one call only once.
     *  An image in the place of one that is WAYBILL_IMAGE_INCOMPLETE, and with the same layers or
     *  more on top, keeps that mark until its layers have been looked at again, which is before
     *  the future completes. A worker looks, once it has done what it is at.
     *  Expected: WAYBILL_EINVAL and WAYBILL_ELIMIT at once; WAYBILL_EEXIST, WAYBILL_ECONFLICT,
     *  WAYBILL_ENOSPC and, where the store would grow beyond a limit, WAYBILL_ELIMIT from the
     *  future. */
    int32_t (*put)(waybill_store *store, const waybill_image_spec *images, uint32_t count,
                   waybill_future **future, waybill_error *error);

    /** [thread-safe] Looks one image up, by any spelling of its name. Touches no disk and waits
     *  for nobody. With `cached` 0 the answer is WAYBILL_ENOTFOUND and the record stays: the
     *  caller wants a fresh pull. `name_space` NULL: "default".
     *  Expected: WAYBILL_ENOTFOUND, WAYBILL_EINVAL. Free `*image` with image_free. */
    int32_t (*get)(waybill_store *store, const char *name_space, const char *reference,
                   uint32_t cached, waybill_image **image, waybill_error *error);

    /** [thread-safe] Forgets one image. The outcome says whether it existed; pinned ones go too.
     *  Works on a full disk, except on copy-on-write file systems and where recover's report has
     *  lacksReserve. */
    int32_t (*remove)(waybill_store *store, const char *name_space, const char *reference,
                      waybill_future **future, waybill_error *error);

    /** [thread-safe] Forgets every image of `name_space` (NULL: of all namespaces) that is not
     *  pinned and whose name, in whatever spelling, is not in `keep`. A name that is not held is
     *  no error. The outcome counts removed images, layers that nothing uses any longer and
     *  layers still in use; prune_image and prune_layer list them. Works on a full disk,
     *  as remove does.
     *  Expected: WAYBILL_EDEGRADED. */
    int32_t (*prune)(waybill_store *store, const char *name_space, const char *const *keep,
                     uint32_t keep_count, waybill_future **future, waybill_error *error);

    /** [thread-safe] Reads an OCI image layout (image-spec 1.0 and 1.1; Docker schema 2 media
     *  types too): index.json, manifests and configs, each checked against its digest, layers
     *  against presence and size; then puts every tagged image in one transaction. The tag is the
     *  annotation org.opencontainers.image.ref.name or io.containerd.image.name; a bare tag is
     *  combined with `reference` ("name" + ":" + tag) when that is given. With one image in the
     *  layout, `reference` may name it outright. Of an index, the layers of every platform
     *  present are recorded. The report lists what was stored.
     *  Expected: WAYBILL_ENOBLOB, WAYBILL_EBADBLOB, WAYBILL_ENOTFOUND; WAYBILL_ELIMIT for a
     *  document that is too large, WAYBILL_ESYMLINK for a link in the place of a blob. */
    int32_t (*import_oci)(waybill_store *store, const char *name_space, const char *layout_dir,
                          const char *reference, waybill_future **future, waybill_error *error);

    /** [thread-safe] Shows images to `callback`, sorted by namespace and reference, as they were
     *  at one moment. The callback runs on the calling thread with no lock held and may call the
     *  library. It answers WAYBILL_VISIT_…. Cost: all images are looked at for each call. */
    int32_t (*visit)(waybill_store *store, const waybill_query *query,
                     int32_t (*callback)(void *payload, waybill_image *image), void *payload,
                     waybill_error *error);

    /** [thread-safe] A report by name, as a JSON object: "stats" (counters and sizes), "recovery"
     *  (what the last recover said). `arguments_json` is NULL or "{}" for these.
     *  Expected: WAYBILL_ENOTFOUND, listing the names there are. Free `*json` with text_free. */
    int32_t (*report)(waybill_store *store, const char *name, const char *arguments_json,
                      char **json, waybill_error *error);

    /** [thread-safe] Frees a text that `report` handed out. */
    void (*text_free)(char *text);

    /* --- images ---------------------------------------------------------------------------- */

    /** [thread-safe] Frees an image. It may outlive its store. An image that is held keeps its
     *  record in memory, and after destroy up to 4 MiB around it; nothing else. */
    void (*image_free)(waybill_image *image);

    /** [thread-safe] Fills `view`. */
    int32_t (*image_view)(const waybill_image *image, waybill_image_view *view,
                          waybill_error *error);

    /** [thread-safe] Fills `view` with layer `index`, base first. Expected: WAYBILL_ENOTFOUND. */
    int32_t (*image_layer)(const waybill_image *image, uint32_t index, waybill_layer_view *view,
                           waybill_error *error);

    /** [thread-safe] Points `pair` at label `index`, sorted by key. Expected: WAYBILL_ENOTFOUND. */
    int32_t (*image_label)(const waybill_image *image, uint32_t index, waybill_pair *pair,
                           waybill_error *error);

    /** [thread-safe] Points `pair` at annotation `index`, sorted by key.
     *  Expected: WAYBILL_ENOTFOUND. */
    int32_t (*image_annotation)(const waybill_image *image, uint32_t index, waybill_pair *pair,
                                waybill_error *error);

    /* --- futures --------------------------------------------------------------------------- */

    /** [thread-safe] [blocking] Waits for the operation and returns its status, with its error.
     *  `timeout_ms` 0 does not wait, negative waits without limit.
     *  Expected: WAYBILL_ETIMEDOUT, WAYBILL_EDEADLK inside a callback of the same store. */
    int32_t (*future_wait)(waybill_future *future, int64_t timeout_ms, waybill_error *error);

    /** [thread-safe] The operation's status, or WAYBILL_EPENDING. */
    int32_t (*future_status)(const waybill_future *future);

    /** [thread-safe] Has `callback` called once the operation is done, at once or later, on a
     *  thread of the library that never holds up other operations (after destroy: on the calling
     *  thread). One callback a future.
     *  Inside it, waiting for a future of this store and destroying the store are
     *  WAYBILL_EDEADLK; freeing the future is allowed. A future that was freed before is passed
     *  as a number only.
     *  Expected: WAYBILL_ESTATE when there is one already. */
    int32_t (*future_then)(waybill_future *future,
                           void (*callback)(void *payload, waybill_future *future), void *payload,
                           waybill_error *error);

    /** [thread-safe] Fills `outcome` of an operation that ended well; otherwise returns its
     *  status. Expected: WAYBILL_EPENDING. */
    int32_t (*future_result)(const waybill_future *future, waybill_outcome *outcome,
                             waybill_error *error);

    /** [thread-safe] After prune: layer `index` of set WAYBILL_LAYERS_…, in an order
     *  that is the same each time.
     *  Expected: WAYBILL_ENOTFOUND, WAYBILL_EPENDING. */
    int32_t (*prune_layer)(const waybill_future *future, uint32_t set, uint64_t index,
                           waybill_blob_view *view, waybill_error *error);

    /** [thread-safe] After prune: removed image `index`, sorted.
     *  Expected: WAYBILL_ENOTFOUND, WAYBILL_EPENDING. */
    int32_t (*prune_image)(const waybill_future *future, uint64_t index, waybill_key_view *view,
                           waybill_error *error);

    /** [thread-safe] Withdraws an operation that has not begun; its status becomes
     *  WAYBILL_ECANCELED. Expected: WAYBILL_ESTATE when it has begun or ended. */
    int32_t (*future_cancel)(waybill_future *future, waybill_error *error);

    /** [thread-safe] Frees the future. The operation goes on if it has not ended, and a callback
     *  or queue attached to it is still served: a queue hands out the pointer as a number only. */
    void (*future_free)(waybill_future *future);

    /* --- completion queues ----------------------------------------------------------------- */

    /** [thread-safe] A queue that collects finished futures, of any stores. Free: queue_free. */
    int32_t (*queue_create)(waybill_queue **queue, waybill_error *error);

    /** [thread-safe] An eventfd (non-blocking, close-on-exec) that is readable while the queue
     *  holds completions. The queue owns it: poll it, do not read or close it. */
    int32_t (*queue_fd)(const waybill_queue *queue);

    /** [thread-safe] Has the future's completion put into the queue, with `token`. One queue a
     *  future. Expected: WAYBILL_ESTATE when it has one already. */
    int32_t (*queue_attach)(waybill_queue *queue, waybill_future *future, uint64_t token,
                            waybill_error *error);

    /** [thread-safe] Takes up to `capacity` completions, in the order in which they came, and
     *  sets `*count`. The descriptor stays readable if some are left. */
    int32_t (*queue_drain)(waybill_queue *queue, waybill_completion *completions, uint32_t capacity,
                           uint32_t *count, waybill_error *error);

    /** [thread-safe] Frees the queue and closes its descriptor; completions to come are dropped. */
    void (*queue_free)(waybill_queue *queue);

    /* --- growth ---------------------------------------------------------------------------- */

    /** [thread-safe] A table by its id, or NULL. There is none yet; what is not stable enough for
     *  this table will start as one. */
    const void *(*extension)(const char *id);
} waybill_api;

/** [thread-safe] The one exported symbol: the table for `abi_version`, or NULL if this library has
 *  none. The table is static and lives as long as the process: the library is never unloaded. */
const waybill_api *waybill_api_get(uint32_t abi_version);

typedef const waybill_api *(*waybill_api_get_fn)(uint32_t abi_version);

#ifdef __cplusplus
}
#endif

#endif
