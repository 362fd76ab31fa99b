// SPDX-License-Identifier: Apache-2.0
//
// One drive made from a plan: formatted, filled, published, and what is told of it.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "daemon/base/file_descriptor.hpp"
#include "daemon/base/result.hpp"
#include "daemon/base/units.hpp"
#include "daemon/ctl/drive_copy.hpp"
#include "daemon/ctl/drive_plan.hpp"
#include "daemon/ctl/drive_target.hpp"
#include "daemon/ctl/output.hpp"

namespace dray::ctl {

/// A drive that is to be made.
struct DriveOrder {
    std::string serial;
    std::string key_file;
    std::string output;
    Bytes size = 0;
    bool is_overwrite_allowed = false;
    /// A sealed memfd; read once, because the file may be a pipe.
    FileDescriptor key;
};

struct PreparedDrive {
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

/// Prints a sentence that is no error.
void warn(const std::string& sentence);
/// Looks at the order's output. Exists: it holds something, and nobody said that it may be overwritten.
Result<DriveTarget> choose_target(const DriveOrder& order);
/// How large the drive will be. NoSpace: too small for what is needed.
Result<Bytes> choose_size(const DriveOrder& order, const DriveTarget& target, Bytes needed);
/// Formats, fills and publishes. Whatever goes wrong, nothing half-made has the output's name. `check`: of DriveCopy.
Result<PreparedDrive> make_drive(const DriveOrder& order, const DrivePlan& plan, DriveTarget& target,
                                 DriveCopy::Check check, const OutputOptions& output);

/// The command that adds the drive to a job.
std::string next_command(const PreparedDrive& prepared);
std::vector<std::pair<Column, Cell>> fields_of(const PreparedDrive& prepared);

}  // namespace dray::ctl
