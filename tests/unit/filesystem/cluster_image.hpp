// SPDX-License-Identifier: Apache-2.0
//
// FAT volumes by mkfs.fat and mtools, exFAT volumes by mkfs.exfat and a writer of the tests' own, judged by fsck.
#pragma once

#include <map>
#include <random>
#include <string>

#include "tests/unit/filesystem/ext4_image.hpp"

namespace dray::test {

class ClusterImage : public Ext4Image {
public:
    /// put(), and remembers it as what must be read.
    void keep(const std::string& path, std::string content);
    const std::map<std::string, std::string>& kept() const { return kept_; }
    std::map<std::string, std::string>& kept() { return kept_; }

    /// An empty FAT. Fails the test if mkfs.fat does.
    void format_fat(const std::string& options, const std::string& size);
    /// What was kept goes into it, by mcopy.
    void fill_fat();
    /// An exFAT with what was kept in it.
    void format_exfat(const std::string& options, const std::string& size, const std::string& writer_options = "");
    /// Any program must succeed; "IMAGE" stands for the image.
    void must(const std::string& command);

    std::string part(Bytes offset, std::size_t size) const;
    /// Where these bytes first stand in the image; the test fails when they do not.
    Bytes find(std::string_view bytes) const;
    void overwrite_number(Bytes offset, std::uint64_t value, std::size_t size);
    std::uint64_t number_at(Bytes offset, std::size_t size) const;

private:
    std::map<std::string, std::string> kept_;
};

using Files = std::map<std::string, std::string>;
/// "" when both are the same; else the first file that is not.
std::string difference(const Files& read, const Files& expected);

std::uint64_t announced_seed();
std::string random_text(std::mt19937_64& random, std::size_t size);
/// Every length at which something changes, names of all kinds, deep and wide directories.
void keep_all_kinds(ClusterImage& image, std::mt19937_64& random, std::size_t cluster);

}  // namespace dray::test
