// SPDX-License-Identifier: Apache-2.0
//
// What azure-import-export.md 4.2 and 4.3 ask of a blob in a manifest beyond its grammar. The reader and the
// writer share it. Errors are Corrupt, or LimitReached for too many pieces, and name no place.
#pragma once

#include "daemon/format/drive_manifest.hpp"

namespace dray::format {

inline constexpr Bytes kPage = 512;
inline constexpr Bytes kMaxPageRange = 4 * kMiB;
inline constexpr Bytes kMaxBlock = 4000 * kMiB;
inline constexpr std::size_t kMaxBlockId = 64;

/// Whether `piece` may come after the pieces `before`.
Result<void> check_next_piece(bool is_page_blob, std::span<const ManifestPiece> before,
                              const ManifestPiece& piece, const ManifestLimits& limits);
/// What can be said when the blob is complete. Its pieces were checked one by one.
Result<void> check_complete(const ManifestBlob& blob);
/// Both, for a blob that was not read.
Result<void> check_blob(const ManifestBlob& blob, const ManifestLimits& limits);

}  // namespace dray::format
