// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors
//
// How every function below the C boundary says that it could not do its work.
// Invariants: the lowest level that knows what and where sets the message, one line in the past
// tense; levels above pass it on unchanged. Our own code throws nothing.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <variant>

namespace waybill {

/// One for one with the WAYBILL_E… codes; abi/conversion.cpp holds the exhaustive switch.
enum class Code {
    Ok,
    Invalid,
    NotFound,
    Exists,
    Conflict,
    State,
    Locked,
    Degraded,
    Corrupt,
    Io,
    NoSpace,
    ReadOnly,
    Format,
    Forked,
    Deadlock,
    Canceled,
    NoMemory,
    Limit,
    Access,
    Again,
    TimedOut,
    Pending,
    NotStore,
    Symlink,
    Mode,
    NoBlob,
    BadBlob,
    Internal,
};

struct [[nodiscard]] Status {
    Code code = Code::Ok;
    int sys_errno = 0;
    std::int64_t position = -1; ///< offending byte within `field`, or -1
    std::string field;          ///< the argument at fault, such as "images[2].reference", or empty
    std::string message;

    bool ok() const { return code == Code::Ok; }
};

inline Status failure(Code code, std::string message) {
    return {code, 0, -1, {}, std::move(message)};
}

inline Status invalid(std::string field, std::string message, std::int64_t position = -1) {
    return {Code::Invalid, 0, position, std::move(field), std::move(message)};
}

inline Status over_limit(std::string field, std::string message) {
    return {Code::Limit, 0, -1, std::move(field), std::move(message)};
}

/// Sorts an errno into a code: full disk, denied access, symlink, and everything else as Io.
/// `what` is "<file>: <what was tried>"; the errno's text is appended.
Status system_failure(int sys_errno, const std::string &what);

/// In a catch block: what was thrown. Takes no memory where that is what ran out.
Status thrown_failure() noexcept;

/// A copy that cannot fail: without its texts where there is no memory for them.
Status copied(const Status &status) noexcept;

template <typename T> class [[nodiscard]] Result final {
  public:
    Result(T value) : held_(std::move(value)) {}
    Result(Status status) : held_(std::move(status)) {}

    bool ok() const { return held_.index() == 0; }
    T &value() { return std::get<0>(held_); }
    const T &value() const { return std::get<0>(held_); }
    T &operator*() { return value(); }
    T *operator->() { return &value(); }
    const Status &status() const { return std::get<1>(held_); }

  private:
    std::variant<T, Status> held_;
};

} // namespace waybill
