// SPDX-License-Identifier: Apache-2.0
#include "tests/support/fake_polkit.hpp"

#include <cstdio>
#include <cstdlib>

namespace dray::test {

FakePolkit::FakePolkit(const TestBus& bus, Answer answer) : bus_(bus.connect()), answer_(answer) {
    static const sd_bus_vtable vtable[] = {
        SD_BUS_VTABLE_START(0),
        SD_BUS_METHOD("CheckAuthorization", "(sa{sv})sa{ss}us", "(bba{ss})", check, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_VTABLE_END};
    thread_.run([&] {
        sd_bus_slot* slot = nullptr;
        int result = sd_bus_add_object_vtable(bus_.get(), &slot, "/org/freedesktop/PolicyKit1/Authority",
                                              "org.freedesktop.PolicyKit1.Authority", vtable, this);
        slot_.reset(slot);
        if (result >= 0)
            result = sd_bus_request_name(bus_.get(), "org.freedesktop.PolicyKit1", 0);
        if (result >= 0)
            result = sd_bus_attach_event(bus_.get(), thread_.loop().get(), SD_EVENT_PRIORITY_NORMAL);
        if (result < 0) {
            std::perror("the test's polkit");
            std::exit(1);
        }
    });
}

FakePolkit::~FakePolkit() {
    thread_.run([this] {
        slot_.reset();
        bus_.reset();
    });
}

void FakePolkit::set_answer(Answer answer) {
    const std::scoped_lock lock(mutex_);
    answer_ = answer;
}

void FakePolkit::deny(const std::string& action) {
    const std::scoped_lock lock(mutex_);
    denied_ = action;
}

std::vector<FakePolkit::Question> FakePolkit::questions() const {
    const std::scoped_lock lock(mutex_);
    return questions_;
}

FakePolkit::Answer FakePolkit::answer_to(const std::string& action) {
    const std::scoped_lock lock(mutex_);
    return action == denied_ ? Answer::Denied : answer_;
}

int FakePolkit::check(sd_bus_message* call, void* self, sd_bus_error* error) noexcept {
    auto& polkit = *static_cast<FakePolkit*>(self);
    const char* kind = nullptr;
    const char* key = nullptr;
    const char* subject = nullptr;
    const char* action = nullptr;
    std::uint32_t flags = 0;
    int result = sd_bus_message_read(call, "(sa{sv})s", &kind, 1, &key, "s", &subject, &action);
    if (result >= 0)
        result = sd_bus_message_enter_container(call, 'a', "{ss}");
    const bool has_details = result >= 0 && sd_bus_message_at_end(call, 0) == 0;
    if (result >= 0)
        result = sd_bus_message_exit_container(call);
    if (result >= 0)
        result = sd_bus_message_read(call, "u", &flags);
    if (result < 0)
        return result;
    {
        const std::scoped_lock lock(polkit.mutex_);
        polkit.questions_.push_back({subject, action, (flags & 1U) != 0, has_details});
    }
    const Answer answer = polkit.answer_to(action);
    if (answer == Answer::Silence)
        return 1;
    if (answer == Answer::Broken)
        return sd_bus_error_set(error, "org.freedesktop.PolicyKit1.Error.Failed", "the rules are broken");
    return sd_bus_reply_method_return(call, "(bba{ss})", static_cast<int>(answer == Answer::Allowed),
                                      static_cast<int>(answer == Answer::Challenge), 0);
}

}  // namespace dray::test
