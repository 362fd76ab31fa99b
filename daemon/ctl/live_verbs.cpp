// SPDX-License-Identifier: Apache-2.0
#include "daemon/ctl/live_verbs.hpp"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <map>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "daemon/base/clock.hpp"
#include "daemon/bus/names.hpp"
#include "daemon/ctl/interrupt.hpp"
#include "daemon/ctl/progress_line.hpp"
#include "daemon/ctl/show_verbs.hpp"

namespace dray::ctl {
namespace {

constexpr Microseconds kRedraw = std::chrono::milliseconds(250);
constexpr Microseconds kLook = std::chrono::seconds(2);

bool is_finished(const Properties& job) {
    return job.text("State") == "Completed" || job.text("State") == "Closed";
}

int exit_status_of(const Properties& job) {
    return job.text("State") == "Completed" && job.text("Outcome") == "completed" ? 0 : kExitJobFailed;
}

std::string end_sentence(const Properties& job) {
    const std::string name = job.text("Name");
    if (job.text("Outcome") == "cancelled")
        return fmt::format("Job {} was cancelled and is {}.", name, job.text("State"));
    if (job.text("Outcome") == "completed")
        return fmt::format("Job {} is Completed: {} in {} blobs.", name,
                           format_bytes(job.number("BytesDone")), job.number("BlobsDone"));
    return fmt::format("Job {} is {} with errors; see drayctl show {} for the logs.", name,
                       job.text("State"), name);
}

/// drayd may be away for a moment (a restart, an upgrade): that is no end of the wait.
template <typename T>
bool is_away(const Result<T>& result) {
    return !result && result.error().kind() == ErrorKind::Unreachable;
}

struct DriveLine {
    std::string key;
    /// Without numbers that move.
    std::string state;
    std::string line;
    int tenth = 0;
};

DriveLine drive_line(const Properties& job, const Properties& drive) {
    const Bytes total = drive.number("BytesTotal");
    const double part =
        total == 0 ? 0 : static_cast<double>(drive.number("BytesDone")) / static_cast<double>(total);
    DriveLine result;
    result.key = job.text("Name") + "/" + drive.text("Serial");
    result.state = drive_state_words(drive);
    if (!drive.text("CopyStatus").empty() && drive.text("CopyStatus") != drive.text("State"))
        result.state += ", " + drive.text("CopyStatus");
    result.tenth = static_cast<int>(part * 10);
    std::string numbers = total == 0 ? "" : progress_bar(drive.number("BytesDone"), total);
    if (drive.number("BytesPerSecond") != 0)
        numbers += fmt::format("  {}/s", format_bytes(drive.number("BytesPerSecond")));
    if (drive.number("RemainingUSec") != 0)
        numbers += fmt::format("  {} left", format_duration(Microseconds(static_cast<std::int64_t>(
                                                drive.number("RemainingUSec")))));
    result.line = fmt::format("{}  {}  {}", result.key, result.state, numbers);
    if (drive.flag("Faulted"))
        result.line += "  " + drive.text("FaultReason");
    result.line.erase(result.line.find_last_not_of(' ') + 1);
    return result;
}

Result<std::vector<DriveLine>> lines_of(const Client& client, const std::vector<std::string>& jobs) {
    std::vector<DriveLine> lines;
    for (const std::string& path : jobs) {
        Result<Properties> job = client.properties(path, bus::kJobInterface);
        if (!job && job.error().kind() == ErrorKind::NotFound)
            continue;
        if (!job)
            return fail(std::move(job.error()));
        if (is_finished(*job) && jobs.size() > 1)
            continue;
        for (const std::string& drive_path : job->list("Drives")) {
            DRAY_LET(const Properties drive, client.properties(drive_path, bus::kDriveInterface));
            lines.push_back(drive_line(*job, drive));
        }
    }
    return lines;
}

/// Shows lines again and again: in place on a terminal, news only elsewhere.
class Screen {
public:
    explicit Screen(bool is_terminal) : is_terminal_(is_terminal) {}

    void show(const std::vector<DriveLine>& lines) {
        if (!is_terminal_)
            return tell_news(lines);
        if (drawn_ > 0)
            fmt::print("\x1b[{}A", drawn_);
        for (const DriveLine& line : lines)
            fmt::print("\x1b[2K{}\n", line.line.substr(0, columns()));
        // Lines of drives that are gone stay behind otherwise.
        fmt::print("\x1b[J");
        drawn_ = lines.size();
        (void)std::fflush(stdout);
    }

private:
    void tell_news(const std::vector<DriveLine>& lines) {
        for (const DriveLine& line : lines) {
            const std::pair<std::string, int> now{line.state, line.tenth};
            const auto [known, is_new] = told_.try_emplace(line.key, now);
            if (!is_new && known->second == now)
                continue;
            known->second = now;
            fmt::print("{}\n", line.line);
        }
        (void)std::fflush(stdout);
    }

    static std::size_t columns() {
        winsize size{};
        return ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
    }

    bool is_terminal_;
    std::size_t drawn_ = 0;
    std::map<std::string, std::pair<std::string, int>> told_;
};

/// Whether every copy of the job is over and only the drives' way out is missing.
bool waits_for_hand_back(const Properties& job) { return job.text("State") == "Packaging"; }

}  // namespace

Result<int> watch(Client& client, const OutputOptions& output, const std::string& job) {
    catch_interrupts();
    DRAY_TRY(client.subscribe());
    Screen screen(is_lively(STDOUT_FILENO));
    const SystemClock clock;
    bool is_told = false;
    while (!is_interrupted()) {
        Result<std::vector<std::string>> paths = std::vector<std::string>{};
        if (job.empty()) {
            paths = client.job_paths();
        } else {
            Result<std::string> found = client.job_path(job);
            if (found)
                paths = std::vector<std::string>{*found};
            else
                paths = fail(std::move(found.error()));
        }
        Result<std::vector<DriveLine>> lines = std::vector<DriveLine>{};
        if (paths)
            lines = lines_of(client, *paths);
        if (!paths && !is_away(paths))
            return fail(std::move(paths.error()));
        if (lines)
            screen.show(*lines);
        if (paths && !job.empty()) {
            const Result<Properties> state = client.properties(paths->front(), bus::kJobInterface);
            if (state && is_finished(*state)) {
                if (!output.is_quiet)
                    fmt::print("{}\n", end_sentence(*state));
                return exit_status_of(*state);
            }
            if (state && waits_for_hand_back(*state) && !std::exchange(is_told, true) && !output.is_quiet)
                fmt::print(stderr, "All copies of job {} are done; its drives can be handed back.\n", job);
        }
        // Signals come in bursts: look again when they do, but not more often than eyes need.
        const Microseconds until = clock.since_boot() + kRedraw;
        DRAY_LET([[maybe_unused]] const bool changed, client.wait_for_change(kLook));
        for (Microseconds now = clock.since_boot(); !is_interrupted() && now < until;
             now = clock.since_boot()) {
            DRAY_LET([[maybe_unused]] const bool more, client.wait_for_change(until - now));
        }
    }
    fmt::print(stderr, "\nStopped watching; the work goes on.\n");
    return kExitInterrupted;
}

Result<int> wait_for_job(Client& client, const OutputOptions& output, const std::string& job,
                         std::optional<Microseconds> timeout) {
    catch_interrupts();
    DRAY_TRY(client.subscribe());
    const SystemClock clock;
    const Microseconds end = clock.since_boot() + timeout.value_or(Microseconds(0));
    std::string state = "not known";
    bool was_seen = false;
    while (!is_interrupted()) {
        const Result<std::string> path = client.job_path(job);
        if (!path && (!is_away(path) || !was_seen))
            return fail(Error(path.error()));
        was_seen = true;
        if (path) {
            const Result<Properties> found = client.properties(*path, bus::kJobInterface);
            if (found && is_finished(*found)) {
                if (!output.is_quiet)
                    fmt::print("{}\n", end_sentence(*found));
                return exit_status_of(*found);
            }
            if (found)
                state = found->text("State");
        }
        Microseconds most = kLook;
        if (timeout) {
            const Microseconds left = end - clock.since_boot();
            if (left <= Microseconds(0)) {
                fmt::print(stderr, "drayctl: job {} is still {} after {}.\n", job, state,
                           format_duration(*timeout));
                return kExitTimeout;
            }
            most = std::min(most, left);
        }
        DRAY_LET([[maybe_unused]] const bool changed, client.wait_for_change(most));
    }
    fmt::print(stderr, "\nStopped waiting; the work goes on.\n");
    return kExitInterrupted;
}

}  // namespace dray::ctl
