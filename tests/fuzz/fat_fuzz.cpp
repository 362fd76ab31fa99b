// SPDX-License-Identifier: Apache-2.0
//
// A small device with whatever on it as a FAT: every call ends with an answer or an error of a kind that is
// promised, after a bounded number of reads. The input is an image as filesystem_walk.hpp has it.
#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "drivers/filesystem/fat/fat_reader.hpp"
#include "tests/fuzz/filesystem_walk.hpp"

namespace {

/// A FAT16 has 2 MiB at least.
constexpr std::size_t kMostBlocks = 2304;
constexpr std::size_t kMostReads = 2000;

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace dray::fs;
    dray::test::MemoryDevice device(image_of(data, size, kMostBlocks), 512);
    const auto filesystem = FatReader::open(device);
    if (device.reads > kMostReads)
        std::abort();
    device.reads = 0;
    if (!filesystem)
        return 0;
    Walk walk(device, **filesystem, kMostReads);
    (void)(*filesystem)->notice();
    walk.directory("", 0);
    for (const char* path : {"file", "DIR/File", "dir/../file", "dir//none", "a name of some length 7", "NA\xc3\x8fVE"})
        walk.file(path);
    return 0;
}
