// SPDX-License-Identifier: Apache-2.0
#include <ext2fs/ext2fs.h>

#include "drivers/filesystem/ext4/block_io.hpp"
#include "tests/bench/drive_read.hpp"

namespace dray::bench {

Result<Figures> read_with_libext2fs(volume::BlockDevice& volume, const std::string& name) {
    fs::BlockIo io(volume);
    ext2_filsys filesystem = nullptr;
    if (ext2fs_open2(io.name(), nullptr, EXT2_FLAG_64BITS, 0, 0, fs::BlockIo::manager(), &filesystem) != 0)
        return fail(ErrorKind::Corrupt, "libext2fs does not open the file system");
    ext2_ino_t inode = 0;
    ext2_file_t file = nullptr;
    if (ext2fs_namei(filesystem, EXT2_ROOT_INO, EXT2_ROOT_INO, name.c_str(), &inode) != 0 ||
        ext2fs_file_open(filesystem, inode, 0, &file) != 0)
        return fail(ErrorKind::NotFound, "libext2fs does not open {}", name);
    Result<Figures> figures = measured(0, [&]() -> Result<Bytes> {
        if (ext2fs_file_lseek(file, 0, EXT2_SEEK_SET, nullptr) != 0)
            return fail(ErrorKind::Internal, "libext2fs cannot go to the beginning");
        Bytes bytes = 0;
        for (unsigned count = 1; count > 0; bytes += count)
            if (ext2fs_file_read(file, buffer().data(), kPiece, &count) != 0)
                return fail(ErrorKind::Internal, "libext2fs cannot read");
        return bytes;
    });
    (void)ext2fs_file_close(file);
    (void)ext2fs_close_free(&filesystem);
    return figures;
}

}  // namespace dray::bench
