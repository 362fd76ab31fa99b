// SPDX-License-Identifier: Apache-2.0
#include "daemon/ctl/output.hpp"

#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <string_view>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "daemon/model/utf8.hpp"

namespace dray::ctl {
namespace {

using Json = nlohmann::ordered_json;

Json to_json(const Cell& cell) {
    return std::visit([](const auto& value) { return Json(value); }, cell.raw);
}

Json to_json(const std::vector<Column>& columns, const std::vector<Cell>& row) {
    Json object = Json::object();
    for (std::size_t i = 0; i < columns.size(); ++i)
        object[columns[i].key] = to_json(row[i]);
    return object;
}

Json to_json(const std::vector<std::pair<Column, Cell>>& fields) {
    Json object = Json::object();
    for (const auto& [column, cell] : fields)
        object[column.key] = to_json(cell);
    return object;
}

std::string text_of(const Json& value, JsonMode mode) {
    // Names come from drives and callers: what is no UTF-8 is replaced, not thrown about.
    return value.dump(mode == JsonMode::Pretty ? 2 : -1, ' ', false, Json::error_handler_t::replace);
}

void print_json(const OutputOptions& options, const Json& value) {
    fmt::print("{}\n", text_of(value, options.json));
}

/// Columns on a terminal: bytes that continue a UTF-8 character take no room of their own.
std::size_t width(std::string_view text) {
    return static_cast<std::size_t>(
        std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xC0) != 0x80; }));
}

std::string padded(const std::string& text, std::size_t to, bool is_right) {
    const std::string blanks(to > width(text) ? to - width(text) : 0, ' ');
    return is_right ? blanks + text : text + blanks;
}

void print_rows(const OutputOptions& options, const std::vector<Column>& all_columns,
                const std::vector<std::vector<Cell>>& rows) {
    // Columns without a title are for scripts and stand at the end.
    std::vector<Column> columns = all_columns;
    while (!columns.empty() && columns.back().title.empty())
        columns.pop_back();
    std::vector<std::size_t> widths;
    std::vector<bool> is_right;
    for (std::size_t i = 0; i < columns.size(); ++i) {
        std::size_t most = options.has_legend ? columns[i].title.size() : 0;
        for (const auto& row : rows)
            most = std::max(most, width(printable(row[i].shown)));
        widths.push_back(most);
        is_right.push_back(!rows.empty() && rows.front()[i].is_right);
    }
    const auto print_line = [&](const auto& cell_of) {
        std::string line;
        for (std::size_t i = 0; i < columns.size(); ++i)
            line += " " + padded(cell_of(i), widths[i], is_right[i]);
        line.erase(line.find_last_not_of(' ') + 1);
        fmt::print("{}\n", line);
    };
    if (options.has_legend)
        print_line([&](std::size_t i) { return columns[i].title; });
    for (const auto& row : rows)
        print_line([&](std::size_t i) { return printable(row[i].shown); });
}

void print_fields(const std::vector<std::pair<Column, Cell>>& fields) {
    std::size_t most = 0;
    for (const auto& [column, cell] : fields)
        most = std::max(most, column.title.size());
    for (const auto& [column, cell] : fields)
        if (!cell.shown.empty())
            fmt::print("{}: {}\n", padded(column.title, most, true), printable(cell.shown));
}

}  // namespace

std::string printable(const std::string& text) { return tame(text); }

Cell text_cell(const std::string& text) { return {text.empty() ? "-" : text, text, false}; }
Cell bytes_cell(Bytes bytes) { return {format_bytes(bytes), bytes, true}; }
Cell rate_cell(std::uint64_t bytes_per_second) {
    return {bytes_per_second == 0 ? "-" : format_bytes(bytes_per_second) + "/s", bytes_per_second, true};
}
Cell left_cell(std::uint64_t usec) {
    return {usec == 0 ? "-" : format_duration(Microseconds(static_cast<std::int64_t>(usec))), usec, true};
}
Cell percent_cell(double percent, bool is_shown) {
    return {is_shown ? fmt::format("{}%", static_cast<int>(std::floor(percent))) : "-", percent, true};
}
Cell number_cell(std::uint64_t number) { return {fmt::format("{}", number), number, true}; }
Cell flag_cell(bool flag) { return {flag ? "yes" : "no", flag, false}; }
Cell time_cell(std::uint64_t usec) {
    return {format_local(from_usec(usec)), format_utc(from_usec(usec)), false};
}

void print_table(const OutputOptions& options, const std::vector<Column>& columns,
                 const std::vector<std::vector<Cell>>& rows, const std::string& noun) {
    if (options.json != JsonMode::Off) {
        Json array = Json::array();
        for (const auto& row : rows)
            array.push_back(to_json(columns, row));
        return print_json(options, array);
    }
    if (!rows.empty())
        print_rows(options, columns, rows);
    if (!options.has_legend)
        return;
    if (rows.empty())
        fmt::print("No {}s.\n", noun);
    else
        fmt::print("\n{} {}{} listed.\n", rows.size(), noun, rows.size() == 1 ? "" : "s");
}

void print_record(const OutputOptions& options, const std::vector<std::pair<Column, Cell>>& fields) {
    if (options.json != JsonMode::Off)
        return print_json(options, to_json(fields));
    print_fields(fields);
}

void print_record_with_rows(const OutputOptions& options,
                            const std::vector<std::pair<Column, Cell>>& fields, const std::string& rows_key,
                            const std::vector<Column>& columns,
                            const std::vector<std::vector<Cell>>& rows) {
    if (options.json != JsonMode::Off) {
        Json object = to_json(fields);
        object[rows_key] = Json::array();
        for (const auto& row : rows)
            object[rows_key].push_back(to_json(columns, row));
        return print_json(options, object);
    }
    print_fields(fields);
    if (!rows.empty()) {
        fmt::print("\n");
        print_rows(options, columns, rows);
    }
}

std::string json_line(const std::vector<std::pair<Column, Cell>>& fields) {
    return text_of(to_json(fields), JsonMode::Short);
}

Result<void> print_record_with_lines(const OutputOptions& options, const std::vector<std::pair<Column, Cell>>& fields,
                                     const std::string& rows_key, const std::function<Result<std::string>()>& next) {
    const bool is_pretty = options.json == JsonMode::Pretty;
    std::string head = text_of(to_json(fields), options.json);
    // Reopened where the object ends.
    head.resize(head.size() - (is_pretty ? 2 : 1));
    fmt::print("{},{}{}:{}[", head, is_pretty ? "\n  " : "", Json(rows_key).dump(), is_pretty ? " " : "");
    bool is_first = true;
    for (;;) {
        DRAY_LET(const std::string line, next());
        if (line.empty())
            break;
        fmt::print("{}{}{}", is_first ? "" : ",", is_pretty ? "\n    " : "", line);
        is_first = false;
    }
    fmt::print("{}]{}}}\n", is_pretty && !is_first ? "\n  " : "", is_pretty ? "\n" : "");
    return {};
}

bool is_lively(int fd) {
    const char* terminal = std::getenv("TERM");
    const char* no_colour = std::getenv("NO_COLOR");
    return isatty(fd) == 1 && (no_colour == nullptr || *no_colour == '\0') && terminal != nullptr &&
           std::string_view(terminal) != "dumb";
}

std::string coloured(const std::string& text, const char* sgr) {
    static const bool is_on = is_lively(STDOUT_FILENO);
    return is_on ? fmt::format("\x1b[{}m{}\x1b[0m", sgr, text) : text;
}

int report_failure(const Error& error) {
    fmt::print(stderr, "drayctl: {}.\n", printable(error.text()));
    switch (error.kind()) {
        case ErrorKind::NotFound: return 4;
        case ErrorKind::Denied: return 5;
        default: return 1;
    }
}

}  // namespace dray::ctl
