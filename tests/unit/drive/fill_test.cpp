// SPDX-License-Identifier: Apache-2.0
//
// The real dray-drive makes drives; cryptsetup, OpenSSL and e2fsck say what they are, and
// dray-drive reads them back.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <iostream>
#include <map>
#include <optional>
#include <random>

#include "daemon/base/file.hpp"
#include "daemon/drive/client.hpp"
#include "tests/unit/drive/scratch_drive.hpp"

namespace dray::drive {
namespace {

using test::ScratchDirectory;

const std::vector<std::byte> kKey = test::random_bytes(815, 32);

class Process {
public:
    Process(const std::string& image, std::span<const std::byte> key, int flags) {
        const FileDescriptor device = test::open_or_die(image, flags);
        Result<FileDescriptor> secret = make_sealed_memfd("key", key);
        Result<Child> child = spawn(device.get(), secret->get());
        if (!child)
            throw std::runtime_error(child.error().text());
        pid_ = child->pid;
        Result<Client> made = Client::connect(std::move(child->socket), {16 * kMiB, kGiB, false});
        if (!made)
            throw std::runtime_error(made.error().text());
        client_ = std::move(*made);
    }
    Process(const Process&) = delete;
    Process& operator=(const Process&) = delete;
    ~Process() {
        if (pid_ > 0)
            end();
    }
    Client& client() { return *client_; }
    pid_t pid() const { return pid_; }
    /// Hangs up; the status as of waitpid.
    int end() {
        client_.reset();
        int status = -1;
        waitpid(std::exchange(pid_, -1), &status, 0);
        return status;
    }

private:
    pid_t pid_ = -1;
    std::optional<Client> client_;
};

/// A device full of something old.
std::string make_device(const ScratchDirectory& scratch, Bytes size,
                        const std::string& name = "device") {
    const std::string path = scratch / name;
    const std::vector<std::byte> old(kMiB, std::byte{0x5a});
    const FileDescriptor fd = test::open_or_die(path, O_RDWR | O_CREAT);
    for (Bytes offset = 0; offset < size; offset += old.size())
        if (pwrite(fd.get(), old.data(), std::min<Bytes>(old.size(), size - offset),
                   static_cast<off_t>(offset)) < 0)
            throw std::runtime_error("cannot make a device");
    return path;
}

/// Creates and fills a file in pieces of `piece` bytes, all in flight together as far as the ring
/// goes.
void put(Client& client, const std::string& path, std::span<const std::byte> content,
         std::size_t piece = kMiB) {
    const Result<void> made = client.call(Create{7, path, content.size(), 1'700'000'000'000'000});
    ASSERT_TRUE(made) << made.error().text();
    std::vector<Request> requests;
    Bytes place = 0;
    const auto send = [&] {
        std::size_t replies = 0;
        ASSERT_TRUE(client.submit(requests));
        while (replies < requests.size()) {
            const Result<std::vector<Reply>> received = client.receive();
            ASSERT_TRUE(received) << received.error().text();
            for (const Reply& reply : *received)
                ASSERT_TRUE(std::holds_alternative<Done>(reply)) << path;
            replies += received->size();
        }
        requests.clear();
        place = 0;
    };
    for (std::size_t offset = 0; offset < content.size(); offset += piece) {
        const std::size_t length = std::min(piece, content.size() - offset);
        if (place + length > client.ring().size() || requests.size() == 60)
            send();
        std::memcpy(client.ring().data() + place, content.data() + offset, length);
        requests.push_back(Write{offset, 7, offset, length, place});
        place = (place + length + kRingAlignment - 1) / kRingAlignment * kRingAlignment;
    }
    if (!requests.empty())
        send();
    ASSERT_TRUE(client.close(7));
}

std::vector<std::byte> get(Client& client, const std::string& path) {
    const Result<Bytes> size = client.open(1, path);
    EXPECT_TRUE(size) << path << ": " << size.error().text();
    std::vector<std::byte> content(static_cast<std::size_t>(size.value_or(0)));
    const Result<void> read = client.read(1, 0, content);
    EXPECT_TRUE(read) << path << ": " << read.error().text();
    return content;
}

struct Kind {
    Bytes size;
    bool is_key_random;
    std::size_t sector;
};

class FilledDrive : public testing::TestWithParam<Kind> {};

TEST_P(FilledDrive, IsReadBackByOthersAndByOurselves) {
    const auto [size, is_key_random, sector] = GetParam();
    const auto seed = std::random_device{}();
    std::cout << "seed " << seed << '\n';
    std::mt19937_64 random(seed);
    const ScratchDirectory scratch;
    const std::string device = make_device(scratch, size);
    test::write_bytes(scratch / "key", kKey);
    std::map<std::string, std::vector<std::byte>> files;
    std::string id;
    {
        Process drive(device, kKey, O_RDWR);
        const Result<Unlocked> made =
            drive.client().format({size, "lyon-2", 400, 32 * kMiB, is_key_random});
        ASSERT_TRUE(made) << made.error().text();
        EXPECT_EQ(made->volume_type, "luks2");
        EXPECT_EQ(made->filesystem, "ext4");
        id = made->volume_id;
        ASSERT_TRUE(drive.client().call(MakeDirectory{"a"}));
        ASSERT_TRUE(drive.client().call(MakeDirectory{"a/b"}));
        files["empty"] = {};
        files["a/b/large"] = test::random_bytes(random(), 21 * kMiB + random() % 10000);
        for (int i = 0; i < 200; ++i)
            files["a/small-" + std::to_string(i)] = test::random_bytes(random(), random() % 20000);
        for (const auto& [path, content] : files)
            put(drive.client(), path, content, random() % 4 == 0 ? 1 + random() % 400'000 : kMiB);
        const Result<void> finished = drive.client().call(Finish{});
        ASSERT_TRUE(finished) << finished.error().text();
        EXPECT_FALSE(drive.client().call(MakeDirectory{"late"}));
        const int status = drive.end();
        EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << status;
    }
    test::run("cryptsetup luksDump " + device + " | grep " + id);
    test::run("cryptsetup open --test-passphrase --key-file " + (scratch / "key") + " " + device);
    test::decrypt_drive(scratch, device, scratch / "key", sector, scratch / "plain");
    test::run("e2fsck -fn " + (scratch / "plain"));
    test::run("cd " + scratch.path().string() + " && debugfs -R 'dump /a/b/large large' plain");
    EXPECT_TRUE(test::read_bytes(scratch / "large") == files["a/b/large"]);

    Process drive(device, kKey, O_RDONLY);
    const Result<Unlocked> unlocked = drive.client().unlock({id});
    ASSERT_TRUE(unlocked) << unlocked.error().text();
    EXPECT_EQ(unlocked->notice, "");
    for (const auto& [path, content] : files)
        EXPECT_TRUE(get(drive.client(), path) == content) << path;
}

INSTANTIATE_TEST_SUITE_P(Drives, FilledDrive,
                         testing::Values(Kind{96 * kMiB, true, 4096}, Kind{96 * kMiB, false, 4096},
                                         Kind{96 * kMiB + 512, true, 512}),
                         [](const testing::TestParamInfo<Kind>& kind) {
                             return std::string(kind.param.is_key_random ? "KeyOf"
                                                                         : "PassphraseWith") +
                                    std::to_string(kind.param.sector);
                         });

TEST(Filling, KilledBeforeItsEndLeavesNothingThatOpens) {
    const ScratchDirectory scratch;
    const std::string device = make_device(scratch, 64 * kMiB);
    // What was there was a drive once.
    test::write_bytes(scratch / "key", kKey);
    test::run("cryptsetup luksFormat -q --pbkdf pbkdf2 --pbkdf-force-iterations 1000 --key-file " +
              (scratch / "key") + " " + device);
    Process drive(device, kKey, O_RDWR);
    ASSERT_TRUE(drive.client().format({64 * kMiB, "", 10, 32 * kMiB, true}));
    put(drive.client(), "file", test::random_bytes(1, 5 * kMiB));
    ASSERT_EQ(kill(drive.pid(), SIGKILL), 0);
    drive.end();
    Process again(device, kKey, O_RDONLY);
    std::string status;
    const Result<Unlocked> unlocked = again.client().unlock({}, &status);
    ASSERT_FALSE(unlocked);
    EXPECT_EQ(status, "BitLockerVolumeNotFound") << unlocked.error().text();
}

TEST(Filling, RefusesWhatItCannotMake) {
    const ScratchDirectory scratch;
    const std::string device = make_device(scratch, 24 * kMiB);
    struct Row {
        const char* what;
        Format format;
        ErrorKind kind;
        bool has_key = true;
    };
    const Row rows[] = {
        {"more than the device", {25 * kMiB, "", 10, 32 * kMiB, true}, ErrorKind::InvalidArgument},
        {"no more than a header", {16 * kMiB, "", 10, 32 * kMiB, true}, ErrorKind::NoSpace},
        {"next to nothing", {16 * kMiB + 4096, "", 10, 32 * kMiB, true}, ErrorKind::NoSpace},
        {"too many files", {24 * kMiB, "", 1'000'000, 32 * kMiB, true}, ErrorKind::NoSpace},
        {"more files than any", {24 * kMiB, "", ~0ULL, 32 * kMiB, true}, ErrorKind::LimitReached},
        {"no derivation", {24 * kMiB, "", 10, 1, false}, ErrorKind::InvalidArgument},
        {"an empty key", {24 * kMiB, "", 10, 32 * kMiB, true}, ErrorKind::InvalidArgument, false},
    };
    for (const Row& row : rows) {
        Process drive(device, row.has_key ? std::span(kKey) : std::span<const std::byte>(), O_RDWR);
        const Result<Unlocked> made = drive.client().format(row.format);
        ASSERT_FALSE(made) << row.what;
        EXPECT_EQ(made.error().kind(), row.kind) << row.what << ": " << made.error().text();
    }
    Process drive(device, kKey, O_RDONLY);
    const Result<Unlocked> made = drive.client().format({24 * kMiB, "", 10, 32 * kMiB, true});
    ASSERT_FALSE(made);
    EXPECT_EQ(made.error().kind(), ErrorKind::Denied) << made.error().text();
}

TEST(Filling, RefusesRequestsOffTheirLimitsAndGoesOn) {
    const ScratchDirectory scratch;
    const std::string device = make_device(scratch, 40 * kMiB);
    Process drive(device, kKey, O_RDWR);
    Client& client = drive.client();
    ASSERT_TRUE(client.format({40 * kMiB, std::string(200, 'x'), 100, 32 * kMiB, true}));
    const auto kind_of = [&](const Request& request) {
        const Result<void> done = client.call(request);
        return done ? std::optional<ErrorKind>() : done.error().kind();
    };
    EXPECT_EQ(kind_of(Write{1, 3, 0, 10, 0}), ErrorKind::InvalidArgument);
    EXPECT_EQ(kind_of(Create{3, "none/file", 10, 0}), ErrorKind::NotFound);
    EXPECT_EQ(kind_of(Create{3, "huge", kGiB, 0}), ErrorKind::NoSpace);
    EXPECT_EQ(kind_of(Create{3, "file", 10, 0}), std::nullopt);
    EXPECT_EQ(kind_of(Write{1, 3, 1, 10, 0}), ErrorKind::InvalidArgument);
    EXPECT_EQ(kind_of(Write{1, 3, 0, 10, 16 * kMiB}), ErrorKind::InvalidArgument);
    EXPECT_EQ(kind_of(Write{1, 3, ~0ULL - 4, 10, 0}), ErrorKind::InvalidArgument);
    EXPECT_EQ(kind_of(Write{1, 3, 0, 10, 0}), std::nullopt);
    EXPECT_EQ(kind_of(Create{4, "file", 10, 0}), ErrorKind::Exists);
    EXPECT_EQ(kind_of(Open{5, "file"}), ErrorKind::InvalidArgument);
    EXPECT_EQ(kind_of(Read{1, 3, 0, 10, 0}), ErrorKind::InvalidArgument);
    EXPECT_EQ(kind_of(Finish{}), std::nullopt);
    EXPECT_EQ(kind_of(Finish{}), ErrorKind::InvalidArgument);
}

}  // namespace
}  // namespace dray::drive
