// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors
//
// An open store: who may call what when, and the parts that do it.
// The way of a put: encode (the caller's thread) → committer → journal → disk → index → future.
// The way of a get: index → a pin on the record. No way leads back up.
// Invariants: before a successful recover every verb but recover is refused; what belongs to a
// parent process is never touched; destroying ends everything accepted first.
#pragma once

#include "committer.h"
#include "host.h"
#include "layer_check.h"
#include "layer_look.h"
#include "lock.h"
#include "notifier.h"
#include "operation.h"
#include "posix_disk.h"
#include "settings.h"
#include "submissions.h"
#include "workers.h"

#include <QtCore/QJsonObject>

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

namespace waybill {

struct PutRequest {
    ImageSpec spec;
    PutCondition condition = PutCondition::Any;
    std::uint64_t expected_revision = 0;
};

struct Query {
    std::string name_space; ///< empty: all
    std::string prefix;
    std::string digest;
    std::string label_key;
    std::optional<std::string> label_value;
    std::uint32_t state_any = 0; ///< frame flags
    std::uint32_t limit = 0;     ///< 0: all
    std::optional<Key> after;
};

class Store final {
  public:
    static Result<std::unique_ptr<Store>> open(Settings settings, Host host);
    /// Completes what was accepted. Deadlock when called from within a callback.
    Status close();
    ~Store();
    Store(const Store &) = delete;
    Store &operator=(const Store &) = delete;

    Result<OperationPtr> recover();
    Result<OperationPtr> refresh();
    Result<OperationPtr> accept_loss();
    Result<OperationPtr> put(const std::vector<PutRequest> &requests);
    Result<OperationPtr> remove(std::string_view name_space, std::string_view reference);
    Result<OperationPtr> prune(std::optional<std::string_view> name_space,
                               const std::vector<std::string_view> &keep);
    Result<OperationPtr> import_oci(std::string_view name_space, std::string layout_dir,
                                    std::string reference);

    /// What get would answer, where the name is a key and the image is held; null otherwise.
    ImagePin get_by_key(std::string_view name_space, std::string_view reference) const noexcept;
    Result<ImagePin> get(std::string_view name_space, std::string_view reference,
                         bool cached) const;
    /// The images that match, sorted.
    Result<std::vector<ImagePin>> list(const Query &query) const;
    Result<std::string> report(std::string_view name) const;

    bool forked() const;
    std::shared_ptr<Notifier> notifier() const { return notifier_; }

  private:
    enum class Phase { Created, Recovering, Open, Closing };

    Store(Settings settings, Host host);
    Status check_open() const;
    Status check_writable() const;
    Status recover_now(Outcome &outcome);
    Status refresh_now(Outcome &outcome);
    Status import_now(const OperationPtr &operation, const std::string &name_space,
                      const std::string &layout_dir, const std::string &reference);
    Result<Key> key_for(std::string_view name_space, std::string_view reference) const;
    Result<std::vector<PutImage>> encode(const std::vector<PutRequest> &requests) const;
    Result<OperationPtr> submit(Submission submission);
    OperationPtr run(bool may_be_withdrawn, std::function<Status(Outcome &)> job);
    std::string write_report(const Recovered &recovered, const LayerCheck &layers,
                             std::int64_t milliseconds);

    const Settings settings_;
    const Host host_;
    const std::uint64_t fork_generation_;
    std::unique_ptr<PosixDisk> disk_;
    std::unique_ptr<DirectoryLock> lock_;
    std::shared_ptr<Notifier> notifier_;
    Index index_;
    std::optional<LayerLook> layer_look_;
    std::unique_ptr<Committer> committer_;
    std::unique_ptr<Submissions> submissions_;
    std::atomic<Phase> phase_{Phase::Created};
    ReferenceMode mode_ = ReferenceMode::Canonical;
    StoreId store_id_{};                ///< written by recover, before Open
    std::atomic<bool> degraded_{false}; ///< of a read-only store
    std::atomic<std::uint64_t> revision_read_{0};
    Recovered found_before_; ///< by a recover that failed later; only its findings count
    std::mutex refreshing_;
    mutable std::mutex report_mutex_;
    std::string recovery_report_ = "{}";
    /// Last, so that it is destroyed, and every job with it has ended, first.
    std::unique_ptr<Workers> workers_;
};

} // namespace waybill
