// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/drive/crashing_drive.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <openssl/evp.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <cstring>
#include <filesystem>

#include "daemon/base/file.hpp"
#include "daemon/base/memfd.hpp"

namespace dray::test {
namespace {

namespace stdfs = std::filesystem;

// The layout of crash_points.cpp.
constexpr std::size_t kRecord = 112;
constexpr std::size_t kRecords = 1 << 17;
constexpr std::size_t kHead = 64;
constexpr std::size_t kShared = kHead + kRecord * kRecords;
constexpr std::size_t kMode = 4;
constexpr std::size_t kLeft = 8;
constexpr std::size_t kIsReached = 12;
constexpr std::size_t kCount = 20;
constexpr std::size_t kPattern = 24;
constexpr std::size_t kSeed = 60;
constexpr std::uint32_t kEnds = 2;

void put(std::byte* place, std::uint32_t value) { std::memcpy(place, &value, sizeof value); }

std::uint32_t get(const std::byte* place) {
    std::uint32_t value = 0;
    std::memcpy(&value, place, sizeof value);
    return value;
}

stdfs::path own_directory() { return stdfs::read_symlink("/proc/self/exe").parent_path(); }

/// What spawn() does, with the crash points preloaded.
std::pair<pid_t, MessageSocket> start(int device, int key, const CrashPoint* point) {
    auto ends = MessageSocket::make_pair();
    if (!ends)
        throw std::runtime_error(ends.error().text());
    const FileDescriptor null = open_or_die("/dev/null", O_RDWR);
    const std::string program = own_directory().parent_path() / "dray-drive";
    const std::string preload = "LD_PRELOAD=" + (own_directory() / "crash_points.so").string();
    const std::string points = "DRAY_CRASH_POINTS=" + (point != nullptr ? point->path() : std::string());
    const pid_t pid = fork();
    if (pid != 0)
        return {pid, std::move(ends->first)};
    std::array<int, 4> high{ends->second.fd(), device, key, null.get()};
    for (int& fd : high)
        fd = fcntl(fd, F_DUPFD_CLOEXEC, 32);
    for (std::size_t i = 0; i < high.size(); ++i)
        dup2(high[i], drive::kSocketFd + static_cast<int>(i));
    close_range(drive::kLockFd + 1, ~0U, 0);
    const std::array<char*, 2> arguments{const_cast<char*>("dray-drive"), nullptr};
    // A sanitizer's runtime wants to be first.
    const std::array<char*, 4> environment{const_cast<char*>(preload.c_str()), const_cast<char*>(points.c_str()),
                                           const_cast<char*>("ASAN_OPTIONS=verify_asan_link_order=0"), nullptr};
    const std::array<char*, 1> nothing{nullptr};
    execve(program.c_str(), arguments.data(), point != nullptr ? environment.data() : nothing.data());
    _exit(127);
}

class Fields {
public:
    explicit Fields(std::span<const std::byte> bytes) : rest_(bytes) {}
    std::uint64_t number(std::size_t size) {
        std::uint64_t value = 0;
        std::memcpy(&value, rest_.data(), size);
        rest_ = rest_.subspan(size);
        return value;
    }
    std::string text() {
        const std::size_t length = number(4);
        const std::string value(reinterpret_cast<const char*>(rest_.data()), length);
        rest_ = rest_.subspan(length);
        return value;
    }

private:
    std::span<const std::byte> rest_;
};

}  // namespace

CrashPoint::CrashPoint(const std::string& path) : path_(path) {
    const FileDescriptor file = open_or_die(path, O_RDWR | O_CREAT);
    if (ftruncate(file.get(), static_cast<off_t>(kShared)) != 0)
        throw std::runtime_error("cannot make the crash points");
    void* const place = mmap(nullptr, kShared, PROT_READ | PROT_WRITE, MAP_SHARED, file.get(), 0);
    if (place == MAP_FAILED)
        throw std::runtime_error("cannot map the crash points");
    shared_ = static_cast<std::byte*>(place);
    shared_[kPattern] = std::byte{'*'};
}

CrashPoint::~CrashPoint() { munmap(shared_, kShared); }

void CrashPoint::end_at(std::uint32_t after, bool is_after, Loses loses, std::uint32_t seed) {
    end_nowhere();
    const std::uint32_t lost = loses == Loses::Nothing ? 0 : loses == Loses::WhenUnplugged ? 4 : 8;
    put(shared_ + kMode, kEnds | lost | (is_after ? 1U : 0U));
    put(shared_ + kSeed, seed);
    put(shared_ + kLeft, after);
    put(shared_ + kIsReached, 0);
    put(shared_, '*');
}

void CrashPoint::end_nowhere() {
    put(shared_, 0);
    put(shared_ + kMode, 0);
    put(shared_ + kCount, 0);
}

std::uint32_t CrashPoint::count() const {
    std::uint32_t count = 0;
    const std::uint32_t records = std::min<std::uint32_t>(get(shared_ + kCount), kRecords);
    for (std::uint32_t i = 0; i < records; ++i) {
        const std::uint32_t operation = get(shared_ + kHead + i * kRecord + 4);
        count += operation == 'w' || operation == 'y' ? 1 : 0;
    }
    return count;
}

FillingProcess::FillingProcess(const std::string& device, const std::string& state, std::span<const std::byte> key,
                               const CrashPoint* point)
    : state_(open_or_die(state, O_RDWR | O_CREAT)) {
    const FileDescriptor disk = open_or_die(device, O_RDWR);
    const Result<FileDescriptor> secret = make_sealed_memfd("key", key);
    auto [pid, socket] = start(disk.get(), secret->get(), point);
    pid_ = pid;
    Result<drive::Client> made = drive::Client::connect(std::move(socket), {16 * kMiB, kGiB, false});
    if (!made)
        throw std::runtime_error(made.error().text());
    client_ = std::move(*made);
}

void FillingProcess::kill() {
    ::kill(pid_, SIGKILL);
    end();
}

int FillingProcess::end() {
    client_.reset();
    int status = -1;
    waitpid(std::exchange(pid_, -1), &status, 0);
    return status;
}

std::optional<StatePart> read_state_part(const std::string& path, Bytes place) {
    constexpr std::size_t kStateHead = 24;
    constexpr std::size_t kHash = 32;
    if (!stdfs::exists(path))
        return std::nullopt;
    std::vector<std::byte> bytes = read_bytes(path);
    if (bytes.size() < place + kStateHead || std::memcmp(bytes.data() + place, "DRAYFILL", 8) != 0)
        return std::nullopt;
    bytes.erase(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(place));
    Fields head{std::span(bytes).subspan(8)};
    const std::uint64_t version = head.number(4);
    const std::size_t record = head.number(4);
    const std::size_t length = kStateHead + record + head.number(8) * (8 + 4096);
    if (version != 1 || bytes.size() < length + kHash)
        return std::nullopt;
    std::array<unsigned char, kHash> hash{};
    EVP_Digest(bytes.data(), length, hash.data(), nullptr, EVP_sha256(), nullptr);
    if (std::memcmp(hash.data(), bytes.data() + length, kHash) != 0)
        return std::nullopt;
    Fields fields{std::span(bytes).subspan(kStateHead, record)};
    StatePart part;
    part.volume_id = fields.text();
    (void)fields.number(8);  // the sizes of device
    (void)fields.number(8);  // and volume
    (void)fields.number(1);  // where the header is
    part.sequence = fields.number(8);
    part.is_finished = fields.number(1) != 0;
    return part;
}

void expect_clean_drive(const ScratchDirectory& scratch, const std::string& device, const std::string& key_file,
                        const std::string& header_state, std::size_t sector_size) {
    std::string whole = device;
    if (!header_state.empty()) {
        whole = scratch / "whole";
        run("cp --sparse=always " + device + " " + whole);
        run("dd if=" + header_state + " of=" + whole + " bs=1M skip=4 count=16 conv=notrunc");
    }
    run("cryptsetup open --test-passphrase --key-file " + key_file + " " + whole);
    decrypt_drive(scratch, whole, key_file, sector_size, scratch / "plain");
    const int status = std::system(("e2fsck -fn " + scratch / "plain" + " >" + scratch / "fsck" + " 2>&1").c_str());
    const std::vector<std::byte> log = status != 0 ? read_bytes(scratch / "fsck") : std::vector<std::byte>();
    ASSERT_EQ(status, 0) << std::string(reinterpret_cast<const char*>(log.data()), std::min<std::size_t>(log.size(), 2000));
}

}  // namespace dray::test
