// SPDX-License-Identifier: Apache-2.0
//
// From a device and a key to the volume key, through libcryptsetup on a copy of the header. Meant for a
// process of its own in the unlocking box.
#pragma once

#include <string>

#include "daemon/base/secret.hpp"
#include "drivers/volume/luks/luks_policy.hpp"
#include "drivers/volume/open_error.hpp"
#include "drivers/volume/volume.hpp"

namespace dray::volume {

/// All that is needed to read the volume afterwards.
struct UnlockedVolume {
    VolumeIdentity identity;
    /// Empty for type "plain".
    SecretBytes key;
    LuksSegment segment;
};

struct UnlockPolicy {
    Bytes memory = kGiB;
    /// Whether a device without encryption is taken as it is.
    bool allow_plain = false;
    /// Unless empty: the identifier the volume must have; looked at before the key is tried.
    std::string volume_id;
};

/// libcryptsetup opens the random devices and loads what it needs when it is used first; that must have
/// happened before the box. Denied: it cannot.
Result<void> warm_up_unlocking();

/// WrongKey, with status BitLockerKeyInvalid: none of the key slots opens. The bytes of `key` are used
/// exactly. Everything else that can be wrong is told by kind, sentence and status.
OpenResult<UnlockedVolume> unlock_volume(BlockDevice& device, const SecretBytes& key,
                                         const UnlockPolicy& policy);

}  // namespace dray::volume
