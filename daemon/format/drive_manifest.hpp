// SPDX-License-Identifier: Apache-2.0
//
// The drive manifest of azure-import-export.md 4, version 2014-11-01: read as a stream, written
// canonically. Pure text in, values out; memory does not grow with the manifest.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "daemon/base/digest.hpp"
#include "daemon/base/result.hpp"
#include "daemon/base/units.hpp"

namespace dray::format {

enum class Disposition { NoOverwrite, Overwrite, Rename };
std::string_view to_string(Disposition disposition);

/// A metadata or properties file on the drive.
struct SideFile {
    std::string path;
    Md5Hash hash{};
    /// It stands in the BlobList and holds for each of its blobs without one of its own.
    bool is_shared = false;
    bool operator==(const SideFile&) const = default;
};

struct ManifestPiece {
    Bytes offset = 0;
    Bytes length = 0;
    /// Blocks only; Base64, may be empty.
    std::string id;
    Md5Hash hash{};
};

struct ManifestBlob {
    /// As written: container/name.
    std::string blob_path;
    /// As written: \dir\file.
    std::string file_path;
    std::string client_data;
    std::string snapshot;
    Bytes length = 0;
    Disposition disposition = Disposition::Rename;
    bool is_page_blob = false;
    std::vector<ManifestPiece> pieces;
    /// Per blob, else those of its BlobList.
    std::optional<SideFile> metadata;
    std::optional<SideFile> properties;
};

struct ManifestLimits {
    Bytes size = kGiB;
    std::size_t blob_pieces = 50'000;
    /// Page blobs may have more ranges.
    std::size_t page_ranges = 2'100'000;
    unsigned depth = 16;
    std::size_t text = 64 * kKiB;
};

/// A pull-less stream reader: feed() the bytes, it calls `on_blob` for each blob in document order after
/// that blob's own rules (4.2, 4.3, 4.6) were checked; after finish() the drive's id is known to have
/// come first. The forms of BlobPath and FilePath are not looked at: a bad one is that blob's failure,
/// not the drive's. Corrupt with line number for anything that breaks the grammar, a DTD included. LimitReached
/// beyond the limits. What `on_blob` fails with ends the reading and is passed on. The first error
/// stays: later calls give it again.
class ManifestReader {
public:
    using OnBlob = std::function<Result<void>(ManifestBlob&&)>;
    /// Called once, before the first blob.
    using OnDriveId = std::function<Result<void>(const std::string&)>;

    ManifestReader(OnDriveId on_drive_id, OnBlob on_blob, ManifestLimits limits = {});
    ~ManifestReader();
    ManifestReader(const ManifestReader&) = delete;
    ManifestReader& operator=(const ManifestReader&) = delete;

    Result<void> feed(std::span<const std::byte> bytes);
    Result<void> finish();

    /// What stands in front of the blobs: known with the first of them. Version: as written, "" when it is missing.
    const std::string& version() const;
    /// There is a credential, as manifests of imports have it. It was not read.
    bool has_credential() const;

private:
    class Parser;
    std::unique_ptr<Parser> parser_;
};

/// The path of a file on a drive ("\s001\a.bin", "\\DriveManifest.xml") as components. InvalidArgument:
/// empty, "." or "..", a drive letter, a NUL; LimitReached: a component over 255 UTF-16 units or all over
/// 32,767.
Result<std::vector<std::string>> split_drive_path(std::string_view path);
/// The same joined by '/', as file systems look it up.
Result<std::string> to_lookup_path(std::string_view path);
/// The other way: "a/b" as manifests write it, "\\a\\b".
std::string to_manifest_path(std::string_view path);

/// Writes a manifest blob by blob. The output is canonical: same calls, same bytes. A new BlobList begins
/// where the shared side files change. InvalidArgument: a blob that ManifestReader would refuse, a text
/// that XML cannot hold.
class ManifestWriter {
public:
    using Sink = std::function<Result<void>(std::string_view)>;
    /// `container_sas` fills the credential that the format asks for on import (spec 10 #29); "" for export.
    ManifestWriter(Sink sink, std::string_view drive_id, std::string_view container_sas,
                   std::string_view client_creator);
    Result<void> blob(const ManifestBlob& blob);
    Result<void> finish();

private:
    Result<void> write(std::string_view text);
    Result<void> flush();
    Result<void> open_list(const ManifestBlob& blob);
    Result<void> write_pieces(const ManifestBlob& blob);
    bool fits_list(const ManifestBlob& blob) const;

    Sink sink_;
    std::string drive_id_;
    std::string container_sas_;
    std::string client_creator_;
    std::string buffer_;
    bool has_head_ = false;
    bool is_open_ = false;
    /// Those of the open BlobList.
    std::optional<SideFile> metadata_;
    std::optional<SideFile> properties_;
};

/// XML text with & < > " and tabs and line breaks escaped; what XML cannot hold (other control characters,
/// bytes that are no UTF-8) becomes U+FFFD.
std::string escape_xml(std::string_view text);

}  // namespace dray::format
