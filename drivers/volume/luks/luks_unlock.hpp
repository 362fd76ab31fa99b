// SPDX-License-Identifier: Apache-2.0
//
// From a LUKS header and a key to the volume key, through libcryptsetup on a copy of the header. Meant for a
// process of its own in the unlocking box.
#pragma once

#include <optional>
#include <string>

#include "daemon/base/secret.hpp"
#include "drivers/volume/crypt_library.hpp"
#include "drivers/volume/luks/luks_header.hpp"
#include "drivers/volume/luks/luks_policy.hpp"
#include "drivers/volume/open_error.hpp"
#include "drivers/volume/volume.hpp"

namespace dray::volume {

/// A header that has passed the policy: no key was tried on it yet.
struct LoadedLuks {
    CryptDevice device;
    VolumeIdentity identity;
    LuksSegment segment;
    /// A place in the header that could not be read, unless none is.
    std::optional<Error> unread;
};

/// Everything that can be wrong with a header is told by kind, sentence and status: DiskOperationFailed for a
/// device that ends too early or cannot be read, BitLockerFailed for a damaged header,
/// BitLockerProtectorNotFound without key slots, else BitLockerUnlockVolumeFailed.
OpenResult<LoadedLuks> load_luks(BlockDevice& device, const LuksHeader& header, Bytes unlock_memory);

/// The volume key. WrongKey, with status BitLockerKeyInvalid: none of the key slots opens; Internal, with
/// DiskOperationFailed, where not all of them could be read. The bytes of `key` are used exactly.
OpenResult<SecretBytes> open_luks(const LoadedLuks& luks, const SecretBytes& key);

}  // namespace dray::volume
