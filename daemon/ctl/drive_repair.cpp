// SPDX-License-Identifier: Apache-2.0
#include "daemon/ctl/drive_repair.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <map>
#include <optional>
#include <span>
#include <tuple>
#include <utility>

#include <fmt/format.h>

#include "daemon/base/encoding.hpp"
#include "daemon/base/file.hpp"
#include "daemon/ctl/drive_making.hpp"
#include "daemon/ctl/interrupt.hpp"
#include "daemon/ctl/key_file.hpp"
#include "daemon/ctl/live_verbs.hpp"
#include "daemon/ctl/originals.hpp"
#include "daemon/ctl/path_map.hpp"
#include "daemon/ctl/progress_line.hpp"
#include "daemon/format/blob_properties.hpp"
#include "daemon/format/copy_log_reader.hpp"
#include "daemon/model/drive.hpp"

namespace dray::ctl {
namespace {

constexpr Bytes kRing = 4 * kMiB;
constexpr std::size_t kChunk = kMiB;
constexpr std::uint32_t kSideFile = 1;
constexpr std::size_t kMostBlobs = 1'000'000;
constexpr std::size_t kMostShown = 20;
constexpr int kExitNotAll = 1;

/// A blob that has to be brought again.
struct Repair {
    /// As it will be in the new manifest.
    std::string blob_path;
    std::string file_path;
    std::string status;
    format::Disposition disposition = format::Disposition::Rename;
    bool is_page_blob = false;
    Original original;
    std::optional<std::size_t> metadata;
    std::optional<std::size_t> properties;

    bool is_found() const { return original.result == SearchResult::Right; }
};

/// What a log says that went wrong: by the file's path on the drive, then in the order of the log.
struct Failures {
    std::multimap<std::string, format::LoggedBlob> blobs;
    std::string drive_id;
    std::string status;
    Bytes bytes = 0;
};

Result<Failures> read_log(const std::string& path) {
    Failures failures;
    format::CopyLogReader reader([&](format::LoggedBlob&& blob) -> Result<void> {
        if (!blob.needs_repair())
            return {};
        if (failures.blobs.size() >= kMostBlobs)
            return fail(ErrorKind::LimitReached, "more than {} blobs failed: import the drive anew", kMostBlobs);
        failures.bytes += blob.length;
        // The manifest has them too, and says more of them.
        const bool is_in_store = blob.is_in_store();
        blob.pieces.clear();
        if (!is_in_store)
            blob.disposition_outcome = format::DispositionOutcome::Cancelled;
        failures.blobs.emplace(blob.file_path, std::move(blob));
        return {};
    });
    DRAY_LET(const FileDescriptor file, open_file(path, O_RDONLY));
    std::vector<std::byte> chunk(kChunk);
    for (;;) {
        DRAY_TRY(check_interrupt());
        const ssize_t count = read(file.get(), chunk.data(), chunk.size());
        if (count < 0 && errno == EINTR)
            continue;
        if (count < 0)
            return fail_errno(errno, "cannot read {}", path);
        if (count == 0)
            break;
        if (Result<void> fed = reader.feed(std::span(chunk).first(static_cast<std::size_t>(count))); !fed)
            return fail(std::move(fed.error()), "{}", path);
    }
    if (Result<void> finished = reader.finish(); !finished)
        return fail(std::move(finished.error()), "{}", path);
    failures.drive_id = reader.drive_id();
    failures.status = reader.status();
    return failures;
}

/// The failure that is about this blob of the manifest; it is taken away.
std::optional<format::LoggedBlob> take_failure(Failures& failures, const format::ManifestBlob& blob) {
    const auto [begin, end] = failures.blobs.equal_range(blob.file_path);
    auto found = std::find_if(begin, end, [&](const auto& each) { return each.second.blob_path == blob.blob_path; });
    // A renamed one has another name in the log; several blobs of one file come in one order in both.
    if (found == end)
        found = begin;
    if (found == end)
        return std::nullopt;
    format::LoggedBlob failure = std::move(found->second);
    failures.blobs.erase(found);
    return failure;
}

/// Finds out what has to be done; nothing is written.
class Planner {
public:
    Planner(DriveReader& reader, Failures& failures, Originals& originals)
        : reader_(reader), failures_(failures), originals_(originals) {}

    Result<void> run(const manifest::Spool& spool) {
        const auto visit = [this](std::uint64_t, format::ManifestBlob&& blob) -> Result<void> {
            DRAY_TRY(check_interrupt());
            const std::optional<format::LoggedBlob> failure = take_failure(failures_, blob);
            return failure ? plan(blob, *failure) : Result<void>();
        };
        DRAY_TRY(spool.walk(visit));
        if (!failures_.blobs.empty())
            return fail(ErrorKind::Conflict, "the log names {}, which the drive's manifest does not have: it is the log of "
                                             "another drive, or of another manifest",
                        failures_.blobs.begin()->second.blob_path);
        return {};
    }

    std::vector<Repair>& repairs() { return repairs_; }
    std::vector<SourceSideFile>& side_files() { return side_files_; }

private:
    Result<void> plan(const format::ManifestBlob& blob, const format::LoggedBlob& failure) {
        Repair repair;
        const bool is_in_store = failure.disposition_outcome != format::DispositionOutcome::Cancelled;
        // What is there, with a hole or without its metadata, is replaced; what is not comes as it was meant to.
        repair.blob_path = is_in_store ? failure.blob_path : blob.blob_path;
        repair.disposition = is_in_store ? format::Disposition::Overwrite : blob.disposition;
        repair.file_path = blob.file_path;
        repair.status = to_string(failure.outcome);
        repair.is_page_blob = blob.is_page_blob;
        DRAY_LET(repair.original, originals_.find(blob));
        if (repair.is_found())
            DRAY_TRY(take_side_files(blob, repair));
        repairs_.push_back(std::move(repair));
        return {};
    }

    Result<void> take_side_files(const format::ManifestBlob& blob, Repair& repair) {
        for (const auto& [file, is_metadata, place] : {std::tuple(&blob.metadata, true, &repair.metadata),
                                                       std::tuple(&blob.properties, false, &repair.properties)}) {
            if (!*file)
                continue;
            Result<std::size_t> index = side_file(**file, is_metadata);
            if (index) {
                *place = *index;
                continue;
            }
            if (index.error().kind() == ErrorKind::Gone || index.error().kind() == ErrorKind::Cancelled)
                return fail(std::move(index.error()));
            repair.original.result = SearchResult::Missing;
            repair.original.reason = index.error().text();
        }
        return {};
    }

    /// From the drive, if it is right there, else from the sources.
    Result<std::size_t> side_file(const format::SideFile& file, bool is_metadata) {
        const auto known = std::ranges::find_if(side_files_, [&](const SourceSideFile& each) {
            return each.hash == file.hash && each.is_metadata == is_metadata;
        });
        if (known != side_files_.end())
            return static_cast<std::size_t>(known - side_files_.begin());
        DRAY_LET(std::string content, read_from_drive(file));
        if (content.empty()) {
            DRAY_LET(content, originals_.find_side_file(file));
        }
        const bool is_good = is_metadata ? format::read_metadata(content).has_value()
                                         : format::read_properties(content).has_value();
        if (!is_good)
            return fail(ErrorKind::Corrupt, "its file {} is no {} file, as the drive has it too", file.path,
                        is_metadata ? "metadata" : "properties");
        side_files_.push_back({is_metadata, std::move(content), file.hash});
        return side_files_.size() - 1;
    }

    /// "" when it is not as it should be there.
    Result<std::string> read_from_drive(const format::SideFile& file) {
        const Result<std::string> path = format::to_lookup_path(file.path);
        if (!path)
            return std::string();
        const auto gone = [&](const Error& error) { return error.kind() == ErrorKind::Gone; };
        Result<Bytes> size = reader_.client().open(kSideFile, *path);
        if (!size)
            return gone(size.error()) ? Result<std::string>(fail(reader_.explained(size.error()))) : std::string();
        std::string content(*size <= format::kMaxSideFile ? static_cast<std::size_t>(*size) : 0, '\0');
        const Result<void> read = reader_.client().read(kSideFile, 0, std::as_writable_bytes(std::span(content)));
        if (!read && gone(read.error()))
            return fail(reader_.explained(read.error()));
        DRAY_TRY(reader_.client().close(kSideFile));
        if (!read || md5(std::as_bytes(std::span(content))) != file.hash)
            return std::string();
        return content;
    }

    DriveReader& reader_;
    Failures& failures_;
    Originals& originals_;
    std::vector<Repair> repairs_;
    std::vector<SourceSideFile> side_files_;
};

struct Plan {
    std::string drive_id;
    std::string status;
    std::vector<Repair> repairs;
    std::vector<SourceSideFile> side_files;
    std::size_t found = 0;
};

Result<PathMap> load_path_map(const std::string& path) {
    if (path.empty())
        return PathMap();
    const Result<std::string> text = read_file(path, kMaxPathMap);
    if (!text && text.error().kind() == ErrorKind::NotFound)
        return PathMap();
    if (!text)
        return fail(text.error());
    Result<PathMap> map = read_path_map(*text);
    if (!map)
        return fail(std::move(map.error()), "the path map {}", path);
    return map;
}

/// Those that were not found, for who knows where they are; and what was written there before.
Result<void> save_path_map(const std::string& path, PathMap map, const Plan& plan) {
    if (path.empty())
        return {};
    std::erase_if(map, [](const auto& each) { return each.second.empty(); });
    for (const Repair& repair : plan.repairs)
        if (!repair.is_found())
            map.try_emplace(repair.file_path);
    const std::string text = write_path_map(map);
    return write_file_atomically(path, std::as_bytes(std::span(text)), 0644);
}

Result<Plan> make_plan(const RepairOptions& options, const OutputOptions& output) {
    DRAY_LET(Failures failures, read_log(options.log));
    DRAY_LET(const PathMap map, load_path_map(options.path_map));
    DRAY_LET(const auto reader, DriveReader::open(options.drive, kRing));
    std::string manifest_path = options.manifest;
    DRAY_LET(const manifest::Spool spool, reader->take_manifest(manifest_path, ""));
    auto contents = spool.check("");
    if (!contents)
        return fail(std::move(contents.error().error), "the manifest {}", manifest_path);
    if (fold_serial(contents->drive_id) != fold_serial(failures.drive_id))
        return fail(ErrorKind::Conflict, "the log is of drive {}, and this one is {}", failures.drive_id, contents->drive_id);
    Plan plan;
    plan.drive_id = contents->drive_id;
    plan.status = failures.status;
    ProgressLine progress("Comparing originals", failures.bytes, output.is_quiet);
    Originals originals(options.sources, map, [&](Bytes done) { progress.show(std::min(done, failures.bytes)); });
    Planner planner(*reader, failures, originals);
    DRAY_TRY(planner.run(spool));
    plan.repairs = std::move(planner.repairs());
    plan.side_files = std::move(planner.side_files());
    plan.found = static_cast<std::size_t>(std::ranges::count_if(plan.repairs, &Repair::is_found));
    DRAY_TRY(save_path_map(options.path_map, map, plan));
    return plan;
}

/// The blobs whose originals were found as sources of one file each, and which repair each is of.
Result<BlobSources> sources_of(Plan& plan, std::vector<const Repair*>& repairs) {
    std::vector<BlobSource> sources;
    for (const Repair& repair : plan.repairs) {
        if (!repair.is_found())
            continue;
        BlobSource source;
        source.directory = fmt::format("s{:03}", sources.size() + 1);
        source.destination = repair.blob_path;
        source.is_one_file = true;
        source.disposition = repair.disposition;
        source.type = repair.is_page_blob ? format::BlobType::Page : format::BlobType::Block;
        source.metadata = repair.metadata;
        source.properties = repair.properties;
        DRAY_LET(source.tree, SourceTree::of_file(repair.original.path));
        sources.push_back(std::move(source));
        repairs.push_back(&repair);
    }
    return BlobSources::of_files(std::move(sources), std::move(plan.side_files));
}

Result<DriveOrder> order_of(const RepairOptions& options) {
    const std::string& key_file = options.output_key_file.empty() ? options.drive.key_file : options.output_key_file;
    if (key_file.empty())
        return fail(ErrorKind::InvalidArgument, "the new drive needs a key: --output-key-file");
    DriveOrder order{{}, key_file, options.output, options.size, options.is_overwrite_allowed, {}};
    DRAY_LET(order.serial, check_serial(options.serial));
    DRAY_LET(order.key, key_memfd(key_file));
    if (const std::string warning = key_file_warning(key_file); !warning.empty())
        warn(warning);
    return order;
}

Result<PreparedDrive> make_repair_drive(const DriveOrder& order, DriveTarget& target, Plan& plan,
                                        const OutputOptions& output) {
    std::vector<const Repair*> repairs;
    DRAY_LET(const BlobSources sources, sources_of(plan, repairs));
    DRAY_LET(const DrivePlan drive, DrivePlan::make(sources, DrivePlan::all_items(sources), {order.serial, 4 * kMiB}));
    const auto check = [&](const DriveItem& item, const HashedFile& file) -> Result<void> {
        if (file.checksum == repairs[item.source]->original.checksum)
            return {};
        return fail(ErrorKind::Conflict, "{} changed since it was compared", repairs[item.source]->original.path);
    };
    return make_drive(order, drive, target, check, output);
}

std::vector<std::pair<Column, Cell>> fields_of(const Repair& repair) {
    return {{{"", "blob"}, text_cell(repair.blob_path)},
            {{"", "file"}, text_cell(repair.file_path)},
            {{"", "status"}, text_cell(repair.status)},
            {{"", "original"}, text_cell(std::string(to_string(repair.original.result)))},
            {{"", "path"}, text_cell(repair.original.path)},
            {{"", "disposition"}, text_cell(std::string(to_string(repair.disposition)))},
            {{"", "reason"}, text_cell(repair.original.reason)}};
}

std::string verdict(const RepairOptions& options, const Plan& plan) {
    if (plan.repairs.empty())
        return "The log names nothing that has to be repaired.";
    std::string text = fmt::format("{} of {} originals are as they were.", plan.found, plan.repairs.size());
    if (plan.found < plan.repairs.size() && !options.path_map.empty())
        text += fmt::format(" The others are in {}: write a tab and the real path behind each, and try again.",
                            options.path_map);
    return text;
}

void print(const RepairOptions& options, const OutputOptions& output, const Plan& plan,
           const std::optional<PreparedDrive>& prepared) {
    std::vector<std::pair<Column, Cell>> fields{{{"Drive id", "drive-id"}, text_cell(plan.drive_id)},
                                                {{"Log says", "log-status"}, text_cell(plan.status)},
                                                {{"To repair", "to-repair"}, number_cell(plan.repairs.size())},
                                                {{"Originals", "originals-right"}, number_cell(plan.found)}};
    if (output.json != JsonMode::Off) {
        // A flat record, as all of drayctl's: of the drive that was made what a script goes on with.
        const PreparedDrive drive = prepared.value_or(PreparedDrive());
        fields.push_back({{"", "output"}, text_cell(drive.output)});
        for (auto& [column, cell] : fields_of(drive))
            if (column.key == "serial" || column.key == "volume-id" || column.key.starts_with("manifest"))
                fields.emplace_back(column, cell);
        fields.push_back({{"", "next"}, text_cell(prepared ? next_command(*prepared) : "")});
        std::vector<Column> columns;
        std::vector<std::vector<Cell>> rows;
        for (const auto& [column, cell] : fields_of(Repair()))
            columns.push_back(column);
        for (const Repair& repair : plan.repairs) {
            std::vector<Cell> row;
            for (const auto& [column, cell] : fields_of(repair))
                row.push_back(cell);
            rows.push_back(std::move(row));
        }
        print_record_with_rows(output, fields, "blobs", columns, rows);
        return;
    }
    std::size_t shown = 0;
    for (const Repair& repair : plan.repairs)
        if (!repair.is_found() && ++shown <= kMostShown)
            fmt::print("{}: {}: {}\n", printable(repair.blob_path), to_string(repair.original.result),
                       printable(repair.original.reason));
    if (shown > kMostShown)
        fmt::print("{} more like these; --json=short lists them all.\n", shown - kMostShown);
    if (shown > 0)
        fmt::print("\n");
    print_record(output, fields);
    if (prepared) {
        fmt::print("\n");
        print_record(output, fields_of(*prepared));
    }
    if (output.is_quiet)
        return;
    fmt::print("\n{}\n", printable(verdict(options, plan)));
    if (prepared)
        fmt::print("The new drive brings them; add it to a job of the same store:\n  {}\n", next_command(*prepared));
}

Result<int> repair(const RepairOptions& options, const OutputOptions& output) {
    std::optional<DriveOrder> order;
    std::optional<DriveTarget> target;
    if (!options.output.empty()) {
        DRAY_LET(order, order_of(options));
        DRAY_LET(DriveTarget looked_at, choose_target(*order));
        target.emplace(std::move(looked_at));
    }
    DRAY_LET(Plan plan, make_plan(options, output));
    std::optional<PreparedDrive> prepared;
    if (order && target && plan.found > 0) {
        DRAY_LET(prepared, make_repair_drive(*order, *target, plan, output));
    }
    print(options, output, plan, prepared);
    return plan.found == plan.repairs.size() ? 0 : kExitNotAll;
}

}  // namespace

Result<int> drive_repair(const RepairOptions& options, const OutputOptions& output) {
    catch_interrupts();
    Result<int> status = repair(options, output);
    if (!status && (is_interrupted() || status.error().kind() == ErrorKind::Cancelled)) {
        fmt::print(stderr, "drayctl: stopped; nothing is repaired.\n");
        return kExitInterrupted;
    }
    return status;
}

}  // namespace dray::ctl
