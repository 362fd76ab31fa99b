// SPDX-License-Identifier: Apache-2.0
#include "daemon/format/dataset.hpp"

#include <algorithm>
#include <array>
#include <set>
#include <span>
#include <utility>

#include "daemon/format/csv.hpp"
#include "daemon/format/xml_text.hpp"

namespace dray::format {
namespace {

std::string folded(std::string_view text) {
    std::string result(text);
    for (char& c : result)
        if (c >= 'A' && c <= 'Z')
            c = static_cast<char>(c - 'A' + 'a');
    return result;
}

struct ColumnName {
    std::string_view name;
    /// Of the other flavour; may be empty.
    std::string_view other;
    bool is_needed;
};

/// The rows of a file, their fields by the place of a column in a list of names.
class Table {
public:
    static Result<Table> read(std::string_view csv, std::span<const ColumnName> columns) {
        DRAY_LET(std::vector<CsvRow> rows, parse_csv(csv));
        if (rows.empty())
            return fail(ErrorKind::InvalidArgument, "it is empty");
        Table table;
        table.places_.assign(columns.size(), kMissing);
        const CsvRow head = std::move(rows.front());
        for (std::size_t place = 0; place < head.fields.size(); ++place) {
            const std::string name = folded(trim(head.fields[place]));
            const auto column = std::ranges::find_if(columns, [&](const ColumnName& each) {
                return name == folded(each.name) || (!each.other.empty() && name == folded(each.other));
            });
            if (column == columns.end())
                return fail(ErrorKind::InvalidArgument, "line {}: the column \"{}\" is not known", head.line,
                            shown(head.fields[place]));
            const auto index = static_cast<std::size_t>(column - columns.begin());
            if (table.places_[index] != kMissing)
                return fail(ErrorKind::InvalidArgument, "line {}: the column {} is there twice", head.line, column->name);
            table.places_[index] = place;
        }
        for (std::size_t index = 0; index < columns.size(); ++index)
            if (columns[index].is_needed && table.places_[index] == kMissing)
                return fail(ErrorKind::InvalidArgument, "line {}: the column {} is missing", head.line, columns[index].name);
        rows.erase(rows.begin());
        if (rows.empty())
            return fail(ErrorKind::InvalidArgument, "it has no row below its heading");
        for (const CsvRow& row : rows)
            if (row.fields.size() != head.fields.size())
                return fail(ErrorKind::InvalidArgument, "line {}: it has {} fields, the heading {}", row.line,
                            row.fields.size(), head.fields.size());
        table.rows_ = std::move(rows);
        return table;
    }

    const std::vector<CsvRow>& rows() const { return rows_; }
    /// "" for a column that is not there. Blanks around it go.
    std::string field(const CsvRow& row, std::size_t column) const {
        return places_[column] == kMissing ? std::string() : std::string(trim(row.fields[places_[column]]));
    }

private:
    static constexpr std::size_t kMissing = SIZE_MAX;
    std::vector<std::size_t> places_;
    std::vector<CsvRow> rows_;
};

constexpr auto kDatasetColumns = std::to_array<ColumnName>({{"BasePath", "", true},
                                                            {"DstBlobPathOrPrefix", "DstItemPathOrPrefix", true},
                                                            {"BlobType", "ItemType", false},
                                                            {"Disposition", "", false},
                                                            {"MetadataFile", "", false},
                                                            {"PropertiesFile", "", false}});

constexpr auto kDriveSetColumns = std::to_array<ColumnName>({{"DriveLetter", "", true},
                                                             {"FormatOption", "", false},
                                                             {"SilentOrPromptOnFormat", "", false},
                                                             {"Encryption", "", false},
                                                             {"ExistingBitLockerKey", "", false},
                                                             {"Serial", "", true},
                                                             {"KeyFile", "", false},
                                                             {"Size", "", false}});

bool is_absolute(std::string_view path) {
    return path.starts_with('/');
}

/// A path, or the word for none.
std::string side_file(std::string text) {
    return folded(text) == "none" ? std::string() : std::move(text);
}

Result<DatasetRow> read_row(const Table& table, const CsvRow& csv) {
    DatasetRow row;
    row.line = csv.line;
    row.base_path = table.field(csv, 0);
    row.destination = table.field(csv, 1);
    if (!is_absolute(row.base_path))
        return fail(ErrorKind::InvalidArgument, "the BasePath \"{}\" is not absolute", shown(row.base_path));
    if (row.is_directory() && !row.destination.ends_with('/'))
        return fail(ErrorKind::InvalidArgument,
                    "the BasePath {} is a directory, so that its destination \"{}\" must end with '/' too",
                    shown(row.base_path), shown(row.destination));
    if (!row.is_directory() && row.destination.ends_with('/'))
        return fail(ErrorKind::InvalidArgument,
                    "the BasePath {} is a file, so that its destination \"{}\" must be a blob's whole path; a directory's "
                    "BasePath ends with '/'",
                    shown(row.base_path), shown(row.destination));
    if (const std::string type = table.field(csv, 2); folded(type) == "file")
        return fail(ErrorKind::Unsupported, "the type \"{}\" is for file shares, which dray does not have", type);
    else if (!type.empty()) {
        DRAY_LET(row.type, parse_blob_type(type));
    }
    if (const std::string disposition = table.field(csv, 3); !disposition.empty()) {
        DRAY_LET(row.disposition, parse_disposition(disposition));
    }
    row.metadata_file = side_file(table.field(csv, 4));
    row.properties_file = side_file(table.field(csv, 5));
    for (const std::string& path : {row.metadata_file, row.properties_file})
        if (!path.empty() && !is_absolute(path))
            return fail(ErrorKind::InvalidArgument, "the path \"{}\" is not absolute", shown(path));
    return row;
}

/// Windows' words, where they are written; a drive of ours is formatted and encrypted in any case.
Result<void> check_word(std::string_view column, const std::string& word, std::string_view wanted, std::string_view other) {
    if (word.empty() || folded(word) == folded(wanted))
        return {};
    if (folded(word) == folded(other))
        return fail(ErrorKind::Unsupported, "{} is {}: drives are made anew, with {}", column, other, wanted);
    return fail(ErrorKind::InvalidArgument, "the {} \"{}\" is not known", column, shown(word));
}

Result<DriveSetRow> read_drive(const Table& table, const CsvRow& csv) {
    DriveSetRow row;
    row.line = csv.line;
    row.path = table.field(csv, 0);
    if (!is_absolute(row.path))
        return fail(ErrorKind::InvalidArgument,
                    "the DriveLetter \"{}\" is no absolute path of a device or an image", shown(row.path));
    DRAY_TRY(check_word("FormatOption", table.field(csv, 1), "Format", "AlreadyFormatted"));
    const std::string silent = folded(table.field(csv, 2));
    if (!silent.empty() && silent != "silentmode" && silent != "promptonformat")
        return fail(ErrorKind::InvalidArgument, "the SilentOrPromptOnFormat \"{}\" is neither SilentMode nor PromptOnFormat",
                    shown(silent));
    row.is_silent = silent == "silentmode";
    DRAY_TRY(check_word("Encryption", table.field(csv, 3), "Encrypt", "AlreadyEncrypted"));
    if (!table.field(csv, 4).empty())
        return fail(ErrorKind::Unsupported, "there is an ExistingBitLockerKey, but drives are encrypted anew; name the key's "
                                            "file in the column KeyFile");
    row.serial = table.field(csv, 5);
    row.key_file = table.field(csv, 6);
    row.size = table.field(csv, 7);
    return row;
}

}  // namespace

Result<BlobType> parse_blob_type(std::string_view text) {
    const std::string word = folded(text);
    if (word == "block" || word == "blockblob")
        return BlobType::Block;
    if (word == "page" || word == "pageblob")
        return BlobType::Page;
    return fail(ErrorKind::InvalidArgument, "the blob type \"{}\" is neither block nor page", shown(text));
}

Result<Disposition> parse_disposition(std::string_view text) {
    for (const auto disposition : {Disposition::Rename, Disposition::NoOverwrite, Disposition::Overwrite})
        if (text == to_string(disposition))
            return disposition;
    return fail(ErrorKind::InvalidArgument, "the disposition \"{}\" is none of rename, no-overwrite, overwrite",
                shown(text));
}

bool is_page_by_name(std::string_view name) {
    const std::string lower = folded(name);
    return lower.ends_with(".vhd") || lower.ends_with(".vhdx");
}

Result<std::vector<DatasetRow>> read_dataset(std::string_view csv) {
    DRAY_LET(const Table table, Table::read(csv, kDatasetColumns));
    std::vector<DatasetRow> rows;
    for (const CsvRow& each : table.rows()) {
        Result<DatasetRow> row = read_row(table, each);
        if (!row)
            return fail(std::move(row.error()), "line {}", each.line);
        rows.push_back(*std::move(row));
    }
    return rows;
}

Result<std::vector<DriveSetRow>> read_driveset(std::string_view csv) {
    DRAY_LET(const Table table, Table::read(csv, kDriveSetColumns));
    std::vector<DriveSetRow> rows;
    std::set<std::string> paths;
    for (const CsvRow& each : table.rows()) {
        Result<DriveSetRow> row = read_drive(table, each);
        if (!row)
            return fail(std::move(row.error()), "line {}", each.line);
        if (!paths.insert(row->path).second)
            return fail(ErrorKind::InvalidArgument, "line {}: the drive {} is there twice", each.line, row->path);
        rows.push_back(*std::move(row));
    }
    return rows;
}

}  // namespace dray::format
