// SPDX-License-Identifier: Apache-2.0
#include "daemon/drive/client.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "daemon/base/clock.hpp"
#include "daemon/confine/users.hpp"

namespace dray::drive {
namespace {

constexpr const char* kLibexec = "/usr/libexec/dray/dray-drive";

std::string program_path() {
    std::array<char, 4096> path{};
    const ssize_t length = readlink("/proc/self/exe", path.data(), path.size());
    const std::string own(path.data(), length > 0 ? static_cast<std::size_t>(length) : 0);
    const std::string directory = own.substr(0, own.rfind('/') + 1);
    // Beside the program, or, for the programs of a test suite, one level above them.
    for (const char* place : {"dray-drive", "../dray-drive"})
        if (const std::string candidate = directory + place;
            !directory.empty() && access(candidate.c_str(), X_OK) == 0)
            return candidate;
    return kLibexec;
}

/// What a boxed program may know of its surroundings: where its log goes, and a sanitizer's options.
std::vector<std::string> small_environment() {
    std::vector<std::string> environment;
    for (const char* name : {"JOURNAL_STREAM", "ASAN_OPTIONS", "UBSAN_OPTIONS", "TSAN_OPTIONS"})
        if (const char* value = std::getenv(name); value != nullptr)
            environment.push_back(std::string(name) + "=" + value);
    return environment;
}

/// Between fork and exec: only calls that are safe after a fork of a program with threads.
[[noreturn]] void become(const char* path, char* user, char* const* environment, const std::array<int, 4>& fds,
                         pid_t parent) {
    // It goes when the thread that started it goes; the check closes the gap before prctl.
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || getppid() != parent)
        _exit(127);
    std::array<int, 4> high{};
    for (std::size_t i = 0; i < fds.size(); ++i) {
        high[i] = fcntl(fds[i], F_DUPFD_CLOEXEC, 16);
        if (high[i] < 0)
            _exit(127);
    }
    for (std::size_t i = 0; i < fds.size(); ++i)
        if (dup2(high[i], kSocketFd + static_cast<int>(i)) < 0)
            _exit(127);
    if (close_range(kLockFd + 1, ~0U, 0) != 0)
        _exit(127);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, nullptr);
    const std::array<char*, 3> arguments{const_cast<char*>("dray-drive"), user, nullptr};
    execve(path, arguments.data(), environment);
    _exit(127);
}

}  // namespace

Result<Child> spawn(int device_fd, int key_fd) {
    DRAY_LET(auto ends, MessageSocket::make_pair());
    const FileDescriptor null(::open("/dev/null", O_RDWR | O_CLOEXEC));
    if (!null)
        return fail_errno(errno, "cannot open /dev/null");
    const std::string path = program_path();
    std::vector<std::string> environment = small_environment();
    std::vector<char*> pointers;
    pointers.reserve(environment.size() + 1);
    for (std::string& variable : environment)
        pointers.push_back(variable.data());
    pointers.push_back(nullptr);
    std::string user;
    if (geteuid() == 0) {
        DRAY_LET(const confine::User found, confine::Users().find(confine::kDriveUser));
        user = confine::user_argument(found);
    }
    const std::array<int, 4> fds{ends.second.fd(), device_fd, key_fd, null.get()};
    const pid_t parent = getpid();

    Child child;
    child.pid = fork();
    if (child.pid < 0)
        return fail_errno(errno, "cannot start {}", path);
    if (child.pid == 0)
        become(path.c_str(), user.empty() ? nullptr : user.data(), pointers.data(), fds, parent);
    child.socket = std::move(ends.first);
    return child;
}

Error Client::died() {
    is_broken_ = true;
    return {ErrorKind::Gone, "dray-drive has ended unexpectedly"};
}

Error Client::out_of_turn() {
    is_broken_ = true;
    return {ErrorKind::Corrupt, "dray-drive sent a message out of turn"};
}

Error Client::no_message(const Error& error) { return error.kind() == ErrorKind::Corrupt ? out_of_turn() : died(); }

Error Client::fell_silent() {
    is_broken_ = true;
    return {ErrorKind::Gone, "dray-drive has not answered for " + format_duration(*patience_)};
}

void Client::set_patience(Microseconds patience) {
    patience_ = patience;
    const timeval time{static_cast<time_t>(patience.count() / 1'000'000),
                       static_cast<suseconds_t>(patience.count() % 1'000'000)};
    (void)setsockopt(socket_.fd(), SOL_SOCKET, SO_SNDTIMEO, &time, sizeof time);  // valid for every socket
}

Result<Message> Client::next_message() {
    if (patience_) {
        const Microseconds end = SystemClock().since_boot() + *patience_;
        pollfd waiting{socket_.fd(), POLLIN, 0};
        for (int ready = 0; ready == 0;) {
            const auto left = std::chrono::ceil<std::chrono::milliseconds>(end - SystemClock().since_boot());
            if (left.count() <= 0)
                return fail(fell_silent());
            ready = poll(&waiting, 1, static_cast<int>(left.count()));
            if (ready < 0 && errno == EINTR)
                ready = 0;
        }
    }
    Result<Message> message = socket_.receive();
    if (!message)
        return fail(no_message(message.error()));
    return message;
}

Client::Client(MessageSocket socket, SharedMemory ring)
    : socket_(std::move(socket)), ring_(std::move(ring)) {}

Result<Client> Client::connect(MessageSocket socket, Setup setup) {
    DRAY_LET(const FileDescriptor memory, make_shared_memfd("dray-ring", setup.ring_size));
    DRAY_LET(SharedMemory ring, SharedMemory::map(memory.get(), setup.ring_size));
    const std::array<int, 1> descriptors{memory.get()};
    if (!socket.send(encode(ToDrive(setup)), descriptors))
        return fail(ErrorKind::Gone, "dray-drive has ended unexpectedly");
    return Client(std::move(socket), std::move(ring));
}

Result<FromDrive> Client::begin(const ToDrive& message, int descriptor, std::string* status) {
    const std::array<int, 1> descriptors{descriptor};
    const std::span<const int> beside = descriptor >= 0 ? std::span<const int>(descriptors) : std::span<const int>();
    if (!socket_.send(encode(message), beside))
        return fail(died());
    Result<Message> received = socket_.receive();
    if (!received)
        return fail(no_message(received.error()));
    Result<FromDrive> decoded = decode_from_drive(received->bytes);
    if (!decoded || !received->descriptors.empty())
        return fail(out_of_turn());
    if (const auto* failed = std::get_if<UnlockFailed>(&*decoded)) {
        if (status != nullptr)
            *status = failed->status;
        return fail(to_error(failed->failure));
    }
    return decoded;
}

Result<Unlocked> Client::begin_unlocked(const ToDrive& message, int descriptor, std::string* status) {
    DRAY_LET(FromDrive answer, begin(message, descriptor, status));
    if (auto* unlocked = std::get_if<Unlocked>(&answer))
        return std::move(*unlocked);
    return fail(out_of_turn());
}

Result<Unlocked> Client::unlock(const Unlock& unlock, std::string* status) {
    return begin_unlocked(unlock, -1, status);
}

Result<Unlocked> Client::format(const Format& format, int state_fd) {
    has_checkpoints_ = format.checkpoints != Checkpoints::None;
    return begin_unlocked(format, has_checkpoints_ ? state_fd : -1, nullptr);
}

Result<Resumed> Client::resume(const Resume& resume, int state_fd) {
    has_checkpoints_ = true;
    DRAY_LET(FromDrive answer, begin(resume, state_fd, nullptr));
    if (auto* resumed = std::get_if<Resumed>(&answer))
        return std::move(*resumed);
    return fail(out_of_turn());
}

Result<void> Client::submit(std::span<const Request> requests) {
    Batch batch;
    batch.requests.assign(requests.begin(), requests.end());
    const std::vector<std::byte> bytes = encode(ToDrive(batch));
    // Many long paths may be more than one message holds.
    if (requests.size() > 1 && (bytes.size() > kMaxMessage || requests.size() > kMaxBatch)) {
        DRAY_TRY(submit(requests.first(requests.size() / 2)));
        return submit(requests.subspan(requests.size() / 2));
    }
    Result<void> sent = socket_.send(bytes);
    if (!sent && sent.error().kind() == ErrorKind::Gone)
        return fail(died());
    if (!sent && sent.error().kind() == ErrorKind::Busy && patience_)
        return fail(fell_silent());
    return sent;
}

Result<std::vector<Reply>> Client::replies_of(const Message& message) {
    Result<FromDrive> answer = decode_from_drive(message.bytes);
    // It has nothing to hand over; what it sends along is closed with the message.
    if (!answer || !message.descriptors.empty())
        return fail(out_of_turn());
    auto* replies = std::get_if<Replies>(&*answer);
    if (replies == nullptr)
        return fail(out_of_turn());
    // Said again and again, it would be a sign of life without an answer.
    bool is_wrong = false;
    std::erase_if(replies->replies, [&](const Reply& reply) {
        if (std::holds_alternative<Checkpointed>(reply))
            is_checkpoint_due_ = false;
        const bool is_due = std::holds_alternative<CheckpointDue>(reply);
        is_wrong |= is_due && (is_checkpoint_due_ || !has_checkpoints_);
        is_checkpoint_due_ |= is_due;
        return is_due;
    });
    if (is_wrong)
        return fail(out_of_turn());
    return std::move(replies->replies);
}

Result<std::vector<Reply>> Client::receive() {
    std::vector<Reply> replies;
    // What is no answer may come alone.
    while (replies.empty()) {
        DRAY_LET(const Message message, next_message());
        DRAY_LET(replies, replies_of(message));
    }
    DRAY_LET(std::vector<Reply> more, try_receive());
    std::move(more.begin(), more.end(), std::back_inserter(replies));
    return replies;
}

Result<std::vector<Reply>> Client::try_receive() {
    std::vector<Reply> all;
    // What dray-drive can have answered is bounded by what is in flight.
    while (all.size() < 4 * kMaxInFlight) {
        Result<std::optional<Message>> message = socket_.try_receive();
        if (!message) {
            // What came before the end still counts; the end shows at the next call.
            if (!all.empty())
                return all;
            return fail(no_message(message.error()));
        }
        const std::optional<Message>& waiting = *message;
        if (!waiting)
            return all;
        DRAY_LET(std::vector<Reply> replies, replies_of(*waiting));
        std::move(replies.begin(), replies.end(), std::back_inserter(all));
    }
    return all;
}

Result<Reply> Client::ask(const Request& request) {
    DRAY_TRY(submit({&request, 1}));
    DRAY_LET(const std::vector<Reply> replies, receive());
    if (replies.size() != 1)
        return fail(out_of_turn());
    return replies.front();
}

Result<Bytes> Client::open(std::uint32_t file, const std::string& path) {
    DRAY_LET(const Reply reply, ask(Open{file, path}));
    if (const auto* opened = std::get_if<Opened>(&reply); opened != nullptr && opened->file == file)
        return opened->size;
    if (const auto* failed = std::get_if<OpenFailed>(&reply))
        return fail(to_error(failed->failure));
    return fail(out_of_turn());
}

Result<void> Client::close(std::uint32_t file) {
    const Request request = Close{file};
    return submit({&request, 1});
}

Result<void> Client::read(std::uint32_t file, Bytes offset, std::span<std::byte> content) {
    while (!content.empty()) {
        const std::size_t part = std::min<std::size_t>({content.size(), kMaxRead, ring().size()});
        DRAY_TRY(call(Read{1, file, offset, part, 0}));
        std::memcpy(content.data(), ring().data(), part);
        content = content.subspan(part);
        offset += part;
    }
    return {};
}

Result<Bytes> Client::checkpoint(std::string progress) {
    DRAY_LET(const Reply reply, ask(Checkpoint{std::move(progress)}));
    if (const auto* done = std::get_if<Checkpointed>(&reply))
        return done->logged;
    if (const auto* failed = std::get_if<Failed>(&reply))
        return fail(to_error(failed->failure));
    return fail(out_of_turn());
}

Result<Found> Client::find(const std::string& directory, const std::string& part) {
    DRAY_LET(const Reply reply, ask(Find{directory, part}));
    if (const auto* found = std::get_if<Found>(&reply))
        return *found;
    if (const auto* failed = std::get_if<Failed>(&reply))
        return fail(to_error(failed->failure));
    return fail(out_of_turn());
}

Result<void> Client::call(const Request& request) {
    if (std::holds_alternative<Close>(request))
        return submit({&request, 1});
    DRAY_LET(const Reply reply, ask(request));
    if (const auto* failed = std::get_if<OpenFailed>(&reply))
        return fail(to_error(failed->failure));
    if (const auto* failed = std::get_if<ReadFailed>(&reply))
        return fail(to_error(failed->failure));
    if (const auto* failed = std::get_if<Failed>(&reply))
        return fail(to_error(failed->failure));
    return {};
}

}  // namespace dray::drive
