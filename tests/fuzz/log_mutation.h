// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors
//
// How the inputs of sealed_log.h are changed: as a writer's mistakes would, not byte by byte.
#pragma once

#include <cstddef>
#include <cstdint>

namespace waybill::fuzz {

/// What stands before a description in an input: how the other files are.
inline constexpr std::size_t selector_bytes = 1;

/// For LLVMFuzzerCustomMutator: changes a selector and description as records go: one more, one
/// less, another order, kind, revision, payload; lengths follow. Now and then only bytes change.
std::size_t mutate_log(std::uint8_t *data, std::size_t size, std::size_t size_max, unsigned seed);

} // namespace waybill::fuzz
