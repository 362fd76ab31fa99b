// SPDX-License-Identifier: Apache-2.0
//
// Landlock in the version that the kernel has: what a version does not know is left out.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "daemon/base/result.hpp"

namespace dray::confine {

enum class LandlockAccess { ReadFiles, Read, ReadWrite };

struct LandlockRule {
    std::string directory;
    LandlockAccess access = LandlockAccess::Read;
};

/// Refuses everything Landlock knows but what the rules grant below their directories, and connecting to `ports`. The answer is
/// empty, or one sentence about what this kernel cannot refuse. NotFound and the like: a rule's directory cannot be opened.
Result<std::string> restrict_file_system(const std::vector<LandlockRule>& rules,
                                         const std::vector<std::uint16_t>& ports = {});

}  // namespace dray::confine
