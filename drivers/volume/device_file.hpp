// SPDX-License-Identifier: Apache-2.0
//
// The raw device, or an image of one, behind an open descriptor. Reads and writes go past the page cache
// where the medium allows it; else they are buffered and dropped from the cache behind us. One thread.
#pragma once

#include <memory>
#include <vector>

#include "daemon/base/file_descriptor.hpp"
#include "drivers/volume/volume.hpp"

namespace dray::volume {

class DeviceFile : public BlockDevice {
public:
    /// Finds out the size and whether direct reads work. Gone: no medium, or a size of 0.
    static Result<std::unique_ptr<DeviceFile>> open(FileDescriptor fd);

    Bytes size() const override { return size_; }
    Bytes sector_size() const override { return 512; }
    /// Any offset, length and address; those that are aligned cost no copy.
    Result<void> read(Bytes offset, std::span<std::byte> content) override;
    /// The content stays as it is. Denied: opened for reading only.
    Result<void> write(Bytes offset, std::span<std::byte> content) override;
    Result<void> sync() override;

    bool is_direct() const { return alignment_ > 1; }
    /// What of the medium is read at least, as far as it is known: 512 or 4096.
    Bytes alignment() const { return is_direct() ? alignment_ : 512; }

private:
    DeviceFile(FileDescriptor fd, Bytes size);
    Result<void> check_range(Bytes offset, std::size_t length) const;
    Result<void> read_direct(Bytes offset, std::span<std::byte> content);
    Result<void> read_bounced(Bytes offset, std::span<std::byte> content);
    Result<void> read_plainly(Bytes offset, std::span<std::byte> content);
    bool serve_from_window(Bytes offset, std::span<std::byte> content);
    void try_direct();
    /// One pread loop; the number of bytes may fall short at the end of the medium only.
    Result<std::size_t> pread_all(Bytes offset, std::span<std::byte> content);
    Result<std::size_t> read_again(Bytes offset, std::span<std::byte> content, int error_number);
    bool answers_elsewhere();
    Result<void> check_medium() const;
    Result<void> pwrite_all(Bytes offset, std::span<const std::byte> content);

    FileDescriptor fd_;
    Bytes size_ = 0;
    /// Of offsets and lengths of direct reads; 1 when reads are buffered.
    std::size_t alignment_ = 1;
    std::unique_ptr<std::byte, void (*)(void*)> bounce_;
    /// What the bounce buffer holds of the device, read ahead of small reads that follow each other.
    Bytes window_offset_ = 0;
    std::size_t window_length_ = 0;
    Bytes next_small_ = ~Bytes{0};
    /// Where the last window ended that could not be read: within it nothing is read ahead again.
    Bytes bad_window_end_ = 0;
};

}  // namespace dray::volume
