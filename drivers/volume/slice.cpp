// SPDX-License-Identifier: Apache-2.0
#include "drivers/volume/slice.hpp"

#include <algorithm>

namespace dray::volume {

Slice::Slice(BlockDevice& device, Bytes offset, Bytes size)
    : device_(device),
      offset_(std::min(offset, device.size())),
      size_(std::min(size, device.size() - offset_)) {}

Result<void> Slice::check(Bytes offset, std::size_t length) const {
    if (offset > size_ || length > size_ - offset)
        return fail(ErrorKind::Corrupt, "the partition ends at {}, but {} bytes from {} are needed", size_, length,
                    offset);
    return {};
}

Result<void> Slice::read(Bytes offset, std::span<std::byte> content) {
    DRAY_TRY(check(offset, content.size()));
    return device_.read(offset_ + offset, content);
}

Result<void> Slice::write(Bytes offset, std::span<std::byte> content) {
    DRAY_TRY(check(offset, content.size()));
    return device_.write(offset_ + offset, content);
}

}  // namespace dray::volume
