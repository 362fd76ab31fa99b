// SPDX-License-Identifier: Apache-2.0
//
// The file in the peer's state directory that a drive being filled can be gone on with: which drive it is, its LUKS
// header where the device does not have it yet, the last checkpoint, and the redo log of the next one. FORMAT.md has its
// form. Only bytes at offsets are read and written, so that the serving box need allow for nothing more.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "daemon/base/file_descriptor.hpp"
#include "daemon/base/units.hpp"
#include "drivers/volume/volume.hpp"

namespace dray::drive {

/// All of a file that was being filled.
struct FillFile {
    std::uint32_t number = 0;
    std::uint32_t inode = 0;
    Bytes size = 0;
    std::map<Bytes, Bytes> written;
};

/// Of the volume's first block, as it lies on the device, one of each 512 bytes: a device tears nothing smaller.
using FirstBlock = std::array<std::vector<std::byte>, 8>;
FirstBlock first_block_of(std::span<const std::byte> block);

/// A checkpoint.
struct FillRecord {
    std::string volume_id;
    /// Of the device, and of the volume's plaintext.
    Bytes device_size = 0;
    Bytes volume_size = 0;
    bool is_header_last = false;
    /// The first one is 1.
    std::uint64_t sequence = 0;
    /// The file system is complete.
    bool is_finished = false;
    std::uint64_t goal = 0;
    std::string progress;
    std::vector<FillFile> files;
    /// As it is with this checkpoint, and as it was with the one before.
    FirstBlock first_block;
    FirstBlock first_block_before;
};

class FillState {
public:
    static constexpr Bytes kBlock = 4096;
    static constexpr Bytes kHeaderPlace = 4 * kMiB;
    static constexpr Bytes kLogPlace = 20 * kMiB;
    using Blocks = std::map<std::uint64_t, std::vector<std::byte>>;

    /// Open for reading and writing.
    explicit FillState(FileDescriptor file) : file_(std::move(file)) {}
    const FileDescriptor& file() const { return file_; }

    /// From now on, also after a power cut, there is nothing to go on from. Denied: it cannot be written.
    Result<void> invalidate();
    /// Keeps the LUKS header; on the medium with the next checkpoint.
    Result<void> keep_header(const FileDescriptor& header);

    /// LimitReached: it does not fit. Nothing is written.
    static Result<void> check(const FillRecord& record);
    /// The checkpoint lies in its place on the device: what is in the log is not needed any more.
    Result<void> write_checkpoint(const FillRecord& record);
    /// `blocks` as they are to lie on the device. Afterwards the checkpoint is there as a whole. Returns the bytes written.
    Result<Bytes> write_log(const FillRecord& record, const Blocks& blocks);

    struct Found {
        FillRecord record;
        /// The log has to be replayed.
        bool is_logged = false;
    };
    /// NotFound: there is no checkpoint to go on from.
    Result<Found> find() const;
    /// Writes the log's blocks to the volume, which begins at `data_offset` of the device, and flushes it. Corrupt: one
    /// lies outside the volume; nothing of it is believed then.
    Result<void> replay(volume::BlockDevice& device, Bytes data_offset, const FillRecord& record) const;

private:
    struct Head {
        std::uint32_t record_length = 0;
        std::uint64_t blocks = 0;
    };
    Result<Bytes> write(Bytes place, const FillRecord& record, const Blocks& blocks);
    Result<Head> read_head(Bytes place) const;
    Result<FillRecord> read(Bytes place) const;
    FileDescriptor file_;
};

/// A device whose LUKS header is still in the state file. Read only.
class HeaderOverDevice : public volume::BlockDevice {
public:
    /// Both must outlive it.
    HeaderOverDevice(volume::BlockDevice& device, const FillState& state) : device_(device), state_(state) {}
    Bytes size() const override { return device_.size(); }
    Bytes sector_size() const override { return device_.sector_size(); }
    Result<void> read(Bytes offset, std::span<std::byte> content) override;
    Result<void> write(Bytes offset, std::span<std::byte> content) override;
    Result<void> sync() override { return {}; }

private:
    volume::BlockDevice& device_;
    const FillState& state_;
};

}  // namespace dray::drive
