// SPDX-License-Identifier: Apache-2.0
//
// sd-event sources as move-only objects. A source is a member of the object its callback touches, so that
// the callback cannot outlive it. Loop thread only.
#pragma once

#include <systemd/sd-event.h>

#include <cstdint>
#include <functional>
#include <memory>

#include "daemon/base/handle.hpp"
#include "daemon/base/result.hpp"
#include "daemon/base/units.hpp"

namespace dray {

/// Deregisters its callback at the end.
class EventSource {
public:
    EventSource() noexcept;
    EventSource(EventSource&&) noexcept;
    EventSource& operator=(EventSource&&) noexcept;
    ~EventSource();
    explicit operator bool() const { return static_cast<bool>(state_); }
    void reset();

    struct State;

private:
    friend class EventLoop;
    std::unique_ptr<State> state_;
};

class EventLoop {
public:
    static Result<EventLoop> create();

    sd_event* get() const { return event_.get(); }

    // Callbacks may reset their own source or destroy its owner, and must not throw. A source the kernel
    // refuses (no such descriptor or child, no memory) is logged and comes back empty.

    /// `ready` gets the EPOLL* bits. The descriptor stays the caller's and outlives the source.
    [[nodiscard]] EventSource watch(int fd, std::uint32_t events, std::function<void(std::uint32_t)> ready);
    /// Once, `delay` from now.
    [[nodiscard]] EventSource after(Microseconds delay, std::function<void()> elapsed);
    /// Again and again.
    [[nodiscard]] EventSource every(Microseconds interval, std::function<void()> elapsed);
    /// Once, as soon as the loop is back: for work that must not happen inside the present callback.
    [[nodiscard]] EventSource soon(std::function<void()> run);
    /// The child has ended: exit code, or minus the signal's number. The child is reaped.
    [[nodiscard]] EventSource child(int pid, std::function<void(int)> ended);
    /// The signal must be blocked in every thread.
    [[nodiscard]] EventSource signal(int number, std::function<void()> received);

    /// Until quit(). Returns its code.
    Result<int> run();
    void quit(int code);

private:
    Handle<sd_event, sd_event_unref> event_;
};

}  // namespace dray
