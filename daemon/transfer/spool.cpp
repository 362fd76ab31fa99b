// SPDX-License-Identifier: Apache-2.0
#include "daemon/transfer/spool.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <utility>

#include "daemon/base/file.hpp"
#include "daemon/transfer/group_access.hpp"

namespace dray::transfer {
namespace {

std::string spool_path(const std::string& directory) { return directory + "/manifest.xml"; }

}  // namespace

Result<std::expected<Spool, Refusal>> copy_to_spool(drive::Client& drive, const std::string& directory,
                                                    const std::string& path, const std::string& hash) {
    // The one of an earlier run is not touched before this one is whole: logs may have to be written from it.
    const std::string part = spool_path(directory) + ".part";
    DRAY_LET(FileDescriptor file, open_file(part, O_RDWR | O_CREAT | O_TRUNC, kFileMode));
    DRAY_LET(auto copied, Spool::copy(drive, std::move(file), part, path, hash));
    if (!copied)
        return copied;
    if (fdatasync(copied->fd()) != 0)
        return fail_errno(errno, "cannot flush {}", part);
    if (std::rename(part.c_str(), spool_path(directory).c_str()) != 0)
        return fail_errno(errno, "cannot rename {}", part);
    return copied;
}

Result<Spool> open_spool(const std::string& directory) {
    DRAY_LET(FileDescriptor file, open_file(spool_path(directory), O_RDONLY));
    return Spool::open(std::move(file), spool_path(directory));
}

}  // namespace dray::transfer
