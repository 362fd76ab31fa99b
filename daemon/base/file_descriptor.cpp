// SPDX-License-Identifier: Apache-2.0
#include "daemon/base/file_descriptor.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>

namespace dray {

FileDescriptor& FileDescriptor::operator=(FileDescriptor&& other) noexcept {
    if (this != &other) {
        if (fd_ >= 0)
            ::close(fd_);
        fd_ = std::exchange(other.fd_, -1);
    }
    return *this;
}

FileDescriptor::~FileDescriptor() {
    if (fd_ >= 0)
        ::close(fd_);
}

Result<void> FileDescriptor::close() {
    if (fd_ >= 0 && ::close(std::exchange(fd_, -1)) != 0 && errno != EINTR)
        return fail_errno(errno, "cannot close a file");
    return {};
}

Result<FileDescriptor> FileDescriptor::duplicate() const {
    const int copy = fcntl(fd_, F_DUPFD_CLOEXEC, 3);
    if (copy < 0)
        return fail_errno(errno, "cannot duplicate a descriptor");
    return FileDescriptor(copy);
}

}  // namespace dray
