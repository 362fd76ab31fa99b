// SPDX-License-Identifier: Apache-2.0
//
// Upper and lower case of characters, as tables of our own: what the locale of the machine says does not count.
#pragma once

namespace dray::fs {

/// Simple case folding of Unicode.
char32_t simple_fold(char32_t character);

/// What an exFAT without a usable up-case table of its own is read by.
char16_t default_upcase(char16_t unit);

}  // namespace dray::fs
