// SPDX-License-Identifier: Apache-2.0
//
// dray-drive: unlocks one drive, reads its file system in its own address space, and hands content over
// in shared memory. It holds a device, a key and a socket, and shuts itself in before it looks at the
// device. Started by drayd or drayctl only; protocol.hpp says with which descriptors.
#include <fcntl.h>
#include <malloc.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <csignal>
#include <ctime>
#include <optional>
#include <span>
#include <utility>

#include "daemon/base/log.hpp"
#include "daemon/base/memfd.hpp"
#include "daemon/confine/confine.hpp"
#include "daemon/drive/drive_server.hpp"
#include "daemon/drive/header_check.hpp"
#include "daemon/drive/unlock_child.hpp"
#include "drivers/filesystem/open_filesystem.hpp"
#include "drivers/volume/unlock.hpp"

#if defined(__SANITIZE_ADDRESS__)
// Looking for leaks at the end takes ptrace, which no box allows.
extern "C" const char* __asan_default_options() { return "detect_leaks=0"; }
#endif

namespace dray::drive {
namespace {

constexpr Bytes kMaxRing = 8 * kGiB;

struct Peer {
    MessageSocket socket;
    Setup setup;
    SharedMemory ring;
};

/// What must happen while files can still be opened.
Result<void> prepare(const std::optional<confine::User>& user) {
    // Threads of the key derivation would map an arena of 128 MiB each, and messages are as long as what
    // malloc maps anew every time.
    (void)mallopt(M_ARENA_MAX, 1);
    (void)mallopt(M_MMAP_THRESHOLD, 16 * 1024 * 1024);
    (void)mallopt(M_TRIM_THRESHOLD, 64 * 1024 * 1024);
    tzset();
    DRAY_TRY(confine::drop_privileges(user));
    // The socket's end is the other sign that the parent is gone, and the surer one. Set here, because a
    // change of the uid takes it back.
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    DRAY_TRY(volume::warm_up_unlocking());
    // What the kernel cannot do, drayd has said once for all of us.
    const std::string known = confine::file_system_problem();
    if (const std::string warning = confine::shut_file_system(); warning != known)
        log::warning("{}", warning);
    return {};
}

Result<ToDrive> receive(Peer& peer, std::vector<FileDescriptor>* descriptors = nullptr) {
    DRAY_LET(Message message, peer.socket.receive());
    if (descriptors != nullptr)
        *descriptors = std::move(message.descriptors);
    return decode_to_drive(message.bytes);
}

Result<Peer> meet_peer() {
    Peer peer;
    peer.socket = MessageSocket(FileDescriptor(kSocketFd));
    std::vector<FileDescriptor> descriptors;
    DRAY_LET(const ToDrive first, receive(peer, &descriptors));
    const auto* setup = std::get_if<Setup>(&first);
    if (setup == nullptr || descriptors.size() != 1)
        return fail(ErrorKind::Corrupt, "the peer did not begin with Setup and a ring");
    if (setup->ring_size > kMaxRing)
        return fail(ErrorKind::InvalidArgument, "a ring of {} bytes is too large", setup->ring_size);
    peer.setup = *setup;
    DRAY_LET(peer.ring, SharedMemory::map(descriptors.front().get(), setup->ring_size));
    return peer;
}

/// The peer has to be told; then there is nothing left to do here.
Result<void> give_up(Peer& peer, const Error& error, const std::string& status) {
    const std::string& word = error.kind() == ErrorKind::Gone ? volume::kDiskNotFound : status;
    return peer.socket.send(encode(FromDrive(UnlockFailed{to_failure(error), word})));
}

bool is_allowed(const volume::UnlockedVolume& unlocked, const volume::UnlockPolicy& policy) {
    const volume::VolumeIdentity& identity = unlocked.identity;
    const std::string& table = unlocked.partition_table;
    if (!table.empty() && table != "gpt" && table != "dos")
        return false;
    const bool is_plain = std::holds_alternative<volume::PlainSegment>(unlocked.segment);
    const bool is_bitlocker = std::holds_alternative<volume::BitLockerSegment>(unlocked.segment);
    if (is_plain != (identity.type == "plain") || is_bitlocker != (identity.type == "bitlocker"))
        return false;
    if (is_plain)
        return policy.allow_plain;
    const auto same = [](unsigned char a, unsigned char b) { return std::tolower(a) == std::tolower(b); };
    return (is_bitlocker || identity.type == "luks1" || identity.type == "luks2") &&
           (policy.volume_id.empty() || std::ranges::equal(identity.id, policy.volume_id, same));
}

std::string joined(const std::string& one, const std::string& other) {
    return one.empty() || other.empty() ? one + other : one + "; " + other;
}

Result<std::string> doubt_about_header(volume::BlockDevice& device, const std::string& header_hash) {
    DRAY_LET(const std::vector<HeaderRegion> regions, parse_header_hash(header_hash));
    return check_header(device, regions);
}

/// What a reader can take at most, whoever has got hold of it: the ring, directories, maps of files.
void limit_memory([[maybe_unused]] Bytes ring) {
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
    constexpr Bytes kReader = 768 * kMiB;
    const rlimit memory{ring + kReader, ring + kReader};
    (void)setrlimit(RLIMIT_AS, &memory);  // lowering a limit does not fail
#endif
}

Result<void> serve_reading(Peer& peer, const Unlock& unlock) {
    Result<std::unique_ptr<volume::DeviceFile>> device =
        volume::DeviceFile::open(FileDescriptor(kDeviceFd));
    if (!device)
        return give_up(peer, device.error(), volume::kDiskOperationFailed);
    const Result<std::string> doubt = doubt_about_header(**device, unlock.header_hash);
    if (!doubt)
        return give_up(peer, doubt.error(), volume::kDiskOperationFailed);
    if (!doubt->empty() && peer.setup.strict_header_hash)
        return give_up(peer, {ErrorKind::Denied, *doubt + "; drives.strict-header-hash refuses it"}, volume::kDiskOperationFailed);
    FileDescriptor key(kKeyFd);
    const volume::UnlockPolicy policy{peer.setup.unlock_memory, peer.setup.allow_plain, unlock.volume_id, unlock.partition};
    DRAY_LET(UnlockChild child, UnlockChild::start(**device, key.get(), policy, [&peer] {
                 peer.ring = SharedMemory();
                 peer.socket = MessageSocket();
             }));
    // Only the child needs the key, and only formatting the lock.
    key = FileDescriptor();
    close(kLockFd);
    limit_memory(peer.setup.ring_size);
    DRAY_TRY(confine::box_serving(false));

    auto answer = child.wait(peer.socket.fd());
    if (!answer)
        return {};
    if (!*answer)
        return give_up(peer, answer->error().error, answer->error().status);
    volume::UnlockedVolume& unlocked = **answer;
    // The child has parsed a hostile header: what it says is looked at once more.
    if (!is_allowed(unlocked, policy))
        return give_up(peer, {ErrorKind::Corrupt, "the unlocking process answered with another volume"},
                       volume::kUnlockVolumeFailed);

    const Result<std::unique_ptr<volume::BlockDevice>> volume = volume::open_volume(**device, unlocked);
    if (!volume)
        return give_up(peer, volume.error(), volume::kUnlockVolumeFailed);
    unlocked.key.wipe();
    auto filesystem = fs::open_filesystem(**volume);
    if (!filesystem)
        return give_up(peer, filesystem.error().error, filesystem.error().status);

    DRAY_TRY(peer.socket.send(encode(FromDrive(
        Unlocked{unlocked.identity.type, unlocked.identity.id, std::string((*filesystem)->type()),
                 unlocked.partition_table, joined(*doubt, joined(unlocked.notice, (*filesystem)->notice())), (*volume)->size(),
                 std::max((*volume)->sector_size(), (*device)->alignment())}))));
    return DriveServer(peer.socket, peer.ring.bytes(), filesystem->get(), nullptr).serve();
}

/// While the whole disk's node is locked, udev leaves it alone.
Result<void> lock_whole_disk() {
    struct stat status {};
    if (fstat(kLockFd, &status) != 0 || !S_ISBLK(status.st_mode))
        return {};
    if (flock(kLockFd, LOCK_EX | LOCK_NB) != 0)
        return fail_errno(errno, "somebody else is using the disk");
    return {};
}

/// The state file beside Format or Resume, where there has to be one.
Result<std::optional<FillState>> take_state(std::vector<FileDescriptor> descriptors, bool is_expected) {
    if (descriptors.size() != (is_expected ? 1 : 0))
        return fail(ErrorKind::Corrupt, "the peer sent {} descriptors beside its message", descriptors.size());
    if (!is_expected)
        return std::nullopt;
    return FillState(std::move(descriptors.front()));
}

Result<std::unique_ptr<Filler>> format_device(volume::DeviceFile& device, const Format& format,
                                              std::optional<FillState> state) {
    DRAY_TRY(lock_whole_disk());
    DRAY_TRY(confine::box_unlocking(true));
    const FileDescriptor key_fd(kKeyFd);
    DRAY_LET(const SecretBytes key, read_sealed_memfd(key_fd.get(), kMaxKeyBytes));
    return Filler::format(device, key, format, std::move(state));
}

Result<void> serve_filling(Peer& peer, const Format& format, std::vector<FileDescriptor> descriptors) {
    DRAY_LET(auto state, take_state(std::move(descriptors), format.checkpoints != Checkpoints::None));
    Result<std::unique_ptr<volume::DeviceFile>> device =
        volume::DeviceFile::open(FileDescriptor(kDeviceFd));
    if (!device)
        return give_up(peer, device.error(), volume::kDiskOperationFailed);
    Result<std::unique_ptr<Filler>> filler = format_device(**device, format, std::move(state));
    if (!filler)
        return give_up(peer, filler.error(), volume::kDiskOperationFailed);
    DRAY_TRY(confine::box_serving(true));
    DRAY_TRY(peer.socket.send(encode(FromDrive((*filler)->describe()))));
    return DriveServer(peer.socket, peer.ring.bytes(), nullptr, filler->get()).serve();
}

/// What an unlocking says that fails because the device is not the one that was being filled.
Error as_conflict(const Error& error) {
    switch (error.kind()) {
        case ErrorKind::WrongKey:
        case ErrorKind::Gone:
        case ErrorKind::Internal:
        case ErrorKind::LimitReached: return error;
        default: return {ErrorKind::Conflict, "the drive is not the one that was being filled: " + error.text()};
    }
}

Result<void> serve_resuming(Peer& peer, const Resume& resume, std::vector<FileDescriptor> descriptors) {
    DRAY_LET(auto state, take_state(std::move(descriptors), true));
    Result<std::unique_ptr<volume::DeviceFile>> device =
        volume::DeviceFile::open(FileDescriptor(kDeviceFd));
    if (!device)
        return give_up(peer, device.error(), volume::kDiskOperationFailed);
    Result<FillState::Found> found = state->find();
    if (!found)
        return give_up(peer, found.error(), volume::kDiskOperationFailed);
    const FillRecord& record = found->record;
    if ((!resume.volume_id.empty() && resume.volume_id != record.volume_id) || record.device_size != (*device)->size())
        return give_up(peer, {ErrorKind::Conflict, "the last checkpoint is of another drive"},
                       volume::kDiskOperationFailed);
    if (const Result<void> locked = lock_whole_disk(); !locked)
        return give_up(peer, locked.error(), volume::kDiskOperationFailed);

    HeaderOverDevice with_header(**device, *state);
    volume::BlockDevice& locked_volume =
        record.is_header_last ? static_cast<volume::BlockDevice&>(with_header) : **device;
    FileDescriptor key(kKeyFd);
    const volume::UnlockPolicy policy{peer.setup.unlock_memory, false, record.volume_id, 0};
    DRAY_LET(UnlockChild child, UnlockChild::start(locked_volume, key.get(), policy, [&peer] {
                 peer.ring = SharedMemory();
                 peer.socket = MessageSocket();
             }));
    key = FileDescriptor();
    DRAY_TRY(confine::box_serving(true));
    auto answer = child.wait(peer.socket.fd());
    if (!answer)
        return {};
    if (!*answer)
        return give_up(peer, as_conflict(answer->error().error), answer->error().status);
    volume::UnlockedVolume& unlocked = **answer;
    if (!is_allowed(unlocked, policy) || unlocked.identity.type != "luks2" || !unlocked.partition_table.empty())
        return give_up(
            peer, {ErrorKind::Conflict, "the drive is not the one that was being filled: it holds another volume"},
            volume::kUnlockVolumeFailed);
    Result<std::unique_ptr<Filler>> filler = Filler::resume(**device, unlocked, *std::move(state), *std::move(found));
    unlocked.key.wipe();
    if (!filler)
        return give_up(peer, filler.error(), volume::kDiskOperationFailed);
    DRAY_TRY(peer.socket.send(encode(FromDrive((*filler)->describe_resumed()))));
    return DriveServer(peer.socket, peer.ring.bytes(), nullptr, filler->get()).serve();
}

Result<void> run(std::span<char* const> arguments) {
    DRAY_LET(const std::optional<confine::User> user, confine::read_user_argument(arguments));
    DRAY_TRY(prepare(user));
    DRAY_LET(Peer peer, meet_peer());
    std::vector<FileDescriptor> descriptors;
    DRAY_LET(const ToDrive go, receive(peer, &descriptors));
    if (const auto* unlock = std::get_if<Unlock>(&go))
        return serve_reading(peer, *unlock);
    if (const auto* format = std::get_if<Format>(&go))
        return serve_filling(peer, *format, std::move(descriptors));
    if (const auto* resume = std::get_if<Resume>(&go))
        return serve_resuming(peer, *resume, std::move(descriptors));
    return fail(ErrorKind::Corrupt, "the peer asked for work before unlocking");
}

bool has_descriptors() {
    for (const int fd : {kSocketFd, kDeviceFd, kKeyFd})
        if (fcntl(fd, F_GETFD) < 0)
            return false;
    return true;
}

}  // namespace
}  // namespace dray::drive

int main(int argc, char** argv) {
    using namespace dray;
    log::start("dray-drive", log::Level::Info);
    if (!drive::has_descriptors()) {
        log::error("dray-drive is started by dray itself, not by hand");
        return 2;
    }
    const Result<void> done = drive::run({argv, static_cast<std::size_t>(argc)});
    if (!done && done.error().kind() != ErrorKind::Gone) {
        log::error("{}", done.error().text());
        _exit(1);
    }
    // Without destructors and exit handlers: nothing here needs them, and the box need not allow for them.
    _exit(0);
}
