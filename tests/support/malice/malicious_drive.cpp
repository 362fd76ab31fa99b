// SPDX-License-Identifier: Apache-2.0
//
// A dray-drive that was taken over, as if by what it read: the objects of the shipped program, boxes and all, with a few
// of its inner calls led through here by the linker (--wrap). It is honest until it is told otherwise: when it is asked for
// a file "malice/COMMAND", or by a key that begins so. What a command does, it does behind the box of its phase.
#include <poll.h>

#include <cstdint>
#include <cstdlib>
#include <map>
#include <optional>
#include <span>
#include <utility>

#include "daemon/base/memfd.hpp"
#include "daemon/base/message_socket.hpp"
#include "daemon/drive/protocol.hpp"
#include "daemon/drive/unlock_child.hpp"
#include "drivers/volume/unlock.hpp"
#include "tests/support/malice/forbidden_calls.hpp"

#define DRAY_REAL(symbol) asm("__real_" symbol)
#define DRAY_WRAP(symbol) asm("__wrap_" symbol)
#define DRAY_MAP "_ZN4dray12SharedMemory3mapEim"
#define DRAY_DECODE "_ZN4dray5drive15decode_to_driveESt4spanIKSt4byteLm18446744073709551615EE"
#define DRAY_ENCODE "_ZN4dray5drive6encodeERKSt7variantIJNS0_8UnlockedENS0_12UnlockFailedENS0_7RepliesENS0_7ResumedEEE"
#define DRAY_RECEIVE "_ZN4dray13MessageSocket7receiveEv"
#define DRAY_WAIT "_ZN4dray5drive11UnlockChild4waitEi"
#define DRAY_UNLOCK "_ZN4dray6volume13unlock_volumeERNS0_11BlockDeviceERKNS_11SecretBytesERKNS0_12UnlockPolicyE"

namespace dray {

using VolumeResult = volume::OpenResult<volume::UnlockedVolume>;
Result<SharedMemory> real_map(int fd, Bytes size) DRAY_REAL(DRAY_MAP);
Result<SharedMemory> wrapped_map(int fd, Bytes size) DRAY_WRAP(DRAY_MAP);
Result<drive::ToDrive> real_decode(std::span<const std::byte> bytes) DRAY_REAL(DRAY_DECODE);
Result<drive::ToDrive> wrapped_decode(std::span<const std::byte> bytes) DRAY_WRAP(DRAY_DECODE);
std::vector<std::byte> real_encode(const drive::FromDrive& message) DRAY_REAL(DRAY_ENCODE);
std::vector<std::byte> wrapped_encode(const drive::FromDrive& message) DRAY_WRAP(DRAY_ENCODE);
Result<Message> real_receive(MessageSocket* socket) DRAY_REAL(DRAY_RECEIVE);
Result<Message> wrapped_receive(MessageSocket* socket) DRAY_WRAP(DRAY_RECEIVE);
std::optional<VolumeResult> real_wait(drive::UnlockChild* child, int socket_fd) DRAY_REAL(DRAY_WAIT);
std::optional<VolumeResult> wrapped_wait(drive::UnlockChild* child, int socket_fd) DRAY_WRAP(DRAY_WAIT);
VolumeResult real_unlock(volume::BlockDevice& device, const SecretBytes& key, const volume::UnlockPolicy& policy)
    DRAY_REAL(DRAY_UNLOCK);
VolumeResult wrapped_unlock(volume::BlockDevice& device, const SecretBytes& key, const volume::UnlockPolicy& policy)
    DRAY_WRAP(DRAY_UNLOCK);

namespace {

using malice::say;

int g_parent = 0;
int g_ring_fd = -1;
std::span<std::byte> g_ring;
/// What it was told, or "".
std::string g_command;
/// Files and reads that the command is about.
std::uint32_t g_file = ~0U;
std::map<std::uint64_t, drive::Read> g_reads;
std::vector<drive::Read> g_answered;

bool is(std::string_view command) { return g_command == command; }

void send_raw(std::span<const std::byte> bytes) { (void)send(drive::kSocketFd, bytes.data(), bytes.size(), MSG_NOSIGNAL); }
void send_raw(const drive::FromDrive& message) { send_raw(real_encode(message)); }

[[noreturn]] void fall_silent() {
    for (;;)
        (void)poll(nullptr, 0, -1);
}

[[noreturn]] void spin() {
    for (;;)
        asm volatile("");
}

/// A call that the box lets pass is told of; one that it kills for is not.
void call(std::string_view name) {
    for (const malice::ForbiddenCall& each : malice::forbidden_calls(g_parent))
        if (each.name == name) {
            const long answer = each.make();
            say(std::string(name) + (answer < 0 ? " came back with an error" : " got through"));
        }
}

/// 4096 bytes that no terminal, log or bus should get as they are.
std::string hostile_text() {
    std::string text = "\x1b]0;owned\x07\x1b[2J\r\nwarning: all is well\t\x7f\xc2\x9b" "31m\xff\xfe\xc3(\xed\xa0\x80";
    while (text.size() < 4096)
        text += "\x1b[31m";
    text.resize(4096);
    return text;
}

void hand_descriptors_over() {
    std::array<int, 4> fds{0, 1, 2, drive::kDeviceFd};
    alignas(cmsghdr) std::array<std::byte, CMSG_SPACE(sizeof fds)> control{};
    const auto bytes = real_encode(drive::FromDrive(drive::Replies{{drive::ReadDone{1}}}));
    iovec vector{const_cast<std::byte*>(bytes.data()), bytes.size()};
    msghdr message{};
    message.msg_iov = &vector;
    message.msg_iovlen = 1;
    message.msg_control = control.data();
    message.msg_controllen = control.size();
    cmsghdr* header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof fds);
    std::memcpy(CMSG_DATA(header), fds.data(), sizeof fds);
    if (sendmsg(drive::kSocketFd, &message, MSG_NOSIGNAL) > 0)
        say("descriptors got through");
}

/// What is done at once; the lies about replies come when there are replies.
void obey() {
    constexpr std::string_view kCall = "call-";
    if (g_command.starts_with(kCall))
        return call(std::string_view(g_command).substr(kCall.size()));
    if (is("mute"))
        fall_silent();
    if (is("spin"))
        spin();
    if (is("memory")) {
        say("memory ended at " + std::to_string(malice::grab_memory()) + " MiB");
        _exit(3);
    }
    if (is("device")) {
        if (write(drive::kDeviceFd, "owned", 5) >= 0)
            say("device got through");
        (void)syscall(SYS_pwrite64, drive::kDeviceFd, "owned", 5, 0);
        say("device got through");
    }
    if (is("past-ring")) {
        void* const wider = mremap(g_ring.data(), g_ring.size(), 2 * g_ring.size(), MREMAP_MAYMOVE);
        if (wider != MAP_FAILED)
            static_cast<volatile char*>(wider)[g_ring.size()] = 'x';
        say("past-ring got through");
    }
    if (is("grow-ring")) {
        (void)syscall(SYS_ftruncate, g_ring_fd, 0);
        say("grow-ring got through");
    }
    if (is("descriptors"))
        hand_descriptors_over();
    if (is("flood"))
        for (std::uint64_t number = 1'000'000;; ++number)
            send_raw(drive::FromDrive(drive::Replies{{drive::ReadDone{number}}}));
    if (is("flood-empty"))
        for (const std::array<std::byte, 5> nothing{std::byte{67}};;)
            send_raw(nothing);
    if (is("long"))
        send_raw(std::vector<std::byte>(kMaxMessage + 1, std::byte{67}));
    if (is("short")) {
        const auto whole = real_encode(drive::FromDrive(drive::Replies{{drive::ReadDone{1}}}));
        send_raw(std::span(whole).first(whole.size() - 1));
    }
    if (is("out-of-turn"))
        send_raw(drive::FromDrive(drive::Unlocked{"luks2", "x", "ext4", "", "", 1}));
}

std::string read_key() {
    std::string key(256, '\0');
    const ssize_t length = pread(drive::kKeyFd, key.data(), key.size(), 0);
    key.resize(length > 0 ? static_cast<std::size_t>(length) : 0);
    return key;
}

std::string command_in(std::string_view text) {
    const std::size_t place = text.find(malice::kWord);
    if (place == std::string_view::npos)
        return "";
    const std::string_view rest = text.substr(place + malice::kWord.size());
    return std::string(rest.substr(0, rest.find_first_of("/\\")));
}

void hear(const drive::Request& request) {
    if (const auto* open = std::get_if<drive::Open>(&request)) {
        if (std::string command = command_in(open->path); !command.empty()) {
            g_command = std::move(command);
            g_file = open->file;
            obey();
        }
    } else if (const auto* read = std::get_if<drive::Read>(&request); read != nullptr && read->file == g_file) {
        g_reads[read->request] = *read;
    }
}

void lie(drive::Replies& replies) {
    std::vector<drive::Reply> told;
    for (drive::Reply& reply : replies.replies) {
        if (auto* opened = std::get_if<drive::Opened>(&reply); opened != nullptr && opened->file == g_file) {
            if (is("size-huge"))
                opened->size = std::uint64_t{1} << 63U;
            if (is("size-other"))
                opened->size /= 2;
            if (is("size-refused"))
                reply = drive::OpenFailed{g_file, {ErrorKind::Denied, hostile_text()}};
        }
        if (auto* done = std::get_if<drive::ReadDone>(&reply); done != nullptr && g_reads.contains(done->request)) {
            const drive::Read read = g_reads[done->request];
            g_answered.push_back(read);
            if (is("undone"))
                std::memset(g_ring.data() + read.ring_offset, 0, read.length);
            if (is("twice"))
                told.push_back(*done);
            if (is("number"))
                done->request += 1'000'000;
            if (is("size-refused"))
                reply = drive::ReadFailed{read.request, {ErrorKind::Denied, hostile_text()}};
            if (is("gone"))
                reply = drive::ReadFailed{read.request, {ErrorKind::Gone, hostile_text()}};
        }
        told.push_back(std::move(reply));
    }
    replies.replies = std::move(told);
}

/// As somebody who has no child's answer to wait for.
void obey_before_unlocking(int socket_fd) {
    const std::string hostile = hostile_text();
    const std::string word = hostile.substr(0, 256);
    if (is("unlock-text"))
        send_raw(drive::FromDrive(drive::UnlockFailed{{ErrorKind::Denied, hostile}, word}));
    if (is("unlock-wrong-key"))
        send_raw(drive::FromDrive(drive::UnlockFailed{{ErrorKind::WrongKey, hostile}, "BitLockerKeyInvalid"}));
    if (is("unlock-names"))
        send_raw(drive::FromDrive(drive::Unlocked{word, word, word, word, hostile, ~0ULL}));
    if (is("unlock-other"))
        send_raw(drive::FromDrive(
            drive::Unlocked{"luks2", "01234567-89ab-cdef-0123-456789abcdef", "ext4", "", "", 1 << 20U}));
    if (is("unlock-replies"))
        send_raw(drive::FromDrive(drive::Replies{{drive::ReadDone{1}}}));
    if (is("unlock-descriptors"))
        hand_descriptors_over();
    if (is("unlock-names")) {
        // The manifest's opening, to be answered with more of the same.
        std::array<std::byte, 4096> request{};
        if (read(socket_fd, request.data(), request.size()) > 0)
            send_raw(drive::FromDrive(drive::Replies{{drive::OpenFailed{0, {ErrorKind::Denied, hostile}}}}));
    }
    fall_silent();
}

}  // namespace

Result<SharedMemory> wrapped_map(int fd, Bytes size) {
    g_parent = getppid();
    g_ring_fd = fcntl(fd, F_DUPFD_CLOEXEC, 20);
    if (ftruncate(fd, static_cast<off_t>(size * 2)) == 0 || ftruncate(fd, 0) == 0)
        say("the ring's size got through");
    Result<SharedMemory> ring = real_map(fd, size);
    if (ring)
        g_ring = ring->bytes();
    return ring;
}

Result<drive::ToDrive> wrapped_decode(std::span<const std::byte> bytes) {
    Result<drive::ToDrive> message = real_decode(bytes);
    if (message && std::holds_alternative<drive::Unlock>(*message))
        if (std::string command = command_in(read_key()); !command.empty())
            g_command = std::move(command);
    if (auto* batch = message ? std::get_if<drive::Batch>(&*message) : nullptr)
        for (drive::Request& request : batch->requests)
            hear(request);
    return message;
}

std::vector<std::byte> wrapped_encode(const drive::FromDrive& message) {
    if (const auto* replies = std::get_if<drive::Replies>(&message); replies != nullptr && g_file != ~0U) {
        drive::Replies told = *replies;
        lie(told);
        return real_encode(drive::FromDrive(std::move(told)));
    }
    return real_encode(message);
}

Result<Message> wrapped_receive(MessageSocket* socket) {
    while (is("change") && !g_answered.empty()) {
        pollfd waiting{socket->fd(), POLLIN, 0};
        if (poll(&waiting, 1, 0) != 0)
            break;
        for (const drive::Read& read : g_answered)
            for (Bytes place = 0; place < read.length; place += 4096)
                g_ring[static_cast<std::size_t>(read.ring_offset + place)] ^= std::byte{0x55};
    }
    return real_receive(socket);
}

std::optional<VolumeResult> wrapped_wait(drive::UnlockChild* child, int socket_fd) {
    if (g_command.starts_with("unlock-"))
        obey_before_unlocking(socket_fd);
    return real_wait(child, socket_fd);
}

/// In the unlocking child.
VolumeResult wrapped_unlock(volume::BlockDevice& device, const SecretBytes& key, const volume::UnlockPolicy& policy) {
    const std::string command = command_in(key.text());
    constexpr std::string_view kCall = "child-call-";
    if (command.starts_with(kCall))
        call(std::string_view(command).substr(kCall.size()));
    if (command == "child-memory")
        say("child memory ended at " + std::to_string(malice::grab_memory()) + " MiB");
    if (command == "child-spin") {
        sigset_t all;
        sigfillset(&all);
        (void)sigprocmask(SIG_SETMASK, &all, nullptr);
        say("child spins");
        spin();
    }
    if (command.starts_with("child-"))
        return volume::refuse({ErrorKind::WrongKey, hostile_text()}, "BitLockerKeyInvalid");
    return real_unlock(device, key, policy);
}

}  // namespace dray
