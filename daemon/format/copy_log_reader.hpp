// SPDX-License-Identifier: Apache-2.0
//
// Copy logs of azure-import-export.md 6 as a stream: our own and those of others, error and verbose ones.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "daemon/base/digest.hpp"
#include "daemon/base/result.hpp"
#include "daemon/base/units.hpp"
#include "daemon/format/copy_log.hpp"
#include "daemon/format/drive_manifest.hpp"

namespace dray::format {

struct LoggedPiece {
    Bytes offset = 0;
    Bytes length = 0;
    std::optional<Md5Hash> hash;
    PieceOutcome outcome = PieceOutcome::Failed;
};

/// A blob as a log tells of it. Words that are not known count as Failed; an error log leaves out what went well.
struct LoggedBlob {
    BlobOutcome outcome = BlobOutcome::Failed;
    /// The final name, a renamed one included.
    std::string blob_path;
    std::string file_path;
    std::string snapshot;
    Bytes length = 0;
    Disposition disposition = Disposition::Rename;
    /// Nothing in logs of exports.
    std::optional<DispositionOutcome> disposition_outcome;
    bool is_page_blob = false;
    std::vector<LoggedPiece> pieces;
    std::optional<SideFileOutcome> metadata;
    std::optional<SideFileOutcome> properties;

    /// There is something of it that a repair has to bring: content, metadata or properties.
    bool needs_repair() const;
    /// Some of its content, or all of it, is in the store under its name.
    bool is_in_store() const;
};

class CopyLogReader {
public:
    using OnBlob = std::function<Result<void>(LoggedBlob&&)>;
    /// Each blob in the order of the log. What it fails with ends the reading.
    explicit CopyLogReader(OnBlob on_blob);
    ~CopyLogReader();
    CopyLogReader(const CopyLogReader&) = delete;
    CopyLogReader& operator=(const CopyLogReader&) = delete;

    /// Corrupt with the line: no XML, another root, a number or hash that is none. LimitReached: as manifests.
    Result<void> feed(std::span<const std::byte> bytes);
    /// Corrupt also: no DriveId.
    Result<void> finish();

    const std::string& drive_id() const;
    /// Word of 6.3.
    const std::string& status() const;

private:
    class Parser;
    std::unique_ptr<Parser> parser_;
};

}  // namespace dray::format
