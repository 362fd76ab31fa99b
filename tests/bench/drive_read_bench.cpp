// SPDX-License-Identifier: Apache-2.0
//
// Reads one file of a drive image from its beginning to its end, in one of several ways, and prints one line:
// bytes, seconds, seconds of CPU. tests/bench/drive_read makes the images, runs this in turn, and says the method.
//   drive_read_bench ring IMAGE KEY FILE      through the real dray-drive and its ring, as dray-transfer asks
//   drive_read_bench reader IMAGE KEY FILE    dray's own reader, in this process, over the same block device object
//   drive_read_bench library IMAGE KEY FILE   the same device, and libext2fs' ext2fs_file_read or libntfs-3g's ntfs_attr_pread
#include <fcntl.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "daemon/base/file.hpp"
#include "daemon/base/memfd.hpp"
#include "daemon/drive/client.hpp"
#include "daemon/transfer/piece_memory.hpp"
#include "drivers/filesystem/open_filesystem.hpp"
#include "drivers/volume/device_file.hpp"
#include "drivers/volume/unlock.hpp"
#include "tests/bench/drive_read.hpp"

namespace dray::bench {
namespace {

double seconds_of(clockid_t clock) {
    timespec time{};
    (void)clock_gettime(clock, &time);
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) * 1e-9;
}

}  // namespace

Result<Figures> measured(pid_t other, const std::function<Result<Bytes>()>& work) {
    clockid_t others = CLOCK_PROCESS_CPUTIME_ID;
    if (other != 0 && clock_getcpuclockid(other, &others) != 0)
        return fail(ErrorKind::Internal, "no clock of dray-drive");
    DRAY_TRY(work());
    const auto cpu = [&] {
        return seconds_of(CLOCK_PROCESS_CPUTIME_ID) + (other != 0 ? seconds_of(others) : 0);
    };
    const double cpu_before = cpu();
    const double before = seconds_of(CLOCK_MONOTONIC);
    DRAY_LET(const Bytes bytes, work());
    return Figures{bytes, seconds_of(CLOCK_MONOTONIC) - before, cpu() - cpu_before};
}

std::span<std::byte> buffer() {
    static auto* const memory = static_cast<std::byte*>(std::aligned_alloc(4096, kPiece));
    return {memory, kPiece};
}

namespace {

constexpr Bytes kRing = 96 * kMiB;

Result<Bytes> read_through_ring(drive::Client& client, std::uint32_t file, Bytes size) {
    // The share that a directory store leaves to the ring: what has come is copied out of it at once.
    transfer::RingAllocator ring(transfer::MemoryShare::of(kRing, false).ring, drive::kRingAlignment);
    std::map<std::uint64_t, Bytes> asked;
    std::vector<drive::Request> requests;
    Bytes offset = 0;
    for (std::uint64_t number = 1; offset < size || !asked.empty();) {
        requests.clear();
        while (offset < size && asked.size() < 64) {
            const Bytes length = std::min(kPiece, size - offset);
            const std::optional<Bytes> extent = ring.take(length);
            if (!extent)
                break;
            asked[number] = *extent;
            requests.emplace_back(drive::Read{number++, file, offset, length, *extent});
            offset += length;
        }
        if (!requests.empty())
            DRAY_TRY(client.submit(requests));
        DRAY_LET(const std::vector<drive::Reply> replies, client.receive());
        for (const drive::Reply& reply : replies) {
            const auto* done = std::get_if<drive::ReadDone>(&reply);
            if (done == nullptr)
                return fail(ErrorKind::Internal, "dray-drive could not read");
            ring.give_back(asked.at(done->request));
            asked.erase(done->request);
        }
    }
    return size;
}

Result<Figures> by_ring(const std::string& image, const SecretBytes& key, const std::string& name) {
    DRAY_LET(const FileDescriptor device, open_file(image, O_RDONLY));
    DRAY_LET(const FileDescriptor secret,
             make_sealed_memfd("key", std::as_bytes(std::span(key.data(), key.size()))));
    DRAY_LET(drive::Child child, drive::spawn(device.get(), secret.get()));
    const pid_t pid = child.pid;
    DRAY_LET(drive::Client client,
             drive::Client::connect(std::move(child.socket), {kRing, volume::UnlockPolicy().memory, true}));
    DRAY_LET([[maybe_unused]] const drive::Unlocked unlocked, client.unlock({}));
    DRAY_LET(const Bytes size, client.open(0, name));
    return measured(pid, [&] { return read_through_ring(client, 0, size); });
}

struct Opened {
    std::unique_ptr<volume::DeviceFile> device;
    std::unique_ptr<volume::BlockDevice> volume;
};

Result<Opened> open_here(const std::string& image, const SecretBytes& key) {
    Opened opened;
    DRAY_TRY(volume::warm_up_unlocking());
    DRAY_LET(FileDescriptor file, open_file(image, O_RDONLY));
    DRAY_LET(opened.device, volume::DeviceFile::open(std::move(file)));
    volume::UnlockPolicy policy;
    policy.allow_plain = true;
    const auto unlocked = volume::unlock_volume(*opened.device, key, policy);
    if (!unlocked)
        return fail(unlocked.error().error);
    DRAY_LET(opened.volume, volume::open_volume(*opened.device, *unlocked));
    return opened;
}

Result<Figures> by_reader(const std::string& image, const SecretBytes& key, const std::string& name) {
    DRAY_LET(const Opened opened, open_here(image, key));
    auto reader = fs::open_filesystem(*opened.volume);
    if (!reader)
        return fail(reader.error().error);
    DRAY_LET(const fs::FileStatus file, (*reader)->lookup(name));
    return measured(0, [&]() -> Result<Bytes> {
        for (Bytes offset = 0; offset < file.size; offset += kPiece)
            DRAY_TRY((*reader)->read(file, offset,
                                     buffer().first(static_cast<std::size_t>(std::min(kPiece, file.size - offset)))));
        return file.size;
    });
}

Result<Figures> by_library(const std::string& image, const SecretBytes& key, const std::string& name) {
    DRAY_LET(const Opened opened, open_here(image, key));
    auto reader = fs::open_filesystem(*opened.volume);
    if (!reader)
        return fail(reader.error().error);
    return (*reader)->type() == "ntfs" ? read_with_libntfs(*opened.volume, name) : read_with_libext2fs(*opened.volume, name);
}

int run(const std::vector<std::string>& arguments) {
    const std::map<std::string, Result<Figures> (*)(const std::string&, const SecretBytes&, const std::string&)> ways =
        {{"ring", by_ring}, {"reader", by_reader}, {"library", by_library}};
    if (arguments.size() != 4 || !ways.contains(arguments[0])) {
        std::fputs("drive_read_bench is run by tests/bench/drive_read\n", stderr);
        return 2;
    }
    const Result<std::string> key = read_file(arguments[2], 4096);
    Result<Figures> figures =
        key ? ways.at(arguments[0])(arguments[1], SecretBytes(*key), arguments[3]) : fail(Error(key.error()));
    if (!figures) {
        std::fprintf(stderr, "drive_read_bench: %s\n", figures.error().text().c_str());
        return 1;
    }
    std::printf("%llu %.6f %.6f\n", static_cast<unsigned long long>(figures->bytes), figures->wall, figures->cpu);
    return 0;
}

}  // namespace
}  // namespace dray::bench

int main(int argc, char** argv) { return dray::bench::run({argv + 1, argv + argc}); }
