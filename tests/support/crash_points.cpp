// SPDX-License-Identifier: Apache-2.0
//
// Preloaded into the real programs by tests (crash_lab.py): records what is written into the store, and stops a thread
// just before or just after the n-th operation of a kind, so that a kill can fall there. It talks to the test through a
// shared file mapped before the programs lock themselves in, and makes no system call that their boxes refuse.
#include <dlfcn.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <libcryptsetup.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <cstring>

namespace {

constexpr std::size_t kName = 88;
constexpr std::size_t kRecords = 1 << 17;

// crash_lab.py knows this layout.
struct Record {
    std::uint32_t pid;
    /// 'w' pwrite, 'r' rename, 'y' any flush, 'k' the derivation of a volume key.
    std::uint32_t operation;
    std::uint64_t offset;
    std::uint64_t length;
    std::array<char, kName> name;
};

struct Shared {
    /// 0: stop nowhere. Written last by the test.
    std::atomic<std::uint32_t> operation;
    /// 1: after the operation.
    std::uint32_t is_after;
    /// How many of them are let by.
    std::atomic<std::int32_t> left;
    std::atomic<std::uint32_t> is_reached;
    std::atomic<std::uint32_t> may_go_on;
    std::atomic<std::uint32_t> count;
    /// A shell pattern for the last part of the file's name.
    std::array<char, 40> pattern;
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

void stop_here(char operation) {
    shared->is_reached = 1;
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
    if (shared == nullptr || shared->operation != static_cast<std::uint32_t>(operation) ||
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
    if (is_it && shared->is_after == 0)
        stop_here(operation);
    record(operation, name, offset, length);
    const auto result = call();
    if (is_it && shared->is_after != 0)
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
    return around('w', name_of(fd), static_cast<std::uint64_t>(offset), length, [&] {
        return next<ssize_t(int, const void*, size_t, off_t)>("pwrite")(fd, bytes, length, offset);
    });
}
ssize_t pwrite64(int fd, const void* bytes, size_t length, off64_t offset) {
    return around('w', name_of(fd), static_cast<std::uint64_t>(offset), length, [&] {
        return next<ssize_t(int, const void*, size_t, off64_t)>("pwrite64")(fd, bytes, length, offset);
    });
}
int fsync(int fd) {
    return around('y', name_of(fd), 0, 0, [&] { return next<int(int)>("fsync")(fd); });
}
int fdatasync(int fd) {
    return around('y', name_of(fd), 0, 0, [&] { return next<int(int)>("fdatasync")(fd); });
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
