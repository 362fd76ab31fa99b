// SPDX-License-Identifier: Apache-2.0
//
// Names of NTFS are UTF-16 that nobody has checked. Half a surrogate pair becomes three bytes of its own, as if it
// were a character, so that no name is lost and each can be looked up by what a listing shows.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace dray::fs::ntfs {

std::string to_utf8(std::u16string_view name);
/// Nothing: no name of NTFS could be this.
std::optional<std::u16string> to_utf16(std::string_view name);

}  // namespace dray::fs::ntfs
