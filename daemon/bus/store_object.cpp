// SPDX-License-Identifier: Apache-2.0
//
// org.dray1.Store at /org/dray1/store/<name>.
#include "daemon/bus/objects.hpp"
#include "daemon/bus/options.hpp"
#include "daemon/bus/property.hpp"

namespace dray::bus {
namespace {

constexpr std::size_t kMaxWaiting = 64;

/// Starts a check, or waits for the one that runs for this store already: however many ask, a store has
/// one check at a time.
Result<Reply> check_store(Objects& objects, const std::string& store, const KeptCall& call) {
    std::vector<KeptCall>& waiting = objects.checks()[store];
    if (waiting.size() >= kMaxWaiting)
        return fail(ErrorKind::LimitReached, "{} calls wait for the check of store {} already", waiting.size(),
                    store);
    waiting.push_back(call);
    if (waiting.size() > 1)
        return Later();
    auto started = objects.engine().check_store(store, [&objects, store](const Result<void>& checked) {
        const auto node = objects.checks().extract(store);
        if (node.empty())
            return;
        // Callers may be gone by now; their answers go nowhere then.
        for (const KeptCall& kept : node.mapped())
            kept.answer(checked ? Result<Reply>(Done()) : fail(checked.error()));
    });
    if (!started) {
        objects.checks().erase(store);
        return fail(std::move(started.error()));
    }
    return Later();
}

/// The store is asked in a process of its own; the call is kept and answered when that has ended.
Result<Request> check(sd_bus_message* call, const Found& found) {
    DRAY_TRY(Options::read(call, {}));
    auto run = [objects = found.objects, store = found.store->name, kept = KeptCall(call)]() {
        return check_store(*objects, store, kept);
    };
    return Request{{kRunJobs}, "store " + found.store->name, std::move(run)};
}

constexpr auto name = property<[](const Found& f) { return f.store->name; }>;
constexpr auto type = property<[](const Found& f) { return f.store->type; }>;
constexpr auto url = property<[](const Found& f) { return f.store->url; }>;
constexpr auto reachable = property<[](const Found& f) { return f.store->is_reachable; }>;
constexpr auto problem = property<[](const Found& f) { return f.store->problem; }>;
constexpr auto encrypted = property<[](const Found& f) { return f.store->is_encrypted; }>;

constexpr auto kChanges = SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE;

}  // namespace

const sd_bus_vtable kStoreVtable[] = {
    SD_BUS_VTABLE_START(0),
    SD_BUS_METHOD_WITH_NAMES("Check", "a{sv}", SD_BUS_PARAM(options), "", "", change<check>,
                             SD_BUS_VTABLE_UNPRIVILEGED),
    SD_BUS_PROPERTY("Name", "s", name, 0, SD_BUS_VTABLE_PROPERTY_CONST),
    SD_BUS_PROPERTY("Type", "s", type, 0, SD_BUS_VTABLE_PROPERTY_CONST),
    SD_BUS_PROPERTY("Url", "s", url, 0, kChanges),
    SD_BUS_PROPERTY("Reachable", "b", reachable, 0, kChanges),
    SD_BUS_PROPERTY("Encrypted", "b", encrypted, 0, kChanges),
    SD_BUS_PROPERTY("Problem", "s", problem, 0, kChanges),
    SD_BUS_VTABLE_END};

}  // namespace dray::bus
