// SPDX-License-Identifier: Apache-2.0
#include "daemon/transfer/export_plan.hpp"

#include <algorithm>
#include <limits>
#include <string_view>
#include <utility>

#include "daemon/format/drive_manifest.hpp"
#include "daemon/transfer/group_access.hpp"

namespace dray::transfer {
namespace {

constexpr Bytes kBlock = 4096;
constexpr Bytes kInode = 256;
/// LUKS2 with its two headers and key slots.
constexpr Bytes kVolumeHeader = 16 * kMiB;
/// An ext4's longest file with blocks of 4 KiB.
constexpr Bytes kMaxFile = Bytes{16} * 1024 * kGiB - kBlock;
constexpr Bytes kPiece = 4 * kMiB;
/// Of the manifest's XML: head and end; a blob without its paths; a piece.
constexpr Bytes kManifestFrame = 512;
constexpr Bytes kBlobText = 400;
constexpr Bytes kPieceText = 160;

constexpr const char* kSchema =
    "CREATE TABLE IF NOT EXISTS blob(id INTEGER PRIMARY KEY, container TEXT NOT NULL, name TEXT NOT NULL,"
    " snapshot TEXT NOT NULL, is_page INTEGER NOT NULL, length INTEGER NOT NULL, space INTEGER NOT NULL,"
    " manifest INTEGER NOT NULL, problem TEXT NOT NULL, drive TEXT) STRICT;"
    "CREATE INDEX IF NOT EXISTS by_space ON blob(drive, space DESC, id);"
    "CREATE INDEX IF NOT EXISTS by_name ON blob(container, name, snapshot);"
    "CREATE TABLE IF NOT EXISTS listed(complete INTEGER NOT NULL) STRICT;";

constexpr Bytes round_up(Bytes bytes, Bytes to) { return (bytes + to - 1) / to * to; }

/// What mke2fs sets aside for whoever mounts it.
Bytes journal_of(Bytes size) {
    if (size < 96 * kMiB)
        return 4 * kMiB;
    if (size < 900 * kMiB)
        return 16 * kMiB;
    return size < 1800 * kMiB ? 32 * kMiB : 64 * kMiB;
}

/// A file or directory with an entry under `name`; blocks of directories are not always full.
Bytes space_of_entry(Bytes content, std::size_t name) {
    return std::max(kBlock, round_up(content, kBlock)) + kInode + 2 * (8 + round_up(name, 4));
}

std::string_view folder_of(std::string_view path) { return path.substr(0, path.rfind('/')); }

/// Directories of `folder` that are not among those of `before`, which came just before it.
Bytes space_of_new_folders(std::string_view before, std::string_view folder) {
    Bytes space = 0;
    for (std::size_t begin = 0; begin <= folder.size();) {
        const std::size_t end = std::min(folder.find('/', begin), folder.size());
        const std::string_view path = folder.substr(0, end);
        const bool is_known = before == path || (before.starts_with(path) && before[path.size()] == '/');
        if (!is_known)
            space += space_of_entry(kBlock, end - begin);
        begin = end + 1;
    }
    return space;
}

}  // namespace

DriveRoom room_of_drive(Bytes size) {
    const Bytes taken = kVolumeHeader + journal_of(size) + std::max(64 * kMiB, size / 100);
    return {size > taken ? size - taken : 0, format::ManifestLimits().size - kManifestFrame};
}

std::string why_never(const store::BlobStatus& blob) {
    if (blob.is_archived)
        return "it is archived; it has to be brought back to another tier first";
    if (blob.name.name.ends_with('/'))
        return "no file can have its name, which ends in /";
    if (blob.length > kMaxFile)
        return fmt::format("it has {}, more than a file on a drive can have", format_bytes(blob.length));
    return {};
}

Result<std::unique_ptr<ExportPlan>> ExportPlan::open(const std::string& path) {
    DRAY_LET(Database database, Database::open(path, kFileMode));
    DRAY_TRY(database.execute(kSchema));
    return std::unique_ptr<ExportPlan>(new ExportPlan(std::move(database)));
}

Result<void> ExportPlan::begin() {
    folder_.clear();
    DRAY_LET(put_, database_.prepare("INSERT INTO blob(container, name, snapshot, is_page, length, space, manifest, problem)"
                                     " VALUES(?1,?2,?3,?4,?5,?6,?7,?8)"));
    return database_.execute("BEGIN IMMEDIATE; DELETE FROM listed; DELETE FROM blob");
}

Result<void> ExportPlan::add(const store::BlobStatus& blob) {
    const std::string path = blob.name.path();
    const std::string_view file = std::string_view(path).substr(path.rfind('/') + 1);
    const Bytes pieces = (blob.length + kPiece - 1) / kPiece;
    // The content, and beside it a properties and, where there is metadata, a metadata file.
    constexpr std::size_t kSuffix = 32;
    Bytes space = space_of_entry(blob.length, file.size() + kSuffix) + space_of_entry(kBlock, file.size() + kSuffix);
    if (!blob.metadata.empty())
        space += space_of_entry(2 * kBlock, file.size() + kSuffix);
    // Nodes of its extents.
    space += blob.length / 256;
    space += space_of_new_folders(folder_, folder_of(path));
    folder_ = folder_of(path);
    // Its path stands in four places; a character can take six.
    const Bytes manifest = kBlobText + pieces * kPieceText + 8 * path.size();
    const std::string problem = why_never(blob);
    put_.bind(blob.name.container).bind(blob.name.name).bind(blob.name.snapshot).bind(blob.type == store::BlobType::Page);
    put_.bind(blob.length).bind(space + manifest).bind(manifest).bind(problem);
    return put_.run();
}

Result<void> ExportPlan::end() { return database_.execute("INSERT INTO listed VALUES(1); COMMIT"); }

Result<bool> ExportPlan::is_complete() const {
    DRAY_LET(Statement find, database_.prepare("SELECT 1 FROM listed"));
    return find.step();
}

Result<ExportPlan::Share> ExportPlan::share_of(const std::string& drive) const {
    DRAY_LET(Statement sum, database_.prepare("SELECT count(*), sum(length), sum(space), sum(manifest) FROM blob WHERE drive=?1"));
    DRAY_LET([[maybe_unused]] const bool is_there, sum.bind(drive).step());
    return Share{sum.unsigned_number(0), sum.unsigned_number(1), {sum.unsigned_number(2), sum.unsigned_number(3)}};
}

Result<ExportPlan::Share> ExportPlan::assign(const std::string& drive, const DriveRoom& room) {
    DRAY_LET(Share share, share_of(drive));
    const auto take = [&]() -> Result<void> {
        DRAY_LET(Statement give, database_.prepare("UPDATE blob SET drive=?1 WHERE id=?2"));
        DRAY_LET(Statement next,
                 database_.prepare("SELECT id, space, manifest, length FROM blob WHERE drive IS NULL AND problem=''"
                                   " AND space<=?1 AND NOT (space=?2 AND id<=?3) ORDER BY space DESC, id LIMIT 1"));
        // Where the search goes on: behind what was taken or did not fit last.
        Bytes space = std::numeric_limits<std::int64_t>::max();
        std::int64_t id = 0;
        for (;;) {
            const Bytes left = room.content - std::min(room.content, share.occupied.content);
            DRAY_LET(const bool is_there, next.bind(std::min(left, space)).bind(space).bind(id).step());
            if (!is_there)
                return {};
            id = next.number(0);
            space = next.unsigned_number(1);
            const Bytes manifest = next.unsigned_number(2);
            const Bytes length = next.unsigned_number(3);
            next.reset();
            if (share.occupied.manifest + manifest > room.manifest)
                continue;
            DRAY_TRY(give.bind(drive).bind(id).run());
            ++share.blobs;
            share.bytes += length;
            share.occupied.content += space;
            share.occupied.manifest += manifest;
        }
    };
    DRAY_TRY(database_.transaction(take));
    return share;
}

Result<void> ExportPlan::give_back(const BlobName& name) {
    DRAY_LET(Statement give, database_.prepare("UPDATE blob SET drive=NULL WHERE container=?1 AND name=?2 AND snapshot=?3"));
    return give.bind(name.container).bind(name.name).bind(name.snapshot).run();
}

Result<void> ExportPlan::give_all_back(const std::string& drive) {
    DRAY_LET(Statement give, database_.prepare("UPDATE blob SET drive=NULL WHERE drive=?1"));
    return give.bind(drive).run();
}

Result<void> ExportPlan::each(Statement query, const std::function<Result<void>(const Blob&)>& visit) const {
    for (;;) {
        DRAY_LET(const bool is_there, query.step());
        if (!is_there)
            return {};
        Blob blob;
        blob.id = query.number(0);
        blob.name = {query.text(1), query.text(2), query.text(3)};
        blob.type = query.flag(4) ? store::BlobType::Page : store::BlobType::Block;
        blob.length = query.unsigned_number(5);
        blob.problem = query.text(6);
        DRAY_TRY(visit(blob));
    }
}

Result<void> ExportPlan::each_left(const std::function<Result<void>(const Blob&)>& visit) const {
    DRAY_LET(Statement query, database_.prepare("SELECT id, container, name, snapshot, is_page, length, problem FROM blob"
                                                " WHERE drive IS NULL ORDER BY space DESC, id"));
    return each(std::move(query), visit);
}

Result<void> ExportPlan::each_of(const std::string& drive, const std::function<Result<void>(const Blob&)>& visit) const {
    DRAY_LET(Statement query, database_.prepare("SELECT id, container, name, snapshot, is_page, length, problem FROM blob"
                                                " WHERE drive=?1 ORDER BY container, name, snapshot"));
    query.bind(drive);
    return each(std::move(query), visit);
}

}  // namespace dray::transfer
