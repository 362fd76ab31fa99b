// SPDX-License-Identifier: Apache-2.0
//
// A small device with whatever on it as an ext4: every call ends with an answer or an error of a kind that is
// promised, after a bounded number of reads. The input is an image as filesystem_walk.hpp has it.
#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "daemon/base/handle.hpp"
#include "drivers/filesystem/ext4/ext4_directory.hpp"
#include "drivers/filesystem/ext4/ext4_superblock.hpp"
#include "tests/fuzz/filesystem_walk.hpp"

namespace dray::fs {
namespace {

constexpr std::size_t kMostBlocks = 1024;
/// Many more than any call needs on a device of 1 MiB, all of which is in the cache after 16.
constexpr std::size_t kMostReads = 2000;

/// The root as a directory that is too large for an index.
void search_hash_tree(test::MemoryDevice& device) {
    BlockIo io(device);
    ext2_filsys bare = nullptr;
    if (!check_superblock(io) ||
        ext2fs_open2(io.name(), nullptr, EXT2_FLAG_64BITS, 0, 0, BlockIo::manager(), &bare) != 0)
        return;
    const Handle<struct_ext2_filsys, ext2fs_free> fs(bare);
    for (const ext2_ino_t inode : {EXT2_ROOT_INO, 12, 13}) {
        Result<FileMap> map = FileMap::open(fs.get(), io, inode);
        if (!map || !map->is_directory())
            continue;
        Result<DirectoryIndex> index = DirectoryIndex::build(*std::move(map), 2, HashKey{});
        for (const char* name : {"a-name-of-some-length-7", "none"})
            if (index)
                (void)index->find(name);
    }
    if (device.reads > 10 * kMostReads)
        std::abort();
}

}  // namespace
}  // namespace dray::fs

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace dray::fs;
    dray::test::MemoryDevice device(image_of(data, size, kMostBlocks), 512);
    {
        const auto filesystem = open_filesystem(device);
        if (device.reads > kMostReads)
            std::abort();
        device.reads = 0;
        if (!filesystem)
            return 0;
        Walk walk(device, **filesystem, kMostReads);
        (void)(*filesystem)->notice();
        walk.directory("", 0);
        for (const char* path : {"file", "DIR/File", "dir/../file", "dir//none", "a-name-of-some-length-7"})
            walk.file(path);
    }
    search_hash_tree(device);
    return 0;
}
