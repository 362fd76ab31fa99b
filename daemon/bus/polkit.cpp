// SPDX-License-Identifier: Apache-2.0
#include "daemon/bus/polkit.hpp"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <string_view>
#include <utility>

#include "daemon/base/log.hpp"
#include "daemon/bus/bus_text.hpp"

namespace dray::bus {
namespace {

constexpr std::size_t kMaxPending = 512;
constexpr std::ptrdiff_t kMaxPendingOfUser = 32;
/// A person types a password meanwhile.
constexpr std::uint64_t kAnswerTimeoutUsec = 120'000'000;

const char* or_empty(const char* text) { return text != nullptr ? text : ""; }

/// dbus-daemon tells the effective uid and nothing more, so that is what is asked for.
Result<uid_t> caller_of(sd_bus_message* call) {
    sd_bus_creds* raw = nullptr;
    int result = sd_bus_query_sender_creds(call, SD_BUS_CREDS_EUID, &raw);
    const BusCredentials credentials(raw);
    uid_t uid = 0;
    if (result >= 0)
        result = sd_bus_creds_get_euid(raw, &uid);
    if (result < 0)
        return fail(ErrorKind::Denied, "cannot find out who is calling: {}", errno_text(-result));
    return uid;
}

bool is_polkit_missing(std::string_view error) {
    return error == SD_BUS_ERROR_SERVICE_UNKNOWN || error == SD_BUS_ERROR_NAME_HAS_NO_OWNER;
}

void audit(sd_bus_message* call, const Request& request, std::string_view who, std::string_view outcome) {
    const std::string_view interface = or_empty(sd_bus_message_get_interface(call));
    log::info("audit: {} calls {}.{} on {}: {}", who, interface.substr(interface.rfind('.') + 1),
              or_empty(sd_bus_message_get_member(call)), as_line(request.subject), outcome);
}

std::string user(uid_t uid) { return fmt::format("uid {}", uid); }

}  // namespace

void Authority::serve(sd_bus_message* call, Request request) {
    const KeptCall kept(call);
    const auto uid = caller_of(call);
    if (!uid) {
        audit(call, request, "unknown caller", "refused: " + as_line(uid.error().text()));
        kept.answer(fail(uid.error()));
        return;
    }
    if (*uid == 0 || *uid == geteuid()) {
        run(kept, request, *uid);
        return;
    }
    if (auto free = may_wait(*uid); !free) {
        audit(call, request, user(*uid), "refused: " + free.error().text());
        kept.answer(fail(std::move(free.error())));
        return;
    }
    pending_.push_back(Pending{this, kept, std::move(request), *uid, 0, nullptr});
    Pending& pending = pending_.back();
    if (auto asked = ask(pending); !asked)
        finish(pending, std::move(asked));
}

Result<void> Authority::may_wait(uid_t uid) const {
    const auto mine = std::ranges::count(pending_, uid, &Pending::uid);
    if (pending_.size() >= kMaxPending || mine >= kMaxPendingOfUser)
        return fail(ErrorKind::LimitReached, "too many calls wait for polkit; try again later");
    return {};
}

Result<void> Authority::ask(Pending& pending) {
    constexpr std::uint32_t kAllowUserInteraction = 1;
    sd_bus_message* raw = nullptr;
    int result = sd_bus_message_new_method_call(bus_, &raw, "org.freedesktop.PolicyKit1",
                                                "/org/freedesktop/PolicyKit1/Authority",
                                                "org.freedesktop.PolicyKit1.Authority", "CheckAuthorization");
    const BusMessage message(raw);
    const bool is_interactive = sd_bus_message_get_allow_interactive_authorization(pending.call.get()) > 0;
    // No details: polkit takes them from uid 0 alone.
    if (result >= 0)
        result = sd_bus_message_append(raw, "(sa{sv})sa{ss}us", "system-bus-name", 1, "name", "s",
                                       sd_bus_message_get_sender(pending.call.get()),
                                       pending.request.actions[pending.asked], 0,
                                       is_interactive ? kAllowUserInteraction : 0U, "");
    sd_bus_slot* slot = nullptr;
    if (result >= 0)
        result = sd_bus_call_async(bus_, &slot, raw, answered, &pending, kAnswerTimeoutUsec);
    if (result < 0)
        return fail(ErrorKind::Denied, "polkit cannot be asked: {}", errno_text(-result));
    pending.slot.reset(slot);
    return {};
}

int Authority::answered(sd_bus_message* reply, void* userdata, sd_bus_error* /*error*/) noexcept {
    auto& pending = *static_cast<Pending*>(userdata);
    pending.authority->decide(pending, reply);
    return 1;
}

void Authority::decide(Pending& pending, sd_bus_message* reply) {
    const char* action = pending.request.actions[pending.asked];
    if (const sd_bus_error* error = sd_bus_message_get_error(reply); error != nullptr) {
        if (is_polkit_missing(or_empty(error->name)))
            finish(pending, fail(ErrorKind::Denied, "only root may do this: polkit is not running"));
        else
            finish(pending, fail(ErrorKind::Denied, "polkit did not decide about {}: {}", action,
                                 as_line(or_empty(error->message))));
        return;
    }
    int is_allowed = 0;
    int is_challenge = 0;
    int result = sd_bus_message_enter_container(reply, 'r', "bba{ss}");
    if (result >= 0)
        result = sd_bus_message_read(reply, "bb", &is_allowed, &is_challenge);
    if (result < 0) {
        finish(pending, fail(ErrorKind::Denied, "polkit gave an answer that cannot be read"));
    } else if (is_allowed == 0) {
        finish(pending, is_challenge != 0
                            ? fail(ErrorKind::Denied, "{} needs authentication, and the caller did not allow "
                                                      "asking for it", action)
                            : fail(ErrorKind::Denied, "polkit does not allow {} to uid {}", action, pending.uid));
    } else if (++pending.asked < pending.request.actions.size()) {
        if (auto asked = ask(pending); !asked)
            finish(pending, std::move(asked));
    } else {
        finish(pending, {});
    }
}

void Authority::finish(Pending& pending, Result<void> verdict) {
    // Out of the list first: what runs may take long, and its reply must not find it here.
    std::list<Pending> mine;
    mine.splice(mine.begin(), pending_,
                std::ranges::find_if(pending_, [&](const Pending& other) { return &other == &pending; }));
    if (verdict) {
        run(pending.call, pending.request, pending.uid);
        return;
    }
    audit(pending.call.get(), pending.request, user(pending.uid), "refused: " + verdict.error().text());
    pending.call.answer(fail(std::move(verdict.error())));
}

void Authority::run(const KeptCall& call, Request& request, uid_t uid) {
    const Result<Reply> result = request.run();
    audit(call.get(), request, user(uid),
          result ? std::string("done") : "allowed, but: " + as_line(result.error().text()));
    call.answer(result);
}

}  // namespace dray::bus
