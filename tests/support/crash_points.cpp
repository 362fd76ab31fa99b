// SPDX-License-Identifier: Apache-2.0
//
// Preloaded into the real programs by tests (crash_lab.py, crashing_drive.hpp): records what is written, and stops a thread
// just before or just after the n-th operation of a kind, so that a kill can fall there, or ends its process. It talks to the test through a
// shared file mapped before the programs lock themselves in, and makes no system call that their boxes refuse.
#include <dlfcn.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <libcryptsetup.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <random>
#include <vector>

namespace {

constexpr std::size_t kName = 88;
constexpr std::size_t kRecords = 1 << 17;
constexpr std::uint32_t kAfter = 1;
constexpr std::uint32_t kEnds = 2;
constexpr std::uint32_t kUnplugged = 4;
constexpr std::uint32_t kPowerCut = 8;
constexpr int kDevice = 4;

// crash_lab.py and crashing_drive.cpp know this layout.
struct Record {
    std::uint32_t pid;
    /// 'w' pwrite, 'r' rename, 'y' any flush, 'k' the derivation of a volume key.
    std::uint32_t operation;
    std::uint64_t offset;
    std::uint64_t length;
    std::array<char, kName> name;
};

struct Shared {
    /// 0: stop nowhere; '*': at any write or flush. Written last by the test.
    std::atomic<std::uint32_t> operation;
    /// Bit 0: after the operation. Bit 1: the process ends there by itself. Bit 2: then some of what dray-drive wrote to
    /// its device is lost that was not flushed, as when the device is unplugged. Bit 3: to any file, as in a power cut.
    std::uint32_t mode;
    /// How many of them are let by.
    std::atomic<std::int32_t> left;
    std::atomic<std::uint32_t> is_reached;
    std::atomic<std::uint32_t> may_go_on;
    std::atomic<std::uint32_t> count;
    /// A shell pattern for the last part of the file's name.
    std::array<char, 36> pattern;
    /// Which of the writes are lost.
    std::uint32_t seed;
    std::array<Record, kRecords> records;
};
static_assert(sizeof(Record) == 112 && offsetof(Shared, records) == 64);

Shared* shared = nullptr;

/// What the open files are called.
std::array<std::array<char, kName>, 4096> names;

template <typename Function>
Function* next(const char* name) {
    return reinterpret_cast<Function*>(dlsym(RTLD_NEXT, name));
}

void copy_name(std::array<char, kName>& to, const char* path) {
    const char* slash = std::strrchr(path, '/');
    const char* name = slash != nullptr && slash[1] != '\0' ? slash + 1 : path;
    std::strncpy(to.data(), name, to.size() - 1);
    to.back() = '\0';
}

int named(int fd, const char* path) {
    if (fd >= 0 && static_cast<std::size_t>(fd) < names.size())
        copy_name(names[static_cast<std::size_t>(fd)], path);
    return fd;
}

const char* name_of(int fd) {
    return fd >= 0 && static_cast<std::size_t>(fd) < names.size() ? names[static_cast<std::size_t>(fd)].data() : "";
}

/// What lay where something was written that was not flushed yet.
struct Unflushed {
    int fd;
    off64_t offset;
    std::size_t length;
    std::byte* before;
};

std::vector<Unflushed>& unflushed() {
    static std::vector<Unflushed> all;
    return all;
}

void remember(int fd, off64_t offset, std::size_t length) {
    if (shared == nullptr || (shared->mode & (kUnplugged | kPowerCut)) == 0 ||
        (fd != kDevice && (shared->mode & kPowerCut) == 0))
        return;
    // Aligned, because the device is read past the page cache.
    constexpr std::size_t kPage = 4096;
    auto* const before = static_cast<std::byte*>(std::aligned_alloc(kPage, (length + kPage - 1) / kPage * kPage));
    const ssize_t count = pread64(fd, before, length, offset);
    // Behind the end of the file there were zeros, as far as anybody can tell.
    std::memset(before + std::max<ssize_t>(count, 0), 0, length - static_cast<std::size_t>(std::max<ssize_t>(count, 0)));
    unflushed().push_back({fd, offset, length, before});
}

void forget(int fd) {
    std::erase_if(unflushed(), [fd](const Unflushed& write) {
        if (write.fd == fd)
            std::free(write.before);
        return write.fd == fd;
    });
}

/// From the last one back; what a later write that stays lies upon stays too.
void lose_some() {
    std::minstd_rand random(shared->seed);
    std::vector<Unflushed> kept;
    const std::size_t of_eight = random() % 9;
    for (auto write = unflushed().rbegin(); write != unflushed().rend(); ++write) {
        const bool is_under = std::any_of(kept.begin(), kept.end(), [&](const Unflushed& other) {
            return other.fd == write->fd && other.offset < write->offset + static_cast<off64_t>(write->length) &&
                   write->offset < other.offset + static_cast<off64_t>(other.length);
        });
        if (is_under || random() % 8 >= of_eight)
            kept.push_back(*write);
        else
            (void)next<ssize_t(int, const void*, size_t, off64_t)>("pwrite64")(write->fd, write->before, write->length,
                                                                              write->offset);
    }
}

void stop_here(char operation) {
    shared->is_reached = 1;
    if ((shared->mode & (kUnplugged | kPowerCut)) != 0)
        lose_some();
    // Whoever is in a box that lets nobody kill is ended by the box.
    if ((shared->mode & kEnds) != 0)
        syscall(SYS_kill, getpid(), SIGKILL);
    while (shared->may_go_on == 0) {
        // The box of the unlocking does not let anybody sleep.
        if (operation == 'k')
            continue;
        const struct timespec moment {0, 2'000'000};
        nanosleep(&moment, nullptr);
    }
}

/// Whether this is the operation that the test waits for.
bool is_wanted(char operation, const char* name) {
    if (shared == nullptr)
        return false;
    const std::uint32_t wanted = shared->operation;
    const bool is_kind = wanted == static_cast<unsigned char>(operation) ||
                         (wanted == '*' && (operation == 'w' || operation == 'y'));
    if (!is_kind ||
        fnmatch(shared->pattern.data(), name, 0) != 0)
        return false;
    return shared->left.fetch_sub(1) == 0;
}

void record(char operation, const char* name, std::uint64_t offset, std::uint64_t length) {
    if (shared == nullptr)
        return;
    const std::uint32_t place = shared->count.fetch_add(1);
    if (place >= kRecords)
        return;
    Record& entry = shared->records[place];
    entry.pid = static_cast<std::uint32_t>(getpid());
    entry.offset = offset;
    entry.length = length;
    copy_name(entry.name, name);
    entry.operation = static_cast<std::uint32_t>(operation);
}

template <typename Call>
auto around(char operation, const char* name, std::uint64_t offset, std::uint64_t length, const Call& call) {
    const bool is_it = is_wanted(operation, name);
    if (is_it && (shared->mode & kAfter) == 0)
        stop_here(operation);
    record(operation, name, offset, length);
    const auto result = call();
    if (is_it && (shared->mode & kAfter) != 0)
        stop_here(operation);
    return result;
}

__attribute__((constructor)) void attach() {
    const char* path = std::getenv("DRAY_CRASH_POINTS");
    if (path == nullptr)
        return;
    const int fd = next<int(const char*, int, ...)>("open")(path, O_RDWR | O_CLOEXEC);
    if (fd < 0)
        return;
    void* place = mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (place != MAP_FAILED)
        shared = static_cast<Shared*>(place);
}

}  // namespace

extern "C" {

int open(const char* path, int flags, ...) {
    __builtin_va_list list;
    __builtin_va_start(list, flags);
    const mode_t mode = (flags & O_CREAT) != 0 ? __builtin_va_arg(list, mode_t) : 0;
    __builtin_va_end(list);
    return named(next<int(const char*, int, ...)>("open")(path, flags, mode), path);
}
int open64(const char* path, int flags, ...) {
    __builtin_va_list list;
    __builtin_va_start(list, flags);
    const mode_t mode = (flags & O_CREAT) != 0 ? __builtin_va_arg(list, mode_t) : 0;
    __builtin_va_end(list);
    return named(next<int(const char*, int, ...)>("open64")(path, flags, mode), path);
}
int __open_2(const char* path, int flags) { return open(path, flags); }
int __open64_2(const char* path, int flags) { return open64(path, flags); }
int openat(int at, const char* path, int flags, ...) {
    __builtin_va_list list;
    __builtin_va_start(list, flags);
    const mode_t mode = (flags & O_CREAT) != 0 ? __builtin_va_arg(list, mode_t) : 0;
    __builtin_va_end(list);
    return named(next<int(int, const char*, int, ...)>("openat")(at, path, flags, mode), path);
}
int __openat_2(int at, const char* path, int flags) { return openat(at, path, flags); }

ssize_t pwrite(int fd, const void* bytes, size_t length, off_t offset) {
    remember(fd, offset, length);
    return around('w', name_of(fd), static_cast<std::uint64_t>(offset), length, [&] {
        return next<ssize_t(int, const void*, size_t, off_t)>("pwrite")(fd, bytes, length, offset);
    });
}
ssize_t pwrite64(int fd, const void* bytes, size_t length, off64_t offset) {
    remember(fd, offset, length);
    return around('w', name_of(fd), static_cast<std::uint64_t>(offset), length, [&] {
        return next<ssize_t(int, const void*, size_t, off64_t)>("pwrite64")(fd, bytes, length, offset);
    });
}
int fsync(int fd) {
    return around('y', name_of(fd), 0, 0, [&] {
        forget(fd);
        return next<int(int)>("fsync")(fd);
    });
}
int fdatasync(int fd) {
    return around('y', name_of(fd), 0, 0, [&] {
        forget(fd);
        return next<int(int)>("fdatasync")(fd);
    });
}
int syncfs(int fd) noexcept {
    return around('y', "syncfs", 0, 0, [&] { return next<int(int)>("syncfs")(fd); });
}
int rename(const char* from, const char* to) noexcept {
    const char* slash = std::strrchr(from, '/');
    return around('r', slash != nullptr ? slash + 1 : from, 0, 0,
                  [&] { return next<int(const char*, const char*)>("rename")(from, to); });
}
int renameat2(int from_at, const char* from, int to_at, const char* to, unsigned flags) noexcept {
    return around('r', from, 0, 0, [&] {
        return next<int(int, const char*, int, const char*, unsigned)>("renameat2")(from_at, from, to_at, to, flags);
    });
}
int crypt_volume_key_get(crypt_device* device, int slot, char* key, size_t* size, const char* passphrase, size_t length) {
    return around('k', "volume-key", 0, 0, [&] {
        return next<int(crypt_device*, int, char*, size_t*, const char*, size_t)>("crypt_volume_key_get")(
            device, slot, key, size, passphrase, length);
    });
}
}
