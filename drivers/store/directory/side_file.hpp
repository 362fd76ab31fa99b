// SPDX-License-Identifier: Apache-2.0
//
// What the directory store keeps beside a blob's content: a small JSON document. A blob without one is a
// block blob without properties and metadata.
#pragma once

#include <string>

#include "daemon/base/result.hpp"
#include "drivers/store/blob_store.hpp"

namespace dray::store {

struct SideFile {
    BlobName name;
    BlobType type = BlobType::Block;
    BlobProperties properties;
    BlobMetadata metadata;

    /// Says nothing that the content file does not say itself.
    bool is_trivial() const {
        return type == BlobType::Block && properties == BlobProperties() && metadata.empty();
    }
};

inline constexpr Bytes kMaxSideFile = 256 * kKiB;

/// InvalidArgument: longer than kMaxSideFile.
Result<std::string> write_side_file(const SideFile& side);
/// Corrupt: not such a document.
Result<SideFile> read_side_file(const std::string& text);

}  // namespace dray::store
