// SPDX-License-Identifier: Apache-2.0
#include "daemon/base/wire.hpp"

namespace dray {

void WireWriter::number(std::uint64_t value, int size) {
    for (int i = 0; i < size; ++i)
        bytes_.push_back(static_cast<std::byte>(value >> (8 * i)));
}

void WireWriter::text(std::string_view value) {
    u32(static_cast<std::uint32_t>(value.size()));
    const auto bytes = std::as_bytes(std::span(value.data(), value.size()));
    bytes_.insert(bytes_.end(), bytes.begin(), bytes.end());
}

std::uint64_t WireReader::number(std::size_t size) {
    if (is_bad_ || rest_.size() < size) {
        is_bad_ = true;
        return 0;
    }
    std::uint64_t value = 0;
    for (std::size_t i = 0; i < size; ++i)
        value |= static_cast<std::uint64_t>(rest_[i]) << (8 * i);
    rest_ = rest_.subspan(size);
    return value;
}

bool WireReader::boolean() {
    const std::uint8_t value = u8();
    if (value > 1)
        is_bad_ = true;
    return value == 1;
}

std::string WireReader::text(std::size_t limit) {
    const std::uint32_t length = u32();
    if (is_bad_ || length > limit || length > rest_.size()) {
        is_bad_ = true;
        return {};
    }
    std::string value(reinterpret_cast<const char*>(rest_.data()), length);
    rest_ = rest_.subspan(length);
    return value;
}

Result<void> WireReader::finish() const {
    if (is_bad_ || !rest_.empty())
        return fail(ErrorKind::Corrupt, "a message does not follow its schema");
    return {};
}

}  // namespace dray
