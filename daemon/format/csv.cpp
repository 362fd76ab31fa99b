// SPDX-License-Identifier: Apache-2.0
#include "daemon/format/csv.hpp"

#include <algorithm>
#include <utility>

#include "daemon/model/utf8.hpp"

namespace dray::format {
namespace {

constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";

class Reader {
public:
    explicit Reader(std::string_view text) : text_(text) {}

    Result<std::vector<CsvRow>> read() {
        std::vector<CsvRow> rows;
        while (at_ < text_.size()) {
            CsvRow row;
            row.line = line_;
            DRAY_TRY(read_row(row));
            if (row.fields.size() > 1 || !row.fields.front().empty())
                rows.push_back(std::move(row));
        }
        return rows;
    }

private:
    Result<void> read_row(CsvRow& row) {
        do {
            std::string& field = row.fields.emplace_back();
            DRAY_TRY(is_at('"') ? read_quoted(field) : read_bare(field));
        } while (take(','));
        (void)take_line_end();
        return {};
    }

    Result<void> read_bare(std::string& field) {
        const std::size_t end = std::min(text_.find_first_of(",\n\"", at_), text_.size());
        if (end < text_.size() && text_[end] == '"')
            return fail(ErrorKind::InvalidArgument, "line {}: a quote stands within a field that is not quoted", line_);
        field = text_.substr(at_, end - at_);
        at_ = end;
        // The one that belongs to the line's end.
        if (field.ends_with('\r') && (at_ == text_.size() || text_[at_] == '\n'))
            field.pop_back();
        return {};
    }

    Result<void> read_quoted(std::string& field) {
        const unsigned begun = line_;
        ++at_;
        for (;;) {
            const std::size_t end = text_.find('"', at_);
            if (end == std::string_view::npos)
                return fail(ErrorKind::InvalidArgument, "line {}: a quoted field has no end", begun);
            const std::string_view part = text_.substr(at_, end - at_);
            field += part;
            line_ += static_cast<unsigned>(std::ranges::count(part, '\n'));
            at_ = end + 1;
            if (!take('"'))
                break;
            field += '"';
        }
        if (at_ == text_.size() || is_at(',') || is_at('\n') || text_.substr(at_).starts_with("\r\n") ||
            text_.substr(at_) == "\r")
            return {};
        return fail(ErrorKind::InvalidArgument, "line {}: something stands behind a field's closing quote", line_);
    }

    bool is_at(char c) const { return at_ < text_.size() && text_[at_] == c; }
    bool take(char c) {
        const bool is_there = is_at(c);
        at_ += is_there ? 1 : 0;
        return is_there;
    }
    bool take_line_end() {
        (void)take('\r');
        const bool is_there = take('\n');
        line_ += is_there ? 1 : 0;
        return is_there;
    }

    std::string_view text_;
    std::size_t at_ = 0;
    unsigned line_ = 1;
};

}  // namespace

Result<std::vector<CsvRow>> parse_csv(std::string_view text) {
    if (text.size() > kMaxCsv)
        return fail(ErrorKind::LimitReached, "it has more than {}", format_bytes(kMaxCsv));
    if (text.find('\0') != std::string_view::npos)
        return fail(ErrorKind::InvalidArgument, "it has a NUL character: it is no text");
    if (!measure_utf8(text))
        return fail(ErrorKind::InvalidArgument, "it is not UTF-8");
    if (text.starts_with(kByteOrderMark))
        text.remove_prefix(kByteOrderMark.size());
    return Reader(text).read();
}

}  // namespace dray::format
