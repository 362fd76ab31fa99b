// SPDX-License-Identifier: Apache-2.0
//
// Another configuration while jobs run (rules.md 22): what stands against it, and what it changes at once. Copies that
// run keep what they were started with, jobs the deadlines they have.
#include <tuple>
#include <utility>

#include "daemon/base/log.hpp"
#include "daemon/engine/engine_state.hpp"

namespace dray {
namespace {

/// So many names are enough to begin with.
constexpr std::size_t kMostNames = 20;

}  // namespace

StoreEntry JobEngine::State::entry_of(const StoreConfig& store) {
    StoreEntry entry;
    entry.name = store.name;
    entry.type = store.type;
    entry.url = store.path.empty() ? store.azure.endpoint : "file://" + store.path;
    entry.is_encrypted = !store.encryption.key.empty();
    return entry;
}

bool JobEngine::State::is_repointed(const StoreConfig& before, const StoreConfig& after) {
    const auto place = [](const StoreConfig& store) {
        return std::tie(store.type, store.path, store.azure.endpoint, store.azure.account, store.encryption.key,
                        store.encryption.algorithm);
    };
    return place(before) != place(after);
}

std::string JobEngine::State::unfinished_jobs_of(const std::string& store) const {
    std::string names;
    std::size_t count = 0;
    for (const auto& [folded, job] : jobs) {
        if (job->store != store || job->state == JobState::Completed || job->state == JobState::Closed)
            continue;
        if (++count <= kMostNames)
            names += (names.empty() ? "" : ", ") + job->name;
    }
    return count > kMostNames ? fmt::format("{} and {} more", names, count - kMostNames) : names;
}

std::vector<std::string> JobEngine::obstacles_to(const Config& next) const {
    std::vector<std::string> found;
    for (const auto& [name, store] : state_->config.stores) {
        const auto then = next.stores.find(name);
        const bool is_gone = then == next.stores.end();
        if (!is_gone && !State::is_repointed(store, then->second))
            continue;
        if (const std::string users = state_->unfinished_jobs_of(name); !users.empty())
            found.push_back(fmt::format("stores.{} cannot be {} while jobs that need it are unfinished: {}", name,
                                        is_gone ? "removed" : "changed", users));
    }
    return found;
}

void JobEngine::reconfigured(const Config& before) {
    State& state = *state_;
    for (const auto& [name, store] : before.stores)
        if (!state.config.stores.contains(name))
            if (const auto gone = state.stores.extract(name); !gone.empty())
                state.observer.store_removed(gone.mapped());
    for (const auto& [name, store] : state.config.stores) {
        const auto known = before.stores.find(name);
        if (known != before.stores.end() && !State::is_repointed(known->second, store))
            continue;
        // One that jobs needed and that was not configured has been shown all the same.
        if (const auto missed = state.stores.extract(name); !missed.empty())
            state.observer.store_removed(missed.mapped());
        state.observer.store_added(state.stores[name] = State::entry_of(store));
    }
    state.observer.settings_changed();
    // Read again in any case: whoever reloads may have come to do just that.
    state.watch_secrets();
    for (const auto& [name, store] : state.config.stores)
        if (!store.azure.credential.empty())
            (void)state.renew_credential(store);  // what is wrong was said just now
    // What waited for a store may have got it.
    state.probe_faults();
    state.look_at_clock();
    state.settle();
}

}  // namespace dray
