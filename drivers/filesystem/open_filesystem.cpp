// SPDX-License-Identifier: Apache-2.0
#include "drivers/filesystem/open_filesystem.hpp"

#include <utility>

#include "drivers/filesystem/ext4/ext4_reader.hpp"
#include "drivers/volume/signature.hpp"

namespace dray::fs {

volume::OpenResult<std::unique_ptr<FileSystem>> open_filesystem(volume::BlockDevice& device) {
    const Result<volume::Signature> signature = volume::read_signature(device);
    if (!signature)
        return volume::refuse(signature.error(), volume::kDiskOperationFailed);
    if (*signature != volume::Signature::Ext)
        return volume::refuse({ErrorKind::Unsupported,
                               fmt::format("the volume holds {}, only ext4 can be read",
                                           volume::to_string(*signature))},
                              volume::kFileSystemUnknown);
    Result<std::unique_ptr<Ext4Reader>> reader = Ext4Reader::open(device);
    if (!reader)
        return volume::refuse(reader.error(), reader.error().kind() == ErrorKind::Unsupported
                                                  ? volume::kFileSystemUnknown
                                                  : volume::kDiskOperationFailed);
    return *std::move(reader);
}

}  // namespace dray::fs
