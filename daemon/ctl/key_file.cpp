// SPDX-License-Identifier: Apache-2.0
#include "daemon/ctl/key_file.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "daemon/base/file.hpp"
#include "daemon/base/memfd.hpp"
#include "daemon/base/secret.hpp"

namespace dray::ctl {

Result<FileDescriptor> key_memfd(const std::string& path) {
    DRAY_LET(const FileDescriptor file, open_file(path, O_RDONLY));
    SecretBytes key(kMaxKeyBytes + 1);
    std::size_t size = 0;
    while (size < key.size()) {
        const ssize_t count = read(file.get(), key.data() + size, key.size() - size);
        if (count < 0 && errno == EINTR)
            continue;
        if (count < 0)
            return fail_errno(errno, "cannot read {}", path);
        if (count == 0)
            break;
        size += static_cast<std::size_t>(count);
    }
    if (size == 0)
        return fail(ErrorKind::InvalidArgument, "the key file {} is empty", path);
    if (size > kMaxKeyBytes)
        return fail(ErrorKind::InvalidArgument, "the key file {} has more than {} bytes", path,
                    kMaxKeyBytes);
    key.truncate(size);
    return make_sealed_memfd("dray-key", key.bytes());
}

std::string key_file_warning(const std::string& path) {
    struct stat status {};
    // A pipe is nobody else's, and what cannot be looked at is told when it is read.
    if (stat(path.c_str(), &status) != 0 || !S_ISREG(status.st_mode))
        return {};
    if ((status.st_mode & (S_IRWXG | S_IRWXO)) == 0)
        return {};
    return fmt::format(
        "the key file {} has mode {:04o}: others than its owner can use it; "
        "take that away with: chmod go= {}",
        path, status.st_mode & 07777U, path);
}

}  // namespace dray::ctl
