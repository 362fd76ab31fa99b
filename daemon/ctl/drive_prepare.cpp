// SPDX-License-Identifier: Apache-2.0
#include "daemon/ctl/drive_prepare.hpp"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string_view>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "daemon/base/encoding.hpp"
#include "daemon/ctl/blob_sources.hpp"
#include "daemon/ctl/drive_copy.hpp"
#include "daemon/ctl/drive_plan.hpp"
#include "daemon/ctl/drive_process.hpp"
#include "daemon/ctl/drive_target.hpp"
#include "daemon/ctl/interrupt.hpp"
#include "daemon/ctl/key_file.hpp"
#include "daemon/ctl/live_verbs.hpp"
#include "daemon/ctl/progress_line.hpp"
#include "daemon/ctl/shell_word.hpp"
#include "daemon/ctl/temporary_file.hpp"
#include "daemon/drive/client.hpp"
#include "daemon/model/drive.hpp"

namespace dray::ctl {
namespace {

/// Extents of 1 MiB: enough for reading, hashing and encrypting to go on side by side.
constexpr Bytes kRing = 32 * kMiB;
constexpr Bytes kSector = 4 * kKiB;

/// A drive that is to be made.
struct Order {
    std::string serial;
    std::string key_file;
    std::string output;
    Bytes size = 0;
    bool is_overwrite_allowed = false;
    /// A sealed memfd; read once, because the file may be a pipe.
    FileDescriptor key{};
};

struct Prepared {
    std::string serial;
    std::string key_file;
    std::string output;
    std::string volume_id;
    std::string manifest;
    std::string manifest_hash;
    std::string checksums;
    std::uint64_t files = 0;
    std::uint64_t directories = 0;
    Bytes bytes = 0;
    Bytes size = 0;
    std::uint64_t left_out = 0;
    std::uint64_t excluded = 0;
};

void warn(const std::string& sentence) {
    fmt::print(stderr, "drayctl: {}.\n", sentence);
}

std::string real_path(const std::string& path) {
    const std::unique_ptr<char, decltype(&std::free)> real(realpath(path.c_str(), nullptr),
                                                           std::free);
    return real ? real.get() : std::string();
}

std::string directory_of(const std::string& path) {
    const std::size_t slash = path.rfind('/');
    return slash == std::string::npos ? "." : path.substr(0, slash + 1);
}

bool lies_in(const std::string& path, const std::string& directory) {
    const std::string inner = real_path(path);
    const std::string outer = real_path(directory);
    return !inner.empty() && !outer.empty() &&
           (inner == outer || outer == "/" || inner.starts_with(outer + "/"));
}

Result<void> check_places(const Order& order, const BlobSources& sources) {
    for (const std::string& source : sources.paths()) {
        if (lies_in(directory_of(order.output), source))
            return fail(ErrorKind::InvalidArgument, "the output {} lies in the source {}: it would hold itself", order.output,
                        source);
        // A key that goes along with what it locks, and later lies open in a store.
        if (lies_in(order.key_file, source))
            return fail(ErrorKind::InvalidArgument, "the key file {} lies in the source {}: it would go onto the drive",
                        order.key_file, source);
    }
    return {};
}

Result<DriveTarget> choose_target(const Order& order) {
    DRAY_LET(DriveTarget target, DriveTarget::look_at(order.output));
    if (target.holds().empty())
        return target;
    if (!order.is_overwrite_allowed)
        return fail(ErrorKind::Exists, "{} holds {}; with --yes it is overwritten",
                    target.describe(), target.holds());
    warn(fmt::format("overwriting {}, which holds {}", target.describe(), target.holds()));
    return target;
}

void warn_of_left_out(const BlobSources& sources) {
    std::uint64_t told = 0;
    for (const BlobSource& source : sources.sources())
        for (const std::string& sentence : source.tree.left_out()) {
            warn(sentence);
            ++told;
        }
    if (sources.left_out_count() > told)
        warn(fmt::format("{} more are left out for the same reasons", sources.left_out_count() - told));
}

Result<Bytes> choose_size(const Order& order, const DriveTarget& target, Bytes needed) {
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

/// Makes the drive that was planned.
Result<Prepared> make_drive(const Order& order, const DrivePlan& plan, DriveTarget& target, const OutputOptions& output) {
    Prepared prepared;
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

Result<Prepared> prepare(const PrepareOptions& options, const OutputOptions& output) {
    Order order{{}, options.key_file, options.output, options.size, options.is_overwrite_allowed, {}};
    DRAY_LET(order.serial, check_serial(options.serial));
    DRAY_TRY(check_block_size(options.block_size));
    DRAY_LET(order.key, key_memfd(order.key_file));
    if (const std::string warning = key_file_warning(order.key_file); !warning.empty())
        warn(warning);
    DRAY_LET(DriveTarget target, choose_target(order));
    DRAY_LET(const BlobSources sources, BlobSources::look_at(options.sources));
    DRAY_TRY(check_places(order, sources));
    warn_of_left_out(sources);
    DRAY_LET(const DrivePlan plan,
             DrivePlan::make(sources, DrivePlan::all_items(sources), {order.serial, options.block_size}));
    DRAY_LET(Prepared prepared, make_drive(order, plan, target, output));
    prepared.left_out = sources.left_out_count();
    prepared.excluded = sources.excluded_count();
    return prepared;
}

std::string next_command(const Prepared& prepared) {
    return fmt::format("drayctl add-drive JOB {} --key-file {} --manifest {} --manifest-hash {} --volume-id {}",
                       shell_word(prepared.serial), shell_word(prepared.key_file), shell_word(prepared.manifest),
                       prepared.manifest_hash, prepared.volume_id);
}

std::vector<std::pair<Column, Cell>> fields_of(const Prepared& prepared) {
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

void print(const OutputOptions& output, const Prepared& prepared) {
    print_record(output, fields_of(prepared));
    if (output.json == JsonMode::Off && !output.is_quiet)
        fmt::print("\nWhen the job is created (drayctl create):\n  {}\n", next_command(prepared));
}

}  // namespace

Result<int> drive_prepare(const PrepareOptions& options, const OutputOptions& output) {
    catch_interrupts();
    Result<Prepared> prepared = prepare(options, output);
    // What failed because the signal ended dray-drive is no error of its own.
    if (!prepared && (is_interrupted() || prepared.error().kind() == ErrorKind::Cancelled)) {
        fmt::print(stderr, "drayctl: stopped; {} is not made.\n", options.output);
        return kExitInterrupted;
    }
    if (!prepared)
        return fail(std::move(prepared.error()));
    print(output, *prepared);
    return 0;
}

}  // namespace dray::ctl
