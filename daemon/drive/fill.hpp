// SPDX-License-Identifier: Apache-2.0
//
// The writing half of dray-drive: makes a LUKS2 volume and an ext4 on a device and fills it. One thread.
//
// With checkpoints, whatever moment the process is killed at or the power goes, the device holds the file system of the
// last checkpoint, or will when the whole redo log in the state file is replayed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>

#include "daemon/base/result.hpp"
#include "daemon/base/secret.hpp"
#include "daemon/drive/fill_state.hpp"
#include "daemon/drive/protocol.hpp"
#include "drivers/volume/device_file.hpp"
#include "drivers/volume/unlock.hpp"

namespace dray::drive {

/// Everything is checked here against the protocol's limits once more but the ring: `content` is the
/// span of the ring that the server has checked.
class Filler {
public:
    /// Makes the volume with `key` and the file system, in box_unlocking(true); everything later runs in
    /// box_serving(true). `device` must outlive it and be writable. `state`: with checkpoints.
    static Result<std::unique_ptr<Filler>> format(volume::DeviceFile& device, const SecretBytes& key,
                                                  const Format& format, std::optional<FillState> state);

    /// Goes on from `found`, what find() of `state` said; in box_serving(true). Conflict: the device is another one, or
    /// was changed since.
    static Result<std::unique_ptr<Filler>> resume(volume::DeviceFile& device, const volume::UnlockedVolume& volume,
                                                  FillState state, FillState::Found found);

    Filler(const Filler&) = delete;
    Filler& operator=(const Filler&) = delete;
    ~Filler();

    /// What was made, for the reply to Format.
    Unlocked describe() const;
    /// For the reply to Resume.
    Resumed describe_resumed() const;

    Result<void> make_directory(const MakeDirectory& request);
    Result<void> create(const Create& request);
    /// `content` is overwritten with its ciphertext.
    Result<void> write(const Write& request, std::span<std::byte> content);
    void close(std::uint32_t file);
    Result<void> remove(const Remove& request);
    /// Returns the bytes of the redo log.
    Result<Bytes> checkpoint(const Checkpoint& request);
    /// Closes the file system and flushes the device; nothing may follow.
    Result<void> finish();

    /// Of metadata that the next checkpoint brings to the device; 0 without checkpoints.
    Bytes waiting() const;

private:
    struct State;
    explicit Filler(std::unique_ptr<State> state);
    Result<void> check_new() const;
    std::unique_ptr<State> state_;
};

}  // namespace dray::drive
