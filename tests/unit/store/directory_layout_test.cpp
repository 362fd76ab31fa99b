// SPDX-License-Identifier: Apache-2.0
//
// What lies where in a directory store, and what it makes of things that others put there.
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/unit/store/scratch_store.hpp"

namespace dray::store {
namespace {

namespace fs = std::filesystem;

class DirectoryStoreLayout : public ScratchStore {};

TEST_F(DirectoryStoreLayout, IsAPlainTree) {
    ASSERT_TRUE(put({"lab", "dir/disk.img"}, "content"));
    ASSERT_TRUE(put({"lab", "readme"}, "text"));
    EXPECT_EQ(files("lab"), (std::vector<std::string>{"dir/disk.img", "readme"}));
    EXPECT_EQ(slurp(root() / "lab/dir/disk.img"), "content");
    EXPECT_TRUE(files(".dray/side").empty());
    EXPECT_TRUE(files(".dray/odd").empty());
    EXPECT_TRUE(files(".dray/uploads").empty());
}

TEST_F(DirectoryStoreLayout, KeepsMetadataBeside) {
    ASSERT_TRUE(put({"lab", "dir/disk.img"}, "content", false, {{"author", "Ada"}}));
    EXPECT_EQ(files("lab"), std::vector<std::string>{"dir/disk.img"});
    const std::vector<std::string> sides = files(".dray/side/lab");
    ASSERT_EQ(sides.size(), 1U);
    EXPECT_EQ(sides[0].find_first_not_of("0123456789ABCDEF/"), std::string::npos) << sides[0];
    const std::string side = slurp(root() / ".dray/side/lab" / sides[0]);
    EXPECT_NE(side.find("Ada"), std::string::npos);
    EXPECT_NE(side.find("dir/disk.img"), std::string::npos);
    ASSERT_TRUE(store().remove({"lab", "dir/disk.img"}));
    EXPECT_TRUE(files(".dray/side").empty());
}

TEST_F(DirectoryStoreLayout, KeepsOddNamesUnderTheirHash) {
    ASSERT_TRUE(put({"lab", "a/b"}, "below"));
    ASSERT_TRUE(put({"lab", "a"}, "above"));
    ASSERT_TRUE(put({"lab", "../../escape"}, "dots"));
    EXPECT_EQ(files("lab"), std::vector<std::string>{"a/b"});
    EXPECT_EQ(files(".dray/odd/lab").size(), 2U);
    EXPECT_EQ(files(".dray/odd/lab"), files(".dray/side/lab"));
    EXPECT_FALSE(fs::exists(root() / "escape"));
    EXPECT_FALSE(fs::exists(root().parent_path() / "escape"));
    EXPECT_EQ(names(), (std::vector<std::string>{"../../escape", "a", "a/b"}));
}

TEST_F(DirectoryStoreLayout, TakesFilesThatOthersPutThereForBlobs) {
    fs::create_directories(root() / "lab/copied/in");
    spill(root() / "lab/copied/in/file", "by hand");
    EXPECT_EQ(names(), std::vector<std::string>{"copied/in/file"});
    EXPECT_EQ(content_of({"lab", "copied/in/file"}), "by hand");
    EXPECT_EQ(kind_of(put({"lab", "copied/in/file"}, "x")), "Exists");
}

TEST_F(DirectoryStoreLayout, PassesOverWhatIsNoBlob) {
    spill(root() / "lab/latin-\xE9", "not UTF-8");
    spill(root() / "stray", "in no container");
    fs::create_directories(root() / "lost+found/x");
    ASSERT_EQ(mkfifo((root() / "lab/fifo").c_str(), 0600), 0);
    ASSERT_TRUE(put({"lab", "blob"}, "x"));
    EXPECT_EQ(names(), std::vector<std::string>{"blob"});
    EXPECT_EQ(*store().containers(), std::vector<std::string>{"lab"});
    EXPECT_EQ(kind_of(store().stat({"lab", "fifo"})), "NotFound");
    std::byte byte{};
    EXPECT_EQ(kind_of(store().read({"lab", "fifo"}, 0, {&byte, 1}, "", {})), "NotFound");
}

TEST_F(DirectoryStoreLayout, FollowsNoLinkOutOfTheStore) {
    const fs::path outside = root().string() + "-outside";
    fs::create_directories(outside / "dir/sub");
    spill(outside / "secret", "secret");
    spill(outside / "dir/sub/secret", "secret");
    spill(outside / "dir/secret", "secret");
    fs::create_symlink(outside / "secret", root() / "lab/file");
    fs::create_symlink(outside / "dir", root() / "lab/dir");
    fs::create_symlink(outside / "dir", root() / "lab-2");
    fs::create_symlink(outside / "made", root() / "lab/dangling");
    fs::create_symlink(outside / "secret", root() / ".dray/uploads/planted");
    for (const BlobName& name :
         {BlobName{"lab", "file"}, BlobName{"lab", "dir/secret"}, BlobName{"lab", "dir/sub/secret"},
          BlobName{"lab-2", "secret"}, BlobName{"lab-2", "sub/secret"}}) {
        std::byte byte{};
        EXPECT_EQ(kind_of(store().stat(name)), "NotFound") << name.path();
        EXPECT_EQ(kind_of(store().read(name, 0, {&byte, 1}, "", {})), "NotFound") << name.path();
        EXPECT_EQ(kind_of(store().remove(name)), "NotFound") << name.path();
        (void)put(name, "overwritten", true);
    }
    (void)put({"lab", "dir/new"}, "x", true);
    (void)put({"lab", "dir/sub/new"}, "x", true);
    (void)put({"lab", "dangling"}, "x", true);
    (void)put({"lab", "dangling/below"}, "x", true);
    EXPECT_EQ(kind_of(store().put_whole({"lab", "x"}, upload("planted", 1), whole_piece("x"), {},
                                        {}, {})),
              "InvalidArgument");
    EXPECT_NE(kind_of(store().ensure_container("lab-2")), "success");
    EXPECT_NE(kind_of(store().list("lab-2", "", "", 10)), "success");
    EXPECT_EQ(*store().containers(), std::vector<std::string>{"lab"});
    for (const std::string& name : names())
        EXPECT_NE(content_of({"lab", name}), "secret") << name;
    EXPECT_EQ(slurp(outside / "secret"), "secret");
    EXPECT_EQ(slurp(outside / "dir/secret"), "secret");
    EXPECT_EQ(slurp(outside / "dir/sub/secret"), "secret");
    std::size_t entries = 0;
    for ([[maybe_unused]] const auto& entry : fs::recursive_directory_iterator(outside))
        ++entries;
    EXPECT_EQ(entries, 5U) << "nothing was made outside";
    fs::remove_all(outside);
}

TEST_F(DirectoryStoreLayout, FollowsNoLinkWithinItsOwnFiles) {
    const fs::path outside = root().string() + "-outside";
    const BlobName name{"lab", "x"};
    ASSERT_TRUE(put(name, "old", false, {{"a", "old"}}));
    const std::string side = "lab/" + files(".dray/side/lab").at(0);
    fs::copy(root() / ".dray/side", outside, fs::copy_options::recursive);
    const std::string before = slurp(outside / side);
    fs::remove_all(root() / ".dray/side");
    fs::create_symlink(outside, root() / ".dray/side");
    EXPECT_NE(kind_of(put(name, "new", true, {{"a", "new"}})), "success");
    EXPECT_NE(kind_of(put(name, "new", true)), "success");
    EXPECT_NE(kind_of(store().stat(name)), "success") << "its metadata cannot be had";
    (void)store().remove(name);
    EXPECT_EQ(slurp(outside / side), before);
    EXPECT_FALSE(before.empty());
    fs::remove_all(root() / ".dray/uploads");
    fs::create_symlink(outside, root() / ".dray/uploads");
    EXPECT_NE(kind_of(open()), "success");
    fs::remove_all(outside);
}

TEST_F(DirectoryStoreLayout, SaysSoWhenItCannotListAll) {
    std::string name;
    for (int depth = 0; depth < 40; ++depth)
        name += "d/";
    ASSERT_TRUE(put({"lab", name + "deep"}, "x"));
    ASSERT_TRUE(put({"lab", "flat"}, "x"));
    rlimit before{};
    ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &before), 0);
    const int next = dup(STDERR_FILENO);
    ::close(next);
    rlimit few = before;
    few.rlim_cur = static_cast<rlim_t>(next) + 20;
    ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &few), 0);
    const std::string kind = kind_of(store().list("lab", "", "", 10));
    few.rlim_cur = static_cast<rlim_t>(next);
    ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &few), 0);
    EXPECT_EQ(kind_of(store().stat({"lab", "flat"})), "LimitReached") << "which is not NotFound";
    ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &before), 0);
    EXPECT_EQ(kind, "LimitReached");
    EXPECT_EQ(names().size(), 2U);
}

TEST_F(DirectoryStoreLayout, CallsADamagedSideFileCorruptAndReplacesIt) {
    const BlobName name{"lab", "x"};
    for (const char* damage : {"", "{", "[]", "{\"version\": 2}", "{\"version\": 1}", "null",
                               "{\"version\": 1, \"container\": \"lab\", \"name\": 7}"}) {
        ASSERT_TRUE(put(name, "content", true, {{"a", "b"}}));
        spill(root() / ".dray/side/lab" / files(".dray/side/lab").at(0), damage);
        EXPECT_EQ(kind_of(store().stat(name)), "Corrupt") << damage;
        std::string read(7, '\0');
        EXPECT_EQ(kind_of(store().read(name, 0, std::as_writable_bytes(std::span(read.data(), 7)),
                                       "", {})),
                  "success");
        EXPECT_EQ(read, "content");
        ASSERT_TRUE(put(name, "new", true, {{"c", "d"}})) << damage;
        EXPECT_EQ(store().stat(name)->metadata, (BlobMetadata{{"c", "d"}})) << damage;
    }
}

TEST_F(DirectoryStoreLayout, RefusesMetadataThatItCouldNotReadAgain) {
    EXPECT_EQ(kind_of(put({"lab", "x"}, "x", false, {{"long", std::string(300'000, 'x')}})),
              "InvalidArgument");
    EXPECT_EQ(kind_of(store().stat({"lab", "x"})), "NotFound");
    EXPECT_TRUE(files(".dray/side").empty());
    EXPECT_EQ(kind_of(put({"lab", "x"}, "x", false, {{"long", std::string(200'000, 'x')}})),
              "success");
    EXPECT_EQ(store().stat({"lab", "x"})->metadata.at("long").size(), 200'000U);
}

TEST_F(DirectoryStoreLayout, CallsADamagedIdentityCorrupt) {
    close();
    spill(root() / ".dray/store.json", "{}");
    EXPECT_EQ(kind_of(open()), "Corrupt");
}

}  // namespace
}  // namespace dray::store
