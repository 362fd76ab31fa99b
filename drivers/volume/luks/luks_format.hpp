// SPDX-License-Identifier: Apache-2.0
//
// A new LUKS2 header, made by libcryptsetup in a memory file: a boxed process cannot open the
// device by its path, and so the caller decides when the device becomes a volume.
#pragma once

#include <string>

#include "daemon/base/file_descriptor.hpp"
#include "daemon/base/secret.hpp"
#include "drivers/volume/luks/luks_policy.hpp"
#include "drivers/volume/volume.hpp"

namespace dray::volume {

/// Where the encrypted data of a new volume begins; so long is its header with both copies and all
/// slots.
inline constexpr Bytes kNewDataOffset = 16 * kMiB;

struct LuksFormat {
    /// Of the whole device: it decides about the sector size, and the volume reaches to its end.
    Bytes device_size = 0;
    /// Stands readable in the header. Cut to what the header holds.
    std::string label;
    /// Of argon2id, which makes 4 passes over so much memory in 4 threads.
    Bytes derivation_memory = 64 * kMiB;
    /// The key has the strength of a cipher's key: deriving another one from it may be cheap.
    bool is_key_random = false;
};

struct NewLuks {
    /// kNewDataOffset bytes.
    FileDescriptor header;
    VolumeIdentity identity;
    SecretBytes key;
    LuksSegment segment;
};

/// A header with one key slot, opened by exactly the bytes of `key`, and a fresh volume key. After
/// warm_up_unlocking(), in box_unlocking(true). InvalidArgument: an empty key, or a derivation
/// memory argon2id does not take. NoSpace: a device no longer than the header. LimitReached: not
/// enough memory.
Result<NewLuks> make_luks(const LuksFormat& format, const SecretBytes& key);

/// Copies the header, which lies at `place` in the file `header`, to the start of the device, and flushes it.
Result<void> write_luks_header(BlockDevice& device, const FileDescriptor& header, Bytes place = 0);

/// Overwrites what others could take for a volume or a partition table, at both ends of the device:
/// the place of the header, and the last mebibyte, where backup tables and RAID superblocks lie.
Result<void> wipe_signatures(BlockDevice& device);

}  // namespace dray::volume
