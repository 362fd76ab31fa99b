// SPDX-License-Identifier: Apache-2.0
//
// Identifiers for new volumes and file systems.
#pragma once

#include <array>
#include <cstdint>
#include <string>

#include "daemon/base/result.hpp"

namespace dray::volume {

using Uuid = std::array<std::uint8_t, 16>;

/// RFC 4122, version 4. Internal: there are no random bytes.
Result<Uuid> random_uuid();
/// "2d1709f3-..."
std::string to_string(const Uuid& uuid);

}  // namespace dray::volume
