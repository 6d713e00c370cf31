// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors
#include "store.h"

#include "beside_writer.h"
#include "forked.h"
#include "limits.h"
#include "oci_layout.h"

#include <QtCore/QJsonArray>
#include <QtCore/QJsonDocument>

#include <algorithm>
#include <chrono>
#include <iterator>
#include <set>

namespace waybill {

/// The committer and the notifier have a thread each, beside those for background work.
static constexpr int threads_of_its_own = 2;

Store::Store(Settings settings, Host host)
    : settings_(std::move(settings)), host_(std::move(host)),
      fork_generation_(forked::generation()), notifier_(std::make_shared<Notifier>()) {}

Result<std::unique_ptr<Store>> Store::open(Settings settings, Host host) {
    forked::install();
    std::unique_ptr<Store> store(new Store(std::move(settings), std::move(host)));
    const Settings &wanted = store->settings_;
    Result<std::unique_ptr<PosixDisk>> disk =
        PosixDisk::open(wanted.root, wanted.create && !wanted.read_only);
    if (!disk.ok())
        return disk.status();
    store->disk_ = std::move(*disk);
    if (wanted.read_only) {
        if (Status ours = check_is_store(store->disk_->directory_fd()); !ours.ok())
            return ours;
    } else {
        Result<std::unique_ptr<DirectoryLock>> lock =
            DirectoryLock::take(store->disk_->directory_fd());
        if (!lock.ok())
            return lock.status();
        store->lock_ = std::move(*lock);
    }
    Result<std::unique_ptr<Workers>> workers = Workers::start(threads_of_its_own + wanted.threads);
    if (!workers.ok())
        return workers.status();
    store->workers_ = std::move(*workers);
    if (store->lock_) {
        // There, since a file-size limit would kill the host on a thread of its own.
        store->workers_->run_background([lock = store->lock_.get()] { lock->write_holder(); });
        store->workers_->wait_for_background();
    }
    store->workers_->run_service([notifier = store->notifier_] {
        Workers::name_thread("waybill-notify");
        notifier->run();
    });
    return store;
}

Status Store::close() {
    if (notifier_->is_calling())
        return failure(Code::Deadlock, "called inside a callback of this store");
    phase_.store(Phase::Closing);
    return {};
}

Store::~Store() {
    if (workers_) {
        // Background work may still submit something, and the committer may still start a
        // snapshot: so the one, then the other, then what is left of the first.
        workers_->wait_for_background();
        if (submissions_)
            submissions_->stop();
        workers_->wait_for_background();
        notifier_->stop();
        workers_.reset();
    }
}

bool Store::forked() const { return fork_generation_ != forked::generation(); }

// --- who may call what when --------------------------------------------------------------------

Status Store::check_open() const {
    if (forked())
        return failure(Code::Forked, "the store belongs to the parent process");
    switch (phase_.load(std::memory_order_acquire)) {
    case Phase::Created:
    case Phase::Recovering:
        return failure(Code::State, "the store has not been recovered yet");
    case Phase::Closing:
        return failure(Code::State, "the store is being destroyed");
    case Phase::Open:
        return {};
    }
    return {};
}

Status Store::check_writable() const {
    if (Status open = check_open(); !open.ok())
        return open;
    return settings_.read_only ? failure(Code::ReadOnly, "the store was opened read-only")
                               : Status{};
}

OperationPtr Store::run(bool may_be_withdrawn, std::function<Status(Outcome &)> job) {
    auto operation = std::make_shared<Operation>();
    const bool entered = !may_be_withdrawn && operation->enter();
    workers_->run_background([operation, entered, job = std::move(job)] {
        if (!entered && !operation->enter())
            return; // Withdrawn.
        try {
            operation->draft().status = job(operation->draft());
            operation->finish();
        } catch (...) {
            operation->fail(thrown_failure());
        }
    });
    return operation;
}

Result<OperationPtr> Store::submit(Submission submission) {
    auto operation = std::make_shared<Operation>(submissions_->bell());
    submission.operation = operation;
    if (Status submitted = submissions_->submit(std::move(submission)); !submitted.ok())
        return submitted;
    return operation;
}

// --- recover and refresh -----------------------------------------------------------------------

Result<OperationPtr> Store::recover() {
    if (forked())
        return failure(Code::Forked, "the store belongs to the parent process");
    Phase expected = Phase::Created;
    if (!phase_.compare_exchange_strong(expected, Phase::Recovering))
        return failure(Code::State, expected == Phase::Recovering
                                        ? "a recover is under way"
                                        : "the store has been recovered already");
    const auto end_as = [this](Phase phase) {
        Phase still = Phase::Recovering;
        phase_.compare_exchange_strong(still, phase);
    };
    try {
        // Withdrawing it would leave the store neither recovered nor to be recovered.
        return run(/*may_be_withdrawn=*/false, [this, end_as](Outcome &outcome) {
            Status status;
            try {
                status = recover_now(outcome);
            } catch (...) {
                status = thrown_failure();
            }
            end_as(status.ok() ? Phase::Open : Phase::Created);
            return status;
        });
    } catch (...) {
        end_as(Phase::Created);
        throw;
    }
}

/// What an attempt found and wrote away, and its report did not tell, the next one does.
static void add_findings(Recovered &recovered, Recovered before) {
    recovered.created = recovered.created || before.created;
    recovered.dropped_tail_bytes += before.dropped_tail_bytes;
    recovered.possibly_acknowledged += before.possibly_acknowledged;
    if (!before.not_mended.empty())
        return; // It is still there, and has been found again.
    recovered.damage.insert(recovered.damage.begin(),
                            std::make_move_iterator(before.damage.begin()),
                            std::make_move_iterator(before.damage.end()));
}

Status Store::recover_now(Outcome &outcome) {
    const auto began = std::chrono::steady_clock::now();
    index_.clear(); // Of an attempt that failed.
    RecoveryOptions options{settings_.read_only, settings_.references};
    Result<Recovered> recovered = settings_.read_only ? read_beside_writer(*disk_, options, index_)
                                                      : recover_store(*disk_, options, index_);
    if (!recovered.ok())
        return recovered.status();
    mode_ = recovered->mode;
    store_id_ = recovered->store_id;
    add_findings(*recovered, std::exchange(found_before_, {}));
    Result<LayerCheck> layers = check_layers(index_, settings_.layers, host_);
    if (!layers.ok()) {
        recovered->journal.reset();
        if (!settings_.read_only) // A reader finds it all again.
            found_before_ = std::move(*recovered);
        return layers.status();
    }
    outcome.revision = recovered->revision;
    outcome.image_count = index_.image_count();
    const auto took = std::chrono::steady_clock::now() - began;
    outcome.report_json = write_report(
        *recovered, *layers, std::chrono::duration_cast<std::chrono::milliseconds>(took).count());
    if (recovered->lacks_reserve)
        host_.log(Severity::Warning, "the disk is full and the space kept for removals is not "
                                     "there: to remove images needs space");
    if (recovered->degraded)
        host_.log(Severity::Error, "records were lost to damage; prune is refused until the loss "
                                   "is accepted");
    degraded_.store(recovered->degraded);
    revision_read_.store(recovered->revision);
    if (!settings_.read_only) {
        const Background background = [workers = workers_.get()](std::function<void()> job) {
            workers->run_background(std::move(job));
        };
        if (layers->asked)
            layer_look_.emplace(index_, background, settings_.layers, host_);
        committer_ = std::make_unique<Committer>(
            *disk_, index_, background, host_,
            CommitterLimits{settings_.images_max, settings_.journal_bytes}, std::move(*recovered),
            layer_look_ ? &*layer_look_ : nullptr);
        try {
            submissions_ = std::make_unique<Submissions>(*committer_);
            workers_->run_service([submissions = submissions_.get()] {
                Workers::name_thread("waybill-commit");
                submissions->run();
            });
        } catch (...) {
            submissions_.reset(); // One that does not run would be waited for in vain.
            committer_.reset();
            throw;
        }
    }
    return {};
}

Result<OperationPtr> Store::refresh() {
    if (Status open = check_open(); !open.ok())
        return open;
    return run(/*may_be_withdrawn=*/true,
               [this](Outcome &outcome) { return refresh_now(outcome); });
}

Status Store::refresh_now(Outcome &outcome) {
    const std::lock_guard lock(refreshing_);
    const auto began = std::chrono::steady_clock::now();
    std::optional<Index> fresh; ///< of a reader
    Recovered seen;
    seen.revision = committer_ ? committer_->stats().revision : revision_read_.load();
    seen.degraded = committer_ ? committer_->degraded() : degraded_.load();
    if (settings_.read_only) {
        Result<Recovered> recovered =
            read_beside_writer(*disk_, {true, settings_.references}, fresh.emplace());
        if (!recovered.ok())
            return recovered.status();
        seen = std::move(*recovered);
    }
    // Before what was read is shown: until then every image has the mark that it had.
    Result<LayerCheck> layers = check_layers(fresh ? *fresh : index_, settings_.layers, host_);
    if (!layers.ok())
        return layers.status();
    if (fresh) {
        if (Status followed = follow_writer(index_, *fresh); !followed.ok())
            return followed;
        degraded_.store(seen.degraded);
        revision_read_.store(seen.revision);
    }
    outcome.revision = seen.revision;
    outcome.image_count = index_.image_count();
    const auto took = std::chrono::steady_clock::now() - began;
    outcome.report_json = write_report(
        seen, *layers, std::chrono::duration_cast<std::chrono::milliseconds>(took).count());
    return {};
}

Result<OperationPtr> Store::accept_loss() {
    if (Status writable = check_writable(); !writable.ok())
        return writable;
    Submission submission;
    submission.verb = Verb::AcceptLoss;
    return submit(std::move(submission));
}

// --- the verbs ---------------------------------------------------------------------------------

Result<Key> Store::key_for(std::string_view name_space, std::string_view reference) const {
    Result<std::string> space = checked_namespace(name_space);
    if (!space.ok())
        return space.status();
    Result<std::string> key = canonical_key(reference, mode_);
    if (!key.ok())
        return key.status();
    return Key{std::move(*space), std::move(*key)};
}

Result<std::vector<PutImage>> Store::encode(const std::vector<PutRequest> &requests) const {
    if (requests.empty())
        return invalid("count", "no image given");
    if (requests.size() > limits::transaction_images_max)
        return over_limit("count",
                          std::to_string(requests.size()) + " images in one call, at most " +
                              std::to_string(limits::transaction_images_max) + " are allowed");
    std::vector<PutImage> images;
    images.reserve(requests.size());
    std::set<std::pair<std::string_view, std::string_view>> names;
    std::size_t bytes = 0;
    for (std::size_t i = 0; i < requests.size(); ++i) {
        const auto at = [i] { return "images[" + std::to_string(i) + "]"; };
        Result<FramePtr> frame = encode_image(requests[i].spec, mode_, settings_.record_bytes_max);
        if (!frame.ok()) {
            Status status = frame.status();
            status.field = status.field.empty() ? at() : at() + "." + status.field;
            return status;
        }
        if (requests.size() > 1 &&
            !names.emplace(namespace_of(**frame), reference_of(**frame)).second)
            return invalid(at() + ".reference", "stands twice in this call");
        bytes += frame_bytes((*frame)->payload_bytes);
        if (bytes > limits::transaction_bytes_max)
            return over_limit(at(), "the images of one call take more than " +
                                        std::to_string(limits::transaction_bytes_max) + " bytes");
        images.push_back({std::move(*frame), requests[i].condition, requests[i].expected_revision});
    }
    return images;
}

Result<OperationPtr> Store::put(const std::vector<PutRequest> &requests) {
    if (Status writable = check_writable(); !writable.ok())
        return writable;
    Result<std::vector<PutImage>> images = encode(requests);
    if (!images.ok())
        return images.status();
    Submission submission;
    submission.images = std::move(*images);
    return submit(std::move(submission));
}

Result<OperationPtr> Store::remove(std::string_view name_space, std::string_view reference) {
    if (Status writable = check_writable(); !writable.ok())
        return writable;
    Result<Key> key = key_for(name_space, reference);
    if (!key.ok())
        return key.status();
    Submission submission;
    submission.verb = Verb::Remove;
    submission.key = std::move(*key);
    return submit(std::move(submission));
}

Result<OperationPtr> Store::prune(std::optional<std::string_view> name_space,
                                  const std::vector<std::string_view> &keep) {
    if (Status writable = check_writable(); !writable.ok())
        return writable;
    if (committer_->degraded())
        return failure(Code::Degraded, "records were lost to damage: read the recovery report and "
                                       "accept the loss before pruning");
    Submission submission;
    submission.verb = Verb::Prune;
    if (name_space) {
        Result<std::string> space = checked_namespace(*name_space);
        if (!space.ok())
            return space.status();
        submission.keep.name_space = std::move(*space);
    }
    if (keep.size() > limits::keep_list_max)
        return over_limit("keep_count", std::to_string(keep.size()) + " names, at most " +
                                            std::to_string(limits::keep_list_max) + " are allowed");
    for (std::size_t i = 0; i < keep.size(); ++i) {
        Result<std::string> key = canonical_key(keep[i], mode_);
        if (!key.ok()) {
            Status status = key.status();
            status.field = "keep[" + std::to_string(i) + "]";
            return status;
        }
        submission.keep.references.push_back(std::move(*key));
    }
    return submit(std::move(submission));
}

Result<OperationPtr> Store::import_oci(std::string_view name_space, std::string layout_dir,
                                       std::string reference) {
    if (Status writable = check_writable(); !writable.ok())
        return writable;
    Result<std::string> space = checked_namespace(name_space);
    if (!space.ok())
        return space.status();
    auto operation = std::make_shared<Operation>();
    workers_->run_background([this, operation, space = *space, layout_dir = std::move(layout_dir),
                              reference = std::move(reference)] {
        Status status;
        try {
            status = import_now(operation, space, layout_dir, reference);
        } catch (...) {
            status = thrown_failure();
        }
        if (!status.ok() && operation->enter())
            operation->fail(std::move(status));
    });
    return operation;
}

static ImageSpec spec_of(const OciImage &image, const std::string &name_space) {
    ImageSpec spec;
    spec.name_space = name_space;
    spec.reference = image.reference;
    spec.target_digest = image.target_digest;
    spec.target_media_type = image.target_media_type;
    spec.target_size_bytes = image.target_size_bytes;
    spec.config_digest = image.config_digest;
    for (const OciLayer &layer : image.layers)
        spec.layers.push_back({{}, layer.digest, layer.media_type, layer.size_bytes});
    for (const auto &[key, value] : image.annotations)
        spec.annotations.push_back({key, value});
    spec.os = image.os;
    spec.architecture = image.architecture;
    spec.variant = image.variant;
    spec.os_version = image.os_version;
    spec.created_ns = image.created_ns;
    return spec;
}

/// The operation ends with the put that it becomes; until then it can be withdrawn.
Status Store::import_now(const OperationPtr &operation, const std::string &name_space,
                         const std::string &layout_dir, const std::string &reference) {
    Result<OciLayout> layout = read_oci_layout(layout_dir, reference);
    if (!layout.ok())
        return layout.status();
    std::vector<PutRequest> requests;
    QJsonArray stored;
    for (const OciImage &image : layout->images) {
        requests.push_back({spec_of(image, name_space), PutCondition::Any, 0});
        stored.append(
            QJsonObject{{QStringLiteral("reference"), QString::fromStdString(image.reference)},
                        {QStringLiteral("target"), QString::fromStdString(image.target_digest)},
                        {QStringLiteral("layers"), static_cast<qint64>(image.layers.size())}});
    }
    Result<std::vector<PutImage>> images = encode(requests);
    if (!images.ok())
        return images.status();
    QJsonArray untagged;
    for (const std::string &digest : layout->untagged)
        untagged.append(QString::fromStdString(digest));
    Submission submission;
    submission.operation = operation;
    submission.images = std::move(*images);
    submission.report_json = QJsonDocument(QJsonObject{{QStringLiteral("images"), stored},
                                                       {QStringLiteral("untagged"), untagged}})
                                 .toJson(QJsonDocument::Compact)
                                 .toStdString();
    return submissions_->submit(std::move(submission));
}

ImagePin Store::get_by_key(std::string_view name_space, std::string_view reference) const noexcept {
    if (phase_.load(std::memory_order_acquire) != Phase::Open || forked())
        return nullptr;
    bool out_of_memory = false;
    return index_.pin(name_space.empty() ? default_namespace : name_space, reference,
                      &out_of_memory);
}

Result<ImagePin> Store::get(std::string_view name_space, std::string_view reference,
                            bool cached) const {
    if (Status open = check_open(); !open.ok())
        return open;
    Result<Key> key = key_for(name_space, reference);
    if (!key.ok())
        return key.status();
    if (!cached)
        return failure(Code::NotFound, key->reference + ": a fresh answer was asked for");
    bool out_of_memory = false;
    ImagePin found = index_.pin(key->name_space, key->reference, &out_of_memory);
    if (out_of_memory)
        return failure(Code::NoMemory, "no memory to hold an image");
    if (!found)
        return failure(Code::NotFound,
                       key->reference + ": no such image in namespace " + key->name_space);
    return found;
}

} // namespace waybill
