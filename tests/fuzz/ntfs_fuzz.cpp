// SPDX-License-Identifier: Apache-2.0
//
// A small device with whatever on it as an NTFS: every call ends with an answer or an error of a kind that is
// promised, after a bounded number of reads.
//
// The input is what is not zero: 2 bytes with the size in KiB, then as often as there is more, 2 bytes with a
// place in KiB and 1 KiB that stands there. seeds/ntfs.py makes such files from images.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <vector>

#include "drivers/filesystem/ntfs/lznt1.hpp"
#include "drivers/filesystem/ntfs/ntfs_reader.hpp"
#include "tests/unit/filesystem/memory_device.hpp"

namespace dray::fs {
namespace {

constexpr std::size_t kBlock = 1024;
constexpr std::size_t kMostBlocks = 2048;
/// Many more than any call needs on a device of 2 MiB, all of which is in the cache after 32.
constexpr std::size_t kMostReads = 3000;

std::vector<std::byte> image_of(const std::uint8_t* data, std::size_t size) {
    const auto number = [data](std::size_t at) { return std::size_t{data[at]} | std::size_t{data[at + 1]} << 8; };
    if (size < 2)
        return {};
    std::vector<std::byte> image(std::min(number(0), kMostBlocks) * kBlock);
    for (std::size_t at = 2; at + 2 < size; at += 2 + kBlock) {
        const std::size_t place = number(at) * kBlock;
        const std::size_t length = std::min(kBlock, size - at - 2);
        if (place + length <= image.size())
            std::transform(data + at + 2, data + at + 2 + length, image.begin() + static_cast<std::ptrdiff_t>(place),
                           [](std::uint8_t value) { return std::byte{value}; });
    }
    return image;
}

class Walk {
public:
    Walk(test::MemoryDevice& device, FileSystem& filesystem) : device_(device), filesystem_(filesystem) {}

    void directory(const std::string& path, int depth) {
        std::vector<FileSystem::Entry> entries;
        check(filesystem_.list(path, [&](const FileSystem::Entry& entry) {
            entries.push_back(entry);
            return entries.size() < 40;
        }));
        for (const FileSystem::Entry& entry : entries) {
            if (++looked_at_ > 150)
                return;
            const std::string name = path + "/" + entry.name;
            file(name);
            if (entry.status.is_directory && depth < 4)
                directory(name, depth + 1);
        }
    }

    void file(const std::string& path) {
        const Result<FileStatus> status = filesystem_.lookup(path);
        check(status);
        if (!status || status->is_directory)
            return;
        std::vector<std::byte> content(20'000);
        for (const Bytes offset : {Bytes{0}, Bytes{11 * 1024}, Bytes{267 * 1024}, status->size / 2 + 1,
                                   status->size - std::min<Bytes>(status->size, 5000)})
            if (offset < status->size)
                check(filesystem_.read(*status, offset, std::span(content).first(static_cast<std::size_t>(
                                                            std::min<Bytes>(content.size(), status->size - offset)))));
        // Past the end nothing is read.
        if (filesystem_.read(*status, status->size, std::span(content).first(1)))
            std::abort();
    }

    template <typename Value>
    void check(const Result<Value>& result) {
        if (device_.reads > kMostReads)
            std::abort();
        device_.reads = 0;
        if (result)
            return;
        switch (result.error().kind()) {
            case ErrorKind::NotFound:
            case ErrorKind::InvalidArgument:
            case ErrorKind::Denied:
            case ErrorKind::Unsupported:
            case ErrorKind::LimitReached:
            case ErrorKind::Corrupt: return;
            default: std::abort();
        }
    }

private:
    test::MemoryDevice& device_;
    FileSystem& filesystem_;
    int looked_at_ = 0;
};

}  // namespace
}  // namespace dray::fs

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace dray::fs;
    std::vector<std::byte> content(8192);
    (void)ntfs::decompress(std::as_bytes(std::span(data, size)), content);
    dray::test::MemoryDevice device(image_of(data, size), 512);
    const auto filesystem = NtfsReader::open(device);
    if (device.reads > kMostReads)
        std::abort();
    device.reads = 0;
    if (!filesystem)
        return 0;
    Walk walk(device, **filesystem);
    (void)(*filesystem)->notice();
    walk.directory("", 0);
    for (const char* path : {"file", "DIR/File", "dir/../file", "dir//none", "many/name-7", "$MFT"})
        walk.file(path);
    return 0;
}
