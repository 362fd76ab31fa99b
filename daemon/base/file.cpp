// SPDX-License-Identifier: Apache-2.0
#include "daemon/base/file.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

namespace dray {

Result<FileDescriptor> open_file(const std::string& path, int flags, unsigned mode) {
    FileDescriptor fd(open(path.c_str(), flags | O_CLOEXEC, static_cast<mode_t>(mode)));
    if (!fd)
        return fail_errno(errno, "cannot open {}", path);
    return fd;
}

Result<std::string> read_file(const std::string& path, Bytes limit) {
    DRAY_LET(const FileDescriptor fd, open_file(path, O_RDONLY));
    std::string content;
    char buffer[16384];
    for (;;) {
        const ssize_t count = read(fd.get(), buffer, sizeof buffer);
        if (count < 0 && errno == EINTR)
            continue;
        if (count < 0)
            return fail_errno(errno, "cannot read {}", path);
        if (count == 0)
            return content;
        content.append(buffer, static_cast<std::size_t>(count));
        if (content.size() > limit)
            return fail(ErrorKind::LimitReached, "{} is longer than {} bytes", path, limit);
    }
}

Result<void> write_file_atomically(const std::string& path, std::span<const std::byte> bytes,
                                   unsigned mode) {
    const std::string temporary = path + ".new";
    DRAY_LET(FileDescriptor fd, open_file(temporary, O_WRONLY | O_CREAT | O_TRUNC, mode));
    Result<void> written = write_fully(fd.get(), 0, bytes, temporary);
    if (written && fsync(fd.get()) != 0)
        written = fail_errno(errno, "cannot flush {}", temporary);
    if (written)
        written = fd.close();
    if (written && rename(temporary.c_str(), path.c_str()) != 0)
        written = fail_errno(errno, "cannot rename {} to {}", temporary, path);
    if (!written) {
        unlink(temporary.c_str());
        return written;
    }
    const std::size_t slash = path.rfind('/');
    const std::string directory = slash == std::string::npos ? "." : path.substr(0, slash + 1);
    DRAY_LET(const FileDescriptor parent, open_file(directory, O_RDONLY | O_DIRECTORY));
    if (fsync(parent.get()) != 0)
        return fail_errno(errno, "cannot flush {}", directory);
    return {};
}

Result<void> read_fully(int fd, Bytes offset, std::span<std::byte> bytes, const std::string& what) {
    while (!bytes.empty()) {
        const ssize_t count = pread(fd, bytes.data(), bytes.size(), static_cast<off_t>(offset));
        if (count < 0 && errno == EINTR)
            continue;
        if (count < 0)
            return fail_errno(errno, "cannot read {} at offset {}", what, offset);
        if (count == 0)
            return fail(ErrorKind::Corrupt, "{} ends at offset {}, {} bytes more were expected", what,
                        offset, bytes.size());
        offset += static_cast<Bytes>(count);
        bytes = bytes.subspan(static_cast<std::size_t>(count));
    }
    return {};
}

Result<void> write_fully(int fd, Bytes offset, std::span<const std::byte> bytes, const std::string& what) {
    while (!bytes.empty()) {
        const ssize_t count = pwrite(fd, bytes.data(), bytes.size(), static_cast<off_t>(offset));
        if (count < 0 && errno == EINTR)
            continue;
        if (count < 0)
            return fail_errno(errno, "cannot write {} at offset {}", what, offset);
        offset += static_cast<Bytes>(count);
        bytes = bytes.subspan(static_cast<std::size_t>(count));
    }
    return {};
}

}  // namespace dray
