// SPDX-License-Identifier: Apache-2.0
#include "drivers/filesystem/cluster/cluster_reader.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>
#include <vector>

#include "drivers/filesystem/cluster/name_text.hpp"
#include "drivers/filesystem/path.hpp"
#include "drivers/volume/uuid.hpp"

namespace dray::fs {
namespace {

/// As many as the protocol has open files; each holds at most some 20 KiB.
constexpr std::size_t kMaxFiles = 512;
/// Over all indexed directories, 16 bytes each: more than the longest directory of exFAT can have.
constexpr std::size_t kMaxIndexedEntries = 1 << 22;
/// Small directories count too.
constexpr std::size_t kMaxDirectories = 4096;
/// Each may take a disk seconds.
constexpr unsigned kMostSecondLooks = 256;

}  // namespace

template <typename Value>
Value* ClusterReader::Recent<Value>::find(std::uint64_t inode) {
    const auto known = by_inode.find(inode);
    if (known == by_inode.end())
        return nullptr;
    order.splice(order.begin(), order, known->second);
    return &order.front();
}

template <typename Value>
Value& ClusterReader::Recent<Value>::add(Value value) {
    order.push_front(std::move(value));
    by_inode[order.front().record().inode] = order.begin();
    return order.front();
}

template <typename Value>
void ClusterReader::Recent<Value>::remove(std::uint64_t inode) {
    const auto known = by_inode.find(inode);
    order.erase(known->second);
    by_inode.erase(known);
}

template <typename Value>
void ClusterReader::Recent<Value>::remove_oldest() {
    remove(order.back().record().inode);
}

void ClusterReader::add_notice(std::string_view sentence) {
    if (!sentence.empty())
        notice_.append(notice_.empty() ? "" : "; ").append(sentence);
}

Result<void> ClusterReader::start(FatTable table, std::unique_ptr<DirectoryRules> rules, const FileRecord& root,
                                  Bytes fixed_root) {
    table_.emplace(std::move(table));
    rules_ = std::move(rules);
    root_ = root;
    fixed_root_ = fixed_root;
    DRAY_LET(const volume::Uuid random, volume::random_uuid());
    static_assert(sizeof random == sizeof name_key_);
    std::memcpy(name_key_.data(), random.data(), random.size());
    // An unreadable root means that nothing on the drive can be reached.
    Result<ClusterDirectory*> directory = directory_of(root_);
    if (!directory)
        return fail(std::move(directory.error()), "the root directory cannot be read");
    if ((*directory)->size() == 0 && (*directory)->damage())
        return fail(*(*directory)->damage(), "the root directory cannot be read");
    return {};
}

Result<ClusterFile> ClusterReader::open(const FileRecord& record) {
    if (record.inode == root_.inode && fixed_root_ != 0)
        return ClusterFile::fixed(*table_, record, fixed_root_);
    return ClusterFile::open(*table_, record);
}

Result<ClusterFile*> ClusterReader::file_of(std::uint64_t inode) {
    if (ClusterFile* known = files_.find(inode))
        return known;
    std::array<std::byte, kEntry> entry{};
    Bytes place = 0;
    if (__builtin_mul_overflow(inode, Bytes{kEntry}, &place))
        return fail(ErrorKind::Corrupt, "there is no entry {}", inode);
    DRAY_TRY(cache_.read(place, entry));
    DRAY_LET(FileRecord record, rules_->record_of(entry));
    record.inode = inode;
    DRAY_LET(ClusterFile file, open(record));
    if (files_.order.size() >= kMaxFiles)
        files_.remove_oldest();
    return &files_.add(std::move(file));
}

Result<ClusterDirectory*> ClusterReader::directory_of(const FileRecord& record) {
    if (ClusterDirectory* known = directories_.find(record.inode))
        return known;
    if (!record.is_directory)
        return fail(ErrorKind::NotFound, "it is not a directory");
    DRAY_LET(ClusterFile file, open(record));
    DRAY_LET(ClusterDirectory index, ClusterDirectory::build(std::move(file), *rules_, name_key_));
    indexed_entries_ += index.size();
    while (!directories_.order.empty() &&
           (indexed_entries_ > kMaxIndexedEntries || directories_.order.size() >= kMaxDirectories)) {
        indexed_entries_ -= directories_.order.back().size();
        directories_.remove_oldest();
    }
    return &directories_.add(std::move(index));
}

// Nothing is sure of a directory with a read error before a second look.
void ClusterReader::forget_unread(std::uint64_t inode, const Error& error) {
    const ClusterDirectory* known = directories_.find(inode);
    if (error.kind() != ErrorKind::Internal || known == nullptr || second_looks_ >= kMostSecondLooks)
        return;
    ++second_looks_;
    indexed_entries_ -= known->size();
    directories_.remove(inode);
}

Result<FileRecord> ClusterReader::resolve(std::string_view path) {
    DRAY_LET(const std::vector<std::string_view> components, components_of(path));
    FileRecord record = root_;
    std::vector<std::uint32_t> above;
    for (const std::string_view component : components) {
        const std::string_view parent = path.substr(0, static_cast<std::size_t>(component.data() - path.data()));
        if (record.is_directory && record.first_cluster != 0 && std::ranges::count(above, record.first_cluster) != 0)
            return fail(ErrorKind::Corrupt, "{}: the directory lies within itself", parent);
        above.push_back(record.first_cluster);
        Result<ClusterDirectory*> directory = directory_of(record);
        if (!directory)
            return fail(std::move(directory.error()), "{}", parent);
        Result<FileRecord> found = (*directory)->find(component);
        if (!found) {
            forget_unread(record.inode, found.error());
            return fail(std::move(found.error()), "{}", path.substr(0, parent.size() + component.size()));
        }
        record = *found;
    }
    return record;
}

Result<FileStatus> ClusterReader::lookup(std::string_view path) {
    if (path.find_first_not_of('/') == std::string_view::npos)
        return fail(ErrorKind::InvalidArgument, "the path is empty");
    DRAY_LET(const FileRecord record, resolve(path));
    if (const Result<ClusterFile> file = open(record); !file)
        return fail(file.error(), "{}", path);
    return FileStatus{record.inode, record.is_directory, record.size};
}

Result<void> ClusterReader::read(const FileStatus& file, Bytes offset, std::span<std::byte> content) {
    DRAY_LET(ClusterFile* found, file_of(file.inode));
    return found->read(offset, content);
}

Result<void> ClusterReader::list(std::string_view path, const std::function<bool(const Entry&)>& visit) {
    DRAY_LET(const FileRecord record, resolve(path));
    Result<ClusterDirectory*> index = directory_of(record);
    if (!index)
        return fail(std::move(index.error()), "{}", path);
    // Copies: looking at the files may push the directory out of memory.
    ClusterFile directory = (*index)->file();
    const std::optional<Error> chain_damage = (*index)->chain_damage();
    bool is_enough = false;
    Result<void> visited = visit_directory(directory, *rules_, 0, [&](const FoundFile& found) {
        is_enough = !visit({utf8_of(found.name), {found.record.inode, found.record.is_directory, found.record.size}});
        return !is_enough;
    });
    if (visited && chain_damage && !is_enough)
        visited = fail(*chain_damage);
    if (!visited)
        return fail(std::move(visited.error()), "{}", path);
    return {};
}

}  // namespace dray::fs
