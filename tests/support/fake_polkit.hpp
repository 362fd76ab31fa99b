// SPDX-License-Identifier: Apache-2.0
//
// org.freedesktop.PolicyKit1 on a test's bus, with an answer that the test decides.
#pragma once

#include <cstdint>
#include <mutex>
#include <string>
#include <vector>

#include "tests/support/loop_thread.hpp"
#include "tests/support/test_bus.hpp"

namespace dray::test {

class FakePolkit {
public:
    enum class Answer { Allowed, Denied, Challenge, Broken, Silence };

    struct Question {
        /// The caller's unique name on the bus.
        std::string subject;
        std::string action;
        bool may_prompt;
        bool has_details;
    };

    /// Appears on the bus at once; the same answer to everything, until it is changed.
    FakePolkit(const TestBus& bus, Answer answer);
    FakePolkit(const FakePolkit&) = delete;
    FakePolkit& operator=(const FakePolkit&) = delete;
    ~FakePolkit();

    void set_answer(Answer answer);
    /// Denies this one action, whatever else is answered.
    void deny(const std::string& action);
    std::vector<Question> questions() const;

private:
    static int check(sd_bus_message* call, void* self, sd_bus_error* error) noexcept;
    Answer answer_to(const std::string& action);

    LoopThread thread_;
    bus::Bus bus_;
    bus::BusSlot slot_;
    mutable std::mutex mutex_;
    Answer answer_;
    std::string denied_;
    std::vector<Question> questions_;
};

}  // namespace dray::test
