// SPDX-License-Identifier: Apache-2.0
//
// The calling thread's capability sets, as bits by number (capabilities(7)).
#pragma once

#include <cstdint>

#include "daemon/base/result.hpp"

namespace dray::confine {

struct Capabilities {
    std::uint64_t effective = 0;
    std::uint64_t permitted = 0;
    std::uint64_t inheritable = 0;
};

constexpr std::uint64_t capability_bit(int capability) { return std::uint64_t{1} << capability; }

Result<Capabilities> read_capabilities();
Result<void> write_capabilities(const Capabilities& capabilities);
/// What programs that this one starts have as well, whoever they run as. All of it must be permitted and
/// inheritable.
Result<void> write_ambient_capabilities(std::uint64_t capabilities);
/// Takes CAP_SETPCAP; without it nothing happens, and `no_new_privs` has to do.
void clear_bounding_capabilities();

}  // namespace dray::confine
