// SPDX-License-Identifier: Apache-2.0
//
// A block device in memory, as strict about sectors as an encrypted volume.
#pragma once

#include <algorithm>
#include <optional>
#include <vector>

#include "drivers/volume/volume.hpp"

namespace dray::test {

class MemoryDevice : public volume::BlockDevice {
public:
    MemoryDevice(std::vector<std::byte> bytes, Bytes sector) : content(std::move(bytes)), sector_(sector) {}

    Bytes size() const override { return content.size() / sector_ * sector_; }
    Bytes sector_size() const override { return sector_; }
    Result<void> read(Bytes offset, std::span<std::byte> out) override {
        ++reads;
        if (is_gone)
            return fail(ErrorKind::Gone, "the device is gone");
        DRAY_TRY(check(offset, out.size()));
        bytes_read += out.size();
        if (bad_sector && *bad_sector >= offset && *bad_sector < offset + out.size()) {
            ++bad_reads;
            return fail(ErrorKind::Internal, "cannot read: Input/output error");
        }
        std::copy_n(content.begin() + static_cast<std::ptrdiff_t>(offset), out.size(), out.begin());
        return {};
    }
    /// Spoils what it is given, as encrypting in place does.
    Result<void> write(Bytes offset, std::span<std::byte> in) override {
        if (is_gone)
            return fail(ErrorKind::Gone, "the device is gone");
        DRAY_TRY(check(offset, in.size()));
        std::copy(in.begin(), in.end(), content.begin() + static_cast<std::ptrdiff_t>(offset));
        std::fill(in.begin(), in.end(), std::byte{0xee});
        return {};
    }
    Result<void> sync() override { return {}; }

    std::vector<std::byte> content;
    std::size_t reads = 0;
    Bytes bytes_read = 0;
    /// An offset within the one sector that cannot be read.
    std::optional<Bytes> bad_sector;
    std::size_t bad_reads = 0;
    bool is_gone = false;

private:
    Result<void> check(Bytes offset, std::size_t length) const {
        if (offset % sector_ != 0 || length % sector_ != 0)
            return fail(ErrorKind::Internal, "not whole sectors");
        if (offset > size() || length > size() - offset)
            return fail(ErrorKind::Corrupt, "beyond the end");
        return {};
    }
    Bytes sector_;
};

}  // namespace dray::test
