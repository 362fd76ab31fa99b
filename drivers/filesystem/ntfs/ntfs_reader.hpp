// SPDX-License-Identifier: Apache-2.0
//
// NTFS, read through libntfs-3g. Directories and runs are walked here, bounded at every step, and content goes from
// the device straight to where it is wanted.
#pragma once

#include <list>
#include <memory>
#include <string>
#include <unordered_map>

#include "drivers/filesystem/filesystem.hpp"
#include "drivers/filesystem/ntfs/attribute_map.hpp"
#include "drivers/filesystem/ntfs/ntfs_directory.hpp"
#include "drivers/filesystem/ntfs/ntfs_volume.hpp"

namespace dray::fs {

class NtfsReader : public FileSystem {
public:
    /// As NtfsVolume::open(), or the root directory cannot be read. `device` must outlive it.
    static Result<std::unique_ptr<NtfsReader>> open(volume::BlockDevice& device);

    std::string_view type() const override { return "ntfs"; }
    std::string notice() const override { return notice_; }
    Result<FileStatus> lookup(std::string_view path) override;
    Result<void> read(const FileStatus& file, Bytes offset, std::span<std::byte> content) override;
    Result<void> list(std::string_view path, const std::function<bool(const Entry&)>& visit) override;

private:
    /// The most recently used is in front.
    template <typename Value>
    class Recent {
    public:
        explicit Recent(std::size_t most) : most_(most) {}
        Value* find(MftReference reference);
        Value& add(Value value);

    private:
        std::size_t most_;
        std::list<Value> order_;
        std::unordered_map<MftReference, typename std::list<Value>::iterator> by_reference_;
    };

    explicit NtfsReader(std::unique_ptr<NtfsVolume> volume);
    Result<AttributeMap> open_content(MftReference reference);
    Result<AttributeMap*> content_of(MftReference reference);
    Result<NtfsDirectory*> directory_of(MftReference reference);
    Result<MftReference> resolve(std::string_view path);
    Result<FileStatus> status_of(MftReference reference);

    std::unique_ptr<NtfsVolume> volume_;
    Recent<AttributeMap> files_;
    Recent<NtfsDirectory> directories_;
    std::string notice_;
};

}  // namespace dray::fs
