// SPDX-License-Identifier: Apache-2.0
//
// NTFS images made by mkntfs and tests/support/ntfs_writer, and read by ntfscat as somebody who is not us.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "daemon/base/units.hpp"
#include "tests/support/scratch_directory.hpp"

namespace dray::test {

class NtfsImage {
public:
    /// mkntfs; fails the test if that does.
    void format(const std::string& options = "-c 4096", const std::string& size = "16M");
    /// Requests to ntfs_writer, words with spaces between them.
    void write(const std::string& requests);
    /// A file with this content beside the image; its path, as requests want it.
    std::string source(std::string_view content);
    /// Any program, "IMAGE" standing for the image. Its exit status; `answer` gets what it wrote.
    int run(std::string command, std::string* answer = nullptr);
    /// The content of a file as ntfscat reads it.
    std::string cat(const std::string& path);

    std::vector<std::byte> bytes() const;

private:
    ScratchDirectory directory_;
    int sources_ = 0;
};

/// The place of things in an image, for whoever spoils them.
class NtfsBytes {
public:
    explicit NtfsBytes(std::vector<std::byte>& bytes) : bytes_(bytes) {}

    template <typename Number>
    Number get(std::size_t at) const {
        Number value = 0;
        for (std::size_t i = sizeof value; i-- > 0;)
            value = static_cast<Number>(value << 8 | static_cast<Number>(bytes_.at(at + i)));
        return value;
    }
    template <typename Number>
    void set(std::size_t at, Number value) {
        for (std::size_t i = 0; i < sizeof value; ++i)
            bytes_.at(at + i) = static_cast<std::byte>(static_cast<std::uint64_t>(value) >> 8 * i & 0xff);
    }

    Bytes cluster() const { return Bytes{get<std::uint16_t>(11)} * get<std::uint8_t>(13); }
    /// Of MFT record `number`, while the MFT is in one piece.
    std::size_t record(std::uint64_t number) const;
    /// Of the first attribute of this type in a record; fails the test if there is none.
    std::size_t attribute(std::uint64_t number, std::uint32_t type) const;
    /// Of the place that the first run of a non-resident attribute begins at.
    std::size_t first_cluster(std::uint64_t number, std::uint32_t type) const;

private:
    std::vector<std::byte>& bytes_;
};

inline constexpr std::uint32_t kAttributeList = 0x20;
inline constexpr std::uint32_t kData = 0x80;
inline constexpr std::uint32_t kIndexRoot = 0x90;
inline constexpr std::uint32_t kIndexBlocks = 0xa0;
inline constexpr std::uint32_t kBitmap = 0xb0;
inline constexpr std::uint32_t kStandardInformation = 0x10;
inline constexpr std::uint32_t kVolumeInformation = 0x70;

}  // namespace dray::test
