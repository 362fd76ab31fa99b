// SPDX-License-Identifier: Apache-2.0
#include "daemon/ctl/drive_show.hpp"

#include <cstdio>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "daemon/ctl/interrupt.hpp"
#include "daemon/ctl/live_verbs.hpp"
#include "daemon/ctl/shell_word.hpp"
#include "daemon/model/utf8.hpp"

namespace dray::ctl {
namespace {

constexpr Bytes kRing = 4 * kMiB;

using Fields = std::vector<std::pair<Column, Cell>>;

/// A word that scripts get and eyes do not when it says nothing.
Cell quiet_cell(const std::string& text) {
    Cell cell = text_cell(text);
    if (text.empty())
        cell.shown.clear();
    return cell;
}

std::string kind_of(const FoundManifest& manifest) {
    if (!manifest.problem.empty())
        return "unusable";
    return manifest.contents.has_credential ? "import" : "export";
}

std::string key_option(const DriveSource& drive) {
    return drive.key_file.empty() ? std::string() : " --key-file " + shell_word(drive.key_file);
}

/// The command that brings the drive further.
std::string next_command(const DriveSource& drive, const drive::Unlocked& volume, const FoundManifest& manifest) {
    if (!manifest.problem.empty())
        return {};
    if (!manifest.contents.has_credential)
        return fmt::format("drayctl drive verify {}{} --manifest {}", shell_word(drive.path), key_option(drive),
                           shell_word(manifest.path));
    std::string command =
        fmt::format("drayctl add-drive JOB {}{} --manifest {} --manifest-hash {}",
                    shell_word(manifest.contents.drive_id), key_option(drive), shell_word(manifest.path), manifest.hash);
    if (!volume.volume_id.empty())
        command += " --volume-id " + shell_word(volume.volume_id);
    return command;
}

Fields fields_of(const DriveSource& drive, const DriveReader& reader) {
    const drive::Unlocked& volume = reader.volume();
    return {{{"Drive", "drive"}, text_cell(drive.path)},
            {{"Size", "size"}, bytes_cell(reader.size())},
            {{"Partition table", "partition-table"}, quiet_cell(volume.partition_table)},
            {{"Volume", "volume"}, {volume_words(volume.volume_type), volume.volume_type}},
            {{"Volume id", "volume-id"}, quiet_cell(volume.volume_id)},
            {{"Volume size", "volume-size"}, bytes_cell(volume.size)},
            {{"File system", "file-system"}, text_cell(tame(volume.filesystem))},
            {{"Notice", "notice"}, quiet_cell(tame(volume.notice))}};
}

Fields fields_of(const FoundManifest& manifest) {
    const manifest::Contents& contents = manifest.contents;
    const bool is_good = manifest.problem.empty();
    std::string containers;
    for (const std::string& container : manifest.containers)
        containers += (containers.empty() ? "" : ", ") + container;
    containers += manifest.has_more_containers ? ", and more" : "";
    const auto only_if_good = [&](Cell cell) {
        if (!is_good)
            cell.shown.clear();
        return cell;
    };
    return {{{"Manifest", "manifest"}, text_cell(manifest.path)},
            {{"Manifest hash", "manifest-hash"}, quiet_cell(manifest.hash)},
            {{"Made for", "kind"}, only_if_good(text_cell(kind_of(manifest)))},
            {{"Drive id", "drive-id"}, only_if_good(text_cell(contents.drive_id))},
            {{"Version", "version"}, only_if_good(text_cell(contents.version))},
            {{"Blobs", "blobs"}, only_if_good(number_cell(contents.blobs))},
            {{"Content", "bytes"}, only_if_good(bytes_cell(contents.bytes))},
            {{"Containers", "containers"}, only_if_good({containers, manifest.containers})},
            {{"Problem", "problem"}, quiet_cell(manifest.problem)}};
}

/// What the drive is good for, in a sentence or two.
std::string verdict(const DriveReader& reader, const DriveReader::Manifests& manifests) {
    std::size_t imports = 0;
    std::size_t exports = 0;
    for (const FoundManifest& manifest : manifests.found) {
        imports += kind_of(manifest) == "import" ? 1 : 0;
        exports += kind_of(manifest) == "export" ? 1 : 0;
    }
    std::string text;
    if (imports + exports == 0)
        text = manifests.found.empty()
                   ? "There is no manifest in the drive's root: dray cannot import it. If it lies elsewhere, name it with "
                     "--manifest; else make the drive with drayctl drive prepare."
                   : "No manifest can be used: dray cannot import this drive as it is.";
    else if (imports + exports > 1)
        text = "The drive has several manifests: a job takes the one that add-drive names.";
    else if (imports == 1)
        text = "The drive is made for an import: a job can take it.";
    else
        text = "The drive was written by an export: its files can be checked against the manifest.";
    if (imports > 0 && reader.volume().volume_type == "plain")
        text += " It is not encrypted: that takes an appliance with drives.allow-plain.";
    if (manifests.has_more)
        text += " There are more files with such names than were looked at.";
    return text;
}

void print(const ShowDriveOptions& options, const OutputOptions& output, const DriveReader& reader,
           const DriveReader::Manifests& manifests) {
    const Fields drive = fields_of(options.drive, reader);
    if (output.json != JsonMode::Off) {
        std::vector<Column> columns;
        for (const auto& [column, cell] : fields_of(FoundManifest()))
            columns.push_back(column);
        columns.push_back({"", "next"});
        std::vector<std::vector<Cell>> rows;
        for (const FoundManifest& manifest : manifests.found) {
            std::vector<Cell> row;
            for (const auto& [column, cell] : fields_of(manifest))
                row.push_back(cell);
            row.push_back(text_cell(next_command(options.drive, reader.volume(), manifest)));
            rows.push_back(std::move(row));
        }
        print_record_with_rows(output, drive, "manifests", columns, rows);
        return;
    }
    print_record(output, drive);
    for (const FoundManifest& manifest : manifests.found) {
        fmt::print("\n");
        print_record(output, fields_of(manifest));
    }
    if (output.is_quiet)
        return;
    fmt::print("\n{}\n", verdict(reader, manifests));
    for (const FoundManifest& manifest : manifests.found)
        if (const std::string command = next_command(options.drive, reader.volume(), manifest); !command.empty())
            fmt::print("  {}\n", printable(command));
}

}  // namespace

Result<int> drive_show(const ShowDriveOptions& options, const OutputOptions& output) {
    catch_interrupts();
    const auto look = [&]() -> Result<int> {
        DRAY_LET(const auto reader, DriveReader::open(options.drive, kRing));
        DRAY_LET(const DriveReader::Manifests manifests, reader->find_manifests(options.manifest));
        print(options, output, *reader, manifests);
        // Asked for one, an answer without it is none.
        const bool is_missing = !options.manifest.empty() && !manifests.found.front().problem.empty();
        return is_missing ? 1 : 0;
    };
    Result<int> looked = look();
    if (!looked && (is_interrupted() || looked.error().kind() == ErrorKind::Cancelled)) {
        fmt::print(stderr, "drayctl: stopped.\n");
        return kExitInterrupted;
    }
    return looked;
}

}  // namespace dray::ctl
