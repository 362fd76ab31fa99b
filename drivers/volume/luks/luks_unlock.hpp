// SPDX-License-Identifier: Apache-2.0
//
// From a LUKS header and a key to the volume key, through libcryptsetup on a copy of the header. Meant for a
// process of its own in the unlocking box.
#pragma once

#include <libcryptsetup.h>

#include <string>

#include "daemon/base/handle.hpp"
#include "daemon/base/secret.hpp"
#include "drivers/volume/luks/luks_header.hpp"
#include "drivers/volume/luks/luks_policy.hpp"
#include "drivers/volume/open_error.hpp"
#include "drivers/volume/volume.hpp"

namespace dray::volume {

/// A header that has passed the policy: no key was tried on it yet.
struct LoadedLuks {
    Handle<crypt_device, crypt_free> device;
    VolumeIdentity identity;
    LuksSegment segment;
};

/// libcryptsetup opens the random devices and loads what it needs when it is used first; that must have
/// happened before the box. Denied: it cannot.
Result<void> warm_up_luks();

/// Everything that can be wrong with a header is told by kind, sentence and status: DiskOperationFailed for a
/// device that ends too early or cannot be read, BitLockerFailed for a damaged header,
/// BitLockerProtectorNotFound without key slots, else BitLockerUnlockVolumeFailed.
OpenResult<LoadedLuks> load_luks(BlockDevice& device, const LuksHeader& header, Bytes unlock_memory);

/// The volume key. WrongKey, with status BitLockerKeyInvalid: none of the key slots opens. The bytes of
/// `key` are used exactly.
OpenResult<SecretBytes> open_luks(const LoadedLuks& luks, const SecretBytes& key);

}  // namespace dray::volume
