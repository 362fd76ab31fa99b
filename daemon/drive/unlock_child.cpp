// SPDX-License-Identifier: Apache-2.0
#include "daemon/drive/unlock_child.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>

#include "daemon/base/clock.hpp"
#include "daemon/base/memfd.hpp"
#include "daemon/base/wire.hpp"
#include "daemon/confine/confine.hpp"
#include "daemon/drive/protocol.hpp"

namespace dray::drive {
namespace {

using volume::OpenResult;
using volume::UnlockedVolume;

/// A key derivation that takes longer is an attack or a machine too slow for it.
constexpr unsigned kSeconds = 60;
/// The child's own alarm comes first; who has taken the child over may have switched it off.
constexpr Microseconds kPatience = std::chrono::seconds(kSeconds + 2);
constexpr Bytes kMemoryMargin = 256 * kMiB;
/// All of an answer fits the pipe, so that the child never waits for the parent.
constexpr std::size_t kMaxAnswer = 32 * kKiB;
constexpr std::size_t kMaxSentence = 4096;
constexpr std::size_t kMaxWord = 256;
constexpr std::size_t kMaxVolumeKey = 64;

void put_segment(WireWriter& out, const volume::PlainSegment& segment) {
    out.u64(segment.offset);
    out.u64(segment.size);
}

void put_segment(WireWriter& out, const volume::LuksSegment& segment) {
    out.u64(segment.offset);
    out.u64(segment.size);
    out.u64(segment.sector_size);
    out.u64(segment.iv_tweak);
    out.u8(static_cast<std::uint8_t>(segment.algorithm));
}

void put_segment(WireWriter& out, const volume::BitLockerSegment& segment) {
    out.u64(segment.offset);
    out.u64(segment.size);
    out.u64(segment.sector_size);
    out.u64(segment.header_offset);
    out.u64(segment.header_size);
    for (const Bytes place : segment.metadata)
        out.u64(place);
    out.u8(static_cast<std::uint8_t>(segment.algorithm));
}

volume::PlainSegment take_plain(WireReader& in) {
    volume::PlainSegment segment;
    segment.offset = in.u64();
    segment.size = in.u64();
    return segment;
}

volume::LuksSegment take_luks(WireReader& in) {
    volume::LuksSegment segment;
    segment.offset = in.u64();
    segment.size = in.u64();
    segment.sector_size = in.u64();
    segment.iv_tweak = in.u64();
    segment.algorithm = in.enumerator<volume::LuksAlgorithm>(volume::kLuksAlgorithms);
    return segment;
}

volume::BitLockerSegment take_bitlocker(WireReader& in) {
    volume::BitLockerSegment segment;
    segment.offset = in.u64();
    segment.size = in.u64();
    segment.sector_size = in.u64();
    segment.header_offset = in.u64();
    segment.header_size = in.u64();
    for (Bytes& place : segment.metadata)
        place = in.u64();
    segment.algorithm = in.enumerator<volume::BitLockerAlgorithm>(volume::kBitLockerAlgorithms);
    return segment;
}

void put(WireWriter& out, const OpenResult<UnlockedVolume>& result) {
    out.boolean(result.has_value());
    if (!result) {
        const Failure failure = to_failure(result.error().error);
        out.u8(static_cast<std::uint8_t>(failure.kind));
        out.text(std::string_view(failure.message).substr(0, kMaxSentence));
        out.text(result.error().status);
        return;
    }
    out.text(std::string_view(result->identity.type).substr(0, kMaxWord));
    out.text(std::string_view(result->identity.id).substr(0, kMaxWord));
    out.text(result->key.text());
    out.u8(static_cast<std::uint8_t>(result->segment.index()));
    std::visit([&](const auto& segment) { put_segment(out, segment); }, result->segment);
    out.text(std::string_view(result->partition_table).substr(0, kMaxWord));
    out.text(std::string_view(result->notice).substr(0, kMaxSentence));
}

std::unexpected<volume::OpenError> stopped() {
    return volume::refuse({ErrorKind::LimitReached,
                           fmt::format("unlocking was stopped: it took more than {} s, more memory than "
                                       "drives.unlock-memory allows, or did something forbidden",
                                       kSeconds)},
                          volume::kUnlockVolumeFailed);
}

OpenResult<UnlockedVolume> take(std::span<const std::byte> answer) {
    WireReader in(answer);
    if (!in.boolean()) {
        const auto kind = in.enumerator<ErrorKind>(static_cast<std::uint8_t>(ErrorKind::Internal) + 1);
        std::string message = in.text(kMaxSentence);
        std::string status = in.text(kMaxWord);
        if (!in.finish())
            return stopped();
        return volume::refuse({kind, std::move(message)}, std::move(status));
    }
    UnlockedVolume volume;
    volume.identity.type = in.text(kMaxWord);
    volume.identity.id = in.text(kMaxWord);
    std::string key = in.text(kMaxVolumeKey);
    volume.key = SecretBytes(key);
    explicit_bzero(key.data(), key.size());
    switch (in.u8()) {
        case 0: volume.segment = take_plain(in); break;
        case 1: volume.segment = take_luks(in); break;
        case 2: volume.segment = take_bitlocker(in); break;
        default: in.reject();
    }
    volume.partition_table = in.text(kMaxWord);
    volume.notice = in.text(kMaxSentence);
    if (!in.finish())
        return stopped();
    return volume;
}

OpenResult<UnlockedVolume> unlock(volume::BlockDevice& device, int key_fd,
                                  const volume::UnlockPolicy& policy) {
    if (const Result<void> boxed = confine::box_unlocking(false); !boxed)
        return volume::refuse(boxed.error(), volume::kInternalError);
    const Result<SecretBytes> key = read_sealed_memfd(key_fd, kMaxKeyBytes);
    if (!key)
        return volume::refuse(key.error(), volume::kInternalError);
    return volume::unlock_volume(device, *key, policy);
}

void limit_resources([[maybe_unused]] Bytes unlock_memory) {
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
    // The sanitizers map terabytes of shadow, so there it cannot be limited.
    const rlimit memory{unlock_memory + kMemoryMargin, unlock_memory + kMemoryMargin};
    (void)setrlimit(RLIMIT_AS, &memory);  // lowering a limit does not fail
#endif
    alarm(kSeconds);
}

[[noreturn]] void run_child(volume::BlockDevice& device, int key_fd, const volume::UnlockPolicy& policy,
                            int pipe) {
    limit_resources(policy.memory);
    WireWriter out;
    put(out, unlock(device, key_fd, policy));
    const ssize_t written = write(pipe, out.bytes().data(), out.size());
    _exit(written == static_cast<ssize_t>(out.size()) ? 0 : 1);
}

}  // namespace

Result<UnlockChild> UnlockChild::start(volume::BlockDevice& device, int key_fd,
                                       const volume::UnlockPolicy& policy,
                                       const std::function<void()>& forget) {
    std::array<int, 2> ends{};
    if (pipe2(ends.data(), O_CLOEXEC) != 0)
        return fail_errno(errno, "cannot make a pipe");
    FileDescriptor read_end(ends[0]);
    const FileDescriptor write_end(ends[1]);
    const pid_t parent = getpid();
    const pid_t child = fork();
    if (child < 0)
        return fail_errno(errno, "cannot start the unlocking process");
    if (child == 0) {
        if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || getppid() != parent)
            _exit(1);
        forget();
        read_end = FileDescriptor();
        run_child(device, key_fd, policy, write_end.get());
    }
    return UnlockChild(std::move(read_end));
}

std::optional<OpenResult<UnlockedVolume>> UnlockChild::wait(int socket_fd) {
    SecretBytes answer(kMaxAnswer);
    std::size_t length = 0;
    const SystemClock clock;
    const Microseconds end = clock.since_boot() + kPatience;
    for (;;) {
        // The child does not outlive this process, which ends with that answer.
        const auto left = std::chrono::ceil<std::chrono::milliseconds>(end - clock.since_boot());
        if (left.count() <= 0)
            return stopped();
        // No event is asked of the socket: poll still tells when the peer has closed it.
        std::array<pollfd, 2> waiting{pollfd{pipe_.get(), POLLIN, 0}, pollfd{socket_fd, 0, 0}};
        if (poll(waiting.data(), waiting.size(), static_cast<int>(left.count())) < 0 && errno != EINTR)
            return stopped();
        if ((waiting[1].revents & (POLLHUP | POLLERR)) != 0)
            return std::nullopt;
        if (waiting[0].revents == 0)
            continue;
        const ssize_t count = read(pipe_.get(), answer.data() + length, answer.size() - length);
        if (count < 0 && errno == EINTR)
            continue;
        if (count <= 0)
            break;
        length += static_cast<std::size_t>(count);
    }
    pipe_ = FileDescriptor();
    return take(answer.bytes().first(length));
}

}  // namespace dray::drive
