// SPDX-License-Identifier: Apache-2.0
//
// The job: one import or export order. Plain values, as the catalog keeps them and the bus shows them.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "daemon/base/units.hpp"
#include "daemon/model/drive.hpp"

namespace dray {

/// The words of the Azure API (azure-import-export.md 2.1), in the order of a job's life.
enum class JobState { Creating, Shipping, Received, Transferring, Packaging, Completed, Closed };
enum class JobType { Import, Export };
enum class LogLevel { Error, Verbose };

std::string_view to_string(JobState state);
/// "import", "export".
std::string_view to_string(JobType type);
/// "Error", "Verbose".
std::string_view to_string(LogLevel level);
std::optional<JobState> parse_job_state(std::string_view text);
std::optional<JobType> parse_job_type(std::string_view text);
std::optional<LogLevel> parse_log_level(std::string_view text);

struct Job {
    std::string name;
    JobType type = JobType::Import;
    std::string store;
    JobState state = JobState::Creating;
    bool is_cancel_requested = false;
    /// How running drives end once cancel was requested.
    DrainMode drain = DrainMode::Drive;
    /// "" until finished, then "completed", "completed-with-errors" or "cancelled".
    std::string outcome;
    std::string diagnostics_path = "waimportexport";
    LogLevel log_level = LogLevel::Error;
    bool backup_manifest = false;
    std::map<std::string, std::string> tags;
    std::string carrier;
    std::string tracking;
    /// 0: not said.
    std::uint32_t expected_drives = 0;
    /// Close was called: no further drive will come (rules.md 3).
    bool is_closed_for_drives = false;
    std::string incomplete_list_uri;
    /// Of an export: what it takes, as the XML of azure-import-export.md 5.2, or the blob that lists it; one of both is "".
    std::string selection;
    std::string list_blob;
    TimePoint created;
    TimePoint shipped;
    TimePoint completed;
    /// Deadline of the present state; 0 for none. Fixed on entering the state (rules.md 21).
    TimePoint expires;
    std::vector<Drive> drives;

    Drive* find_drive(std::string_view serial);
    const Drive* find_drive(std::string_view serial) const;
};

/// A drive of an export whose key nobody has read although there is something on it, or null.
const Drive* unread_key(const Job& job);

/// Completed or Closed: nothing more happens.
bool is_over(const Job& job);

/// InvalidArgument unless ^[A-Za-z][A-Za-z0-9_-]{1,63}$ (azure-import-export.md 1.3).
Result<void> check_job_name(std::string_view name);
/// Job names compare without regard to case.
std::string fold_job_name(std::string_view name);

/// Sums over drives that may still count; percent is byte-weighted (azure-import-export.md 3.5).
Counters total_counters(const Job& job);
/// 0..100: 100 from Packaging on.
double percent_of(const Job& job);

}  // namespace dray
