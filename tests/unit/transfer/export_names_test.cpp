// SPDX-License-Identifier: Apache-2.0
//
// Names of files on an exported drive (azure-import-export.md 5.4).
#include "daemon/transfer/export_names.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "daemon/base/digest.hpp"
#include "daemon/base/encoding.hpp"

namespace dray::transfer {
namespace {

BlobName blob(const std::string& path, const std::string& snapshot = "") {
    const std::size_t slash = path.find('/');
    return {path.substr(0, slash), path.substr(slash + 1), snapshot};
}

std::string mapped(const std::string& component, const std::string& extension = "") {
    return "_x" + to_hex(md5(std::as_bytes(std::span(component)))).substr(0, 16) + "_" + extension;
}

TEST(ExportNames, GoodComponentsStayAsTheyAre) {
    for (const char* component : {"a", "with blank", "dot.in.it", ".hidden", "\xC3\xA9t\xC3\xA9", "CONSOLE", "COM0", "COM10", "LPT",
                                  "a..b", "$root", "~", "#%&{}"})
        EXPECT_EQ(drive_component(component), component);
}

TEST(ExportNames, WhatSomeSystemCannotHoldHasItsMd5Instead) {
    const std::pair<std::string, std::string> rows[] = {
        {"a<b", ""}, {"a>b.txt", ".txt"}, {"a:b", ""}, {"a\"b", ""}, {"a\\b.tar.gz", ".gz"}, {"a|b", ""}, {"a?b", ""}, {"a*b", ""},
        {std::string("a\x01" "b"), ""}, {std::string("a\x1F"), ""}, {"blank ", ""}, {"dot.", ""}, {"", ""}, {".", ""}, {"..", ""},
        {"con", ""}, {"Con.txt", ".txt"}, {"NUL.tar.gz", ".gz"}, {"com1", ""}, {"LPT9.log", ".log"}, {"aux", ""}, {"prn.x", ".x"},
        // An extension stays up to 16 characters, where it is a good one.
        {"a?.1234567890123456", ".1234567890123456"}, {"a?.12345678901234567", ""}, {"a.t?t", ""}, {"a?.t ", ""}, {"?.", ""}, {".?", ""},
    };
    for (const auto& [component, extension] : rows)
        EXPECT_EQ(drive_component(component), mapped(component, extension)) << component;
}

TEST(ExportNames, AComponentMayHave255UnitsAndBytesAndNoMore) {
    const std::string most(255, 'x');
    EXPECT_EQ(drive_component(most), most);
    EXPECT_EQ(drive_component(most + "x"), mapped(most + "x"));
    // 128 characters of two bytes are 128 units, and 256 bytes, which an ext4 has no room for.
    std::string wide;
    for (int i = 0; i < 127; ++i)
        wide += "\xC3\xA9";
    EXPECT_EQ(drive_component(wide + "x"), wide + "x");
    EXPECT_EQ(drive_component(wide + "\xC3\xA9"), mapped(wide + "\xC3\xA9"));
}

TEST(ExportNames, PathsAndSnapshots) {
    EXPECT_EQ(drive_path(blob("bob/dir/a.txt")), "bob/dir/a.txt");
    EXPECT_EQ(drive_path(blob("$root/logo")), "$root/logo");
    EXPECT_EQ(drive_path(blob("bob/a//b")), "bob/a/" + mapped("") + "/b");
    EXPECT_EQ(drive_path(blob("bob/./../b")), "bob/" + mapped(".") + "/" + mapped("..") + "/b");
    EXPECT_EQ(drive_path(blob("bob/x.y/a.b.txt", "2015-02-13T19:03:42.4112163Z")),
              "bob/x.y/a.b (snapshot 20150213T1903424112163).txt");
    EXPECT_EQ(drive_path(blob("bob/x.y/.a", "2015-02-13T19:03:42.4112163Z")), "bob/x.y/.a (snapshot 20150213T1903424112163)");
}

class Names : public testing::Test {
protected:
    std::vector<std::string> of(const std::vector<std::string>& paths) {
        for (const std::string& path : paths)
            names_.expect_directories_of(blob(path));
        std::vector<std::string> files;
        for (const std::string& path : paths) {
            const auto file = names_.file_of(blob(path));
            EXPECT_TRUE(file) << file.error().text();
            files.push_back(file ? *file : "");
        }
        return files;
    }
    DriveNames names_;
};

using V = std::vector<std::string>;

TEST_F(Names, WhatDiffersInCaseAloneGetsANumber) {
    EXPECT_EQ(of({"c/A.txt", "c/a.txt", "c/a.TXT", "c/\xC3\x89", "c/\xC3\xA9", "C/x", "c/X"}),
              (V{"c/A.txt", "c/a (2).txt", "c/a (3).TXT", "c/\xC3\x89", "c/\xC3\xA9 (2)", "C/x", "c/X (2)"}));
}

TEST_F(Names, AFileWhereADirectoryIsGetsANumber) {
    EXPECT_EQ(of({"c/a", "c/a/b", "c/A/b/c", "c/x.d", "c/X.D/y"}), (V{"c/a (2)", "c/a/b (2)", "c/A/b/c", "c/x (2).d", "c/X.D/y"}));
}

TEST_F(Names, NumbersPassOverWhatIsTaken) {
    EXPECT_EQ(of({"c/a (2)", "c/a", "c/A", "c/A (3)"}), (V{"c/a (2)", "c/a", "c/A (3)", "c/A (3) (2)"}));
    names_.reserve("SER.manifest");
    EXPECT_EQ(*names_.file_of(blob("ser.MANIFEST/x")), "ser.MANIFEST/x");
}

TEST_F(Names, SideFilesAreNamedAfterTheirFiles) {
    EXPECT_EQ(of({"c/a", "c/a.properties"}), (V{"c/a", "c/a.properties"}));
    EXPECT_EQ(*names_.side_file_of("c/a", "properties"), "c/a (2).properties");
    EXPECT_EQ(*names_.side_file_of("c/a", "metadata"), "c/a.metadata");
    const std::string longest(255, 'x');
    EXPECT_EQ(*names_.side_file_of("c/" + longest, "properties"), "c/" + mapped(longest + ".properties", ".properties"));
}

TEST_F(Names, AnyBlobsNameBecomesAPathThatIsItsOwnAndCanBeHeld) {
    const unsigned seed = static_cast<unsigned>(time(nullptr));
    SCOPED_TRACE("seed " + std::to_string(seed));
    srand(seed);
    const V parts{"a", "A", "/", "/", " ", ".", "con", "\xC3\xA9", "\xE4\xB8\xAD", "?", "x.txt", std::string(120, 'l')};
    V paths;
    for (int i = 0; i < 3000; ++i) {
        std::string path = "c/";
        for (int j = rand() % 8; j >= 0; --j)
            path += parts[static_cast<std::size_t>(rand()) % parts.size()];
        if (!path.ends_with('/'))
            paths.push_back(path);
    }
    std::ranges::sort(paths);
    paths.erase(std::unique(paths.begin(), paths.end()), paths.end());
    const V files = of(paths);
    EXPECT_EQ(std::set<std::string>(files.begin(), files.end()).size(), files.size());
    std::set<std::string> directories;
    for (const std::string& file : files)
        for (std::size_t slash = file.find('/'); slash != std::string::npos; slash = file.find('/', slash + 1))
            directories.insert(file.substr(0, slash));
    for (const std::string& file : files) {
        EXPECT_FALSE(directories.contains(file)) << file;
        for (std::size_t begin = 0; begin <= file.size();) {
            const std::size_t end = std::min(file.find('/', begin), file.size());
            const std::string component = file.substr(begin, end - begin);
            EXPECT_EQ(drive_component(component), component) << file;
            begin = end + 1;
        }
    }
}

}  // namespace
}  // namespace dray::transfer
