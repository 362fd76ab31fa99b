// SPDX-License-Identifier: Apache-2.0
#include "daemon/ctl/drive_verify.hpp"

#include <algorithm>
#include <cstdio>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "daemon/base/clock.hpp"
#include "daemon/ctl/drive_check.hpp"
#include "daemon/ctl/interrupt.hpp"
#include "daemon/ctl/live_verbs.hpp"
#include "daemon/ctl/progress_line.hpp"
#include "daemon/ctl/temporary_file.hpp"

namespace dray::ctl {
namespace {

constexpr int kExitNotRight = 1;
/// Findings that eyes get; scripts get them all.
constexpr std::size_t kMostShown = 20;

using Fields = std::vector<std::pair<Column, Cell>>;

/// "damaged at 4096 (4096 bytes): its hash is ...".
std::string words_for(const Finding& finding) {
    std::string text = finding.file == BlobFile::Content ? "" : std::string(to_string(finding.file)) + " ";
    text += to_string(finding.fault);
    if (finding.offset)
        text += fmt::format(" at {} ({} bytes)", *finding.offset, finding.length);
    return fmt::format("{}: {}", text, finding.reason);
}

Fields fields_of(const Finding& finding) {
    return {{{"", "blob"}, text_cell(finding.blob_path)},
            {{"", "file"}, text_cell(finding.file_path)},
            {{"", "of"}, text_cell(std::string(to_string(finding.file)))},
            {{"", "problem"}, text_cell(std::string(to_string(finding.fault)))},
            {{"", "is-piece"}, flag_cell(finding.offset.has_value())},
            {{"", "offset"}, number_cell(finding.offset.value_or(0))},
            {{"", "length"}, number_cell(finding.length)},
            {{"", "reason"}, text_cell(finding.reason)}};
}

struct Verified {
    std::string manifest;
    std::string manifest_hash;
    manifest::Contents contents;
    CheckTotals totals;
    Microseconds elapsed{0};
    std::vector<Finding> first;
};

Result<Verified> verify(const VerifyOptions& options, const OutputOptions& output, TextSpool& findings) {
    const bool is_for_scripts = output.json != JsonMode::Off;
    DRAY_LET(const auto reader, DriveReader::open(options.drive, DriveCheck::kExtent * DriveCheck::kExtents));
    Verified verified;
    verified.manifest = options.manifest;
    DRAY_LET(const manifest::Spool spool, reader->take_manifest(verified.manifest, options.manifest_hash));
    verified.manifest_hash = spool.hash();
    auto contents = spool.check("");
    if (!contents)
        return fail(std::move(contents.error().error), "the manifest {}", verified.manifest);
    verified.contents = *std::move(contents);

    const SystemClock clock;
    const Microseconds began = clock.since_boot();
    ProgressLine progress("Verifying " + base_name(options.drive.path), verified.contents.bytes, output.is_quiet);
    progress.show(0);
    const auto take = [&](const Finding& finding) -> Result<void> {
        if (is_for_scripts)
            return findings.add(json_line(fields_of(finding)) + "\n");
        if (verified.first.size() < kMostShown)
            verified.first.push_back(finding);
        return {};
    };
    DriveCheck check(reader->client(), take, [&](Bytes done) { progress.show(done); });
    Result<CheckTotals> totals = check.run(spool);
    if (!totals)
        return fail(reader->explained(std::move(totals.error())), "cannot verify {}", options.drive.path);
    verified.totals = *std::move(totals);
    verified.elapsed = clock.since_boot() - began;
    DRAY_TRY(findings.flush());
    return verified;
}

std::string verdict(const Verified& verified) {
    const CheckTotals& totals = verified.totals;
    if (totals.findings == 0)
        return fmt::format("All is as the manifest says: {} {}, {}, and {} metadata or properties {}.", totals.blobs,
                           totals.blobs == 1 ? "blob" : "blobs", format_bytes(totals.bytes), totals.side_files,
                           totals.side_files == 1 ? "file" : "files");
    return fmt::format("{} of {} {} {} not as the manifest says.", totals.blobs_bad, totals.blobs,
                       totals.blobs == 1 ? "blob" : "blobs", totals.blobs_bad == 1 ? "is" : "are");
}

Result<void> print(const VerifyOptions& options, const OutputOptions& output, const Verified& verified,
                   const TextSpool& findings) {
    const CheckTotals& totals = verified.totals;
    const double seconds = std::max(std::chrono::duration<double>(verified.elapsed).count(), 1e-6);
    const auto if_any = [](std::uint64_t number) {
        Cell cell = number_cell(number);
        if (number == 0)
            cell.shown.clear();
        return cell;
    };
    const auto for_scripts = [](Cell cell) {
        cell.shown.clear();
        return cell;
    };
    const Fields fields{{{"Drive", "drive"}, text_cell(options.drive.path)},
                        {{"Drive id", "drive-id"}, text_cell(verified.contents.drive_id)},
                        {{"Manifest", "manifest"}, text_cell(verified.manifest)},
                        {{"Manifest hash", "manifest-hash"}, text_cell(verified.manifest_hash)},
                        {{"", "is-right"}, for_scripts(flag_cell(totals.findings == 0))},
                        {{"Blobs", "blobs"}, number_cell(totals.blobs)},
                        {{"Blobs not right", "blobs-bad"}, if_any(totals.blobs_bad)},
                        {{"Content", "bytes"}, bytes_cell(totals.bytes)},
                        {{"Content right", "bytes-good"}, bytes_cell(totals.bytes_good)},
                        {{"Pieces", "pieces"}, number_cell(totals.pieces_good + totals.pieces_bad)},
                        {{"Pieces not right", "pieces-bad"}, if_any(totals.pieces_bad)},
                        {{"Side files", "side-files"}, if_any(totals.side_files)},
                        {{"Side files not right", "side-files-bad"}, if_any(totals.side_files_bad)},
                        {{"Rate", "bytes-per-second"},
                         rate_cell(static_cast<std::uint64_t>(static_cast<double>(totals.bytes) / seconds))}};
    if (output.json != JsonMode::Off) {
        Bytes offset = 0;
        return print_record_with_lines(output, fields, "problems", [&] { return findings.read_line(offset); });
    }
    for (const Finding& finding : verified.first)
        fmt::print("{}: {}\n", printable(finding.blob_path), printable(words_for(finding)));
    if (totals.findings > verified.first.size())
        fmt::print("{} more like these; --json=short lists them all.\n", totals.findings - verified.first.size());
    if (!verified.first.empty())
        fmt::print("\n");
    print_record(output, fields);
    if (!output.is_quiet)
        fmt::print("\n{}\n", verdict(verified));
    return {};
}

}  // namespace

Result<int> drive_verify(const VerifyOptions& options, const OutputOptions& output) {
    catch_interrupts();
    DRAY_LET(FileDescriptor file, make_temporary_file(temporary_directory()));
    TextSpool findings(std::move(file), "the temporary file of what was found");
    Result<Verified> verified = verify(options, output, findings);
    if (!verified && (is_interrupted() || verified.error().kind() == ErrorKind::Cancelled)) {
        fmt::print(stderr, "drayctl: stopped; {} was not verified to its end.\n", options.drive.path);
        return kExitInterrupted;
    }
    if (!verified)
        return fail(std::move(verified.error()));
    DRAY_TRY(print(options, output, *verified, findings));
    return verified->totals.findings == 0 ? 0 : kExitNotRight;
}

}  // namespace dray::ctl
