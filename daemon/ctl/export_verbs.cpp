// SPDX-License-Identifier: Apache-2.0
#include "daemon/ctl/export_verbs.hpp"

#include <sys/stat.h>

#include <cerrno>
#include <span>
#include <string_view>

#include <nlohmann/json.hpp>

#include "daemon/base/file.hpp"
#include "daemon/bus/names.hpp"

namespace dray::ctl {
namespace {

using Json = nlohmann::ordered_json;

constexpr Microseconds kPatience = std::chrono::hours(2);
constexpr Bytes kMaxAnswer = 16 * kMiB;

Result<std::string> read_answer(const BusMessage& reply) {
    int fd = -1;
    if (const int result = sd_bus_message_read_basic(reply.get(), 'h', &fd); result < 0)
        return fail_errno(-result, "drayd's answer cannot be read");
    struct stat status {};
    if (fstat(fd, &status) != 0 || static_cast<Bytes>(status.st_size) > kMaxAnswer)
        return fail(ErrorKind::Internal, "drayd's answer cannot be read");
    std::string text(static_cast<std::size_t>(status.st_size), '\0');
    DRAY_TRY(read_fully(fd, 0, std::as_writable_bytes(std::span(text)), "drayd's answer"));
    return text;
}

std::string counted(std::uint64_t number, const char* one, const char* many) {
    return fmt::format("{} {}", number, number == 1 ? one : many);
}

std::string described(const Json& entry) {
    std::string text = printable(entry.value("path", entry.value("prefix", "")));
    if (const std::string snapshot = entry.value("snapshot", ""); !snapshot.empty())
        text += " (snapshot " + printable(snapshot) + ")";
    return text;
}

void print_selection(const Json& preview, const char* sentence, bool is_duplicate) {
    std::string list;
    for (const Json& entry : preview["selection"]) {
        if (entry.value("duplicate", false) != is_duplicate || entry.value("blobs", Bytes{0}) != 0)
            continue;
        list += (list.empty() ? "" : ", ") + described(entry);
    }
    if (!list.empty())
        fmt::print("{}: {}\n", sentence, list);
}

void print_without_place(const Json& preview, const OutputOptions& output) {
    const Json& left = preview["without-place"];
    const auto count = left.value("blobs", std::uint64_t{0});
    if (count == 0)
        return;
    fmt::print("\n{} of {} {} no place on a drive:\n", counted(count, "blob", "blobs"), format_bytes(left.value("bytes", Bytes{0})),
               count == 1 ? "has" : "have");
    std::vector<std::vector<Cell>> rows;
    for (const Json& blob : left["first"])
        rows.push_back({text_cell(described(blob)), bytes_cell(blob.value("bytes", Bytes{0})), text_cell(blob.value("reason", ""))});
    print_table(output, {{"BLOB", "path"}, {"SIZE", "bytes"}, {"WHY", "reason"}}, rows, "blob");
}

void print_preview(const Json& preview, const OutputOptions& output) {
    const Json& drives = preview["drives"];
    const auto blobs = preview.value("blobs", std::uint64_t{0});
    const auto snapshots = preview.value("snapshots", std::uint64_t{0});
    const auto needed = drives.value("needed", std::uint64_t{0});
    fmt::print("Selected: {}{} with {}\n", counted(blobs, "blob", "blobs"),
               snapshots == 0 ? "" : " and " + counted(snapshots, "snapshot", "snapshots"),
               format_bytes(preview.value("bytes", Bytes{0})));
    print_selection(preview, "Not in the store", false);
    print_selection(preview, "Selected more than once, taken once", true);
    fmt::print("Drives needed: {} of {}, each with room for {}\n", needed, format_bytes(preview.value("drive-size", Bytes{0})),
               format_bytes(preview.value("drive-room", Bytes{0})));
    std::vector<std::vector<Cell>> rows;
    for (const Json& drive : drives["each"])
        rows.push_back({number_cell(rows.size() + 1), number_cell(drive.value("blobs", std::uint64_t{0})),
                        bytes_cell(drive.value("bytes", Bytes{0})), bytes_cell(drive.value("occupied", Bytes{0}))});
    if (!rows.empty()) {
        fmt::print("\n");
        print_table(output, {{"DRIVE", "drive"}, {"BLOBS", "blobs"}, {"CONTENT", "bytes"}, {"OCCUPIED", "occupied"}}, rows, "drive");
    }
    print_without_place(preview, output);
}

}  // namespace

Result<int> preview_export(const Client& client, const OutputOptions& output, const PreviewOptions& options) {
    Options wishes{{"drive-size", options.drive_size}};
    add_selection(wishes, options.selection);
    DRAY_LET(const BusMessage reply, client.call(bus::kRootPath, bus::kManagerInterface, "PreviewExport", {options.store}, &wishes,
                                                 kPatience));
    DRAY_LET(const std::string text, read_answer(reply));
    const Json preview = Json::parse(text, nullptr, false);
    if (!preview.is_object() || !preview.contains("drives") || !preview.contains("selection") || !preview.contains("without-place"))
        return fail(ErrorKind::Internal, "drayd's answer cannot be read");
    if (output.json == JsonMode::Off)
        print_preview(preview, output);
    else
        fmt::print("{}\n", preview.dump(output.json == JsonMode::Pretty ? 2 : -1));
    return 0;
}

}  // namespace dray::ctl
