// SPDX-License-Identifier: Apache-2.0
//
// The catalog's schema, version by version. For the catalog alone.
#pragma once

#include <string>

#include "daemon/database/database.hpp"

namespace dray {

inline constexpr int kCatalogVersion = 4;

/// Brings a catalog of any earlier version, or an empty one, to kCatalogVersion, all or nothing. An earlier one is
/// copied first, to "<path>.version-<number>", and the copy is on disk before anything changes. Unsupported: a newer
/// dray wrote it. Corrupt: it is no catalog. NoSpace and others: it is as it was.
Result<void> migrate(Database& database);

/// The copies that migrations of `path` left hold what is deleted from the catalog afterwards: they go, overwritten,
/// with the first job that does.
Result<void> remove_copies(const std::string& path);

}  // namespace dray
