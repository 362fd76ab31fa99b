// SPDX-License-Identifier: Apache-2.0
#include "daemon/ctl/source_tree.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/unit/ctl/scratch_source.hpp"

namespace dray::ctl {
namespace {

using test::ScratchSource;
using testing::ElementsAre;
using testing::HasSubstr;

Result<SourceTree> walk(const ScratchSource& source) {
    return SourceTree::walk(source.path(), [](const std::string&) { return Result<void>(); });
}

std::vector<std::string> paths_of(const SourceTree& tree) {
    std::vector<std::string> paths;
    for (std::size_t entry = 0; entry < tree.entries().size(); ++entry)
        paths.push_back(tree.path(entry) + (tree.entries()[entry].is_directory ? "/" : ""));
    return paths;
}

TEST(SourceTree, ListsEachDirectoryInTheOrderOfItsBytesAndBeforeItsContent) {
    const ScratchSource source;
    for (const char* name : {"b", "a/z", "a/b/c", "a.b", "B", "a/\xc3\xa9", "z/empty/x"})
        source.add(name);
    std::filesystem::remove(source / "z/empty/x");
    const Result<SourceTree> tree = walk(source);
    ASSERT_TRUE(tree) << tree.error().text();
    EXPECT_THAT(paths_of(*tree), ElementsAre("B", "a/", "a/b/", "a/b/c", "a/z", "a/\xc3\xa9", "a.b",
                                             "b", "z/", "z/empty/"));
    EXPECT_EQ(tree->files(), 6U);
    EXPECT_EQ(tree->directories(), 4U);
    EXPECT_EQ(tree->bytes(), 6 * 7U);
}

TEST(SourceTree, LeavesOutAndNamesWhatIsNoFile) {
    const ScratchSource source;
    source.add("file");
    source.add("directory/file");
    source.add("lost+found/file");
    ASSERT_EQ(symlink("file", (source / "to-file").c_str()), 0);
    ASSERT_EQ(symlink("directory", (source / "to-directory").c_str()), 0);
    ASSERT_EQ(symlink("nowhere", (source / "to-nothing").c_str()), 0);
    ASSERT_EQ(mkfifo((source / "pipe").c_str(), 0600), 0);
    const Result<SourceTree> tree = walk(source);
    ASSERT_TRUE(tree) << tree.error().text();
    EXPECT_THAT(paths_of(*tree), ElementsAre("directory/", "directory/file", "file"));
    EXPECT_EQ(tree->left_out_count(), 5U);
    EXPECT_THAT(tree->left_out(),
                ElementsAre(HasSubstr("lost+found is left out"),
                            HasSubstr("pipe is left out: it is a pipe"),
                            HasSubstr("to-directory is left out: it is a symbolic link"),
                            HasSubstr("to-file"), HasSubstr("to-nothing")));
}

TEST(SourceTree, KeepsFewSentencesOfMany) {
    const ScratchSource source;
    for (int number = 0; number < 100; ++number)
        ASSERT_EQ(symlink("x", (source / std::to_string(number)).c_str()), 0);
    const Result<SourceTree> tree = walk(source);
    ASSERT_TRUE(tree) << tree.error().text();
    EXPECT_EQ(tree->left_out_count(), 100U);
    EXPECT_EQ(tree->left_out().size(), 20U);
}

TEST(SourceTree, RefusesNamesThatNoDriveOrManifestCanHold) {
    const struct {
        const char* name;
        const char* why;
    } kBad[] = {
        {"back\\slash", "backslash"},
        {"line\nbreak", "line\\x0abreak"},
        {"delete\x7f", "control character"},
        {"latin-\xe9", "latin-\\xe9"},
        {"c:", "drive letter"},
        {"over-long-\xc0\xaf", "not UTF-8"},
        {"nonchar-\xef\xbf\xbf", "XML"},
    };
    for (const auto& [name, why] : kBad) {
        const ScratchSource source;
        source.add("dir.d/fine");
        source.add(name);
        const Result<SourceTree> tree = walk(source);
        ASSERT_FALSE(tree) << name;
        EXPECT_EQ(tree.error().kind(), ErrorKind::InvalidArgument);
        EXPECT_THAT(tree.error().text(), HasSubstr(why));
    }
}

TEST(SourceTree, RefusesBadNamesOfDirectoriesToo) {
    const ScratchSource source;
    source.add("deep/back\\slash/file");
    const Result<SourceTree> tree = walk(source);
    ASSERT_FALSE(tree);
    EXPECT_THAT(tree.error().text(), HasSubstr("deep/back\\slash cannot go onto a drive"));
}

TEST(SourceTree, TakesNamesOfAllKindsThatAreLegal) {
    const ScratchSource source;
    const std::string longest(255, 'x');
    for (const std::string& name :
         {longest, std::string(" blanks "), std::string("...x"), std::string("ab:c"),
          std::string("<&>\"'"), std::string("\xe6\x97\xa5\xe6\x9c\xac"), std::string("dir/c:"),
          std::string("100%")})
        source.add(name);
    const Result<SourceTree> tree = walk(source);
    ASSERT_TRUE(tree) << tree.error().text();
    EXPECT_EQ(tree->files(), 8U);
}

TEST(SourceTree, RefusesPathsThatOneCallCannotTake) {
    std::string path;
    for (int level = 0; level < 20; ++level)
        path += std::string(250, 'd') + "/";
    EXPECT_FALSE(check_source_path(path + "x"));
    EXPECT_TRUE(check_source_path(path.substr(0, 16 * 251) + "x"));
    EXPECT_FALSE(check_source_path(std::string(256, 'x')));
}

TEST(SourceTree, SaysWhatCannotBeReadBeforeAnythingIsCopied) {
    const ScratchSource source;
    source.add("fine");
    source.add("dir/secret");
    ASSERT_EQ(chmod((source / "dir/secret").c_str(), 0), 0);
    ASSERT_EQ(chmod(source.path().c_str(), 0755), 0);
    // Root can read everything.
    const bool is_root = geteuid() == 0;
    if (is_root) {
        ASSERT_EQ(seteuid(65534), 0);
    }
    const Result<SourceTree> tree = walk(source);
    if (is_root) {
        ASSERT_EQ(seteuid(0), 0);
    }
    ASSERT_FALSE(tree);
    EXPECT_EQ(tree.error().kind(), ErrorKind::Denied);
    EXPECT_THAT(tree.error().text(), HasSubstr("dir/secret"));
}

TEST(SourceTree, PassesTheCallersRefusalOn) {
    const ScratchSource source;
    source.add("dir/file");
    const Result<SourceTree> tree =
        SourceTree::walk(source.path(), [](const std::string& path) -> Result<void> {
            return fail(ErrorKind::InvalidArgument, "not {}", path);
        });
    ASSERT_FALSE(tree);
    EXPECT_EQ(tree.error().text(), "not dir/file");
}

TEST(SourceTree, IsNotOfAFileOrOfNothing) {
    const ScratchSource source;
    source.add("file");
    const auto none = [](const std::string&) { return Result<void>(); };
    EXPECT_FALSE(SourceTree::walk(source / "file", none));
    const Result<SourceTree> missing = SourceTree::walk(source / "missing", none);
    ASSERT_FALSE(missing);
    EXPECT_EQ(missing.error().kind(), ErrorKind::NotFound);
}

TEST(SourceTree, OpensTheFileThatItLookedAtAndNoOther) {
    const ScratchSource source;
    source.add("a/file");
    source.add("secret");
    const Result<SourceTree> tree = walk(source);
    ASSERT_TRUE(tree) << tree.error().text();
    ASSERT_EQ(tree->path(1), "a/file");
    EXPECT_TRUE(tree->open(1));

    std::filesystem::rename(source / "a/file", source / "a/kept");
    ASSERT_EQ(symlink("../secret", (source / "a/file").c_str()), 0);
    EXPECT_FALSE(tree->open(1)) << "a link took its place";
    std::filesystem::remove(source / "a/file");
    source.add("a/file", "another");
    const Result<FileDescriptor> other = tree->open(1);
    ASSERT_FALSE(other);
    EXPECT_EQ(other.error().kind(), ErrorKind::Conflict);
}

TEST(SourceTree, WalksManyFilesAndDeepOnes) {
    const ScratchSource source;
    for (int number = 0; number < 3000; ++number)
        source.add("many/" + std::to_string(number), "");
    std::string deep;
    for (int level = 0; level < 400; ++level)
        deep += "d/";
    source.add(deep + "file");
    const Result<SourceTree> tree = walk(source);
    ASSERT_TRUE(tree) << tree.error().text();
    EXPECT_EQ(tree->files(), 3001U);
    EXPECT_EQ(tree->directories(), 401U);
    EXPECT_EQ(tree->path(400), deep + "file");
}

}  // namespace
}  // namespace dray::ctl
