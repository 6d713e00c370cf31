// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors
//
// Values in bytes that need not be aligned.
#pragma once

#include "plugin/format.h"

#include <cstdint>
#include <cstring>
#include <vector>

namespace waybill::fuzz {

using Buffer = std::vector<std::uint8_t>;

inline bool has(Bytes bytes, std::size_t at, std::size_t size) {
    return at <= bytes.size() && bytes.size() - at >= size;
}

template <typename T> T read_at(Bytes bytes, std::size_t at) {
    T value;
    std::memcpy(&value, bytes.data() + at, sizeof value);
    return value;
}

template <typename T> void write_at(Buffer &bytes, std::size_t at, const T &value) {
    std::memcpy(bytes.data() + at, &value, sizeof value);
}

inline void append(Buffer &bytes, Bytes more) {
    bytes.insert(bytes.end(), more.begin(), more.end());
}

} // namespace waybill::fuzz
