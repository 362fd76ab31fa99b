// SPDX-License-Identifier: Apache-2.0
//
// From a device and a key to all that is needed to read its volume: the device may hold the volume itself, or a
// partition table with a partition for it. Meant for a process of its own in the unlocking box.
#pragma once

#include <memory>
#include <string>
#include <variant>

#include "daemon/base/secret.hpp"
#include "drivers/volume/bitlocker/bitlocker_header.hpp"
#include "drivers/volume/luks/luks_policy.hpp"
#include "drivers/volume/open_error.hpp"
#include "drivers/volume/volume.hpp"

namespace dray::volume {

/// Of type "plain".
struct PlainSegment {
    Bytes offset = 0;
    Bytes size = 0;
};

/// All that is needed to read the volume afterwards.
struct UnlockedVolume {
    VolumeIdentity identity;
    /// Empty for type "plain".
    SecretBytes key;
    /// Places count from the start of the device, also in a partition.
    std::variant<PlainSegment, LuksSegment, BitLockerSegment> segment;
    /// "gpt", "dos", or "" for a device that is one volume.
    std::string partition_table;
    /// What is odd but harmless, or "".
    std::string notice;
};

struct UnlockPolicy {
    Bytes memory = kGiB;
    /// Whether a device without encryption is taken as it is.
    bool allow_plain = false;
    /// Unless empty: the identifier the volume must have; looked at before the key is tried.
    std::string volume_id;
    /// Which partition holds the volume, as the kernel counts; 0: the first for data, or the device itself.
    unsigned partition = 0;
};

/// What has to have happened before the box. Denied: it cannot.
Result<void> warm_up_unlocking();

/// Opens the first volume for data that the device holds. WrongKey, with status BitLockerKeyInvalid: the key does
/// not open it. The bytes of `key` are used exactly. Everything else that can be wrong is told by kind, sentence
/// and status.
OpenResult<UnlockedVolume> unlock_volume(BlockDevice& device, const SecretBytes& key,
                                         const UnlockPolicy& policy);

/// The plaintext of an unlocked volume. `device` must outlive it.
Result<std::unique_ptr<BlockDevice>> open_volume(BlockDevice& device, const UnlockedVolume& volume);

}  // namespace dray::volume
