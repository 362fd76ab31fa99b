// SPDX-License-Identifier: Apache-2.0
//
// Which blob goes onto which drive: a blob is never split, and each drive takes, largest first, what still fits
// (azure-import-export.md 5.5). What a preview says and what an export does is worked out here alike. One thread.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "daemon/base/result.hpp"
#include "daemon/base/units.hpp"
#include "daemon/database/database.hpp"
#include "drivers/store/blob_store.hpp"

namespace dray::transfer {

/// What a drive has room for: content with file system and directories, and the manifest, which has a limit of its own.
struct DriveRoom {
    Bytes content = 0;
    Bytes manifest = 0;
    bool operator==(const DriveRoom&) const = default;
};

/// Of an empty drive: less the volume's header, the file system's own and a reserve of 64 MiB or one per cent.
DriveRoom room_of_drive(Bytes size);
/// Whether any drive can take it; a sentence about why not, or "".
std::string why_never(const store::BlobStatus& blob);

class ExportPlan {
public:
    /// What was planned for one drive.
    struct Share {
        std::uint64_t blobs = 0;
        /// Of the blobs' content.
        Bytes bytes = 0;
        /// On the drive, with all that belongs to it.
        DriveRoom occupied;
    };
    struct Blob {
        std::int64_t id = 0;
        BlobName name;
        store::BlobType type = store::BlobType::Block;
        Bytes length = 0;
        /// Why no drive can take it, or "".
        std::string problem;
    };

    /// Makes the file or opens what an earlier process has made.
    static Result<std::unique_ptr<ExportPlan>> open(const std::string& path);

    /// Starts anew: forgets every blob. From here to end() nothing is on disk for good.
    Result<void> begin();
    /// In the order in which they were found: directories are counted by the name before.
    Result<void> add(const store::BlobStatus& blob);
    /// The list is complete and survives a power cut.
    Result<void> end();
    /// Whether end() was reached, by whomever.
    Result<bool> is_complete() const;

    /// Gives the drive what fits of what nobody has; what it has already stays its own and is part of the answer.
    Result<Share> assign(const std::string& drive, const DriveRoom& room);
    /// There was no room for it after all: nobody has it again.
    Result<void> give_back(const BlobName& name);
    /// What the drive has and has not taken is nobody's again: all of it, or none.
    Result<void> give_all_back(const std::string& drive);
    /// By what they need, largest first, those that nobody has; with a problem or without.
    Result<void> each_left(const std::function<Result<void>(const Blob&)>& visit) const;
    /// Those of a drive by name.
    Result<void> each_of(const std::string& drive, const std::function<Result<void>(const Blob&)>& visit) const;

private:
    explicit ExportPlan(Database database) : database_(std::move(database)) {}
    Result<Share> share_of(const std::string& drive) const;
    Result<void> each(Statement query, const std::function<Result<void>(const Blob&)>& visit) const;

    Database database_;
    Statement put_;
    /// Of the last one added: container and directories.
    std::string folder_;
};

}  // namespace dray::transfer
