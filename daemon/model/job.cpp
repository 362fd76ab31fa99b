// SPDX-License-Identifier: Apache-2.0
#include "daemon/model/job.hpp"

#include <algorithm>
#include <array>
#include <utility>

namespace dray {

namespace {

constexpr auto kStates = std::to_array<std::pair<JobState, std::string_view>>({
    {JobState::Creating, "Creating"},
    {JobState::Shipping, "Shipping"},
    {JobState::Received, "Received"},
    {JobState::Transferring, "Transferring"},
    {JobState::Packaging, "Packaging"},
    {JobState::Completed, "Completed"},
    {JobState::Closed, "Closed"},
});

constexpr auto kTypes = std::to_array<std::pair<JobType, std::string_view>>({
    {JobType::Import, "import"},
    {JobType::Export, "export"},
});

constexpr auto kLogLevels = std::to_array<std::pair<LogLevel, std::string_view>>({
    {LogLevel::Error, "Error"},
    {LogLevel::Verbose, "Verbose"},
});

template <typename Table>
auto find_word(const Table& table, std::string_view text) {
    std::optional<decltype(table.front().first)> result;
    for (const auto& [value, word] : table)
        if (word == text)
            result = value;
    return result;
}

bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
bool is_digit(char c) { return c >= '0' && c <= '9'; }

}  // namespace

std::string_view to_string(JobState state) { return kStates.at(static_cast<std::size_t>(state)).second; }
std::string_view to_string(JobType type) { return kTypes.at(static_cast<std::size_t>(type)).second; }
std::string_view to_string(LogLevel level) {
    return kLogLevels.at(static_cast<std::size_t>(level)).second;
}

std::optional<JobState> parse_job_state(std::string_view text) { return find_word(kStates, text); }
std::optional<JobType> parse_job_type(std::string_view text) { return find_word(kTypes, text); }
std::optional<LogLevel> parse_log_level(std::string_view text) { return find_word(kLogLevels, text); }

const Drive* Job::find_drive(std::string_view serial) const {
    const std::string folded = fold_serial(serial);
    const auto found = std::ranges::find_if(
        drives, [&](const Drive& drive) { return fold_serial(drive.serial) == folded; });
    return found == drives.end() ? nullptr : &*found;
}

Drive* Job::find_drive(std::string_view serial) {
    return const_cast<Drive*>(std::as_const(*this).find_drive(serial));  // the job itself is not const
}

const Drive* unread_key(const Job& job) {
    if (job.type != JobType::Export)
        return nullptr;
    const auto drive = std::ranges::find_if(job.drives, [](const Drive& one) {
        return !one.is_key_read && !one.volume_id.empty();
    });
    return drive == job.drives.end() ? nullptr : &*drive;
}

bool is_over(const Job& job) { return job.state == JobState::Completed || job.state == JobState::Closed; }

Result<void> check_job_name(std::string_view name) {
    if (name.size() < 2 || name.size() > 64)
        return fail(ErrorKind::InvalidArgument, "job name \"{}\" has not 2 to 64 characters",
                    name.substr(0, 65));
    const bool is_plain = std::ranges::all_of(
        name, [](char c) { return is_letter(c) || is_digit(c) || c == '-' || c == '_'; });
    if (!is_letter(name.front()) || !is_plain)
        return fail(ErrorKind::InvalidArgument,
                    "job name \"{}\" must start with a letter and have only letters, digits, '-' and '_'",
                    name);
    return {};
}

std::string fold_job_name(std::string_view name) {
    std::string result(name);
    for (char& c : result)
        if (c >= 'A' && c <= 'Z')
            c = static_cast<char>(c - 'A' + 'a');
    return result;
}

Counters total_counters(const Job& job) {
    Counters sum;
    for (const Drive& drive : job.drives) {
        if (drive.state == DriveState::NeverReceived)
            continue;
        sum.bytes_done += drive.counters.bytes_done;
        sum.bytes_total += drive.counters.bytes_total;
        sum.bytes_succeeded += drive.counters.bytes_succeeded;
        sum.blobs_done += drive.counters.blobs_done;
        sum.blobs_total += drive.counters.blobs_total;
        sum.blobs_failed += drive.counters.blobs_failed;
    }
    return sum;
}

double percent_of(const Job& job) {
    if (job.state >= JobState::Packaging)
        return 100.0;
    const Counters sum = total_counters(job);
    if (sum.bytes_total == 0)
        return 0.0;
    // 100 promises that the logs are written; before that 99 is the most.
    constexpr double kMostBeforeLogs = 99.0;
    const double percent =
        100.0 * static_cast<double>(sum.bytes_done) / static_cast<double>(sum.bytes_total);
    return std::min(percent, kMostBeforeLogs);
}

}  // namespace dray
