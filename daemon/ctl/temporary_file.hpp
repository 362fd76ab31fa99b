// SPDX-License-Identifier: Apache-2.0
//
// Room for what is too long to be kept in memory, or not known to be short.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "daemon/base/file_descriptor.hpp"
#include "daemon/base/result.hpp"
#include "daemon/base/units.hpp"

namespace dray::ctl {

/// An unnamed file in `directory`, or in memory where the file system there knows none.
Result<FileDescriptor> make_temporary_file(const std::string& directory);
/// Where files go that belong to no output: $TMPDIR, else /var/tmp.
std::string temporary_directory();

/// Text that is added at the end of a file and read once from its start.
class TextSpool {
public:
    /// `what` names the file in errors.
    TextSpool(FileDescriptor file, std::string what);

    Result<void> add(std::string_view text);
    Result<void> flush();
    Bytes size() const { return size_ + buffer_.size(); }
    /// After flush(): fills `content` from `offset`.
    Result<void> read(Bytes offset, std::span<std::byte> content) const;
    /// After flush(): the line that begins at `offset`, which moves on to the next one; "" at the end. Lines have no
    /// line break in them and end with one.
    Result<std::string> read_line(Bytes& offset) const;

private:
    FileDescriptor file_;
    std::string what_;
    std::string buffer_;
    Bytes size_ = 0;
};

}  // namespace dray::ctl
