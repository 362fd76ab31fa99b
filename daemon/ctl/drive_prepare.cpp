// SPDX-License-Identifier: Apache-2.0
#include "daemon/ctl/drive_prepare.hpp"

#include <sys/stat.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <optional>
#include <set>
#include <string_view>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "daemon/base/encoding.hpp"
#include "daemon/base/file.hpp"
#include "daemon/ctl/blob_sources.hpp"
#include "daemon/ctl/drive_copy.hpp"
#include "daemon/ctl/drive_plan.hpp"
#include "daemon/ctl/drive_process.hpp"
#include "daemon/ctl/drive_set.hpp"
#include "daemon/ctl/drive_target.hpp"
#include "daemon/ctl/interrupt.hpp"
#include "daemon/ctl/key_file.hpp"
#include "daemon/ctl/live_verbs.hpp"
#include "daemon/ctl/progress_line.hpp"
#include "daemon/ctl/shell_word.hpp"
#include "daemon/ctl/temporary_file.hpp"
#include "daemon/drive/client.hpp"
#include "daemon/format/csv.hpp"
#include "daemon/format/dataset.hpp"
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

/// Links are followed to devices, whose lasting names in /dev/disk they are.
std::string path_of_drive(const std::string& path) {
    struct stat status {};
    if (stat(path.c_str(), &status) != 0 || !S_ISBLK(status.st_mode))
        return path;
    const std::string real = real_path(path);
    return real.empty() ? path : real;
}

Result<Order> order_of(const format::DriveSetRow& row, const PrepareOptions& options) {
    Order order;
    DRAY_LET(order.serial, check_serial(row.serial));
    order.output = path_of_drive(row.path);
    order.key_file = row.key_file.empty() ? options.key_file : row.key_file;
    if (order.key_file.empty())
        return fail(ErrorKind::InvalidArgument, "the drive {} has no KeyFile, and there is no --key-file", row.path);
    if (!row.size.empty()) {
        DRAY_LET(order.size, parse_bytes(row.size));
    }
    order.is_overwrite_allowed = options.is_overwrite_allowed || row.is_silent;
    return order;
}

Result<std::vector<Order>> orders_of(const PrepareOptions& options) {
    std::vector<Order> orders;
    if (options.driveset.empty()) {
        orders.push_back({{}, options.key_file, options.output, options.size, options.is_overwrite_allowed, {}});
        DRAY_LET(orders.front().serial, check_serial(options.serial));
        return orders;
    }
    DRAY_LET(const std::string text, read_file(options.driveset, format::kMaxCsv));
    auto rows = format::read_driveset(text);
    if (!rows)
        return fail(std::move(rows.error()), "the drive set {}", options.driveset);
    std::set<std::string> serials;
    for (const format::DriveSetRow& row : *rows) {
        Result<Order> order = order_of(row, options);
        if (order && !serials.insert(fold_serial(order->serial)).second)
            order = fail(ErrorKind::InvalidArgument, "the serial number {} is there twice", order->serial);
        if (!order)
            return fail(std::move(order.error()), "the drive set {}, line {}", options.driveset, row.line);
        orders.push_back(*std::move(order));
    }
    return orders;
}

/// What goes onto which drive.
Result<std::vector<std::vector<DriveItem>>> share_out(const PrepareOptions& options, const BlobSources& sources,
                                                      const std::vector<Order>& orders,
                                                      const std::vector<DriveTarget>& targets) {
    if (options.driveset.empty())
        return std::vector<std::vector<DriveItem>>{DrivePlan::all_items(sources)};
    std::vector<Bytes> sizes;
    for (std::size_t drive = 0; drive < orders.size(); ++drive) {
        const bool is_open_ended = orders[drive].size == 0 && !targets[drive].is_device();
        if (is_open_ended && drive + 1 < orders.size())
            return fail(ErrorKind::InvalidArgument,
                        "the image {} has no Size in the drive set: nothing would be left for the drives behind it",
                        orders[drive].output);
        sizes.push_back(is_open_ended             ? UINT64_MAX
                        : orders[drive].size != 0 ? orders[drive].size
                                                  : targets[drive].device_size());
    }
    return distribute(sources, sizes, options.block_size);
}

/// All drives that were made; also those before one that failed, which `failure` is about.
struct Outcome {
    std::vector<Prepared> drives;
    std::uint64_t left_out = 0;
    std::uint64_t excluded = 0;
    std::optional<Error> failure;
};

Result<Outcome> prepare(const PrepareOptions& options, const OutputOptions& output) {
    DRAY_LET(std::vector<Order> orders, orders_of(options));
    DRAY_TRY(check_block_size(options.block_size));
    std::vector<DriveTarget> targets;
    for (Order& order : orders) {
        DRAY_LET(order.key, key_memfd(order.key_file));
        if (const std::string warning = key_file_warning(order.key_file); !warning.empty())
            warn(warning);
        DRAY_LET(DriveTarget target, choose_target(order));
        targets.push_back(std::move(target));
    }
    DRAY_LET(const BlobSources sources, BlobSources::look_at(options.sources));
    for (const Order& order : orders)
        DRAY_TRY(check_places(order, sources));
    warn_of_left_out(sources);
    DRAY_LET(std::vector<std::vector<DriveItem>> items, share_out(options, sources, orders, targets));
    // Everything that can be wrong with any of them is found before the first is written.
    std::vector<DrivePlan> plans;
    for (std::size_t drive = 0; drive < orders.size(); ++drive) {
        DRAY_LET(DrivePlan plan, DrivePlan::make(sources, std::move(items[drive]), {orders[drive].serial, options.block_size}));
        DRAY_TRY(choose_size(orders[drive], targets[drive], plan.needed_size()));
        plans.push_back(std::move(plan));
    }
    Outcome outcome;
    outcome.left_out = sources.left_out_count();
    outcome.excluded = sources.excluded_count();
    for (std::size_t drive = 0; drive < orders.size(); ++drive) {
        if (plans[drive].files() == 0) {
            warn(fmt::format("{} is not needed: it stays as it is", targets[drive].describe()));
            continue;
        }
        Result<Prepared> prepared = make_drive(orders[drive], plans[drive], targets[drive], output);
        if (!prepared) {
            outcome.failure = std::move(prepared.error());
            break;
        }
        outcome.drives.push_back(*std::move(prepared));
    }
    return outcome;
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

void print_all(const OutputOptions& output, const Outcome& outcome) {
    std::uint64_t files = 0;
    Bytes bytes = 0;
    for (const Prepared& drive : outcome.drives) {
        files += drive.files;
        bytes += drive.bytes;
    }
    if (output.json != JsonMode::Off) {
        std::vector<Column> columns;
        std::vector<std::vector<Cell>> rows;
        for (const auto& [column, cell] : fields_of(Prepared()))
            columns.push_back(column);
        for (const Prepared& drive : outcome.drives) {
            std::vector<Cell> row;
            for (const auto& [column, cell] : fields_of(drive))
                row.push_back(cell);
            rows.push_back(std::move(row));
        }
        print_record_with_rows(output,
                               {{{"", "files"}, number_cell(files)},
                                {{"", "bytes"}, bytes_cell(bytes)},
                                {{"", "left-out"}, number_cell(outcome.left_out)},
                                {{"", "excluded"}, number_cell(outcome.excluded)}},
                               "drives", columns, rows);
        return;
    }
    for (const Prepared& drive : outcome.drives) {
        print_record(output, fields_of(drive));
        fmt::print("\n");
    }
    if (output.is_quiet)
        return;
    fmt::print("{} files, {}, on {} {}. When the job is created (drayctl create):\n", files, format_bytes(bytes),
               outcome.drives.size(), outcome.drives.size() == 1 ? "drive" : "drives");
    for (const Prepared& drive : outcome.drives)
        fmt::print("  {}\n", next_command(drive));
}

}  // namespace

Result<int> drive_prepare(const PrepareOptions& options, const OutputOptions& output) {
    catch_interrupts();
    Result<Outcome> outcome = prepare(options, output);
    std::optional<Error> failure = outcome ? outcome->failure : outcome.error();
    // What failed because the signal ended dray-drive is no error of its own.
    const bool is_stopped = failure && (is_interrupted() || failure->kind() == ErrorKind::Cancelled);
    if (failure && outcome)
        for (const Prepared& drive : outcome->drives)
            warn(fmt::format("{} is made, and good: {}", drive.output, next_command(drive)));
    if (is_stopped) {
        fmt::print(stderr, "drayctl: stopped; {} is not made.\n",
                   options.driveset.empty() ? options.output : "what is missing of the drive set");
        return kExitInterrupted;
    }
    if (failure)
        return fail(*std::move(failure));
    if (!options.driveset.empty()) {
        print_all(output, *outcome);
        return 0;
    }
    Prepared& drive = outcome->drives.front();
    drive.left_out = outcome->left_out;
    drive.excluded = outcome->excluded;
    print(output, drive);
    return 0;
}

}  // namespace dray::ctl
