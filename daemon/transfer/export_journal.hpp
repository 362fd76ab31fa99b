// SPDX-License-Identifier: Apache-2.0
//
// What one drive of an export is to get, and what of it is there: an SQLite file beside the state file of the filling. Rows are
// true as of a generation; the drive's last checkpoint says which one counts. One thread.
#pragma once  // NOLINTBEGIN(readability-redundant-member-init): whoever names some members may leave the others out.

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "daemon/base/digest.hpp"
#include "daemon/base/result.hpp"
#include "daemon/base/units.hpp"
#include "daemon/database/database.hpp"
#include "daemon/format/copy_log.hpp"
#include "daemon/format/drive_manifest.hpp"
#include "drivers/store/blob_store.hpp"

namespace dray::transfer {

struct ExportEntry {
    std::uint64_t index = 0;
    BlobName name;
    bool is_page_blob = false;
    /// As it was when it was planned; from then on as it was read.
    Bytes length = 0;
    /// On the drive, with '/' between its components.
    std::string path;
};

/// How a blob has ended.
struct ExportOutcome {
    std::uint64_t index = 0;
    format::BlobOutcome outcome = format::BlobOutcome::Completed;
    /// There was no room for it: it belongs on the incomplete list and into no log.
    bool has_no_room = false;
    Bytes length = 0;
    TimePoint modified{};
    std::vector<format::ManifestPiece> pieces{};
    std::optional<format::SideFile> metadata{};
    std::optional<format::SideFile> properties{};
};

/// A blob of which a part is on the drive.
struct ExportPart {
    std::uint64_t index = 0;
    std::string etag;
    /// Of its first pieces.
    std::vector<Md5Hash> hashes;
    /// Metadata and properties files that were made for it already, as paths on the drive.
    std::vector<std::string> sides{};
};

class ExportJournal {
public:
    /// NotFound: there is none yet.
    static Result<std::unique_ptr<ExportJournal>> open(const std::string& directory);
    /// A new one in the place of what was there; `fill` calls add() for each entry, in the order of their paths.
    static Result<std::unique_ptr<ExportJournal>> make(const std::string& directory,
                                                       const std::function<Result<void>(ExportJournal&)>& fill);
    Result<void> add(const ExportEntry& entry);

    struct Totals {
        std::uint64_t blobs = 0;
        Bytes bytes = 0;
    };
    Result<Totals> totals() const;
    /// Of those that have ended: blobs, bytes, and blobs that failed.
    struct Done : Totals {
        std::uint64_t failed = 0;
        Bytes bytes_succeeded = 0;
    };
    Result<Done> done() const;

    /// Durable when it returns: what has ended since, and what is begun. Answers the generation, for the checkpoint's progress.
    Result<std::uint64_t> commit(const std::vector<ExportOutcome>& ended, const std::vector<ExportPart>& begun);
    /// The drive is as of this generation: what came later is forgotten. 0: nothing is on it.
    Result<void> go_back_to(std::uint64_t generation);
    Result<std::vector<ExportPart>> begun() const;

    /// The next one from `index` on that has not ended.
    Result<std::optional<ExportEntry>> next(std::uint64_t index) const;
    Result<ExportEntry> entry(std::uint64_t index) const;
    /// Those that have ended by their index, and others, with no outcome, if `with_others`.
    using Visit = std::function<Result<void>(const ExportEntry& entry, const std::optional<ExportOutcome>& outcome)>;
    Result<void> walk(bool with_others, const Visit& visit) const;

private:
    explicit ExportJournal(Database database) : database_(std::move(database)) {}
    static ExportEntry read_entry(const Statement& row);

    Database database_;
    Statement add_;
};

}  // namespace dray::transfer, NOLINTEND(readability-redundant-member-init)
