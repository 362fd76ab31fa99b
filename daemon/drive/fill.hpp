// SPDX-License-Identifier: Apache-2.0
//
// The writing half of dray-drive: makes a LUKS2 volume and an ext4 on a device and fills it. One thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "daemon/base/result.hpp"
#include "daemon/base/secret.hpp"
#include "daemon/drive/protocol.hpp"
#include "drivers/volume/device_file.hpp"

namespace dray::drive {

/// Everything is checked here against the protocol's limits once more but the ring: `content` is the
/// span of the ring that the server has checked.
class Filler {
public:
    /// Makes the volume with `key` and the file system, in box_unlocking(true); everything later runs in
    /// box_serving(true). `device` must outlive it and be writable.
    static Result<std::unique_ptr<Filler>> format(volume::DeviceFile& device, const SecretBytes& key,
                                                  const Format& format);

    Filler(const Filler&) = delete;
    Filler& operator=(const Filler&) = delete;
    ~Filler();

    /// What was made, for the reply to Format.
    Unlocked describe() const;

    Result<void> make_directory(const MakeDirectory& request);
    Result<void> create(const Create& request);
    /// `content` is overwritten with its ciphertext.
    Result<void> write(const Write& request, std::span<std::byte> content);
    void close(std::uint32_t file);
    /// Closes the file system and flushes the device; nothing may follow.
    Result<void> finish();

private:
    struct State;
    explicit Filler(std::unique_ptr<State> state);
    std::unique_ptr<State> state_;
};

}  // namespace dray::drive
