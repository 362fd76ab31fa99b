// SPDX-License-Identifier: Apache-2.0
//
// Names of files, from UTF-16 as FAT and exFAT keep them to UTF-8 and back.
#pragma once

#include <string>
#include <string_view>

namespace dray::fs {

/// Always valid UTF-8. What no manifest can name (half of a surrogate pair, a control character, '/') becomes
/// U+FFFD: the file is still seen, and found under that name.
std::string utf8_of(std::u16string_view name);

/// The same for a character of its own; for names that are not UTF-16.
void append_utf8(std::string& text, char32_t character);

/// What is no UTF-8 becomes U+FFFD, byte by byte: such a name is in no directory.
std::u16string utf16_of(std::string_view name);

/// Code page 850, which Windows, mtools and mkfs.fat have for western Europe. It has letters where 437 of the
/// United States has Greek and frames; the letters that both have stand in the same places.
char16_t code_page_850(unsigned char byte);

}  // namespace dray::fs
