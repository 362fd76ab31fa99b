// SPDX-License-Identifier: Apache-2.0
#include "drivers/filesystem/ext4/ext4_superblock.hpp"

#include <algorithm>
#include <array>
#include <string_view>
#include <utility>

#include <fmt/ranges.h>

namespace dray::fs {
namespace {

/// A drive of 100 TB with blocks of 4 KiB has 50 MiB of descriptors.
constexpr Bytes kMaxDescriptors = 64 * kMiB;
/// mke2fs makes none below it. Smaller ones would be a great many on a small volume.
constexpr std::uint32_t kMinBlocksPerGroup = 256;
constexpr Bytes kSuperblock = 1024;

constexpr std::array<std::pair<std::uint32_t, std::string_view>, 16> kIncompatible{{
    {0x1, "compression"},       {0x2, "filetype"},
    {0x4, "needs_recovery"},    {0x8, "journal_dev"},
    {0x10, "meta_bg"},          {0x40, "extents"},
    {0x80, "64bit"},            {0x100, "mmp"},
    {0x200, "flex_bg"},         {0x400, "ea_inode"},
    {0x1000, "dirdata"},        {0x2000, "metadata_csum_seed"},
    {0x4000, "large_dir"},      {0x8000, "inline_data"},
    {0x10000, "encrypt"},       {0x20000, "casefold"},
}};

std::string names_of(std::uint32_t features) {
    std::vector<std::string> names;
    for (const auto& [bit, name] : kIncompatible)
        if ((features & bit) != 0) {
            names.emplace_back(name);
            features &= ~bit;
        }
    if (features != 0)
        names.push_back(fmt::format("{:#x}", features));
    return fmt::format("{}", fmt::join(names, ", "));
}

/// What libext2fs reads. Its header leaves out mmp, which is only about writers.
constexpr std::uint32_t kReadable = EXT2_LIB_FEATURE_INCOMPAT_SUPP | EXT4_FEATURE_INCOMPAT_MMP;

Result<void> check_features(const ext2_super_block& super) {
    const std::uint32_t features = ext2fs_le32_to_cpu(super.s_feature_incompat);
    if ((features & EXT3_FEATURE_INCOMPAT_JOURNAL_DEV) != 0)
        return fail(ErrorKind::Unsupported,
                    "the volume holds the external journal of another ext4, and no files");
    if ((features & ~kReadable) != 0)
        return fail(ErrorKind::Unsupported, "the ext4 uses features that cannot be read: {}",
                    names_of(features & ~kReadable));
    return {};
}

}  // namespace

Result<void> check_superblock(BlockIo& io) {
    ext2_super_block super{};
    static_assert(sizeof super == 1024);
    if (io.device().size() < kSuperblock + sizeof super)
        return fail(ErrorKind::Corrupt, "the volume ends within the superblock");
    DRAY_TRY(io.read(kSuperblock, std::as_writable_bytes(std::span(&super, 1))));
    DRAY_TRY(check_features(super));
    const std::uint32_t log_block_size = ext2fs_le32_to_cpu(super.s_log_block_size);
    if (log_block_size > EXT2_MAX_BLOCK_LOG_SIZE - EXT2_MIN_BLOCK_LOG_SIZE)
        return fail(ErrorKind::Corrupt, "the superblock names an impossible block size");
    const Bytes block_size = kSuperblock << log_block_size;
    const bool is_64bit =
        (ext2fs_le32_to_cpu(super.s_feature_incompat) & EXT4_FEATURE_INCOMPAT_64BIT) != 0;
    std::uint64_t blocks = ext2fs_le32_to_cpu(super.s_blocks_count);
    if (is_64bit)
        blocks |= static_cast<std::uint64_t>(ext2fs_le32_to_cpu(super.s_blocks_count_hi)) << 32;
    if (blocks > io.device().size() / block_size)
        return fail(ErrorKind::Corrupt,
                    "the file system has {} blocks of {} bytes, but the volume ends at {}; it was cut off",
                    blocks, block_size, io.device().size());
    const std::uint32_t per_group = ext2fs_le32_to_cpu(super.s_blocks_per_group);
    if (per_group == 0 || (per_group < kMinBlocksPerGroup && per_group < blocks))
        return fail(ErrorKind::Corrupt, "the superblock names groups of {} blocks", per_group);
    const Bytes descriptor = is_64bit ? std::max<Bytes>(ext2fs_le16_to_cpu(super.s_desc_size), 64) : 32;
    if ((blocks / per_group + 1) * descriptor > kMaxDescriptors)
        return fail(ErrorKind::Corrupt, "the file system has too many block groups");
    return {};
}

std::string notice_of(const ext2_super_block& super) {
    std::vector<std::string_view> sentences;
    const bool has_journal = (super.s_feature_compat & EXT3_FEATURE_COMPAT_HAS_JOURNAL) != 0;
    const bool is_elsewhere = has_journal && super.s_journal_inum == 0;
    if ((super.s_feature_incompat & EXT3_FEATURE_INCOMPAT_RECOVER) != 0)
        sentences.emplace_back(
            is_elsewhere
                ? "the ext4 was not unmounted cleanly and its journal is on another device: the last changes "
                  "before that are missing here"
                : "the ext4 was not unmounted cleanly: changes that only its journal knows are missing here; "
                  "mounting and unmounting the drive once where it was written brings them in");
    else if (!has_journal && (super.s_state & EXT2_VALID_FS) == 0)
        sentences.emplace_back(
            "the ext4 has no journal and was not unmounted cleanly: the last changes before that may be "
            "missing or damaged");
    if ((super.s_state & EXT2_ERROR_FS) != 0)
        sentences.emplace_back("the ext4 is marked as damaged; e2fsck has not repaired it yet");
    return fmt::format("{}", fmt::join(sentences, ". "));
}

}  // namespace dray::fs
