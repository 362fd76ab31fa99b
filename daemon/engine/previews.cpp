// SPDX-License-Identifier: Apache-2.0
//
// What an export would take and need: found out by a dray-transfer without a drive (rules.md 27), passed on as it is.
#include <filesystem>
#include <system_error>
#include <utility>

#include "daemon/base/file.hpp"
#include "daemon/base/log.hpp"
#include "daemon/base/memfd.hpp"
#include "daemon/engine/engine_state.hpp"
#include "daemon/model/blob_name.hpp"

namespace dray {
namespace {

using transfer::Ending;
using transfer::TaskKind;

constexpr std::size_t kMaxPreviews = 4;
/// A store with a hundred million blobs takes its time.
constexpr Microseconds kPreviewLimit = std::chrono::hours(2);
/// Less has not even the header of a volume.
constexpr Bytes kMinDrive = 128 * kMiB;

Result<void> check_request(const PreviewRequest& request) {
    if (request.selection.empty() == request.list_blob.empty())
        return fail(ErrorKind::InvalidArgument, "an export takes either a selection or a list blob, {}",
                    request.list_blob.empty() ? "and neither was given" : "not both");
    if (!request.list_blob.empty())
        DRAY_TRY(parse_blob_path(request.list_blob));
    if (request.drive_size < kMinDrive)
        return fail(ErrorKind::InvalidArgument, "a drive of {} is too small; it takes {} at least",
                    format_bytes(request.drive_size), format_bytes(kMinDrive));
    return {};
}

void remove_directory(const std::string& path) {
    std::error_code error;
    std::filesystem::remove_all(path, error);
    if (error)
        log::warning("{} cannot be removed: {}", path, error.message());
}

}  // namespace

Result<void> JobEngine::preview_export(const PreviewRequest& request, PreviewDone done) {
    return state_->start_preview(request, std::move(done));
}

Result<void> JobEngine::State::start_preview(const PreviewRequest& request, PreviewDone done) {
    const auto store = config.stores.find(request.store);
    if (store == config.stores.end())
        return fail(ErrorKind::NotFound, "store \"{}\" is not in the configuration", request.store.substr(0, 128));
    DRAY_TRY(check_request(request));
    if (previews.size() >= kMaxPreviews)
        return fail(ErrorKind::LimitReached, "{} previews are under way already; try again when one has ended", previews.size());
    const std::uint64_t number = next_preview++;
    auto preview = std::make_unique<Preview>();
    preview->directory = fmt::format("{}/previews/{}", config.state_directory, number);
    remove_directory(preview->directory);  // of an earlier drayd
    preview->done = std::move(done);
    TransferProcess::Start start;
    start.programs = programs;
    start.task.kind = TaskKind::PreviewExport;
    start.task.store = store->second;
    start.task.store_identity = store_memory.identity(store->second);
    start.task.directory = preview->directory;
    start.task.list_blob = request.list_blob;
    start.task.drive_size = request.drive_size;
    start.users = child_users;
    DRAY_TRY(add_secrets(start));
    DRAY_TRY(make_copy_directory(config.state_directory, preview->directory, child_users));
    if (!request.selection.empty()) {
        const std::string xml = format::write_blob_list(request.selection);
        DRAY_TRY(write_file_atomically(preview->directory + "/selection.xml", std::as_bytes(std::span(xml)), 0600));
    }
    Preview* raw = preview.get();
    DRAY_LET(preview->process,
             start_transfer(loop, std::move(start),
                            {[raw](const transfer::FromTransfer& message) {
                                 if (const auto* report = std::get_if<transfer::Report>(&message))
                                     raw->report = *report;
                             },
                             [this, number] { preview_ended(number); }}));
    preview->limit = loop.after(kPreviewLimit, [raw] { raw->process->kill(); });
    previews[number] = std::move(preview);
    return {};
}

void JobEngine::State::preview_ended(std::uint64_t number) {
    const std::unique_ptr<Preview> preview = std::move(previews.extract(number).mapped());
    const auto result = [&]() -> Result<FileDescriptor> {
        if (!preview->report)
            return fail(ErrorKind::Internal, "the preview could not be made: the process that was to do it died");
        if (preview->report->ending != Ending::Finished)
            return fail(preview->report->kind, "{}", preview->report->message);
        DRAY_LET(const std::string text, read_file(preview->directory + "/preview.json", transfer::kMaxPreview));
        return make_sealed_memfd("dray-preview", std::as_bytes(std::span(text)));
    };
    Result<FileDescriptor> answer = result();
    remove_directory(preview->directory);
    preview->done(std::move(answer));
}

}  // namespace dray
