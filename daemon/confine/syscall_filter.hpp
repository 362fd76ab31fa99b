// SPDX-License-Identifier: Apache-2.0
//
// A list of allowed system calls, over libseccomp.
#pragma once

#include <seccomp.h>

#include <cstdint>
#include <initializer_list>
#include <memory>

#include "daemon/base/result.hpp"

namespace dray::confine {

/// The first mistake sticks and install() tells.
class SyscallFilter {
public:
    /// `otherwise`: what happens to calls that are not named, SCMP_ACT_KILL_PROCESS or SCMP_ACT_ERRNO(n).
    explicit SyscallFilter(std::uint32_t otherwise);

    void allow(std::initializer_list<int> calls);
    /// Answers with an errno instead of running the call.
    void refuse(std::initializer_list<int> calls, int error_number);
    void allow_if(int call, scmp_arg_cmp condition);
    void refuse_if(int call, scmp_arg_cmp condition, int error_number);

    /// clone(2) for threads of this process only; clone3, whose flags no filter can see, is answered
    /// with ENOSYS, after which the C library uses clone.
    void allow_threads();
    /// open for reading only, or (`may_write`) for reading and writing what exists already.
    void allow_open(bool may_write);
    /// Maps and changes memory, but none that code can run in.
    void allow_memory(bool may_protect);
    /// Messages over a socket that is connected; with nothing beside them.
    void allow_plain_messages();
    /// What the sanitizers' runtime needs beside the program; nothing in an ordinary build.
    void allow_sanitizers();

    /// In every thread of the process, for good.
    Result<void> install();

private:
    std::unique_ptr<void, void (*)(void*)> context_;
    int error_ = 0;
};

}  // namespace dray::confine
