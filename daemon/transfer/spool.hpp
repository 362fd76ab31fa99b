// SPDX-License-Identifier: Apache-2.0
//
// Where the manifest's spool of a transfer lies: beside the journal under a name, so that the error log can be written
// when the drive is gone. One thread.
#pragma once

#include <string>

#include "daemon/manifest/spool.hpp"

namespace dray::transfer {

using manifest::Refusal;
using manifest::Spool;
using manifest::bytes_of;

/// Copies the manifest at `path` on the drive and compares its hash; as Spool::copy().
Result<std::expected<Spool, Refusal>> copy_to_spool(drive::Client& drive, const std::string& directory,
                                                    const std::string& path, const std::string& hash);
/// The spool of an earlier transfer. NotFound: none.
Result<Spool> open_spool(const std::string& directory);

}  // namespace dray::transfer
