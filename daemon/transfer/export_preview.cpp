// SPDX-License-Identifier: Apache-2.0
//
// What an export would take and need (azure-import-export.md 7.8), worked out as the export itself does it.
#include <fcntl.h>

#include <algorithm>
#include <string_view>
#include <utility>

#include <nlohmann/json.hpp>

#include "daemon/base/file.hpp"
#include "daemon/transfer/export_plan.hpp"
#include "daemon/transfer/export_selection.hpp"
#include "daemon/transfer/group_access.hpp"
#include "daemon/transfer/tasks.hpp"

namespace dray::transfer {
namespace {

using Json = nlohmann::ordered_json;

/// Blobs without a place, and drives, that are named; all are counted.
constexpr std::size_t kMaxNamed = 1000;

Result<format::BlobSelection> read_list_blob(store::BlobStore& store, const std::string& path) {
    DRAY_LET(const BlobName name, parse_blob_path(path));
    DRAY_LET(const store::BlobStatus status, store.stat(name));
    if (status.length > format::kMaxBlobList)
        return fail(ErrorKind::LimitReached, "it has {}, more than {}", format_bytes(status.length),
                    format_bytes(format::kMaxBlobList));
    std::string xml(static_cast<std::size_t>(status.length), '\0');
    DRAY_TRY(store.read(name, 0, std::as_writable_bytes(std::span(xml)), status.etag, {}));
    return format::read_blob_list(xml);
}

Json describe(const SelectionOutcome& outcome) {
    Json entry;
    entry[outcome.entry.is_prefix() ? "prefix" : "path"] = outcome.entry.text;
    if (!outcome.entry.snapshot.empty())
        entry["snapshot"] = outcome.entry.snapshot;
    else if (!outcome.entry.is_prefix() && !outcome.entry.with_snapshots)
        entry["snapshots"] = false;
    entry["duplicate"] = outcome.is_duplicate;
    entry["blobs"] = outcome.blobs;
    entry["bytes"] = outcome.bytes;
    return entry;
}

Result<Json> describe_drives(ExportPlan& plan, const DriveRoom& room) {
    Json drives = Json::array();
    std::uint64_t count = 0;
    for (;; ++count) {
        DRAY_LET(const ExportPlan::Share share, plan.assign(fmt::format("drive {}", count + 1), room));
        if (share.blobs == 0)
            break;
        if (count < kMaxNamed)
            drives.push_back({{"blobs", share.blobs}, {"bytes", share.bytes}, {"occupied", share.occupied.content}});
    }
    return Json{{"needed", count}, {"each", std::move(drives)}};
}

Result<Json> describe_left(const ExportPlan& plan) {
    Json named = Json::array();
    std::uint64_t count = 0;
    Bytes bytes = 0;
    DRAY_TRY(plan.each_left([&](const ExportPlan::Blob& blob) -> Result<void> {
        ++count;
        bytes += blob.length;
        if (named.size() >= kMaxNamed)
            return {};
        Json entry{{"path", blob.name.path()}};
        if (!blob.name.snapshot.empty())
            entry["snapshot"] = blob.name.snapshot;
        entry["bytes"] = blob.length;
        entry["reason"] = blob.problem.empty() ? "it is larger than the room of one drive" : blob.problem;
        named.push_back(std::move(entry));
        return {};
    }));
    return Json{{"blobs", count}, {"bytes", bytes}, {"first", std::move(named)}};
}

Result<Report> preview(const Surroundings& around) {
    const Task& task = around.task;
    DRAY_LET(const std::unique_ptr<store::BlobStore> store, open_store_of(around));
    DRAY_LET(const format::BlobSelection selection, selection_of(task, task.directory, *store));
    DRAY_LET(const std::unique_ptr<ExportPlan> plan, ExportPlan::open(task.directory + "/plan.sqlite"));
    DRAY_TRY(plan->begin());
    std::uint64_t blobs = 0;
    std::uint64_t snapshots = 0;
    Bytes bytes = 0;
    DRAY_LET(const std::vector<SelectionOutcome> outcomes,
             find_selected(*store, selection, around.control.stop_token(), [&](const store::BlobStatus& blob) {
                 ++(blob.name.snapshot.empty() ? blobs : snapshots);
                 bytes += blob.length;
                 around.progress.blobs_total = blobs + snapshots;
                 around.progress.bytes_total = bytes;
                 return plan->add(blob);
             }));
    DRAY_TRY(plan->end());
    const DriveRoom room = room_of_drive(task.drive_size);
    Json document{{"store", task.store.name},
                  {"blobs", blobs},
                  {"snapshots", snapshots},
                  {"bytes", bytes},
                  {"drive-size", task.drive_size},
                  {"drive-room", room.content}};
    DRAY_LET(document["drives"], describe_drives(*plan, room));
    DRAY_LET(document["without-place"], describe_left(*plan));
    document["selection"] = Json::array();
    for (const SelectionOutcome& outcome : outcomes)
        document["selection"].push_back(describe(outcome));
    const std::string text = document.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
    if (text.size() > kMaxPreview)
        return fail(ErrorKind::LimitReached, "the selection has too many entries to be told of in one answer");
    DRAY_TRY(write_file_atomically(task.directory + "/preview.json", std::as_bytes(std::span(text)), kFileMode));
    Report report;
    report.store_identity = store->identity();
    return report;
}

}  // namespace

Result<format::BlobSelection> selection_of(const Task& task, const std::string& directory, store::BlobStore& store) {
    if (task.list_blob.empty()) {
        DRAY_LET(const std::string xml, read_file(directory + "/selection.xml", format::kMaxBlobList));
        return format::read_blob_list(xml);
    }
    Result<format::BlobSelection> selection = read_list_blob(store, task.list_blob);
    if (!selection)
        return fail(std::move(selection.error()), "the list blob {}", task.list_blob);
    return selection;
}

Report run_preview(const Surroundings& around) {
    const Result<Report> report = preview(around);
    return report ? *report : faulted(report.error());
}

}  // namespace dray::transfer
