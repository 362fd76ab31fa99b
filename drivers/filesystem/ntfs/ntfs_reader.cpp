// SPDX-License-Identifier: Apache-2.0
#include "drivers/filesystem/ntfs/ntfs_reader.hpp"

#include <optional>
#include <utility>
#include <vector>

#include "drivers/filesystem/ntfs/ntfs_file.hpp"
#include "drivers/filesystem/ntfs/ntfs_names.hpp"
#include "drivers/filesystem/ntfs/ntfs_state.hpp"
#include "drivers/filesystem/path.hpp"

namespace dray::fs {
namespace {

/// As many as the protocol has open files; a map holds at most some 40 KiB, with an unpacked unit 100.
constexpr std::size_t kMostFiles = 512;
constexpr std::size_t kMostDirectories = 256;
constexpr MftReference kRoot = FILE_root;

}  // namespace

template <typename Value>
Value* NtfsReader::Recent<Value>::find(MftReference reference) {
    const auto known = by_reference_.find(reference);
    if (known == by_reference_.end())
        return nullptr;
    order_.splice(order_.begin(), order_, known->second);
    return &order_.front();
}

template <typename Value>
Value& NtfsReader::Recent<Value>::add(Value value) {
    if (order_.size() >= most_) {
        by_reference_.erase(order_.back().reference());
        order_.pop_back();
    }
    order_.push_front(std::move(value));
    by_reference_[order_.front().reference()] = order_.begin();
    return order_.front();
}

NtfsReader::NtfsReader(std::unique_ptr<NtfsVolume> volume)
    : volume_(std::move(volume)), files_(kMostFiles), directories_(kMostDirectories) {}

Result<std::unique_ptr<NtfsReader>> NtfsReader::open(volume::BlockDevice& device) {
    DRAY_LET(std::unique_ptr<NtfsVolume> volume, NtfsVolume::open(device));
    DRAY_TRY(load_upcase(*volume));
    std::unique_ptr<NtfsReader> reader(new NtfsReader(std::move(volume)));
    // An unreadable root means that nothing on the drive can be reached.
    Result<NtfsDirectory*> root = reader->directory_of(kRoot);
    if (!root)
        return fail(std::move(root.error()), "the root directory cannot be read");
    DRAY_LET(reader->notice_, notice_of(*reader->volume_, **root));
    return reader;
}

Result<AttributeMap> NtfsReader::open_content(MftReference reference) {
    DRAY_LET(const NtfsInode inode, volume_->open_inode(reference));
    DRAY_LET(const NtfsKind kind, kind_of(*volume_, *inode, reference));
    if (kind == NtfsKind::Directory)
        return fail(ErrorKind::Denied, "it is a directory");
    Result<AttributeMap> map = AttributeMap::open(*volume_, *inode, reference, Part::Content);
    if (!map && map.error().kind() == ErrorKind::NotFound)
        return fail(ErrorKind::Corrupt, "it has no content, not even an empty one");
    return map;
}

Result<AttributeMap*> NtfsReader::content_of(MftReference reference) {
    if (AttributeMap* known = files_.find(reference))
        return known;
    DRAY_LET(AttributeMap map, open_content(reference));
    return &files_.add(std::move(map));
}

Result<NtfsDirectory*> NtfsReader::directory_of(MftReference reference) {
    if (NtfsDirectory* known = directories_.find(reference))
        return known;
    DRAY_LET(NtfsDirectory directory, NtfsDirectory::open(*volume_, reference));
    return &directories_.add(std::move(directory));
}

Result<MftReference> NtfsReader::resolve(std::string_view path) {
    DRAY_LET(const std::vector<std::string_view> components, components_of(path));
    MftReference reference = kRoot;
    for (const std::string_view component : components) {
        const std::string_view parent = path.substr(0, static_cast<std::size_t>(component.data() - path.data()));
        Result<NtfsDirectory*> directory = directory_of(reference);
        if (!directory)
            return fail(std::move(directory.error()), "{}", parent);
        const std::string_view so_far = path.substr(0, parent.size() + component.size());
        const std::optional<std::u16string> name = ntfs::to_utf16(component);
        if (!name)
            return fail(ErrorKind::NotFound, "{}: there is no such file", so_far);
        Result<MftReference> found = (*directory)->find(*name);
        if (!found)
            return fail(std::move(found.error()), "{}", so_far);
        reference = *found;
    }
    return reference;
}

Result<FileStatus> NtfsReader::status_of(MftReference reference) {
    if (AttributeMap* known = files_.find(reference))
        return FileStatus{reference, false, known->size()};
    if (directories_.find(reference) != nullptr)
        return FileStatus{reference, true, 0};
    {
        DRAY_LET(const NtfsInode inode, volume_->open_inode(reference));
        DRAY_LET(const NtfsKind kind, kind_of(*volume_, *inode, reference));
        if (kind == NtfsKind::Directory)
            return FileStatus{reference, true, 0};
    }
    DRAY_LET(const AttributeMap* map, content_of(reference));
    return FileStatus{reference, false, map->size()};
}

Result<FileStatus> NtfsReader::lookup(std::string_view path) {
    if (path.find_first_not_of('/') == std::string_view::npos)
        return fail(ErrorKind::InvalidArgument, "the path is empty");
    DRAY_LET(const MftReference reference, resolve(path));
    Result<FileStatus> status = status_of(reference);
    if (!status)
        return fail(std::move(status.error()), "{}", path);
    return status;
}

Result<void> NtfsReader::read(const FileStatus& file, Bytes offset, std::span<std::byte> content) {
    DRAY_LET(AttributeMap* map, content_of(file.inode));
    return map->read(offset, content);
}

Result<void> NtfsReader::list(std::string_view path, const std::function<bool(const Entry&)>& visit) {
    DRAY_LET(const MftReference reference, resolve(path));
    Result<NtfsDirectory*> found = directory_of(reference);
    if (!found)
        return fail(std::move(found.error()), "{}", path);
    // A copy: looking at the entries may push the directory out of the cache.
    NtfsDirectory directory = **found;
    return directory.visit([&](const NtfsName& name) {
        Entry entry{ntfs::to_utf8(name.name), {name.reference, false, 0}};
        if (const Result<FileStatus> status = status_of(name.reference))
            entry.status = *status;
        return visit(entry);
    });
}

}  // namespace dray::fs
