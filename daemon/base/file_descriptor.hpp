// SPDX-License-Identifier: Apache-2.0
//
// An open file descriptor with one owner. Born close-on-exec.
#pragma once

#include <utility>

#include "daemon/base/result.hpp"

namespace dray {

class FileDescriptor {
public:
    FileDescriptor() = default;
    /// Takes ownership; -1 is "none".
    explicit FileDescriptor(int fd) : fd_(fd) {}
    FileDescriptor(FileDescriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
    FileDescriptor& operator=(FileDescriptor&& other) noexcept;
    FileDescriptor(const FileDescriptor&) = delete;
    FileDescriptor& operator=(const FileDescriptor&) = delete;
    /// For the path where nobody cares about the error of close any more.
    ~FileDescriptor();

    int get() const { return fd_; }
    explicit operator bool() const { return fd_ >= 0; }
    int release() { return std::exchange(fd_, -1); }
    /// Closes and reports what close(2) said. Afterwards there is none.
    Result<void> close();
    /// A close-on-exec copy.
    Result<FileDescriptor> duplicate() const;

private:
    int fd_ = -1;
};

}  // namespace dray
