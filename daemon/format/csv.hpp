// SPDX-License-Identifier: Apache-2.0
//
// Tables as RFC 4180 writes them: the form of the drive tools' dataset and drive-set files. Pure text in, values out.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "daemon/base/result.hpp"
#include "daemon/base/units.hpp"

namespace dray::format {

/// What a person writes, and a program that lists some files for them.
inline constexpr Bytes kMaxCsv = 16 * kMiB;

struct CsvRow {
    /// Where it begins in the text, from 1.
    unsigned line = 1;
    std::vector<std::string> fields;
};

/// Lines end with LF or CRLF; empty ones and a byte order mark at the beginning are passed over. Fields in quotes may hold
/// commas, line breaks and doubled quotes. Blanks belong to their field. InvalidArgument with the line's number: a quote
/// in an unquoted field, something behind a closing quote, no closing quote, a NUL, no UTF-8. LimitReached: over kMaxCsv.
Result<std::vector<CsvRow>> parse_csv(std::string_view text);

}  // namespace dray::format
