// SPDX-License-Identifier: Apache-2.0
//
// The form of messages between dray's own processes: little-endian numbers, strings with a 32-bit
// length. Reading is total: whatever the bytes, the reader ends with values or with Corrupt.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "daemon/base/result.hpp"

namespace dray {

class WireWriter {
public:
    void u8(std::uint8_t value) { number(value, 1); }
    void u32(std::uint32_t value) { number(value, 4); }
    void u64(std::uint64_t value) { number(value, 8); }
    void boolean(bool value) { u8(value ? 1 : 0); }
    void text(std::string_view value);

    std::span<const std::byte> bytes() const { return bytes_; }
    std::size_t size() const { return bytes_.size(); }
    void clear() { bytes_.clear(); }

private:
    void number(std::uint64_t value, int size);
    std::vector<std::byte> bytes_;
};

/// The first mistake sticks: later reads give zeros and empty strings, finish() tells. So a message is
/// read field by field without looking, and nothing of it is used before finish() has succeeded.
class WireReader {
public:
    explicit WireReader(std::span<const std::byte> bytes) : rest_(bytes) {}

    std::uint8_t u8() { return static_cast<std::uint8_t>(number(1)); }
    std::uint32_t u32() { return static_cast<std::uint32_t>(number(4)); }
    std::uint64_t u64() { return number(8); }
    /// 0 or 1; anything else is a mistake.
    bool boolean();
    /// At most `limit` bytes.
    std::string text(std::size_t limit);
    /// A number below `count`, for enumerations.
    template <typename Enum>
    Enum enumerator(std::uint8_t count) {
        const std::uint8_t value = u8();
        if (value >= count)
            is_bad_ = true;
        return static_cast<Enum>(value < count ? value : 0);
    }
    /// For schemas with rules of their own.
    void reject() { is_bad_ = true; }
    bool is_bad() const { return is_bad_; }
    std::size_t left() const { return rest_.size(); }

    /// Corrupt: something was short, over its limit or left over.
    Result<void> finish() const;

private:
    std::uint64_t number(std::size_t size);
    std::span<const std::byte> rest_;
    bool is_bad_ = false;
};

}  // namespace dray
