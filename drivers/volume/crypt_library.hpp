// SPDX-License-Identifier: Apache-2.0
//
// libcryptsetup as it is used here: on copies of headers in memory files, without locks and without a word to any terminal.
#pragma once

#include <libcryptsetup.h>

#include "daemon/base/handle.hpp"
#include "daemon/base/result.hpp"

namespace dray::volume {

using CryptDevice = Handle<crypt_device, crypt_free>;

/// libcryptsetup opens the random devices and loads what it needs when it is used first; that must have
/// happened before the box. Denied: it cannot.
Result<void> warm_up_crypt_library();

/// `memory` is the descriptor of a memory file with a header, and must stay open.
Result<CryptDevice> open_crypt_header(int memory);

}  // namespace dray::volume
