// SPDX-License-Identifier: Apache-2.0
#include "drivers/filesystem/ext4/htree.hpp"

#include <cstring>
#include <utility>
#include <vector>

namespace dray::fs {
namespace {

/// "." and "..", 12 bytes each, then the root's own fields.
constexpr std::size_t kRootFields = 24;
constexpr std::size_t kRootFieldsLength = 8;
/// A whole block is one empty entry, so that who does not know of hash trees passes over it.
constexpr std::size_t kNodeFields = 8;
constexpr std::size_t kEntry = 8;
/// The kernel makes trees of at most this depth (with large_dir).
constexpr unsigned kMaxLevels = 3;
constexpr int kMaxBlocks = 64;
constexpr std::uint32_t kBlockMask = 0x0fffffff;

std::uint32_t word(std::span<const std::byte> bytes, std::size_t offset) {
    std::uint32_t value = 0;
    std::memcpy(&value, bytes.data() + offset, sizeof value);
    return ext2fs_le32_to_cpu(value);
}

class Tree {
public:
    explicit Tree(FileMap& directory) : directory_(directory) {}

    Result<void> open() {
        DRAY_LET(Node root, read(0, kRootFields + kRootFieldsLength));
        const auto at = [&root](std::size_t offset) {
            return std::to_integer<unsigned>(root.content[kRootFields + offset]);
        };
        version_ = at(4);
        levels_ = at(6);
        if (at(5) != kRootFieldsLength || levels_ > kMaxLevels)
            return damaged();
        path_.push_back(std::move(root));
        return {};
    }

    unsigned version() const { return version_; }

    /// Down to the first block that may hold the hash.
    Result<Bytes> first(std::uint32_t hash) {
        while (true) {
            Node& node = path_.back();
            // The first entry has no hash: it is for all below the second.
            node.at = 0;
            while (node.at + 1 < node.count && node.hash(node.at + 1) <= hash)
                ++node.at;
            if (path_.size() > levels_)
                return place(node);
            DRAY_TRY(down());
        }
    }

    /// The block behind it, if the hash goes on there; else nothing.
    Result<std::optional<Bytes>> next(std::uint32_t hash) {
        while (path_.back().at + 1 >= path_.back().count) {
            if (path_.size() == 1)
                return std::nullopt;
            path_.pop_back();
        }
        Node& node = path_.back();
        ++node.at;
        if ((node.hash(node.at) & ~1U) != hash)
            return std::nullopt;
        while (path_.size() <= levels_)
            DRAY_TRY(down());
        DRAY_LET(const Bytes found, place(path_.back()));
        return found;
    }

private:
    struct Node {
        std::vector<std::byte> content;
        std::size_t fields = 0;
        std::size_t count = 0;
        std::size_t at = 0;
        std::uint32_t hash(std::size_t entry) const { return word(content, fields + entry * kEntry); }
        std::uint32_t block(std::size_t entry) const {
            return word(content, fields + entry * kEntry + 4) & kBlockMask;
        }
    };

    std::unexpected<Error> damaged() const {
        return fail(ErrorKind::Corrupt, "the hash tree of directory {} is damaged", directory_.inode());
    }

    /// Limit and count stand where the first entry would have its hash.
    Result<Node> read(Bytes place, std::size_t fields) {
        Node node;
        node.content.resize(directory_.block_size());
        node.fields = fields;
        if (directory_.size() < node.content.size() || place > directory_.size() - node.content.size())
            return damaged();
        DRAY_TRY(directory_.read_cached(place, node.content));
        node.count = node.hash(0) >> 16;
        if (node.count == 0 || node.count > (node.content.size() - fields) / kEntry)
            return damaged();
        return node;
    }

    Result<Bytes> place(const Node& node) const {
        const Bytes found = Bytes{node.block(node.at)} * directory_.block_size();
        if (found >= directory_.size())
            return damaged();
        return found;
    }

    Result<void> down() {
        DRAY_LET(const Bytes found, place(path_.back()));
        DRAY_LET(Node node, read(found, kNodeFields));
        path_.push_back(std::move(node));
        return {};
    }

    FileMap& directory_;
    unsigned version_ = 0;
    unsigned levels_ = 0;
    std::vector<Node> path_;
};

}  // namespace

Result<void> visit_hashed(FileMap& directory, std::string_view name,
                          const std::function<Result<bool>(Bytes)>& visit) {
    if (!directory.is_hashed())
        return fail(ErrorKind::Unsupported, "a directory of so many entries without a hash tree cannot be searched");
    Tree tree(directory);
    DRAY_TRY(tree.open());
    DRAY_LET(const std::uint32_t hash, directory.name_hash(tree.version(), name));
    DRAY_LET(std::optional<Bytes> place, tree.first(hash));
    for (int blocks = 0; place; ++blocks) {
        if (blocks == kMaxBlocks)
            return fail(ErrorKind::Corrupt, "the hash tree of directory {} has too many blocks for one name",
                        directory.inode());
        DRAY_LET(const bool goes_on, visit(*place));
        if (!goes_on)
            return {};
        DRAY_LET(place, tree.next(hash));
    }
    return {};
}

}  // namespace dray::fs
