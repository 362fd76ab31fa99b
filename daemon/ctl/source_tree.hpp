// SPDX-License-Identifier: Apache-2.0
//
// The files and directories below a directory that go onto a drive, in an order that is the same
// every time. Each entry takes the memory of its own name and a few numbers; nothing is opened but
// while it is looked at.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "daemon/base/file_descriptor.hpp"
#include "daemon/base/result.hpp"
#include "daemon/base/units.hpp"

namespace dray::ctl {

struct SourceEntry {
    static constexpr std::uint32_t kRoot = UINT32_MAX;

    std::string name;
    /// Place of its directory in the tree, or kRoot.
    std::uint32_t parent = kRoot;
    bool is_directory = false;
    Bytes size = 0;
    std::uint64_t modified_usec = 0;
    std::uint64_t inode = 0;
};

/// For messages: the whole of a path, without what could steer a terminal or is no UTF-8.
std::string readable(std::string_view path);
/// Whether a drive and a manifest can hold this path, relative and with '/' between its components.
/// The sentence of the error names the file.
Result<void> check_source_path(std::string_view path);

class SourceTree {
public:
    /// What else a file's path must fulfil; its error is passed on.
    using Check = std::function<Result<void>(const std::string& path)>;
    /// Patterns of fnmatch(3) for relative paths, in which '*' also stands for '/': a directory that fits one is left out
    /// with all that is in it.
    using Patterns = std::vector<std::string>;

    /// Looks at everything below `directory`: in each directory entries come in the order of their
    /// bytes, a directory before what is in it. Links are not followed; they and special files are
    /// left out and named. InvalidArgument: a name that no drive can hold, no directory. Denied:
    /// something cannot be read. Cancelled: a signal came.
    static Result<SourceTree> walk(const std::string& directory, const Check& check, const Patterns& excluded = {});
    /// One file alone, under its own name. InvalidArgument: it is none.
    static Result<SourceTree> of_file(const std::string& path);

    const std::vector<SourceEntry>& entries() const { return entries_; }
    /// Relative to the source, with '/' between its components.
    std::string path(std::size_t entry) const;
    /// Opens a file for reading. Conflict: it is another one than it was when it was looked at.
    Result<FileDescriptor> open(std::size_t entry) const;

    std::uint64_t files() const { return files_; }
    std::uint64_t directories() const { return entries_.size() - files_; }
    /// Of all files together.
    Bytes bytes() const { return bytes_; }
    /// Sentences about what is not a file or directory; the first ones of `left_out_count()`.
    const std::vector<std::string>& left_out() const { return left_out_; }
    std::uint64_t left_out_count() const { return left_out_count_; }
    /// Files and directories that a pattern left out; what was in the directories is not counted.
    std::uint64_t excluded_count() const { return excluded_count_; }

private:
    class Walker;
    std::string root_path_;
    FileDescriptor root_;
    std::vector<SourceEntry> entries_;
    std::uint64_t files_ = 0;
    Bytes bytes_ = 0;
    std::vector<std::string> left_out_;
    std::uint64_t left_out_count_ = 0;
    std::uint64_t excluded_count_ = 0;
};

}  // namespace dray::ctl
