// SPDX-License-Identifier: Apache-2.0
#include "drivers/filesystem/ext4/inline_data.hpp"

#include <ext2fs/ext2_ext_attr.h>

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <optional>
#include <string_view>

namespace dray::fs {
namespace {

constexpr std::uint8_t kSystem = 7;
constexpr std::string_view kData = "data";

template <typename Number>
bool take(std::span<const std::byte> bytes, std::size_t offset, Number& value) {
    if (offset > bytes.size() || sizeof value > bytes.size() - offset)
        return false;
    std::memcpy(&value, bytes.data() + offset, sizeof value);
    return true;
}

using Value = std::optional<std::span<const std::byte>>;

/// The value of "system.data" among the attributes behind the inode's fields, if there is one.
Result<Value> attribute(std::span<const std::byte> inode) {
    const auto damaged = [] { return fail(ErrorKind::Corrupt, "the attributes in an inode are damaged"); };
    std::uint16_t extra = 0;
    std::uint32_t magic = 0;
    if (!take(inode, EXT2_GOOD_OLD_INODE_SIZE, extra))
        return Value();
    const std::size_t header = EXT2_GOOD_OLD_INODE_SIZE + std::size_t{ext2fs_le16_to_cpu(extra)};
    if (!take(inode, header, magic) || ext2fs_le32_to_cpu(magic) != EXT2_EXT_ATTR_MAGIC)
        return Value();
    const std::span<const std::byte> attributes = inode.subspan(header + sizeof magic);
    for (std::size_t place = 0; place + sizeof(std::uint32_t) <= attributes.size();) {
        if (take(attributes, place, magic) && magic == 0)
            break;
        ext2_ext_attr_entry entry{};
        if (!take(attributes, place, entry))
            return damaged();
        const std::span<const std::byte> rest = attributes.subspan(place + sizeof entry);
        if (entry.e_name_len > rest.size())
            return damaged();
        const std::string_view name(reinterpret_cast<const char*>(rest.data()), entry.e_name_len);
        if (entry.e_name_index == kSystem && name == kData) {
            const std::size_t offset = ext2fs_le16_to_cpu(entry.e_value_offs);
            const std::size_t size = ext2fs_le32_to_cpu(entry.e_value_size);
            if (entry.e_value_inum != 0 || offset > attributes.size() || size > attributes.size() - offset)
                return damaged();
            return Value(attributes.subspan(offset, size));
        }
        place += EXT2_EXT_ATTR_LEN(std::size_t{entry.e_name_len});
    }
    return Value();
}

}  // namespace

Result<std::vector<std::byte>> inline_content(std::span<const std::byte> inode, Bytes size) {
    DRAY_LET(const Value rest, attribute(inode));
    // What was cut longer reads as zeros behind its end, but it has the attribute all the same.
    if (!rest && size > EXT4_MIN_INLINE_DATA_SIZE)
        return fail(ErrorKind::Corrupt, "the second part of what lies in an inode is missing");
    const std::span<const std::byte> first =
        inode.subspan(offsetof(ext2_inode, i_block), EXT4_MIN_INLINE_DATA_SIZE);
    std::vector<std::byte> content(first.begin(), first.end());
    if (rest)
        content.insert(content.end(), rest->begin(), rest->end());
    return content;
}

}  // namespace dray::fs
