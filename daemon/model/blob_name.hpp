// SPDX-License-Identifier: Apache-2.0
//
// Names of containers and blobs, and the rename rule.
#pragma once  // NOLINTBEGIN(readability-redundant-member-init): whoever names some members may leave the others out.

#include <compare>
#include <cstdint>
#include <string>
#include <string_view>

#include "daemon/base/result.hpp"

namespace dray {

/// "container/dir/name". The root container is "$root"; its blobs have no '/' in their names.
struct BlobName {
    std::string container;
    std::string name;
    /// Unless empty, this snapshot of the blob, in the store's own words; it can be read and removed, not written.
    std::string snapshot{};

    /// Without the snapshot.
    std::string path() const { return container + "/" + name; }
    auto operator<=>(const BlobName&) const = default;
};

/// Taken literally as Unicode, never percent-decoded. InvalidArgument: no container, a container not
/// of 3-63 lower-case letters, digits, single hyphens (or "$root"), a name empty, over 1024 characters
/// or not UTF-8, or with a NUL.
Result<BlobName> parse_blob_path(std::string_view path);
Result<void> check_container(std::string_view container);

/// The n-th candidate of the disposition `rename` (azure-import-export.md 4.4): " (n)" before the last
/// dot of the last segment, or at its end. NotFound beyond n = 9999 or 1024 characters.
Result<BlobName> renamed(const BlobName& name, unsigned n);

}  // namespace dray, NOLINTEND(readability-redundant-member-init)
