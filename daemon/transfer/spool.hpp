// SPDX-License-Identifier: Apache-2.0
//
// The manifest, copied from the drive once while it is hashed, checked whole, and read as often as needed
// (rules.md 13). It lies beside the journal under a name, so that the error log can be written when the
// drive is gone. One thread.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "daemon/base/file_descriptor.hpp"
#include "daemon/base/result.hpp"
#include "daemon/drive/client.hpp"
#include "daemon/format/drive_manifest.hpp"

namespace dray::transfer {

/// A failure that ends the drive as a whole, with its word of azure-import-export.md 6.3.
struct Refusal {
    std::string status;
    Error error;
};

struct ManifestTotals {
    std::uint64_t blobs = 0;
    Bytes bytes = 0;
};

/// What counts as a blob's bytes: all of a block blob, the ranges of a page blob.
Bytes bytes_of(const format::ManifestBlob& blob);

class Spool {
public:
    /// Copies the manifest at `path` on the drive and compares its hash. A Refusal for what the drive is;
    /// an Error of kind Gone, or of ours (a full disk), otherwise.
    static Result<std::expected<Spool, Refusal>> copy(drive::Client& drive, const std::string& directory,
                                                      const std::string& path, const std::string& hash);
    /// The spool of an earlier transfer. NotFound: none.
    static Result<Spool> open(const std::string& directory);

    /// Everything that can be wrong with a manifest, before the first upload.
    std::expected<ManifestTotals, Refusal> check(const std::string& serial) const;

    /// Each blob in document order with its place. What `visit` fails with ends the walk.
    using Visit = std::function<Result<void>(std::uint64_t index, format::ManifestBlob&& blob)>;
    Result<void> walk(const Visit& visit) const;
    /// The whole text, for the backup. The descriptor stays the spool's.
    int fd() const { return file_.get(); }
    Bytes size() const { return size_; }

private:
    Result<void> read(Bytes offset, std::span<std::byte> content) const;

    FileDescriptor file_;
    Bytes size_ = 0;
};

}  // namespace dray::transfer
