// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors
//
// What the opaque pointers of the C API point at.
#pragma once

#include "plugin/forked.h"
#include "plugin/store.h"
#include "waybill/waybill.h"

#include <atomic>
#include <list>
#include <memory>
#include <mutex>

struct waybill_store {
    std::unique_ptr<waybill::Store> store;
};

/// A pin.
struct waybill_image;

namespace waybill {

inline waybill_image *as_handle(ImagePin pin) {
    return reinterpret_cast<waybill_image *>(const_cast<Pin *>(pin.release()));
}
inline const Pin *pin_of(const waybill_image *image) {
    return reinterpret_cast<const Pin *>(image);
}
inline const Frame &frame_of(const waybill_image *image) { return pin_of(image)->frame(); }

/// Completions on their way to a host. Shared, so that an operation may end after the host has
/// freed its queue.
class CompletionQueue final {
  public:
    /// Made by the host's thread, so that completing takes no memory.
    using Completions = std::list<waybill_completion>;

    static Result<std::shared_ptr<CompletionQueue>> create();
    ~CompletionQueue();

    int fd() const { return fd_; }
    /// Takes the completions out of the list.
    void push(Completions &completions) noexcept;
    std::uint32_t drain(waybill_completion *out, std::uint32_t capacity);

  private:
    CompletionQueue() = default;

    int fd_ = -1;
    std::mutex mutex_;
    Completions completions_;
};

} // namespace waybill

struct waybill_queue {
    std::shared_ptr<waybill::CompletionQueue> queue;
    std::uint64_t fork_generation = waybill::forked::generation();
};

struct waybill_future {
    waybill::OperationPtr operation;
    std::shared_ptr<waybill::Notifier> notifier;
    std::uint64_t fork_generation = waybill::forked::generation();
    std::atomic<bool> has_callback{false};
    std::atomic<bool> has_queue{false};
};
