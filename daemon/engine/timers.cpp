// SPDX-License-Identifier: Apache-2.0
//
// What happens to jobs for their age alone (azure-import-export.md 2.6; rules.md 3, 20, 21). Deadlines are in the
// catalog; here the clock is looked at: at the start, at the next deadline, when somebody sets the clock, and once a
// minute, because it may lose or win its synchronisation without a word.
#include <sys/epoll.h>

#include <algorithm>
#include <utility>

#include "daemon/base/log.hpp"
#include "daemon/engine/engine_state.hpp"
#include "daemon/model/deadline.hpp"

namespace dray {
namespace {

constexpr Microseconds kLookEvery = std::chrono::minutes(1);
constexpr Microseconds kSaveEvery = std::chrono::minutes(10);
/// What could not be done (a full disk, perhaps) is tried again after this.
constexpr Microseconds kTryAgain = std::chrono::hours(1);
/// So many jobs are served in one go; the loop has other work between.
constexpr int kMostAtOnce = 20;

}  // namespace

Result<void> JobEngine::State::start_timers() {
    DRAY_LET(ClockRecord record, catalog.load_clock());
    guard.emplace(clock, std::move(record));
    looking = loop.every(kLookEvery, [this] { look_at_clock(); });
    if (const int jumps = clock.jump_descriptor(); jumps >= 0)
        jumping = loop.watch(jumps, EPOLLIN, [this](std::uint32_t) {
            clock.heed_jump();
            look_at_clock();
        });
    look_at_clock();
    return {};
}

void JobEngine::State::look_at_clock() {
    if (is_stopping || !guard)
        return;
    if (guard->look(config.require_clock_sync)) {
        if (guard->is_trusted())
            log::info("the clock is trusted again");
        else
            log::warning("{}", guard->problem());
        observer.problems_changed();
    }
    remember_clock();
    if (guard->is_trusted())
        serve_deadlines();
    set_alarm();
}

void JobEngine::State::remember_clock() {
    const ClockRecord& record = guard->record();
    const bool is_same = record.held_until == remembered.held_until && record.reason == remembered.reason;
    if (is_same && std::chrono::abs(record.last_seen - remembered.last_seen) < kSaveEvery)
        return;
    if (Result<void> saved = catalog.save_clock(record); saved)
        remembered = record;
    else
        log::error("the time cannot be remembered: {}", saved.error().text());
}

Deadline JobEngine::State::deadline_of(const Job& job) const {
    const Deadline next = next_deadline(job);
    // Drives that are plugged in may not have been announced yet; one of them may ship its job (lifecycle.auto-ship).
    if (!is_over(job) && !is_settled)
        return {};
    const auto again = postponed.find(fold_job_name(job.name));
    return again != postponed.end() && clock.since_boot() < again->second ? Deadline() : next;
}

void JobEngine::State::set_alarm() {
    alarm.reset();
    if (is_stopping || !guard || !guard->is_trusted())
        return;
    Deadline first;
    for (const auto& [name, job] : jobs)
        if (const Deadline next = deadline_of(*job);
            next.expiry != Expiry::None && (first.expiry == Expiry::None || next.time < first.time))
            first = next;
    const Microseconds delay = first.time - clock.now();
    if (first.expiry != Expiry::None && delay < kLookEvery)
        alarm = loop.after(delay, [this] { look_at_clock(); });
}

void JobEngine::State::serve_deadlines() {
    const TimePoint now = clock.now();
    std::vector<std::string> due;
    for (const auto& [name, job] : jobs)
        if (const Deadline next = deadline_of(*job); next.expiry != Expiry::None && next.time <= now)
            due.push_back(name);
    if (due.size() > kMostAtOnce)
        due.resize(kMostAtOnce);
    for (const std::string& name : due) {
        // What was done for one of them may have changed another.
        Job* job = find(name);
        const Deadline next = job == nullptr ? Deadline() : deadline_of(*job);
        if (next.expiry != Expiry::None && next.time <= now)
            serve_deadline(*job, next.expiry, now);
    }
    if (!due.empty())
        settle();
}

void JobEngine::State::serve_deadline(Job& job, Expiry expiry, TimePoint now) {
    const std::string name = job.name;
    const Result<void> served = [&]() -> Result<void> {
        switch (expiry) {
        case Expiry::None: return {};
        case Expiry::Delete: return delete_for_age(job);
        case Expiry::Overdue: return say_overdue(job, now);
        case Expiry::Fault: fault_absent(job, now); return {};
        case Expiry::NoReply: return give_up(job);
        }
        return {};
    }();
    if (served) {
        postponed.erase(fold_job_name(name));
        return;
    }
    postponed[fold_job_name(name)] = clock.since_boot() + kTryAgain;
    log::error("{}; it is tried again in {}", served.error().text(), format_duration(kTryAgain));
}

Result<void> JobEngine::State::delete_for_age(Job& job) {
    const std::string name = job.name;
    const std::string why = job.state == JobState::Creating
                                ? "it was not shipped in its time"
                                : fmt::format("it was kept for its time after it was {}", to_string(job.state));
    // Until it is read or given up (rules.md 20).
    if (const Drive* drive = unread_key(job); drive != nullptr) {
        Job kept = job;
        kept.expires = clock.now() + std::chrono::hours(24);
        DRAY_TRY(save(kept));
        log::warning("job {} would be deleted now, but the key of drive {} was never read, and without it nobody can read the drive; "
                     "it is kept until drayctl key {} {} or drayctl delete {} --force", name, drive->serial, name, drive->serial, name);
        job = std::move(kept);
        observer.job_changed(job, Change::State);
        return {};
    }
    DRAY_TRY(remove(job));
    log::info("job {} was deleted for its age: {}", name, why);
    return {};
}

Result<void> JobEngine::State::say_overdue(Job& job, TimePoint now) {
    Job late = job;
    for (Drive& drive : late.drives)
        if (drive.state == DriveState::Specified && drive.overdue != TimePoint() && drive.overdue <= now)
            set_state(late, drive, DriveState::NeverReceived);
    if (has_no_drive(late))
        late.expires = now + config.lifecycle.no_reply;
    DRAY_TRY(save(late));
    job = std::move(late);
    log::warning("job {}: {}", job.name, notice_of(job));
    for (const Drive& drive : job.drives)
        if (drive.state == DriveState::NeverReceived)
            tell(job, drive, Change::State);
    return {};
}

void JobEngine::State::fault_absent(Job& job, TimePoint now) {
    for (Drive& drive : job.drives) {
        if (drive.state != DriveState::Received || drive.is_faulted || drive.overdue == TimePoint() ||
            drive.overdue > now)
            continue;
        // A retry gives it the same time again.
        drive.overdue = TimePoint();
        fault(job, drive, ErrorKind::Gone,
              "it was unplugged and has not come back in its time (lifecycle.overdue); plugged in again, it goes on by "
              "itself");
    }
}

Result<void> JobEngine::State::give_up(Job& job) {
    if (config.lifecycle.auto_close) {
        log::warning("job {}: none of its drives came, and nobody has done anything about it in its time; it is closed "
                     "(lifecycle.auto-close)",
                     job.name);
        return close(job);
    }
    Job told = job;
    told.expires = TimePoint();
    DRAY_TRY(save(told));
    job = std::move(told);
    log::warning("job {}: {}", job.name, notice_of(job));
    observer.job_changed(job, Change::State);
    return {};
}

// A drive that has arrived has no deadline while it is plugged in, and one while it is not.
void JobEngine::State::watch_absences(Job& job) {
    if (!awaits_drives(job))
        return;
    for (Drive& drive : job.drives) {
        if (drive.state == DriveState::Specified || drive.state == DriveState::NeverReceived)
            continue;
        const bool is_away = drive.state == DriveState::Received && devices.device_of(job, drive) == nullptr &&
                             copy_of(job, drive) == nullptr;
        const bool was_missed = drive.is_faulted && drive.fault_kind == to_string(ErrorKind::Gone);
        if (is_away ? !is_settled || drive.is_faulted || drive.overdue != TimePoint()
                    : drive.overdue == TimePoint() && !was_missed)
            continue;
        drive.overdue = is_away ? clock.now() + config.lifecycle.overdue : TimePoint();
        if (!is_away && was_missed) {
            mend(job, drive);
            log::info("job {}, drive {} is back", job.name, drive.serial);
        }
        save_or_log(job);
        tell(job, drive, Change::State);
    }
}

std::vector<std::string> JobEngine::problems() const {
    std::vector<std::string> found;
    if (const std::string& keys = state_->catalog.key_problem(); !keys.empty())
        found.push_back(keys + "; put the right one back and restart drayd: until then no drive's key can be read, and "
                               "none is taken");
    if (state_->guard && !state_->guard->is_trusted())
        found.push_back(state_->guard->problem());
    return found;
}

}  // namespace dray
