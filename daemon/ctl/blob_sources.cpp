// SPDX-License-Identifier: Apache-2.0
#include "daemon/ctl/blob_sources.hpp"

#include <algorithm>
#include <utility>

#include "daemon/base/file.hpp"
#include "daemon/format/blob_properties.hpp"
#include "daemon/format/csv.hpp"
#include "daemon/format/manifest_rules.hpp"
#include "daemon/model/blob_name.hpp"

namespace dray::ctl {
namespace {

/// Of a page blob (azure-import-export.md 8).
constexpr Bytes kMaxPageBlob = Bytes{8} * 1024 * kGiB;

Result<void> check_page_blob(const SourceEntry& file, const std::string& path) {
    if (file.size % format::kPage != 0)
        return fail(ErrorKind::InvalidArgument,
                    "{} has {} bytes, and a page blob a multiple of {}; as a block blob (BlobType block) it can go along",
                    readable(path), file.size, format::kPage);
    if (file.size > kMaxPageBlob)
        return fail(ErrorKind::LimitReached, "{} has {}, more than a page blob can have", readable(path),
                    format_bytes(file.size));
    return {};
}

Result<SourceSideFile> read_side_file(const std::string& path, bool is_metadata) {
    SourceSideFile file;
    file.is_metadata = is_metadata;
    DRAY_LET(file.content, read_file(path, format::kMaxSideFile));
    std::optional<Error> error;
    if (is_metadata) {
        if (const auto read = format::read_metadata(file.content); !read)
            error = read.error();
    } else if (const auto read = format::read_properties(file.content); !read) {
        error = read.error();
    }
    if (error)
        return fail(*std::move(error), "the {} file {}", is_metadata ? "metadata" : "properties", path);
    file.hash = md5(std::as_bytes(std::span(file.content)));
    return file;
}

}  // namespace

Result<std::string> parse_container(std::string_view text) {
    const std::string_view name = text.substr(0, text.find('/'));
    DRAY_TRY(check_container(name));
    std::string_view prefix = text.substr(name.size());
    // "lab/in" and "lab/in/" mean the same.
    if (prefix.ends_with('/'))
        prefix.remove_suffix(1);
    if (prefix.find("//") != std::string_view::npos || prefix.ends_with('/'))
        return fail(ErrorKind::InvalidArgument, "the container \"{}\" has an empty directory name",
                    text);
    std::string result = fmt::format("{}{}/", name, prefix);
    // A prefix that no blob name may begin with is refused even if there is no file.
    DRAY_TRY(parse_blob_path(result + "x"));
    return result;
}

std::string BlobSource::place(std::size_t entry) const {
    const std::string path = tree.path(entry);
    return directory.empty() ? path : directory + "/" + path;
}

std::string BlobSource::blob_path(std::size_t entry) const {
    return is_one_file ? destination : destination + tree.path(entry);
}

bool BlobSource::is_page_blob(std::size_t entry) const {
    return type ? *type == format::BlobType::Page : format::is_page_by_name(tree.entries()[entry].name);
}

Result<BlobSources> BlobSources::look_at(const SourceOptions& options) {
    BlobSources sources;
    if (options.dataset.empty()) {
        DRAY_TRY(sources.add_directory(options));
    } else {
        Result<std::string> text = read_file(options.dataset, format::kMaxCsv);
        if (!text)
            return fail(std::move(text.error()));
        auto rows = format::read_dataset(*text);
        if (!rows)
            return fail(std::move(rows.error()), "the dataset {}", options.dataset);
        for (const format::DatasetRow& row : *rows)
            if (Result<void> added = sources.add_row(row, options); !added) {
                if (added.error().kind() == ErrorKind::Cancelled)
                    return fail(std::move(added.error()));
                return fail(std::move(added.error()), "the dataset {}, line {}", options.dataset, row.line);
            }
    }
    if (sources.files_ == 0)
        return fail(ErrorKind::InvalidArgument, "{} has no files{}",
                    options.dataset.empty() ? options.directory : options.dataset,
                    sources.excluded_count() == 0 ? "" : " but those that were left out");
    return sources;
}

BlobSources BlobSources::of_files(std::vector<BlobSource> sources, std::vector<SourceSideFile> side_files) {
    BlobSources result;
    result.sources_ = std::move(sources);
    result.side_files_ = std::move(side_files);
    for (const BlobSource& source : result.sources_) {
        result.files_ += source.tree.files();
        result.bytes_ += source.tree.bytes();
    }
    return result;
}

Result<void> BlobSources::add_directory(const SourceOptions& options) {
    BlobSource source;
    DRAY_LET(source.destination, parse_container(options.container));
    DRAY_LET(source.disposition, format::parse_disposition(options.disposition));
    DRAY_LET(source.type, format::parse_blob_type(options.blob_type));
    DRAY_LET(source.metadata, add_side_file(options.metadata_file, true));
    DRAY_LET(source.properties, add_side_file(options.properties_file, false));
    paths_.push_back(options.directory);
    DRAY_LET(source.tree, SourceTree::walk(
                              options.directory,
                              [&](const std::string& path) -> Result<void> {
                                  if (const auto blob = parse_blob_path(source.destination + path); !blob)
                                      return fail(Error(blob.error()), "{} cannot become a blob", path);
                                  return {};
                              },
                              options.excludes));
    return add(std::move(source));
}

Result<void> BlobSources::add_row(const format::DatasetRow& row, const SourceOptions& options) {
    BlobSource source;
    source.directory = fmt::format("s{:03}", sources_.size() + 1);
    source.is_one_file = !row.is_directory();
    source.disposition = row.disposition;
    source.type = row.type;
    DRAY_LET(source.metadata, add_side_file(row.metadata_file, true));
    DRAY_LET(source.properties, add_side_file(row.properties_file, false));
    paths_.push_back(row.base_path);
    if (source.is_one_file) {
        source.destination = row.destination;
        DRAY_TRY(parse_blob_path(source.destination));
        DRAY_LET(source.tree, SourceTree::of_file(row.base_path));
        return add(std::move(source));
    }
    DRAY_LET(source.destination, parse_container(row.destination));
    DRAY_LET(source.tree, SourceTree::walk(
                              row.base_path,
                              [&](const std::string& path) -> Result<void> {
                                  if (const auto blob = parse_blob_path(source.destination + path); !blob)
                                      return fail(Error(blob.error()), "{} cannot become a blob", path);
                                  return {};
                              },
                              options.excludes));
    return add(std::move(source));
}

Result<void> BlobSources::add(BlobSource source) {
    for (std::size_t entry = 0; entry < source.tree.entries().size(); ++entry) {
        const SourceEntry& file = source.tree.entries()[entry];
        if (file.is_directory)
            continue;
        if (source.is_page_blob(entry))
            DRAY_TRY(check_page_blob(file, source.tree.path(entry)));
        // Deeper by its directory than it was in the source.
        if (!source.directory.empty())
            DRAY_TRY(check_source_path(source.place(entry)));
    }
    files_ += source.tree.files();
    if (__builtin_add_overflow(bytes_, source.tree.bytes(), &bytes_))
        return fail(ErrorKind::LimitReached, "there are too many bytes for drives");
    sources_.push_back(std::move(source));
    return {};
}

Result<std::optional<std::size_t>> BlobSources::add_side_file(const std::string& path, bool is_metadata) {
    if (path.empty())
        return std::optional<std::size_t>();
    DRAY_LET(SourceSideFile file, read_side_file(path, is_metadata));
    // Rows that name the same one share it.
    const auto same = std::ranges::find_if(side_files_, [&](const SourceSideFile& each) {
        return each.is_metadata == is_metadata && each.content == file.content;
    });
    if (same != side_files_.end())
        return std::optional(static_cast<std::size_t>(same - side_files_.begin()));
    side_files_.push_back(std::move(file));
    return std::optional(side_files_.size() - 1);
}

std::uint64_t BlobSources::left_out_count() const {
    std::uint64_t count = 0;
    for (const BlobSource& source : sources_)
        count += source.tree.left_out_count();
    return count;
}

std::uint64_t BlobSources::excluded_count() const {
    std::uint64_t count = 0;
    for (const BlobSource& source : sources_)
        count += source.tree.excluded_count();
    return count;
}

}  // namespace dray::ctl
