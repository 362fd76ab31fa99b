// SPDX-License-Identifier: Apache-2.0
#include "daemon/base/memfd.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

namespace dray {
namespace {

constexpr int kFixedSize = F_SEAL_SHRINK | F_SEAL_GROW;

Result<FileDescriptor> make_memfd(const char* name) {
    FileDescriptor fd(memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING));
    if (!fd)
        return fail_errno(errno, "cannot make a memory file");
    return fd;
}

Result<void> write_all(int fd, Bytes offset, std::span<const std::byte> bytes) {
    while (!bytes.empty()) {
        const ssize_t count = pwrite(fd, bytes.data(), bytes.size(), static_cast<off_t>(offset));
        if (count < 0 && errno == EINTR)
            continue;
        if (count < 0)
            return fail_errno(errno, "cannot write a memory file");
        bytes = bytes.subspan(static_cast<std::size_t>(count));
        offset += static_cast<Bytes>(count);
    }
    return {};
}

}  // namespace

Result<FileDescriptor> make_sealed_memfd(const char* name, std::span<const std::byte> bytes) {
    const MemfdPart whole{0, bytes};
    return make_sealed_memfd(name, bytes.size(), {&whole, 1});
}

Result<FileDescriptor> make_sealed_memfd(const char* name, Bytes size, std::span<const MemfdPart> parts) {
    DRAY_LET(FileDescriptor fd, make_memfd(name));
    if (ftruncate(fd.get(), static_cast<off_t>(size)) != 0)
        return fail_errno(errno, "cannot size a memory file of {} bytes", size);
    for (const MemfdPart& part : parts)
        DRAY_TRY(write_all(fd.get(), part.offset, part.bytes));
    if (fcntl(fd.get(), F_ADD_SEALS, kFixedSize | F_SEAL_WRITE | F_SEAL_SEAL) != 0)
        return fail_errno(errno, "cannot seal a memory file");
    return fd;
}

Result<SecretBytes> read_sealed_memfd(int fd, Bytes limit) {
    constexpr int kNeeded = kFixedSize | F_SEAL_WRITE;
    const int seals = fcntl(fd, F_GET_SEALS);
    if (seals < 0 || (seals & kNeeded) != kNeeded)
        return fail(ErrorKind::InvalidArgument,
                    "a secret must come as a memfd sealed against writing, growing and shrinking");
    struct stat status {};
    if (fstat(fd, &status) != 0)
        return fail_errno(errno, "cannot look at a memory file");
    if (static_cast<Bytes>(status.st_size) > limit)
        return fail(ErrorKind::InvalidArgument, "the secret has {} bytes, at most {} are allowed",
                    status.st_size, limit);
    SecretBytes bytes(static_cast<std::size_t>(status.st_size));
    std::size_t done = 0;
    while (done < bytes.size()) {
        const ssize_t count =
            pread(fd, bytes.data() + done, bytes.size() - done, static_cast<off_t>(done));
        if (count < 0 && errno == EINTR)
            continue;
        if (count < 0)
            return fail_errno(errno, "cannot read a memory file");
        if (count == 0)
            return fail(ErrorKind::Internal, "a sealed memory file ended early");
        done += static_cast<std::size_t>(count);
    }
    return bytes;
}

Result<FileDescriptor> make_shared_memfd(const char* name, Bytes size) {
    DRAY_LET(FileDescriptor fd, make_memfd(name));
    if (ftruncate(fd.get(), static_cast<off_t>(size)) != 0)
        return fail_errno(errno, "cannot size a memory file of {} bytes", size);
    if (fcntl(fd.get(), F_ADD_SEALS, kFixedSize) != 0)
        return fail_errno(errno, "cannot seal a memory file");
    return fd;
}

Result<SharedMemory> SharedMemory::map(int fd, Bytes size) {
    struct stat status {};
    if (fstat(fd, &status) != 0)
        return fail_errno(errno, "cannot look at shared memory");
    const int seals = fcntl(fd, F_GET_SEALS);
    if (size == 0 || static_cast<Bytes>(status.st_size) < size || seals < 0 ||
        (seals & F_SEAL_SHRINK) == 0)
        return fail(ErrorKind::InvalidArgument,
                    "shared memory must be a memfd of at least {} bytes that cannot shrink", size);
    void* address = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (address == MAP_FAILED)
        return fail_errno(errno, "cannot map {} bytes of shared memory", size);
    SharedMemory memory;
    memory.bytes_ = {static_cast<std::byte*>(address), static_cast<std::size_t>(size)};
    return memory;
}

SharedMemory::SharedMemory(SharedMemory&& other) noexcept
    : bytes_(std::exchange(other.bytes_, {})) {}

SharedMemory& SharedMemory::operator=(SharedMemory&& other) noexcept {
    std::swap(bytes_, other.bytes_);
    return *this;
}

SharedMemory::~SharedMemory() {
    if (!bytes_.empty())
        munmap(bytes_.data(), bytes_.size());
}

}  // namespace dray
