// SPDX-License-Identifier: Apache-2.0
#include "daemon/loop/event_loop.hpp"

#include <sys/wait.h>

#include <algorithm>
#include <ctime>
#include <utility>

#include "daemon/base/log.hpp"

namespace dray {
namespace {

/// How late a timer may be. sd-event's own default of 250 ms would be seen.
constexpr std::uint64_t kAccuracyUsec = 1000;
/// Keeps a mistaken interval of 0 from turning into a busy loop.
constexpr Microseconds kShortestInterval = std::chrono::milliseconds(1);
/// Far enough for "never", and far from the end of 64 bits.
constexpr Microseconds kLongestDelay = std::chrono::years(100);

using Source = Handle<sd_event_source, sd_event_source_disable_unref>;

std::uint64_t delay_usec(Microseconds delay) {
    return static_cast<std::uint64_t>(std::clamp(delay, Microseconds(0), kLongestDelay).count());
}

}  // namespace

/// Its address is what sd-event hands back; it stays where it is while the EventSource moves.
struct EventSource::State {
    explicit State(std::function<void(int)> function)
        : callback(std::make_shared<const std::function<void(int)>>(std::move(function))) {}

    /// A callback may reset its own source, and with it this object, so that whoever calls holds
    /// the function for the time of the call and touches nothing else of the state afterwards.
    void call(int value) {
        const std::shared_ptr<const std::function<void(int)>> held = callback;
        (*held)(value);
    }

    // Declared before the source, so that the source is gone first.
    std::shared_ptr<const std::function<void(int)>> callback;
    std::uint64_t interval_usec = 0;
    Source source;
};

EventSource::EventSource() noexcept = default;
EventSource::EventSource(EventSource&&) noexcept = default;
EventSource& EventSource::operator=(EventSource&&) noexcept = default;
EventSource::~EventSource() = default;
void EventSource::reset() {
    state_.reset();
}

namespace {

using State = EventSource::State;

int on_io(sd_event_source* /*source*/, int /*fd*/, std::uint32_t events, void* state) noexcept {
    static_cast<State*>(state)->call(static_cast<int>(events));
    return 0;
}

int on_time(sd_event_source* source, std::uint64_t /*usec*/, void* data) noexcept {
    auto* state = static_cast<State*>(data);
    if (state->interval_usec != 0) {
        // Armed again before the call, after which the source may be gone.
        (void)sd_event_source_set_time_relative(source, state->interval_usec);
        (void)sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
    }
    state->call(0);
    return 0;
}

int on_defer(sd_event_source* /*source*/, void* state) noexcept {
    static_cast<State*>(state)->call(0);
    return 0;
}

int on_child(sd_event_source* source, const siginfo_t* info, void* state) noexcept {
    (void)sd_event_source_set_enabled(source, SD_EVENT_OFF);
    // sd-event reaps the child when this returns, even if the source is reset meanwhile.
    const int status = info->si_code == CLD_EXITED ? info->si_status : -info->si_status;
    static_cast<State*>(state)->call(status);
    return 0;
}

int on_signal(sd_event_source* /*source*/, const signalfd_siginfo* /*info*/, void* state) noexcept {
    static_cast<State*>(state)->call(0);
    return 0;
}

/// Whether sd-event took the source. A refusal is a mistake of ours or the end of memory; the
/// caller gets an empty source.
bool is_taken(int result, const char* what) {
    if (result >= 0)
        return true;
    log::error("cannot {} in the event loop: {}", what, errno_text(-result));
    return false;
}

}  // namespace

Result<EventLoop> EventLoop::create() {
    sd_event* event = nullptr;
    const int result = sd_event_new(&event);
    if (result < 0)
        return fail_errno(-result, "cannot make an event loop");
    EventLoop loop;
    loop.event_.reset(event);
    return loop;
}

EventSource EventLoop::watch(int fd, std::uint32_t events,
                             std::function<void(std::uint32_t)> ready) {
    EventSource made;
    auto state = std::make_unique<State>(
        [ready = std::move(ready)](int bits) { ready(static_cast<std::uint32_t>(bits)); });
    sd_event_source* source = nullptr;
    if (!is_taken(sd_event_add_io(get(), &source, fd, events, on_io, state.get()),
                  "watch a descriptor"))
        return made;
    state->source.reset(source);
    made.state_ = std::move(state);
    return made;
}

EventSource EventLoop::after(Microseconds delay, std::function<void()> elapsed) {
    EventSource made;
    auto state = std::make_unique<State>([elapsed = std::move(elapsed)](int) { elapsed(); });
    sd_event_source* source = nullptr;
    // CLOCK_BOOTTIME as in Clock::since_boot(): a pause that a suspend does not prolong.
    if (!is_taken(sd_event_add_time_relative(get(), &source, CLOCK_BOOTTIME, delay_usec(delay),
                                             kAccuracyUsec, on_time, state.get()),
                  "set a timer"))
        return made;
    state->source.reset(source);
    made.state_ = std::move(state);
    return made;
}

EventSource EventLoop::every(Microseconds interval, std::function<void()> elapsed) {
    const Microseconds pause = std::max(interval, kShortestInterval);
    EventSource made = after(pause, std::move(elapsed));
    if (made)
        made.state_->interval_usec = delay_usec(pause);
    return made;
}

EventSource EventLoop::soon(std::function<void()> run) {
    EventSource made;
    auto state = std::make_unique<State>([run = std::move(run)](int) { run(); });
    sd_event_source* source = nullptr;
    if (!is_taken(sd_event_add_defer(get(), &source, on_defer, state.get()), "put work off"))
        return made;
    state->source.reset(source);
    made.state_ = std::move(state);
    return made;
}

EventSource EventLoop::child(int pid, std::function<void(int)> ended) {
    EventSource made;
    auto state = std::make_unique<State>(std::move(ended));
    sd_event_source* source = nullptr;
    if (!is_taken(sd_event_add_child(get(), &source, pid, WEXITED, on_child, state.get()),
                  "watch a child process"))
        return made;
    state->source.reset(source);
    // Not once only: a child that dies while it is traced is announced before it can be waited for, and the one
    // announcement would be lost. Off in between, because sd-event keeps a pidfd watched as it was while it is on.
    if (!is_taken(sd_event_source_set_enabled(source, SD_EVENT_OFF), "stop watching a child process") ||
        !is_taken(sd_event_source_set_enabled(source, SD_EVENT_ON), "go on watching a child process"))
        return made;
    made.state_ = std::move(state);
    return made;
}

EventSource EventLoop::signal(int number, std::function<void()> received) {
    EventSource made;
    auto state = std::make_unique<State>([received = std::move(received)](int) { received(); });
    sd_event_source* source = nullptr;
    if (!is_taken(sd_event_add_signal(get(), &source, number, on_signal, state.get()),
                  "watch a signal"))
        return made;
    state->source.reset(source);
    made.state_ = std::move(state);
    return made;
}

Result<int> EventLoop::run() {
    const int result = sd_event_loop(get());
    if (result < 0)
        return fail_errno(-result, "the event loop broke off");
    return result;
}

void EventLoop::quit(int code) {
    (void)sd_event_exit(get(), code);
}

}  // namespace dray
