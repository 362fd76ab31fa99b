// SPDX-License-Identifier: Apache-2.0
#include "daemon/ctl/drive_making.hpp"

#include <cstdio>
#include <utility>

#include <fmt/format.h>

#include "daemon/base/encoding.hpp"
#include "daemon/ctl/drive_process.hpp"
#include "daemon/ctl/interrupt.hpp"
#include "daemon/ctl/progress_line.hpp"
#include "daemon/ctl/shell_word.hpp"
#include "daemon/ctl/temporary_file.hpp"

namespace dray::ctl {
namespace {

/// Extents of 1 MiB: enough for reading, hashing and encrypting to go on side by side.
constexpr Bytes kRing = 32 * kMiB;
constexpr Bytes kSector = 4 * kKiB;

}  // namespace

void warn(const std::string& sentence) {
    fmt::print(stderr, "drayctl: {}.\n", sentence);
}

Result<DriveTarget> choose_target(const DriveOrder& order) {
    DRAY_LET(DriveTarget target, DriveTarget::look_at(order.output));
    if (target.holds().empty())
        return target;
    if (!order.is_overwrite_allowed)
        return fail(ErrorKind::Exists, "{} holds {}; with --yes it is overwritten",
                    target.describe(), target.holds());
    warn(fmt::format("overwriting {}, which holds {}", target.describe(), target.holds()));
    return target;
}

Result<Bytes> choose_size(const DriveOrder& order, const DriveTarget& target, Bytes needed) {
    const Bytes wanted = order.size != 0    ? order.size
                         : target.is_device() ? target.device_size()
                                              : needed;
    if (wanted < needed)
        return fail(ErrorKind::NoSpace, "{} is too small for this source: it needs {}MiB",
                    order.size != 0 ? "--size " + format_bytes(wanted) : target.describe(),
                    needed / kMiB);
    if (target.is_device() && wanted > target.device_size())
        return fail(ErrorKind::InvalidArgument, "--size {} is more than {} has",
                    format_bytes(wanted), target.describe());
    return wanted / kSector * kSector;
}

Result<PreparedDrive> make_drive(const DriveOrder& order, const DrivePlan& plan, DriveTarget& target,
                                 DriveCopy::Check check, const OutputOptions& output) {
    PreparedDrive prepared;
    DRAY_LET(prepared.size, choose_size(order, target, plan.needed_size()));
    DRAY_LET(FileDescriptor manifest_file, target.make_spool());
    TextSpool manifest(std::move(manifest_file), "the temporary file of the manifest");
    DRAY_LET(FileDescriptor checksums_file, target.make_spool());
    TextSpool checksums(std::move(checksums_file), "the temporary file of the checksums");

    DRAY_TRY(target.begin(prepared.size, plan.bytes()));
    DRAY_LET(const auto process, DriveProcess::start(target.fd(), order.key.get(), {kRing}));
    ProgressLine progress("Writing " + base_name(order.output), plan.bytes(), output.is_quiet);
    progress.show(0);
    drive::Format format;
    format.size = prepared.size;
    format.label = order.serial;
    format.inodes = plan.inodes();
    const Result<drive::Unlocked> volume = process->client().format(format);
    if (!volume)
        return fail(process->explained(volume.error()));
    target.has_volume();
    DriveCopy copy(plan, process->client(), std::move(manifest), std::move(checksums),
                   [&](Bytes done) { progress.show(done); });
    copy.set_check(std::move(check));
    const Result<Md5Hash> hash = copy.run();
    if (!hash)
        return fail(process->explained(hash.error()));
    DRAY_TRY(process->end());
    DRAY_TRY(check_interrupt());
    DRAY_TRY(target.publish());

    prepared.serial = order.serial;
    prepared.key_file = order.key_file;
    prepared.output = order.output;
    prepared.volume_id = volume->volume_id;
    prepared.manifest = plan.manifest_path();
    prepared.manifest_hash = to_hex(*hash);
    prepared.checksums = plan.checksums_name();
    prepared.files = plan.files();
    prepared.directories = plan.directories();
    prepared.bytes = plan.bytes();
    return prepared;
}

std::string next_command(const PreparedDrive& prepared) {
    return fmt::format("drayctl add-drive JOB {} --key-file {} --manifest {} --manifest-hash {} --volume-id {}",
                       shell_word(prepared.serial), shell_word(prepared.key_file), shell_word(prepared.manifest),
                       prepared.manifest_hash, prepared.volume_id);
}

std::vector<std::pair<Column, Cell>> fields_of(const PreparedDrive& prepared) {
    const auto for_scripts = [](Cell cell) {
        cell.shown.clear();
        return cell;
    };
    const auto if_any = [&](std::uint64_t number) {
        return number == 0 ? for_scripts(number_cell(0)) : number_cell(number);
    };
    return {{{"Serial", "serial"}, text_cell(prepared.serial)},
            {{"Volume id", "volume-id"}, text_cell(prepared.volume_id)},
            {{"Manifest", "manifest"}, text_cell(prepared.manifest)},
            {{"Manifest hash", "manifest-hash"}, text_cell(prepared.manifest_hash)},
            {{"Checksums", "checksums"}, text_cell(prepared.checksums)},
            {{"Files", "files"}, number_cell(prepared.files)},
            {{"Directories", "directories"}, number_cell(prepared.directories)},
            {{"Content", "bytes"}, bytes_cell(prepared.bytes)},
            {{"Output", "output"}, text_cell(prepared.output)},
            {{"Size", "size"}, bytes_cell(prepared.size)},
            {{"Left out", "left-out"}, if_any(prepared.left_out)},
            {{"Excluded", "excluded"}, if_any(prepared.excluded)},
            {{"Next", "next"}, for_scripts(text_cell(next_command(prepared)))}};
}

}  // namespace dray::ctl
