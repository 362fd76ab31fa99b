// SPDX-License-Identifier: Apache-2.0
//
// Whether stores can be used: when somebody asks, and now and then for drives that wait for one. Nobody polls idle
// stores (rules.md 27).
#include <algorithm>
#include <set>
#include <utility>

#include "daemon/base/log.hpp"
#include "daemon/engine/engine_state.hpp"

namespace dray {
namespace {

using transfer::Ending;
using transfer::TaskKind;

/// Faults of the store that may have gone away by themselves (rules.md 2).
bool is_of_store(const std::string& kind) {
    return kind == "Unreachable" || kind == "NoSpace" || kind == "Denied" || kind == "NotFound";
}

/// Somebody else had the device open.
bool is_of_device(const std::string& kind) { return kind == "Busy"; }

}  // namespace

void JobEngine::State::set_reachable(const std::string& store, const Result<void>& result) {
    const auto found = stores.find(store);
    if (found == stores.end())
        return;  // taken out of the configuration meanwhile
    StoreEntry& entry = found->second;
    entry.is_reachable = result.has_value();
    entry.problem = result ? "" : result.error().text();
    observer.store_changed(entry);
}

Result<void> JobEngine::check_store(const std::string& store, std::function<void(Result<void>)> done) {
    return state_->check_store(store, std::move(done));
}

Result<void> JobEngine::State::check_store(const std::string& store, std::function<void(Result<void>)> done) {
    const auto configured = config.stores.find(store);
    if (configured == config.stores.end())
        return fail(ErrorKind::NotFound, "store \"{}\" is not in the configuration", store);
    if (const auto running = checks.find(store); running != checks.end()) {
        running->second->done.push_back(std::move(done));
        return {};
    }
    auto check = std::make_unique<Check>();
    check->store = configured->second;
    check->done.push_back(std::move(done));
    TransferProcess::Start start;
    start.programs = programs;
    start.task.kind = TaskKind::CheckStore;
    start.task.store = configured->second;
    start.task.store_identity = store_memory.identity(configured->second);
    start.users = child_users;
    DRAY_TRY(add_secrets(start));
    Check* raw = check.get();
    DRAY_LET(check->process,
             start_transfer(loop, std::move(start),
                            {[raw](const transfer::FromTransfer& message) {
                                 if (const auto* report = std::get_if<transfer::Report>(&message))
                                     raw->report = *report;
                             },
                             [this, store] { check_ended(store); }}));
    constexpr Microseconds kCheckLimit = std::chrono::seconds(20);
    check->limit = loop.after(kCheckLimit, [raw] {
        raw->is_late = true;
        raw->process->kill();
    });
    checks[store] = std::move(check);
    return {};
}

void JobEngine::State::check_ended(const std::string& store) {
    const auto found = checks.find(store);
    if (found == checks.end())
        return;
    const std::unique_ptr<Check> check = std::move(found->second);
    checks.erase(found);
    Result<void> result;
    if (!check->report)
        result = fail(ErrorKind::Unreachable, "store \"{}\" {}", store,
                      check->is_late ? "did not answer within 20 s" : "could not be asked: the process that was to do it died");
    else if (check->report->ending != Ending::Finished)
        result = fail(check->report->kind, "{}", check->report->message);
    // A reload may have put another store in its place meanwhile, of which this says nothing.
    if (const auto configured = config.stores.find(store);
        configured != config.stores.end() && configured->second == check->store) {
        if (result)
            store_memory.remember(configured->second, check->report->store_identity);
        set_reachable(store, result);
    } else if (result) {
        result = fail(ErrorKind::Conflict, "store \"{}\" was changed while it was checked; check it again", store);
    }
    for (const auto& done : check->done)
        done(result);
    if (checks_again.erase(store) != 0)
        probe_store(store);
}

void JobEngine::State::mend(Job& job, Drive& drive) {
    drive.is_faulted = false;
    drive.fault_reason.clear();
    drive.fault_kind.clear();
    owing_logs.erase(copy_key(job, drive));
}

// Only drives that would go on; a store is asked once for all that wait for it, and while it says no, they stay faulted
// without a word.
void JobEngine::State::probe_faults() {
    credentials.look();
    std::set<std::string> waited_for;
    for (auto& [name, job] : jobs) {
        for (Drive& drive : job->drives) {
            if (!drive.is_faulted || is_over(*job))
                continue;
            if (is_of_store(drive.fault_kind))
                waited_for.insert(job->store);
            if (is_of_device(drive.fault_kind)) {
                mend(*job, drive);
                save_or_log(*job);
                tell(*job, drive, Change::State);
            }
        }
    }
    for (const std::string& store : waited_for)
        ask_store(store);
    settle();
}

void JobEngine::State::ask_store(const std::string& store) {
    const Result<void> asked = check_store(store, [this, store](const Result<void>& result) {
        if (result)
            mend_drives_of(store);
    });
    // Not configured, or without its secrets: the next time tells.
    if (!asked)
        log::debug("{}", asked.error().text());
}

// Idle stores are not polled, but one that could not be used and may be now is asked once.
void JobEngine::State::probe_store(const std::string& store) {
    const auto waits = [&](const Job& job) {
        return job.store == store && !is_over(job) && std::ranges::any_of(job.drives, [](const Drive& drive) {
            return drive.is_faulted && is_of_store(drive.fault_kind);
        });
    };
    const auto entry = stores.find(store);
    const bool is_away = entry != stores.end() && !entry->second.is_reachable;
    if (is_stopping ||
        (!is_away && std::ranges::none_of(jobs, [&](const auto& item) { return waits(*item.second); })))
        return;
    if (checks.contains(store))
        checks_again.insert(store);
    else
        ask_store(store);
}

void JobEngine::State::mend_drives_of(const std::string& store) {
    for (auto& [name, job] : jobs) {
        for (Drive& drive : job->drives) {
            if (job->store != store || !drive.is_faulted || !is_of_store(drive.fault_kind))
                continue;
            log::info("job {}, drive {}: store \"{}\" answers again, so it is tried again", job->name, drive.serial,
                      store);
            mend(*job, drive);
            save_or_log(*job);
            tell(*job, drive, Change::State);
        }
    }
    settle();
}

}  // namespace dray
