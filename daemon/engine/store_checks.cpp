// SPDX-License-Identifier: Apache-2.0
//
// Whether stores can be used: when somebody asks, and now and then for drives that wait for one. Nobody polls idle
// stores (rules.md 27).
#include <utility>

#include "daemon/engine/engine_state.hpp"

namespace dray {
namespace {

using transfer::Ending;
using transfer::TaskKind;

/// Faults that may have gone away by themselves (rules.md 2).
bool may_mend_itself(const std::string& kind) {
    return kind == "Unreachable" || kind == "NoSpace" || kind == "Denied" || kind == "NotFound" || kind == "Busy";
}

}  // namespace

void JobEngine::State::set_reachable(const std::string& store, const Result<void>& result) {
    StoreEntry& entry = stores[store];
    entry.is_reachable = result.has_value();
    entry.problem = result ? "" : result.error().text();
    observer.store_changed(entry);
}

Result<void> JobEngine::check_store(const std::string& store, std::function<void(Result<void>)> done) {
    const auto configured = state_->config.stores.find(store);
    if (configured == state_->config.stores.end())
        return fail(ErrorKind::NotFound, "store \"{}\" is not in the configuration", store);
    if (state_->checks.contains(store))
        return fail(ErrorKind::Busy, "store \"{}\" is being checked already", store);
    auto check = std::make_unique<State::Check>();
    check->store = store;
    check->done = std::move(done);
    TransferProcess::Start start;
    start.programs = state_->programs;
    start.task.kind = TaskKind::CheckStore;
    start.task.store = configured->second;
    start.users = state_->child_users;
    State::Check* raw = check.get();
    DRAY_LET(check->process,
             TransferProcess::start(state_->loop, std::move(start),
                                    {[raw](const transfer::FromTransfer& message) {
                                         if (const auto* report = std::get_if<transfer::Report>(&message))
                                             raw->report = *report;
                                     },
                                     [state = state_.get(), store] { state->check_ended(store); }}));
    constexpr Microseconds kCheckLimit = std::chrono::seconds(20);
    check->limit = state_->loop.after(kCheckLimit, [raw] { raw->process->kill(); });
    state_->checks[store] = std::move(check);
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
        result = fail(ErrorKind::Unreachable, "store \"{}\" did not answer within 20 s", store);
    else if (check->report->ending != Ending::Finished)
        result = fail(check->report->kind, "{}", check->report->message);
    set_reachable(store, result);
    check->done(std::move(result));
}

void JobEngine::State::probe_stores() {
    for (auto& [name, job] : jobs)
        for (Drive& drive : job->drives)
            if (drive.is_faulted && may_mend_itself(drive.fault_kind) &&
                (!job->is_cancel_requested || (drive.is_draining && !drive.is_finished()))) {
                drive.is_faulted = false;
                drive.fault_reason.clear();
                drive.fault_kind.clear();
                save_or_log(*job);
                tell(*job, drive, Change::State);
            }
    schedule_soon();
}

}  // namespace dray
