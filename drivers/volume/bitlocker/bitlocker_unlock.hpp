// SPDX-License-Identifier: Apache-2.0
//
// From a BitLocker header and a key to the volume key, through libcryptsetup on a copy of what was checked. Meant for a
// process of its own in the unlocking box.
#pragma once

#include "daemon/base/secret.hpp"
#include "drivers/volume/bitlocker/bitlocker_header.hpp"
#include "drivers/volume/open_error.hpp"

namespace dray::volume {

/// The volume key. `key` is a password, a recovery key or what a start-up key file (.BEK) holds; of a recovery key white
/// space does not count, of a password every byte does. WrongKey, with status BitLockerKeyInvalid: it opens nothing, or
/// cannot be what it looks like, which is said before any derivation.
OpenResult<SecretBytes> open_bitlocker(const BitLockerHeader& header, const SecretBytes& key);

}  // namespace dray::volume
