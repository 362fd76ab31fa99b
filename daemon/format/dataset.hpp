// SPDX-License-Identifier: Apache-2.0
//
// The dataset and drive-set files of azure-import-export.md 7.3: what goes onto drives, and onto which.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "daemon/base/result.hpp"
#include "daemon/format/drive_manifest.hpp"

namespace dray::format {

enum class BlobType { Block, Page };

struct DatasetRow {
    /// Where it stands in the file, for messages.
    unsigned line = 0;
    /// A directory if it ends with '/', else a file; absolute.
    std::string base_path;
    /// A container and the start of the blobs' names, which ends with '/'; for a file, the whole of its blob's path.
    std::string destination;
    /// Nothing: by the files' names (7.3).
    std::optional<BlobType> type;
    Disposition disposition = Disposition::Rename;
    /// "" for none.
    std::string metadata_file;
    std::string properties_file;

    bool is_directory() const { return base_path.ends_with('/'); }
};

struct DriveSetRow {
    unsigned line = 0;
    /// Path of a device or an image.
    std::string path;
    /// What it holds is overwritten without a question.
    bool is_silent = false;
    // Columns that Windows' tool does not know; "" where they are missing.
    std::string serial;
    std::string key_file;
    /// As parse_bytes() takes it.
    std::string size;
};

/// "block", "BlockBlob", "page", "PageBlob". InvalidArgument for any other.
Result<BlobType> parse_blob_type(std::string_view text);
/// "rename", "no-overwrite", "overwrite". InvalidArgument for any other.
Result<Disposition> parse_disposition(std::string_view text);
/// Whether a file becomes a page blob where nothing is said: *.vhd and *.vhdx, in any case.
bool is_page_by_name(std::string_view name);

/// The columns by their names in the first row, in any order; DstBlobPathOrPrefix and BlobType may be called
/// DstItemPathOrPrefix and ItemType. InvalidArgument with the line: a column that is not known, missing or there twice, a
/// value that it does not have, a path that is not absolute, no row at all. Unsupported: rows for file shares.
Result<std::vector<DatasetRow>> read_dataset(std::string_view csv);
/// The same for DriveLetter, FormatOption, SilentOrPromptOnFormat, Encryption, ExistingBitLockerKey, Serial, KeyFile and
/// Size. Unsupported: drives that are not to be formatted, or not encrypted. InvalidArgument: also a path that comes twice.
Result<std::vector<DriveSetRow>> read_driveset(std::string_view csv);

}  // namespace dray::format
