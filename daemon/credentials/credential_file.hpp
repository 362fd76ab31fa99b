// SPDX-License-Identifier: Apache-2.0
//
// The secrets of stores, as files that are drayd's alone (rules.md 26). Every error is NotFound or Denied, because the
// site can mend it, and says how; none tells what is in the file.
#pragma once

#include <string>

#include "config/config.hpp"
#include "daemon/base/result.hpp"
#include "daemon/base/secret.hpp"

namespace dray {

/// The file that the configuration means: a path as it is, a name in $CREDENTIALS_DIRECTORY.
Result<std::string> credential_path(const std::string& reference);

/// What is in it now, without the line break at its end. A regular file of at most 64 KiB, of drayd's user or root, with
/// nothing for group and others; what systemd has put into its directory is taken as it is.
Result<SecretBytes> read_credential(const std::string& reference);

/// The same of a key; one that has just the bytes of its algorithm may end in a line break by chance.
Result<SecretBytes> read_encryption_key(const EncryptionConfig& encryption);

}  // namespace dray
