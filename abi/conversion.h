// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors
//
// Between the C structures and the store's own types: every pointer, size and text of the host is
// checked here, and nowhere else.
#pragma once

#include "plugin/store.h"
#include "waybill/waybill.h"

#include <cstdint>
#include <vector>

namespace waybill {

std::int32_t code_number(Code code);

/// Fills `error` (which may be NULL) and returns the number.
std::int32_t report(const Status &status, waybill_error *error);
std::int32_t report_text(Code code, const char *message, waybill_error *error) noexcept;

/// What a structure of the host's is: its own size must cover our first version of it, and keep the
/// next one in an array where its members may lie. 64-bit integers need not make it a multiple of
/// 8: on 32-bit not every structure has one.
Status check_size(const void *structure, std::size_t size_bytes_min, std::size_t alignment,
                  const char *field);
template <typename Struct> Status check_struct(const Struct *structure, const char *field) {
    return check_size(structure, sizeof(Struct), alignof(Struct), field);
}

/// Absent means the default namespace; an empty one is a mistake.
inline Status check_namespace(const char *name_space) {
    return name_space && !*name_space ? invalid("name_space", "empty") : Status{};
}

inline std::string_view view(const char *text) { return text ? text : std::string_view(); }

Result<Host> host_from(const waybill_host *host);
Result<std::vector<PutRequest>> requests_from(const waybill_image_spec *images,
                                              std::uint32_t count);
Result<Query> query_from(const waybill_query *query);

} // namespace waybill
