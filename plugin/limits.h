// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors
//
// Every bound on what comes from outside, with its reason. Nothing else in plugin/ states a number
// that a host or a disk could exceed.
#pragma once

#include <cstddef>
#include <cstdint>

namespace waybill::limits {

// --- names -------------------------------------------------------------------------------------

/// containerd's bound on identifiers, which its namespaces are.
inline constexpr std::size_t namespace_bytes_max = 76;
/// A canonical reference is at most 255 (path) + 253 (DNS name) + port + 128 (tag) + 135 (digest);
/// opaque names get the same room. Longer than any registry accepts.
inline constexpr std::size_t reference_bytes_max = 1024;
/// distribution's RepositoryNameTotalLengthMax.
inline constexpr std::size_t repository_path_bytes_max = 255;
/// distribution's grammar: [\w][\w.-]{0,127}.
inline constexpr std::size_t tag_bytes_max = 128;
/// NAME_MAX of every Linux file system that matters: ids become one path component.
inline constexpr std::size_t layer_id_bytes_max = 255;
/// RFC 6838 allows 127 + "/" + 127.
inline constexpr std::size_t media_type_bytes_max = 255;
/// os, architecture, variant, os_version: the longest in the wild is a Windows build number.
inline constexpr std::size_t platform_bytes_max = 128;

// --- one image ---------------------------------------------------------------------------------

/// overlayfs stops at 500 lower directories and Docker at 127 layers; indexes add up platforms.
inline constexpr std::uint32_t layers_max = 10'000;
/// containerd's bound on one label, key and value together; hosts that mirror its labels rely on
/// it.
inline constexpr std::size_t pair_bytes_max = 4096;
inline constexpr std::uint32_t pairs_max = 1024;
/// 10,000 layers with text ids of 255 bytes and 1,024 labels of 4,096 fit.
inline constexpr std::size_t record_bytes_max_default = 16u << 20;

// --- one call ----------------------------------------------------------------------------------

/// A transaction is one batch in memory and on disk.
inline constexpr std::uint32_t transaction_images_max = 10'000;
inline constexpr std::size_t transaction_bytes_max = 64u << 20;
/// A prune of more names than this holds has several frames: a flat buffer ends at 2 GiB, and its
/// verifier gives up after so many tables as verified_removal() says.
inline constexpr std::size_t removal_bytes_max = 64u << 20;
/// A keep list may name every image of a very large node.
inline constexpr std::uint32_t keep_list_max = 1'000'000;
/// Operations accepted but not yet durable; beyond it submission answers Limit rather than eat the
/// host's memory.
inline constexpr std::size_t queued_operations_max = 1'000'000;

// --- the store ---------------------------------------------------------------------------------

inline constexpr std::uint64_t images_max_default = 4'000'000;
inline constexpr int threads_max = 16;
inline constexpr int threads_default = 2;
/// Rotation starts when the journal exceeds this and journal_live_factor × the live bytes.
inline constexpr std::uint64_t journal_bytes_default = 4u << 20;
inline constexpr std::uint64_t journal_live_factor = 2;
/// Journal space is allocated in steps: large enough that few puts pay for it, small enough for a
/// node with a small disk. Steps start small so that a 2 MiB file system can hold a store.
inline constexpr std::uint64_t journal_step_bytes_min = 64u << 10;
inline constexpr std::uint64_t journal_step_bytes_max = 4u << 20;
/// A step is at most such a part of what there is: an idle store does not hold much in advance.
inline constexpr std::uint64_t journal_step_share = 4;
/// Zeros are written ahead of small batches in steps of this. On ext4 a sync of 64 KiB took 250 µs
/// where blocks had been written before and 550 where they were only reserved; a larger step would
/// make the one put that waits for it wait longer.
inline constexpr std::size_t journal_zeros_bytes = 256u << 10;
/// A batch ends at this size even if more is queued: one sync of 1 MB costs what three of 64 KB do.
inline constexpr std::size_t batch_bytes_target = 1u << 20;
/// A snapshot is synced in pieces: one sync of 55 MB stalled puts for 28–59 ms, pieces of 256 KiB
/// kept the 99th percentile at 1–2 ms.
inline constexpr std::size_t snapshot_sync_bytes = 256u << 10;
/// What a snapshot replaces is given back in pieces: 20 MB at once, on a file system that discards,
/// kept puts waiting for 13 ms.
inline constexpr std::int64_t discard_step_bytes = 1 << 20;
/// Generations and revisions count from 1 and never come near: a larger one was not counted by a
/// store, and what is added to it would begin again at 0.
inline constexpr std::uint64_t generation_max = 1ull << 62;
inline constexpr std::uint64_t revision_max = 1ull << 62;
/// Recovery makes room for as many images as a file could hold, but for no more than this before it
/// has seen them: a sparse file must not take memory.
inline constexpr std::uint64_t images_expected_max = 1'000'000;
/// A store file larger than this is not read, so none is written.
inline constexpr std::uint64_t file_bytes_max = 64ull << 30;
/// The journal that a configuration may ask for: one that goes on while no snapshot can be written
/// stays far below what is read.
inline constexpr std::uint64_t journal_bytes_max = file_bytes_max / 4;
/// All records: their snapshot, with the heads of its batches, stays below what is read.
inline constexpr std::uint64_t live_bytes_max = file_bytes_max / 2;

// --- documents ---------------------------------------------------------------------------------

inline constexpr std::size_t configuration_bytes_max = 64u << 10;
/// containerd's bound on manifests and configs (CVE-2023-25153 was the lack of one is 20 MiB);
/// the distribution specification asks registries for at least 4 MiB.
inline constexpr std::size_t document_bytes_max = 20u << 20;
/// An index may refer to indexes; real ones do not nest deeper than 2.
inline constexpr int index_depth_max = 4;
/// Manifests read during one import.
inline constexpr std::uint32_t manifests_max = 100'000;
inline constexpr std::size_t root_path_bytes_max = 4095;

} // namespace waybill::limits
