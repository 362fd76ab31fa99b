// SPDX-License-Identifier: Apache-2.0
//
// What will be on a drive, known before a byte of it is written: the blobs of its manifest, the
// manifest's name and length, and how large the drive must be.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "daemon/base/digest.hpp"
#include "daemon/base/result.hpp"
#include "daemon/base/units.hpp"
#include "daemon/ctl/source_tree.hpp"
#include "daemon/format/drive_manifest.hpp"

namespace dray::ctl {

/// Where the blobs go: "lab", "lab/" and "lab/in" are a container and the start of the blobs'
/// names. InvalidArgument: no legal container, an empty component.
Result<std::string> parse_container(std::string_view text);
/// "rename", "no-overwrite" or "overwrite". InvalidArgument otherwise.
Result<format::Disposition> parse_disposition(std::string_view text);
/// InvalidArgument: below 4 KiB, or above what a manifest takes.
Result<void> check_block_size(Bytes block_size);
/// How long the pieces of a file are: `block_size`, or more, in whole MiB, where that would make
/// more pieces than a blob may have.
Bytes piece_length(Bytes file_size, Bytes block_size);

struct PlanOptions {
    /// From parse_container(): ends with '/'.
    std::string blob_prefix;
    std::string serial;
    Bytes block_size = 4 * kMiB;
    format::Disposition disposition = format::Disposition::Rename;
};

class DrivePlan {
public:
    /// LimitReached: no drive or manifest can hold that much.
    static Result<DrivePlan> make(const SourceTree& tree, PlanOptions options);

    /// In the root of the drive, as file systems name it. No file of the source has this name.
    const std::string& manifest_name() const { return manifest_name_; }
    /// As manifests and jobs name it: with a leading backslash.
    std::string manifest_path() const { return "\\" + manifest_name_; }
    /// Of the finished manifest, exactly.
    Bytes manifest_size() const { return manifest_size_; }
    /// Files and directories, the manifest among them.
    std::uint64_t inodes() const { return inodes_; }
    /// The smallest drive that is sure to hold it all.
    Bytes needed_size() const { return needed_size_; }

    /// The manifest's blob for a file, whose pieces have these digests.
    format::ManifestBlob blob(const SourceTree& tree, std::size_t entry,
                              std::span<const Md5Hash> hashes) const;
    format::ManifestWriter writer(format::ManifestWriter::Sink sink) const;
    Bytes piece_length_of(const SourceEntry& file) const;
    std::size_t pieces_of(const SourceEntry& file) const;

private:
    Result<void> choose_manifest_name(const SourceTree& tree);
    Result<void> measure_manifest(const SourceTree& tree);
    Result<void> measure_drive(const SourceTree& tree);

    PlanOptions options_;
    std::string manifest_name_;
    Bytes manifest_size_ = 0;
    std::uint64_t inodes_ = 0;
    Bytes needed_size_ = 0;
};

}  // namespace dray::ctl
