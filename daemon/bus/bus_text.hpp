// SPDX-License-Identifier: Apache-2.0
//
// Texts as the bus and the log can carry them. A disk's model or a file's name may hold any byte, and
// one bad byte would make sd-bus refuse the whole reply.
#pragma once

#include <string>
#include <string_view>

namespace dray::bus {

/// The text with each byte that is not part of valid UTF-8 replaced by '?'.
std::string as_utf8(std::string_view text);

/// For one line of the log: as_utf8, control characters replaced by '?', and at most 200 bytes.
std::string as_line(std::string_view text);

}  // namespace dray::bus
