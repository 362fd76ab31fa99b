// SPDX-License-Identifier: Apache-2.0
#include "drivers/filesystem/ntfs/ntfs_file.hpp"

#include <algorithm>
#include <array>
#include <span>
#include <string>
#include <string_view>

#include "drivers/filesystem/ntfs/attribute_map.hpp"
#include "drivers/filesystem/ntfs/ntfs_bytes.hpp"

namespace dray::fs {
namespace {

/// Of the attributes of a file, in its standard information.
constexpr std::uint32_t kReparsePoint = 0x0400;
constexpr std::uint32_t kEncrypted = 0x4000;
/// Of the MFT record.
constexpr std::size_t kRecordFlags = 22;
constexpr std::uint16_t kIsDirectory = 0x0002;
constexpr std::uint16_t kIsIndex = 0x0008;

/// OneDrive and others number their kinds in these bits.
constexpr std::uint32_t kCloud = 0x9000001a;
constexpr std::uint32_t kCloudMask = 0xffff0fff;

struct Tag {
    std::uint32_t tag;
    std::string_view what;
};

constexpr std::array kTags{
    Tag{0xa000000c, "it is a symbolic link"},
    Tag{0xa0000003, "it is a junction or a mount point"},
    Tag{0xa000001d, "it is a symbolic link of WSL"},
    Tag{0x80000013, "its content was moved away by Windows data deduplication"},
    Tag{0x80000017, "it is packed by Windows (\"compact\", WOF)"},
    Tag{0x80000007, "its content was moved away by single-instance storage"},
    Tag{0x80000008, "it is a part of a Windows image (WIM)"},
    Tag{0xc0000004, "its content was moved to slower storage (HSM)"},
    Tag{0x80000006, "its content was moved to slower storage (HSM)"},
    Tag{0x9000001c, "its content lies in another place (projected file system)"},
    Tag{0x80000018, "its content lies in the layer of a container"},
    Tag{0x90001018, "its content lies in the layer of a container"},
    Tag{0xa0000027, "it is a link into the layer of a container"},
    Tag{0x8000001b, "it is an alias of an application"},
    Tag{0x80000021, "its content lies in OneDrive"},
    Tag{0x8000001e, "its content was moved to slower storage (Azure File Sync)"},
    Tag{0x80000023, "it is a socket"},
    Tag{0x80000024, "it is a special file of WSL"},
    Tag{0x80000025, "it is a special file of WSL"},
    Tag{0x80000026, "it is a special file of WSL"},
};

std::string describe(std::uint32_t tag) {
    if ((tag & kCloudMask) == kCloud)
        return "its content lies in OneDrive or another cloud";
    const auto* const known = std::ranges::find(kTags, tag, &Tag::tag);
    if (known != kTags.end())
        return std::string(known->what);
    return "it is a reparse point of an unknown kind";
}

Result<std::uint32_t> tag_of(NtfsVolume& volume, ntfs_inode& inode, MftReference reference) {
    Result<AttributeMap> map = AttributeMap::open(volume, inode, reference, Part::ReparsePoint);
    if (!map)
        return fail(std::move(map.error()), "it is a reparse point, but its kind cannot be read");
    std::array<std::byte, 4> tag{};
    DRAY_TRY(map->read_cached(0, tag));
    return ntfs::load<std::uint32_t>(tag, 0);
}

}  // namespace

Result<NtfsKind> kind_of(NtfsVolume& volume, ntfs_inode& inode, MftReference reference) {
    // Read as bytes: on disk they have bits that the library's enumerations do not know.
    const auto kind = ntfs::load<std::uint16_t>(std::as_bytes(std::span(inode.mrec, 1)), kRecordFlags);
    const auto attributes = ntfs::load<std::uint32_t>(std::as_bytes(std::span(&inode.flags, 1)), 0);
    const bool is_directory = (kind & kIsDirectory) != 0;
    if ((kind & kIsIndex) != 0)
        return fail(ErrorKind::Corrupt, "MFT record {} is neither a file nor a directory", number_of(reference));
    if ((attributes & kReparsePoint) != 0) {
        DRAY_LET(const std::uint32_t tag, tag_of(volume, inode, reference));
        // A directory that a cloud looks after is one all the same; each file in it says what it is.
        if (!is_directory || (tag & kCloudMask) != kCloud)
            return fail(ErrorKind::Unsupported, "{} (reparse tag {:#010x})", describe(tag), tag);
    }
    // In an encrypted directory new files are encrypted; it itself is not.
    if (!is_directory && (attributes & kEncrypted) != 0)
        return fail(ErrorKind::Unsupported, "it is encrypted by Windows (EFS)");
    return is_directory ? NtfsKind::Directory : NtfsKind::File;
}

}  // namespace dray::fs
