// SPDX-License-Identifier: Apache-2.0
//
// The Clock seam: every date and every pause in dray comes from here. Any thread may call it.
#pragma once

#include "daemon/base/file_descriptor.hpp"
#include "daemon/base/units.hpp"

namespace dray {

class Clock {
public:
    Clock() = default;
    Clock(const Clock&) = delete;
    Clock& operator=(const Clock&) = delete;
    virtual ~Clock() = default;

    /// UTC. May jump; deadlines in the catalog are of this kind.
    virtual TimePoint now() const = 0;
    /// CLOCK_BOOTTIME: never jumps, counts through suspend, starts anew at boot. For rates and pauses.
    virtual Microseconds since_boot() const = 0;
    /// Whether the kernel's clock is disciplined by NTP or the like.
    virtual bool is_synchronised() const = 0;

    // For one loop that wants to hear of jumps; one thread.
    /// A descriptor that becomes readable when now() was set to another time; -1 if nobody tells.
    virtual int jump_descriptor() const = 0;
    /// Makes it quiet again.
    virtual void heed_jump() const = 0;
};

class SystemClock : public Clock {
public:
    TimePoint now() const override;
    Microseconds since_boot() const override;
    bool is_synchronised() const override;
    int jump_descriptor() const override;
    void heed_jump() const override;

private:
    /// Made when somebody asks for it.
    mutable FileDescriptor jumps_;
};

}  // namespace dray
