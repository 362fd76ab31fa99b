// SPDX-License-Identifier: Apache-2.0
//
// Key material. Moved, never copied by accident, wiped when it goes; it has no formatter, so that
// logging one does not compile.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace dray {

class SecretBytes {
public:
    SecretBytes() = default;
    explicit SecretBytes(std::size_t size) : bytes_(size) {}
    explicit SecretBytes(std::span<const std::byte> bytes) : bytes_(bytes.begin(), bytes.end()) {}
    explicit SecretBytes(std::string_view text);
    SecretBytes(SecretBytes&& other) noexcept : bytes_(std::move(other.bytes_)) { other.bytes_.clear(); }
    SecretBytes& operator=(SecretBytes&& other) noexcept;
    SecretBytes(const SecretBytes&) = delete;
    SecretBytes& operator=(const SecretBytes&) = delete;
    ~SecretBytes() { wipe(); }

    /// The one deliberate way to a second copy.
    SecretBytes clone() const { return SecretBytes(bytes()); }
    void wipe();
    /// Shortens, wiping what falls away. `size` must not exceed the present one.
    void truncate(std::size_t size);

    std::size_t size() const { return bytes_.size(); }
    bool empty() const { return bytes_.empty(); }
    std::span<const std::byte> bytes() const { return bytes_; }
    std::span<std::byte> bytes() { return bytes_; }
    std::string_view text() const { return {reinterpret_cast<const char*>(bytes_.data()), bytes_.size()}; }
    const unsigned char* data() const { return reinterpret_cast<const unsigned char*>(bytes_.data()); }
    unsigned char* data() { return reinterpret_cast<unsigned char*>(bytes_.data()); }

private:
    std::vector<std::byte> bytes_;
};

}  // namespace dray
