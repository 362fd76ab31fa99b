// SPDX-License-Identifier: Apache-2.0
//
// What drayctl prints: tables for eyes, JSON for scripts, and the words for progress.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "daemon/base/error.hpp"
#include "daemon/base/result.hpp"
#include "daemon/base/units.hpp"

namespace dray::ctl {

enum class JsonMode { Off, Short, Pretty };

/// Options that every verb understands.
struct OutputOptions {
    JsonMode json = JsonMode::Off;
    bool has_legend = true;
    bool is_quiet = false;
};

/// One cell: what eyes see and what scripts get.
struct Cell {
    std::string shown;
    std::variant<std::string, std::uint64_t, double, bool, std::vector<std::string>> raw;
    bool is_right = false;
};
Cell text_cell(const std::string& text);
Cell bytes_cell(Bytes bytes);
/// "-" when it is 0.
Cell rate_cell(std::uint64_t bytes_per_second);
Cell left_cell(std::uint64_t usec);
Cell percent_cell(double percent, bool is_shown);
Cell number_cell(std::uint64_t number);
Cell flag_cell(bool flag);
/// Local time with offset for eyes, UTC for scripts.
Cell time_cell(std::uint64_t usec);

struct Column {
    /// "JOB" for eyes; "" for a column at the end that only scripts get.
    std::string title;
    /// "job" for scripts; never changes once released.
    std::string key;
};

/// Prints rows to stdout. `noun` is for the legend: "2 jobs listed." and "No jobs.".
void print_table(const OutputOptions& options, const std::vector<Column>& columns,
                 const std::vector<std::vector<Cell>>& rows, const std::string& noun);
/// Prints one record: "Name: value" lines for eyes, an object for scripts.
void print_record(const OutputOptions& options, const std::vector<std::pair<Column, Cell>>& fields);
/// A record with a table below it, one JSON object together.
void print_record_with_rows(const OutputOptions& options,
                            const std::vector<std::pair<Column, Cell>>& fields, const std::string& rows_key,
                            const std::vector<Column>& columns,
                            const std::vector<std::vector<Cell>>& rows);

/// One record as JSON in one line, for print_record_with_lines().
std::string json_line(const std::vector<std::pair<Column, Cell>>& fields);
/// For scripts alone: a record with an array of objects that may be longer than memory is. `next` gives them one by
/// one, as json_line() made them; "" is the end.
Result<void> print_record_with_lines(const OutputOptions& options, const std::vector<std::pair<Column, Cell>>& fields,
                                     const std::string& rows_key, const std::function<Result<std::string>()>& next);

/// Colour or moving lines: a terminal, and neither NO_COLOR nor TERM=dumb.
bool is_lively(int fd);
/// Others' words, with nothing in them that a terminal would obey.
std::string printable(const std::string& text);
/// Wraps the text in an SGR colour when standard output is lively.
std::string coloured(const std::string& text, const char* sgr);

/// Prints "drayctl: <error>." to stderr and answers the exit status for it (style.md): 4 NotFound, 5
/// Denied, else 1.
int report_failure(const Error& error);

}  // namespace dray::ctl
