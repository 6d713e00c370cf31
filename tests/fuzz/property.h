// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors
//
// What a fuzz target says when the store did something that it must not do, and how it takes its
// input apart.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>

namespace waybill::fuzz {

/// Ends the run with the input that broke the property, as a crash would.
inline void require(bool holds, const char *property, std::string_view detail = {}) {
    if (holds)
        return;
    std::fprintf(stderr, "== property broken: %s\n   %.*s\n", property,
                 static_cast<int>(detail.size()), detail.data());
    std::abort();
}

/// Takes an input apart from the front; past its end everything is zero and empty.
class Input final {
  public:
    Input(const std::uint8_t *bytes, std::size_t size)
        : rest_(reinterpret_cast<const char *>(bytes), size) {}

    bool empty() const { return rest_.empty(); }
    std::uint8_t byte() {
        if (rest_.empty())
            return 0;
        const auto taken = static_cast<std::uint8_t>(rest_.front());
        rest_.remove_prefix(1);
        return taken;
    }
    std::uint16_t word() {
        const std::uint16_t low = byte();
        return static_cast<std::uint16_t>(low | byte() << 8);
    }
    /// Up to `end`, which is taken too.
    std::string text(char end) {
        const std::string_view taken = rest_.substr(0, rest_.find(end));
        rest_.remove_prefix(std::min(rest_.size(), taken.size() + 1));
        return std::string(taken);
    }
    std::string_view rest() const { return rest_; }

  private:
    std::string_view rest_;
};

/// A text in memory of its own, without a NUL behind it: a read past its end is a report.
class ExactText final {
  public:
    explicit ExactText(std::string_view text)
        : bytes_(static_cast<char *>(std::malloc(text.size() ? text.size() : 1))),
          size_(text.size()) {
        if (size_)
            std::memcpy(bytes_, text.data(), size_);
    }
    ~ExactText() { std::free(bytes_); }
    ExactText(const ExactText &) = delete;
    ExactText &operator=(const ExactText &) = delete;
    std::string_view view() const { return {bytes_, size_}; }

  private:
    char *bytes_;
    std::size_t size_;
};

} // namespace waybill::fuzz
