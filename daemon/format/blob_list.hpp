// SPDX-License-Identifier: Apache-2.0
//
// Which blobs an export takes: the list of azure-import-export.md 5.2, as XML and as values. Pure; any thread.
#pragma once  // NOLINTBEGIN(readability-redundant-member-init): whoever names some members may leave the others out.

#include <string>
#include <string_view>
#include <vector>

#include "daemon/base/result.hpp"
#include "daemon/base/units.hpp"

namespace dray::format {

/// Of a list's XML; about half a million paths.
inline constexpr Bytes kMaxBlobList = 64 * kMiB;

struct Selected {
    /// Begins with '/': all blobs of which "/container/name" begins so, and their snapshots. Else one blob's path,
    /// "container/name".
    std::string text;
    /// Of a path: whether its snapshots come with it.
    bool with_snapshots = true;
    /// Of a path, unless empty: this snapshot of it alone, in the store's words.
    std::string snapshot{};

    bool is_prefix() const { return text.starts_with('/'); }
    bool operator==(const Selected&) const = default;
};

using BlobSelection = std::vector<Selected>;

/// One of 5.2 from its text. A path may begin with '/', which is left out; "/" alone means all. InvalidArgument: a prefix
/// that does not begin with '/', an empty text, one beyond the longest blob path.
Result<Selected> select_prefix(std::string_view text);
Result<Selected> select_path(std::string_view text);

/// In document order. Corrupt, with the line: no such list, an empty one, a DTD, IncludeSnapshots beside SnapshotTime, an
/// element or text that the grammar does not know. LimitReached: beyond kMaxBlobList.
Result<BlobSelection> read_blob_list(std::string_view xml);
/// Canonical: the same selection, the same bytes. A text that XML cannot hold has U+FFFD in its place.
std::string write_blob_list(const BlobSelection& selection);

}  // namespace dray::format, NOLINTEND(readability-redundant-member-init)
