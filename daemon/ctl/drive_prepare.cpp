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
#include "daemon/ctl/drive_copy.hpp"
#include "daemon/ctl/drive_plan.hpp"
#include "daemon/ctl/drive_process.hpp"
#include "daemon/ctl/drive_target.hpp"
#include "daemon/ctl/interrupt.hpp"
#include "daemon/ctl/key_file.hpp"
#include "daemon/ctl/live_verbs.hpp"
#include "daemon/ctl/progress_line.hpp"
#include "daemon/ctl/shell_word.hpp"
#include "daemon/ctl/source_tree.hpp"
#include "daemon/drive/client.hpp"
#include "daemon/model/blob_name.hpp"
#include "daemon/model/drive.hpp"

namespace dray::ctl {
namespace {

/// Extents of 1 MiB: enough for reading, hashing and encrypting to go on side by side.
constexpr Bytes kRing = 32 * kMiB;
constexpr Bytes kSector = 4 * kKiB;

struct Prepared {
    std::string serial;
    std::string volume_id;
    std::string manifest;
    std::string manifest_hash;
    std::uint64_t files = 0;
    std::uint64_t directories = 0;
    Bytes bytes = 0;
    Bytes size = 0;
    std::uint64_t left_out = 0;
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

Result<void> check_places(const PrepareOptions& options) {
    if (lies_in(directory_of(options.output), options.source))
        return fail(ErrorKind::InvalidArgument,
                    "the output {} lies in the source {}: it would hold itself", options.output,
                    options.source);
    // A key that goes along with what it locks, and later lies open in a store.
    if (lies_in(options.key_file, options.source))
        return fail(ErrorKind::InvalidArgument,
                    "the key file {} lies in the source {}: it would go onto the drive",
                    options.key_file, options.source);
    return {};
}

Result<DriveTarget> choose_target(const PrepareOptions& options) {
    DRAY_LET(DriveTarget target, DriveTarget::look_at(options.output));
    if (target.holds().empty())
        return target;
    if (!options.is_overwrite_allowed)
        return fail(ErrorKind::Exists, "{} holds {}; with --yes it is overwritten",
                    target.describe(), target.holds());
    warn(fmt::format("overwriting {}, which holds {}", target.describe(), target.holds()));
    return target;
}

Result<SourceTree> look_at_source(const PrepareOptions& options, const std::string& blob_prefix) {
    DRAY_LET(SourceTree tree,
             SourceTree::walk(options.source, [&](const std::string& path) -> Result<void> {
                 if (const auto blob = parse_blob_path(blob_prefix + path); !blob)
                     return fail(Error(blob.error()), "{} cannot become a blob", path);
                 return {};
             }));
    for (const std::string& sentence : tree.left_out())
        warn(sentence);
    if (tree.left_out_count() > tree.left_out().size())
        warn(fmt::format("{} more are left out for the same reasons",
                         tree.left_out_count() - tree.left_out().size()));
    if (tree.files() == 0)
        return fail(ErrorKind::InvalidArgument, "{} has no files", options.source);
    return tree;
}

Result<Bytes> choose_size(const PrepareOptions& options, const DriveTarget& target, Bytes needed) {
    const Bytes wanted = options.size != 0    ? options.size
                         : target.is_device() ? target.device_size()
                                              : needed;
    if (wanted < needed)
        return fail(ErrorKind::NoSpace, "{} is too small for this source: it needs {}MiB",
                    options.size != 0 ? "--size " + format_bytes(wanted) : target.describe(),
                    needed / kMiB);
    if (target.is_device() && wanted > target.device_size())
        return fail(ErrorKind::InvalidArgument, "--size {} is more than {} has",
                    format_bytes(wanted), target.describe());
    return wanted / kSector * kSector;
}

Result<Prepared> prepare(const PrepareOptions& options, const OutputOptions& output) {
    Prepared prepared;
    PlanOptions plan_options;
    DRAY_LET(plan_options.blob_prefix, parse_container(options.container));
    DRAY_LET(plan_options.disposition, parse_disposition(options.disposition));
    DRAY_TRY(check_block_size(options.block_size));
    plan_options.block_size = options.block_size;
    DRAY_LET(prepared.serial, check_serial(options.serial));
    plan_options.serial = prepared.serial;
    DRAY_TRY(check_places(options));
    DRAY_LET(const FileDescriptor key, key_memfd(options.key_file));
    if (const std::string warning = key_file_warning(options.key_file); !warning.empty())
        warn(warning);

    DRAY_LET(DriveTarget target, choose_target(options));
    DRAY_LET(const SourceTree tree, look_at_source(options, plan_options.blob_prefix));
    DRAY_LET(const DrivePlan plan, DrivePlan::make(tree, std::move(plan_options)));
    DRAY_LET(prepared.size, choose_size(options, target, plan.needed_size()));
    DRAY_LET(const FileDescriptor spool, target.make_spool());

    DRAY_TRY(target.begin(prepared.size, tree.bytes()));
    DRAY_LET(const auto process, DriveProcess::start(target.fd(), key.get(), {kRing}));
    ProgressLine progress("Writing " + base_name(options.output), tree.bytes(), output.is_quiet);
    progress.show(0);
    drive::Format format;
    format.size = prepared.size;
    format.label = prepared.serial;
    format.inodes = plan.inodes();
    const Result<drive::Unlocked> volume = process->client().format(format);
    if (!volume)
        return fail(process->explained(volume.error()));
    target.has_volume();
    DriveCopy copy(tree, plan, process->client(), spool.get(),
                   [&](Bytes done) { progress.show(done); });
    const Result<Md5Hash> hash = copy.run();
    if (!hash)
        return fail(process->explained(hash.error()));
    DRAY_TRY(process->end());
    DRAY_TRY(check_interrupt());
    DRAY_TRY(target.publish());

    prepared.volume_id = volume->volume_id;
    prepared.manifest = plan.manifest_path();
    prepared.manifest_hash = to_hex(*hash);
    prepared.files = tree.files();
    prepared.directories = tree.directories();
    prepared.bytes = tree.bytes();
    prepared.left_out = tree.left_out_count();
    return prepared;
}

void print(const PrepareOptions& options, const OutputOptions& output, const Prepared& prepared) {
    const std::string command = fmt::format(
        "drayctl add-drive JOB {} --key-file {} --manifest {} --manifest-hash {} --volume-id {}",
        shell_word(prepared.serial), shell_word(options.key_file), shell_word(prepared.manifest),
        prepared.manifest_hash, prepared.volume_id);
    const auto for_scripts = [](Cell cell) {
        cell.shown.clear();
        return cell;
    };
    print_record(output, {{{"Serial", "serial"}, text_cell(prepared.serial)},
                          {{"Volume id", "volume-id"}, text_cell(prepared.volume_id)},
                          {{"Manifest", "manifest"}, text_cell(prepared.manifest)},
                          {{"Manifest hash", "manifest-hash"}, text_cell(prepared.manifest_hash)},
                          {{"Files", "files"}, number_cell(prepared.files)},
                          {{"Directories", "directories"}, number_cell(prepared.directories)},
                          {{"Content", "bytes"}, bytes_cell(prepared.bytes)},
                          {{"Output", "output"}, text_cell(options.output)},
                          {{"Size", "size"}, bytes_cell(prepared.size)},
                          {{"Left out", "left-out"},
                           prepared.left_out == 0 ? for_scripts(number_cell(0))
                                                  : number_cell(prepared.left_out)},
                          {{"Next", "next"}, for_scripts(text_cell(command))}});
    if (output.json == JsonMode::Off && !output.is_quiet)
        fmt::print("\nWhen the job is created (drayctl create):\n  {}\n", command);
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
    print(options, output, *prepared);
    return 0;
}

}  // namespace dray::ctl
