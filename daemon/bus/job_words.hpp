// SPDX-License-Identifier: Apache-2.0
//
// Words about jobs that more than one method takes.
#pragma once

#include <string>

#include "daemon/base/result.hpp"
#include "daemon/model/job.hpp"

namespace dray::bus {

/// The option log-level.
inline Result<LogLevel> read_log_level(const std::string& text) {
    const auto level = parse_log_level(text);
    if (!level)
        return fail(ErrorKind::InvalidArgument, "option log-level: \"{}\" is not known; it is Error or Verbose",
                    text.substr(0, 100));
    return *level;
}

}  // namespace dray::bus
