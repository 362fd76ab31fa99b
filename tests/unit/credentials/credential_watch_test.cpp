// SPDX-License-Identifier: Apache-2.0
#include "daemon/credentials/credential_watch.hpp"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <vector>

#include "tests/support/scratch_directory.hpp"

namespace dray {
namespace {

namespace fs = std::filesystem;

class Watch : public testing::Test {
protected:
    Watch() : loop_(EventLoop::create().value()), watch_(loop_, [this](const std::string& name) { told_.push_back(name); }) {
        fs::create_directory(scratch_ / "keys");
    }

    void write(const std::string& path, const std::string& content) { std::ofstream(path) << content; }

    /// Until it is told of one, which is the answer.
    std::string next() {
        const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(60);
        while (told_.empty() && std::chrono::steady_clock::now() < end)
            (void)sd_event_run(loop_.get(), 10'000);
        if (told_.empty())
            return "(none)";
        const std::string first = told_.front();
        told_.erase(told_.begin());
        return first;
    }
    /// A change of another file is told of, and nothing before it.
    bool is_quiet() {
        const std::string marker = scratch_ / "keys/marker";
        static int number = 0;
        write(marker, std::string(static_cast<std::size_t>(++number), 'm'));
        return next() == marker && told_.empty();
    }
    void watch(std::set<std::string> references) {
        references.insert(scratch_ / "keys/marker");
        watch_.watch(references);
    }

    test::ScratchDirectory scratch_;
    EventLoop loop_;
    std::vector<std::string> told_;
    CredentialWatch watch_;
    const std::string key_ = scratch_ / "keys/key";
};

TEST_F(Watch, SeesAFileThatIsReplacedByRenaming) {
    write(key_, "old");
    watch({key_});
    EXPECT_TRUE(is_quiet());
    for (const char* content : {"new", "new"}) {
        write(scratch_ / "keys/key.new", content);
        fs::rename(scratch_ / "keys/key.new", key_);
        EXPECT_EQ(next(), key_);
    }
    fs::rename(key_, scratch_ / "keys/elsewhere");
    EXPECT_TRUE(is_quiet()) << "what is gone is told by nobody";
    fs::rename(scratch_ / "keys/elsewhere", key_);
    EXPECT_EQ(next(), key_);
}

TEST_F(Watch, SeesAFileThatIsWrittenAnewInItsPlaceOrCanBeReadNow) {
    write(key_, "old");
    watch({key_});
    write(key_, "new");
    EXPECT_EQ(next(), key_);
    ASSERT_EQ(chmod(key_.c_str(), 0400), 0);
    EXPECT_EQ(next(), key_);
    EXPECT_TRUE(is_quiet());
}

TEST_F(Watch, SeesAFileThatWasMissing) {
    watch({key_});
    EXPECT_TRUE(is_quiet());
    write(key_, "new");
    EXPECT_EQ(next(), key_);
}

TEST_F(Watch, SeesALinkThatLeadsElsewhereNow) {
    // As secrets are mounted into containers: key -> ..data/key, ..data -> a directory of this version.
    const auto version = [&](const std::string& name, const std::string& content) {
        fs::create_directory(scratch_ / ("keys/" + name));
        write(scratch_ / ("keys/" + name + "/key"), content);
        fs::create_symlink(name, scratch_ / "keys/..data_tmp");
        fs::rename(scratch_ / "keys/..data_tmp", scratch_ / "keys/..data");
    };
    version("..1", "old");
    fs::create_symlink("..data/key", key_);
    watch({key_});
    EXPECT_TRUE(is_quiet());
    version("..2", "new");
    EXPECT_EQ(next(), key_);
}

TEST_F(Watch, ADirectoryThatComesLaterIsSeenByALook) {
    const std::string late = scratch_ / "late/key";
    watch({late});
    fs::create_directory(scratch_ / "late");
    write(late, "new");
    watch_.look();
    EXPECT_EQ(next(), late);
    write(late, "newer");
    EXPECT_EQ(next(), late) << "and watched from then on";
    fs::rename(scratch_ / "late", scratch_ / "before");
    fs::create_directory(scratch_ / "late");
    write(late, "another");
    EXPECT_EQ(next(), late) << "in another directory of the name";
}

TEST_F(Watch, WhatIsNotAskedForAnyMoreIsNotTold) {
    const std::string other = scratch_ / "keys/other";
    write(key_, "old");
    write(other, "old");
    watch({key_, other});
    watch({other});
    write(key_, "new");
    EXPECT_TRUE(is_quiet());
    write(other, "new");
    EXPECT_EQ(next(), other);
    // A change between two calls is not lost.
    write(other, "newer");
    watch({key_, other});
    EXPECT_EQ(next(), other);
}

TEST_F(Watch, NamesAreThoseOfSystemdsDirectory) {
    setenv("CREDENTIALS_DIRECTORY", (scratch_ / "keys").c_str(), 1);
    watch({"blue"});
    write(scratch_ / "keys/blue", "new");
    EXPECT_EQ(next(), "blue");
    unsetenv("CREDENTIALS_DIRECTORY");
    watch({"blue", "red"});
    EXPECT_TRUE(is_quiet());
}

}  // namespace
}  // namespace dray
