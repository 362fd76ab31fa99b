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

#include "daemon/base/file.hpp"
#include "daemon/ctl/blob_sources.hpp"
#include "daemon/ctl/drive_making.hpp"
#include "daemon/ctl/drive_plan.hpp"
#include "daemon/ctl/drive_set.hpp"
#include "daemon/ctl/drive_target.hpp"
#include "daemon/ctl/interrupt.hpp"
#include "daemon/ctl/key_file.hpp"
#include "daemon/ctl/live_verbs.hpp"
#include "daemon/format/csv.hpp"
#include "daemon/format/dataset.hpp"
#include "daemon/model/drive.hpp"

namespace dray::ctl {
namespace {

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

Result<void> check_places(const DriveOrder& order, const BlobSources& sources) {
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

/// Links are followed to devices, whose lasting names in /dev/disk they are.
std::string path_of_drive(const std::string& path) {
    struct stat status {};
    if (stat(path.c_str(), &status) != 0 || !S_ISBLK(status.st_mode))
        return path;
    const std::string real = real_path(path);
    return real.empty() ? path : real;
}

Result<DriveOrder> order_of(const format::DriveSetRow& row, const PrepareOptions& options) {
    DriveOrder order;
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

Result<std::vector<DriveOrder>> orders_of(const PrepareOptions& options) {
    std::vector<DriveOrder> orders;
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
        Result<DriveOrder> order = order_of(row, options);
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
                                                      const std::vector<DriveOrder>& orders,
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
    std::vector<PreparedDrive> drives;
    std::uint64_t left_out = 0;
    std::uint64_t excluded = 0;
    std::optional<Error> failure;
};

Result<Outcome> prepare(const PrepareOptions& options, const OutputOptions& output) {
    DRAY_LET(std::vector<DriveOrder> orders, orders_of(options));
    DRAY_TRY(check_block_size(options.block_size));
    std::vector<DriveTarget> targets;
    for (DriveOrder& order : orders) {
        DRAY_LET(order.key, key_memfd(order.key_file));
        if (const std::string warning = key_file_warning(order.key_file); !warning.empty())
            warn(warning);
        DRAY_LET(DriveTarget target, choose_target(order));
        targets.push_back(std::move(target));
    }
    DRAY_LET(const BlobSources sources, BlobSources::look_at(options.sources));
    for (const DriveOrder& order : orders)
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
        Result<PreparedDrive> prepared = make_drive(orders[drive], plans[drive], targets[drive], {}, output);
        if (!prepared) {
            outcome.failure = std::move(prepared.error());
            break;
        }
        outcome.drives.push_back(*std::move(prepared));
    }
    return outcome;
}

void print(const OutputOptions& output, const PreparedDrive& prepared) {
    print_record(output, fields_of(prepared));
    if (output.json == JsonMode::Off && !output.is_quiet)
        fmt::print("\nWhen the job is created (drayctl create):\n  {}\n", next_command(prepared));
}

void print_all(const OutputOptions& output, const Outcome& outcome) {
    std::uint64_t files = 0;
    Bytes bytes = 0;
    for (const PreparedDrive& drive : outcome.drives) {
        files += drive.files;
        bytes += drive.bytes;
    }
    if (output.json != JsonMode::Off) {
        std::vector<Column> columns;
        std::vector<std::vector<Cell>> rows;
        for (const auto& [column, cell] : fields_of(PreparedDrive()))
            columns.push_back(column);
        for (const PreparedDrive& drive : outcome.drives) {
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
    for (const PreparedDrive& drive : outcome.drives) {
        print_record(output, fields_of(drive));
        fmt::print("\n");
    }
    if (output.is_quiet)
        return;
    fmt::print("{} files, {}, on {} {}. When the job is created (drayctl create):\n", files, format_bytes(bytes),
               outcome.drives.size(), outcome.drives.size() == 1 ? "drive" : "drives");
    for (const PreparedDrive& drive : outcome.drives)
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
        for (const PreparedDrive& drive : outcome->drives)
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
    PreparedDrive& drive = outcome->drives.front();
    drive.left_out = outcome->left_out;
    drive.excluded = outcome->excluded;
    print(output, drive);
    return 0;
}

}  // namespace dray::ctl
