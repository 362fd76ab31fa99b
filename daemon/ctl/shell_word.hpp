// SPDX-License-Identifier: Apache-2.0
//
// Commands that drayctl tells its caller to run.
#pragma once

#include <string>

namespace dray::ctl {

/// A word of a command as a shell reads it back.
std::string shell_word(const std::string& text);

}  // namespace dray::ctl
