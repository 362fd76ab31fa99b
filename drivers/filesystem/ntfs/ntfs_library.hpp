// SPDX-License-Identifier: Apache-2.0
//
// libntfs-3g (GPL: dray-drive alone is linked with it), and its handles. Included after the C++ headers, because
// it defines macros like min and max.
#pragma once

#include <sys/stat.h>

#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <memory>

#include "daemon/base/handle.hpp"

extern "C" {
// NOLINTBEGIN(readability-duplicate-include): they only work in this order
#include <ntfs-3g/types.h>
#include <ntfs-3g/layout.h>
#include <ntfs-3g/volume.h>
#include <ntfs-3g/attrib.h>
#include <ntfs-3g/device.h>
#include <ntfs-3g/dir.h>
#include <ntfs-3g/inode.h>
#include <ntfs-3g/logging.h>
// NOLINTEND(readability-duplicate-include)
}
#undef min
#undef max

namespace dray::fs {

using NtfsInode = Handle<ntfs_inode, ntfs_inode_close>;
using NtfsSearch = Handle<ntfs_attr_search_ctx, ntfs_attr_put_search_ctx>;

}  // namespace dray::fs
