// SPDX-License-Identifier: Apache-2.0
#include "daemon/ctl/temporary_file.hpp"

#include <fcntl.h>
#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <utility>

#include "daemon/base/file.hpp"

namespace dray::ctl {
namespace {

constexpr std::size_t kBuffer = 64 * kKiB;
/// Most lines are shorter.
constexpr std::size_t kLine = 512;

}  // namespace

Result<FileDescriptor> make_temporary_file(const std::string& directory) {
    FileDescriptor file(open(directory.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));
    if (file)
        return file;
    file = FileDescriptor(memfd_create("dray-spool", MFD_CLOEXEC));
    if (!file)
        return fail_errno(errno, "cannot make a temporary file in {}", directory);
    return file;
}

std::string temporary_directory() {
    const char* directory = std::getenv("TMPDIR");
    return directory != nullptr && *directory != '\0' ? directory : "/var/tmp";
}

TextSpool::TextSpool(FileDescriptor file, std::string what) : file_(std::move(file)), what_(std::move(what)) {}

Result<void> TextSpool::add(std::string_view text) {
    buffer_ += text;
    return buffer_.size() < kBuffer ? Result<void>() : flush();
}

Result<void> TextSpool::flush() {
    DRAY_TRY(write_fully(file_.get(), size_, std::as_bytes(std::span(buffer_)), what_));
    size_ += buffer_.size();
    buffer_.clear();
    return {};
}

Result<void> TextSpool::read(Bytes offset, std::span<std::byte> content) const {
    return read_fully(file_.get(), offset, content, what_);
}

Result<std::string> TextSpool::read_line(Bytes& offset) const {
    std::string line;
    std::string chunk;
    for (Bytes at = offset; at < size_; at += chunk.size()) {
        chunk.resize(static_cast<std::size_t>(std::min<Bytes>(kLine, size_ - at)));
        DRAY_TRY(read(at, std::as_writable_bytes(std::span(chunk))));
        const std::size_t end = chunk.find('\n');
        line += chunk.substr(0, end);
        if (end != std::string::npos)
            break;
    }
    offset += line.size() + 1;
    return line;
}

}  // namespace dray::ctl
