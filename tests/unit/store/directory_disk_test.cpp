// SPDX-License-Identifier: Apache-2.0
//
// A directory store whose disk is full, read-only, missing or another one. Mounts need root.
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "drivers/store/store_list.hpp"
#include "tests/unit/store/scratch_store.hpp"

namespace dray::store {
namespace {

namespace fs = std::filesystem;

class DirectoryStoreDisk : public ScratchStore {
protected:
    ~DirectoryStoreDisk() override {
        if (!mounted_.empty())
            umount2(mounted_.c_str(), MNT_DETACH);
    }
    /// A file system of 2 MiB of its own; "" and the reason where it may not be mounted.
    fs::path mount_small() {
        const fs::path path = root() / "mounted";
        fs::create_directories(path);
        if (mount("tmpfs", path.c_str(), "tmpfs", MS_NOSUID | MS_NODEV, "size=2m") != 0)
            return {};
        mounted_ = path;
        return path;
    }
    fs::path mounted_;
};

StoreConfig config_of(const fs::path& path) {
    return {"vault", "directory", path.string()};
}

TEST_F(DirectoryStoreDisk, SaysNoSpaceOnAFullDiskAndGoesOnAfterwards) {
    const fs::path path = mount_small();
    if (path.empty())
        GTEST_SKIP() << "mounting a tmpfs needs root: " << std::strerror(errno);
    const auto small = open_store(config_of(path));
    ASSERT_TRUE(small) << small.error().text();
    ASSERT_TRUE((*small)->ensure_container("lab"));
    ASSERT_TRUE((*small)->put_whole({"lab", "there"}, upload("there", 3), whole_piece("old"), {},
                                    {{"a", "b"}}, {}));

    // Found before the work, and nothing of it is left.
    EXPECT_EQ(kind_of((*small)->create({"lab", "big"}, upload("big", 8 * kMiB), {})), "NoSpace");
    EXPECT_FALSE(fs::exists(path / ".dray/uploads/big"));

    // Found while it is written: a page blob is not asked for its room before.
    const std::string much(3 * kMiB, 'x');
    CreateOptions page = upload("page", much.size());
    page.type = BlobType::Page;
    {
        const auto writer = (*small)->create({"lab", "page"}, page, {});
        ASSERT_TRUE(writer);
        EXPECT_EQ(kind_of((*writer)->put(whole_piece(much))), "NoSpace");
        // Full to the last block now: no room for a side file, a replacement, a directory.
        for (const char* name : {"there", "new", "dir/new", "../odd"})
            EXPECT_EQ(kind_of((*small)->put_whole({"lab", name}, upload("more", 5, true),
                                                  whole_piece("newer"), {}, {{"c", "d"}}, {})),
                      "NoSpace")
                << name;
        EXPECT_EQ(slurp(path / "lab/there"), "old");
        EXPECT_EQ((*small)->stat({"lab", "there"})->metadata, (BlobMetadata{{"a", "b"}}));
        EXPECT_EQ((*small)->list("lab", "", "", 10)->blobs.size(), 1U);
        ASSERT_TRUE((*writer)->abandon());
    }
    EXPECT_TRUE(fs::is_empty(path / ".dray/uploads"));
    EXPECT_EQ(kind_of((*small)->put_whole({"lab", "there"}, upload("more", 5, true),
                                          whole_piece("newer"), {}, {}, {})),
              "success");
    EXPECT_EQ(slurp(path / "lab/there"), "newer");
    EXPECT_EQ((*small)->stat({"lab", "there"})->metadata, BlobMetadata());
}

TEST_F(DirectoryStoreDisk, SaysDeniedOnAReadOnlyDisk) {
    const fs::path path = mount_small();
    if (path.empty())
        GTEST_SKIP() << "mounting a tmpfs needs root: " << std::strerror(errno);
    for (const bool is_used : {false, true}) {
        if (is_used) {
            ASSERT_EQ(mount(nullptr, path.c_str(), nullptr, MS_REMOUNT, nullptr), 0);
            ASSERT_TRUE(open_store(config_of(path)));
        }
        ASSERT_EQ(mount(nullptr, path.c_str(), nullptr, MS_REMOUNT | MS_RDONLY, nullptr), 0)
            << std::strerror(errno);
        const auto opened = open_store(config_of(path));
        ASSERT_EQ(kind_of(opened), "Denied");
        EXPECT_NE(opened.error().text().find("read-only"), std::string::npos)
            << opened.error().text();
        EXPECT_NE(opened.error().text().find("store \"vault\""), std::string::npos)
            << opened.error().text();
    }
}

TEST_F(DirectoryStoreDisk, SaysDeniedWhereItMayNotWrite) {
    if (geteuid() != 0)
        GTEST_SKIP() << "only root can become somebody else";
    const pid_t child = fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
        fs::permissions(root(), fs::perms(0755));
        if (setresuid(65534, 65534, 65534) != 0)
            _exit(10);
        const auto opened = open();
        const bool is_right =
            !opened && opened.error().kind() == ErrorKind::Denied &&
            opened.error().text().find("uid 65534 may not write") != std::string::npos;
        _exit(is_right ? 0 : 1);
    }
    int status = 0;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    EXPECT_EQ(status, 0);
}

TEST_F(DirectoryStoreDisk, SaysWhatIsMissing) {
    const auto missing = open_store(config_of(root() / "nowhere"));
    ASSERT_EQ(kind_of(missing), "NotFound");
    EXPECT_EQ(missing.error().text(), "store \"vault\": its directory " +
                                          (root() / "nowhere").string() +
                                          " does not exist; make it, or mount what belongs there");
    spill(root() / "file", "x");
    EXPECT_EQ(kind_of(open_store(config_of(root() / "file"))), "NotFound");
    EXPECT_FALSE(fs::exists(root() / "nowhere"));
}

TEST_F(DirectoryStoreDisk, KnowsNoOtherTypes) {
    const auto opened = open_store({"blue", "tape", root().string()});
    ASSERT_EQ(kind_of(opened), "Unsupported");
    EXPECT_NE(opened.error().text().find("store \"blue\""), std::string::npos);
}

// An unmounted disk leaves its mount point behind: an empty directory that must not pass for the
// store.
TEST_F(DirectoryStoreDisk, NoticesThatAnotherDirectoryIsInItsPlace) {
    const fs::path aside = root().string() + "-aside";
    EXPECT_EQ(kind_of(store().check()), "success");
    fs::rename(root(), aside);
    EXPECT_EQ(kind_of(store().check()), "NotFound");
    fs::create_directory(root());
    const Result<void> check = store().check();
    ASSERT_EQ(kind_of(check), "NotFound");
    EXPECT_NE(check.error().text().find("another directory"), std::string::npos)
        << check.error().text();
    EXPECT_TRUE(fs::is_empty(root())) << "a check makes nothing";
    fs::remove(root());
    fs::rename(aside, root());
    EXPECT_EQ(kind_of(store().check()), "success");
}

TEST_F(DirectoryStoreDisk, IsNotBegunAnewWhereOneWasBefore) {
    const std::string identity = store().identity();
    const fs::path mount_point = root() / "mount-point";
    fs::create_directory(mount_point);
    // lost+found and the like do not make a store of it.
    fs::create_directory(mount_point / "lost+found");
    const auto refused = open_store(config_of(mount_point), {.known_identity = identity});
    ASSERT_EQ(kind_of(refused), "Unreachable");
    EXPECT_NE(refused.error().text().find("mount what belongs there"), std::string::npos) << refused.error().text();
    EXPECT_FALSE(fs::exists(mount_point / ".dray")) << "what was refused makes nothing";
    EXPECT_EQ(kind_of(open_store(config_of(root() / "nowhere"), {.known_identity = identity})), "NotFound");
    // The operator's word, and a kill during the first use, leave this.
    fs::create_directory(mount_point / ".dray");
    const auto anew = open_store(config_of(mount_point), {.known_identity = identity});
    ASSERT_EQ(kind_of(anew), "success");
    EXPECT_NE((*anew)->identity(), identity);
    EXPECT_EQ(kind_of(open_store(config_of(root()), {.known_identity = identity})), "success");
}

}  // namespace
}  // namespace dray::store
