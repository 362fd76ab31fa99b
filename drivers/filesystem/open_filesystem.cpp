// SPDX-License-Identifier: Apache-2.0
#include "drivers/filesystem/open_filesystem.hpp"

#include <utility>

#include "drivers/filesystem/exfat/exfat_reader.hpp"
#include "drivers/filesystem/ext4/ext4_reader.hpp"
#include "drivers/filesystem/fat/fat_reader.hpp"
#include "drivers/filesystem/ntfs/ntfs_reader.hpp"
#include "drivers/volume/signature.hpp"

namespace dray::fs {
namespace {

using Opened = Result<std::unique_ptr<FileSystem>>;

template <typename Reader>
Opened open_as(volume::BlockDevice& device) {
    DRAY_LET(std::unique_ptr<FileSystem> reader, Reader::open(device));
    return reader;
}

Opened open_known(volume::BlockDevice& device, volume::Signature signature) {
    switch (signature) {
        case volume::Signature::Ext: return open_as<Ext4Reader>(device);
        case volume::Signature::ExFat: return open_as<ExfatReader>(device);
        case volume::Signature::Fat: return open_as<FatReader>(device);
        case volume::Signature::Ntfs: return open_as<NtfsReader>(device);
        default:
            return fail(ErrorKind::Unsupported, "the volume holds {}; ext4, NTFS, exFAT and FAT can be read",
                        volume::to_string(signature));
    }
}

}  // namespace

volume::OpenResult<std::unique_ptr<FileSystem>> open_filesystem(volume::BlockDevice& device) {
    const Result<volume::Signature> signature = volume::read_signature(device);
    if (!signature)
        return volume::refuse(signature.error(), volume::kDiskOperationFailed);
    Opened opened = open_known(device, *signature);
    if (!opened)
        return volume::refuse(opened.error(), opened.error().kind() == ErrorKind::Unsupported
                                                  ? volume::kFileSystemUnknown
                                                  : volume::kDiskOperationFailed);
    return *std::move(opened);
}

}  // namespace dray::fs
