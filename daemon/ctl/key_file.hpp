// SPDX-License-Identifier: Apache-2.0
//
// A drive's key, from the file in which its owner keeps it.
#pragma once

#include <string>

#include "daemon/base/file_descriptor.hpp"
#include "daemon/base/result.hpp"

namespace dray::ctl {

/// A key file as a sealed memfd, the form in which keys go from process to process (rules.md 26).
/// The bytes are used exactly. InvalidArgument: an empty file, or one with more than kMaxKeyBytes.
Result<FileDescriptor> key_memfd(const std::string& path);
/// A sentence when others than the owner can read or change the file, else "".
std::string key_file_warning(const std::string& path);

}  // namespace dray::ctl
