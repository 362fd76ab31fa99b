// SPDX-License-Identifier: Apache-2.0
//
// The manifest, copied from the drive once while it is hashed, checked whole, and read as often as needed
// (rules.md 13). Whoever wants it kept gives a file with a name. One thread.
#pragma once

#include <cstdint>
#include <expected>
#include <functional>
#include <string>

#include "daemon/base/file_descriptor.hpp"
#include "daemon/base/result.hpp"
#include "daemon/drive/client.hpp"
#include "daemon/format/drive_manifest.hpp"

namespace dray::manifest {

/// A failure that ends the drive as a whole, with its word of azure-import-export.md 6.3.
struct Refusal {
    std::string status;
    Error error;
};

/// What a manifest says of itself and all its blobs together.
struct Contents {
    std::string version;
    std::string drive_id;
    /// It names a credential, as manifests of imports do.
    bool has_credential = false;
    std::uint64_t blobs = 0;
    Bytes bytes = 0;
};

/// What counts as a blob's bytes: all of a block blob, the ranges of a page blob.
Bytes bytes_of(const format::ManifestBlob& blob);

class Spool {
public:
    /// Copies the manifest at `path` on the drive into `file`, which is empty and open for reading and writing, and
    /// compares its hash; an empty `hash` is any. `name` is the file's, for errors. A Refusal for what the drive is;
    /// an Error of kind Gone, or of ours (a full disk), otherwise.
    static Result<std::expected<Spool, Refusal>> copy(drive::Client& drive, FileDescriptor file, const std::string& name,
                                                      const std::string& path, const std::string& hash);
    /// One that was copied before.
    static Result<Spool> open(FileDescriptor file, const std::string& name);

    /// Everything that can be wrong with a manifest, before the first upload. An empty `serial` is any drive's.
    std::expected<Contents, Refusal> check(const std::string& serial) const;

    /// Each blob in document order with its place. What `visit` fails with ends the walk.
    using Visit = std::function<Result<void>(std::uint64_t index, format::ManifestBlob&& blob)>;
    Result<void> walk(const Visit& visit) const;
    /// The whole text, for the backup. The descriptor stays the spool's.
    int fd() const { return file_.get(); }
    Bytes size() const { return size_; }
    /// In hex, of the kind that was asked for, else MD5; "" when it was not copied by this object.
    const std::string& hash() const { return hash_; }

private:
    Spool(FileDescriptor file, Bytes size, std::string hash);
    Result<void> read(Bytes offset, std::span<std::byte> content) const;
    FileDescriptor file_;
    Bytes size_ = 0;
    std::string hash_;
};

}  // namespace dray::manifest
