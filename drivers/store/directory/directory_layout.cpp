// SPDX-License-Identifier: Apache-2.0
#include "drivers/store/directory/directory_layout.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <utility>
#include <vector>

#include "daemon/base/digest.hpp"
#include "daemon/base/encoding.hpp"
#include "daemon/base/file.hpp"
#include "daemon/base/handle.hpp"
#include "drivers/store/blob_rules.hpp"

namespace dray::store {
namespace {

constexpr unsigned kDirectoryMode = 0777;  // the umask says how much of it the site wants
constexpr int kMaxDepth = 600;             // a blob name has at most 1,024 characters
constexpr std::size_t kMaxPlainName = 4000;  // with its container below PATH_MAX

using OpenDirectory = Handle<DIR, closedir>;

/// open(2) below `root` that follows no symbolic link and never leaves.
int open_beneath(int root, const std::string& path, int flags) {
    open_how how{};
    how.flags = static_cast<std::uint64_t>(flags | O_CLOEXEC);
    how.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS;
    return static_cast<int>(syscall(SYS_openat2, root, path.c_str(), &how, sizeof how));
}

std::string hash_of(const std::string& name) {
    Digest digest(DigestKind::Sha256);
    digest.update(std::as_bytes(std::span(name.data(), name.size())));
    return to_hex(digest.finish()).substr(0, 40);
}

bool is_plain_segment(std::string_view segment) {
    return !segment.empty() && segment.size() <= 255 && segment != "." && segment != "..";
}

bool fits_file_system(const std::string& name) {
    if (name.size() > kMaxPlainName)
        return false;
    std::size_t begin = 0;
    for (;;) {
        const std::size_t slash = name.find('/', begin);
        if (!is_plain_segment(std::string_view(name).substr(begin, slash - begin)))
            return false;
        if (slash == std::string::npos)
            return true;
        begin = slash + 1;
    }
}

/// "container/dir" and "name".
std::pair<std::string, std::string> split(const BlobName& name) {
    const std::string path = name.path();
    const std::size_t slash = path.rfind('/');
    return {path.substr(0, slash), path.substr(slash + 1)};
}

std::string hashed_directory(const char* tree, const BlobName& name, const std::string& hash) {
    return std::string(".dray/") + tree + "/" + name.container + "/" + hash.substr(0, 2);
}

/// NotFound: no such file. Corrupt: not a side file.
Result<SideFile> read_side_at(int directory, const std::string& file) {
    const FileDescriptor side(openat(directory, file.c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC));
    struct stat status {};
    if (!side || fstat(side.get(), &status) != 0)
        return fail_errno(errno, "cannot open a side file");
    if (status.st_size > static_cast<off_t>(kMaxSideFile))
        return fail(ErrorKind::Corrupt, "a side file is too long");
    std::string text(static_cast<std::size_t>(status.st_size), '\0');
    DRAY_TRY(read_fully(side.get(), 0, std::as_writable_bytes(std::span(text.data(), text.size())), file));
    return read_side_file(text);
}

Result<void> make_directory(int parent, const char* name, const std::string& what) {
    if (mkdirat(parent, name, kDirectoryMode) != 0 && errno != EEXIST)
        return fail_errno(errno, "cannot make {}", what);
    return {};
}

}  // namespace

Result<void> write_small_file(int directory, const std::string& name, const std::string& content) {
    const FileDescriptor file(openat(directory, name.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0666));
    if (!file)
        return fail_errno(errno, "cannot make {}", name);
    return write_fully(file.get(), 0, std::as_bytes(std::span(content.data(), content.size())), name);
}

Result<DirectoryLayout> DirectoryLayout::open(const std::string& store, const std::string& root) {
    DirectoryLayout layout;
    layout.path_ = root;
    layout.root_ = FileDescriptor(::open(root.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!layout.root_ && errno == ENOENT)
        return fail(ErrorKind::NotFound, "store \"{}\": its directory {} does not exist; make it, or mount what "
                    "belongs there", store, root);
    if (!layout.root_)
        return fail_errno(errno, "store \"{}\": its directory {} cannot be opened", store, root);
    if (faccessat(layout.root_.get(), ".", R_OK | W_OK | X_OK, AT_EACCESS) != 0) {
        if (errno == EROFS)
            return fail(ErrorKind::Denied, "store \"{}\": {} is on a read-only file system", store, root);
        return fail(ErrorKind::Denied, "store \"{}\": uid {} may not write into {}; give it the directory, for "
                    "instance with chown", store, geteuid(), root);
    }
    const auto made = [&](const char* path) { return make_directory(layout.root_.get(), path, root + "/" + path); };
    for (const char* path : {".dray", ".dray/uploads", ".dray/side", ".dray/odd"})
        if (Result<void> result = made(path); !result)
            return fail(std::move(result.error()), "store \"{}\"", store);
    DRAY_LET(layout.uploads_, layout.directory(".dray/uploads", false));
    if (faccessat(layout.uploads_.get(), ".", W_OK | X_OK, AT_EACCESS) != 0)
        return fail(ErrorKind::Denied, "store \"{}\": uid {} may not write into {}/.dray/uploads; give it the directory, "
                    "for instance with chown -R", store, geteuid(), root);
    return layout;
}

Result<FileDescriptor> DirectoryLayout::directory(const std::string& path, bool may_make) const {
    constexpr int kFlags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW;
    FileDescriptor found(open_beneath(root_.get(), path, kFlags));
    if (found || errno != ENOENT || !may_make) {
        if (!found)
            return fail_errno(errno, "cannot open {}/{}", path_, path);
        return found;
    }
    // Rarely here: the first blob of a directory. Part by part, each opened without following a link.
    FileDescriptor parent(open_beneath(root_.get(), ".", kFlags));
    std::size_t begin = 0;
    while (parent && begin <= path.size()) {
        const std::size_t slash = std::min(path.find('/', begin), path.size());
        const std::string part = path.substr(begin, slash - begin);
        DRAY_TRY(make_directory(parent.get(), part.c_str(), path_ + "/" + path));
        parent = FileDescriptor(openat(parent.get(), part.c_str(), kFlags | O_CLOEXEC));
        begin = slash + 1;
    }
    if (!parent)
        return fail_errno(errno, "cannot open {}/{}", path_, path);
    return parent;
}

Result<void> DirectoryLayout::need_container(const std::string& container) const {
    DRAY_TRY(check_container(container));
    struct stat status {};
    if (fstatat(root_.get(), container.c_str(), &status, AT_SYMLINK_NOFOLLOW) != 0 || !S_ISDIR(status.st_mode))
        return fail(ErrorKind::NotFound, "there is no container {}", container);
    return {};
}

bool DirectoryLayout::is_plain(const BlobName& name) { return fits_file_system(name.name); }

Result<std::pair<Place, struct stat>> DirectoryLayout::find(const BlobName& name) const {
    DRAY_TRY(check_name(name));
    if (!name.snapshot.empty())
        return fail(ErrorKind::NotFound, "there is no snapshot {} of blob {}", name.snapshot, name.path());
    const auto look = [](Place place) -> std::optional<std::pair<Place, struct stat>> {
        struct stat status {};
        if (fstatat(place.directory.get(), place.name.c_str(), &status, AT_SYMLINK_NOFOLLOW) != 0 ||
            !S_ISREG(status.st_mode))
            return std::nullopt;
        return std::pair(std::move(place), status);
    };
    // A link in the way is InvalidArgument: behind it there is nothing of ours. Anything else (too many open
    // files, say) does not mean that there is no blob.
    const auto is_absent = [](const Error& error) {
        return error.kind() == ErrorKind::NotFound || error.kind() == ErrorKind::InvalidArgument;
    };
    if (fits_file_system(name.name)) {
        const auto [parent, last] = split(name);
        Result<FileDescriptor> directory = this->directory(parent, false);
        if (!directory && !is_absent(directory.error()))
            return fail(std::move(directory.error()));
        if (directory)
            if (auto found = look({*std::move(directory), last, false}))
                return *std::move(found);
    }
    const std::string hash = hash_of(name.name);
    Result<FileDescriptor> directory = this->directory(hashed_directory("odd", name, hash), false);
    if (!directory && !is_absent(directory.error()))
        return fail(std::move(directory.error()));
    if (directory)
        if (auto found = look({*std::move(directory), hash, true}))
            return *std::move(found);
    return fail(ErrorKind::NotFound, "there is no blob {}", name.path());
}

Result<Place> DirectoryLayout::odd_place(const BlobName& name) const {
    const std::string hash = hash_of(name.name);
    DRAY_LET(FileDescriptor directory, this->directory(hashed_directory("odd", name, hash), true));
    return Place{std::move(directory), hash, true};
}

Result<Place> DirectoryLayout::place_for(const BlobName& name) const {
    DRAY_TRY(need_container(name.container));
    if (!fits_file_system(name.name))
        return odd_place(name);
    const auto [parent, last] = split(name);
    Result<FileDescriptor> directory = this->directory(parent, true);
    if (!directory) {
        // `a` is a blob, `a/b` wants to be one too.
        if (directory.error().kind() == ErrorKind::NotFound || directory.error().kind() == ErrorKind::Exists)
            return odd_place(name);
        return fail(std::move(directory.error()));
    }
    struct stat status {};
    if (fstatat(directory->get(), last.c_str(), &status, AT_SYMLINK_NOFOLLOW) == 0) {
        if (!S_ISREG(status.st_mode))
            return odd_place(name);
    } else {
        // Nothing is there under its name, but the blob may have been stored when something was.
        const std::string hash = hash_of(name.name);
        Result<FileDescriptor> odd = this->directory(hashed_directory("odd", name, hash), false);
        if (odd && fstatat(odd->get(), hash.c_str(), &status, AT_SYMLINK_NOFOLLOW) == 0)
            return Place{*std::move(odd), hash, true};
    }
    return Place{*std::move(directory), last, false};
}

Result<Place> DirectoryLayout::side_place(const BlobName& name, bool may_make) const {
    const std::string hash = hash_of(name.name);
    DRAY_LET(FileDescriptor directory, this->directory(hashed_directory("side", name, hash), may_make));
    return Place{std::move(directory), hash, false};
}

std::string DirectoryLayout::pending_name(const std::string& side_name, ino_t inode) {
    return side_name + "-" + std::to_string(inode);
}

Result<SideFile> DirectoryLayout::side_of(const BlobName& name, ino_t inode) const {
    SideFile trivial;
    trivial.name = name;
    const Result<Place> place = side_place(name, false);
    if (!place && place.error().kind() == ErrorKind::NotFound)
        return trivial;
    if (!place)
        return fail(place.error());
    for (const std::string& file : {pending_name(place->name, inode), place->name}) {
        Result<SideFile> side = read_side_at(place->directory.get(), file);
        if (side)
            return side;
        if (side.error().kind() != ErrorKind::NotFound)
            return fail(std::move(side.error()), "blob {}", name.path());
    }
    return trivial;
}

Result<void> DirectoryLayout::visit(
    const std::string& container,
    const std::function<void(const std::string&, const struct stat&)>& visit) const {
    const std::function<Result<void>(FileDescriptor, const std::string&, int, bool)> walk =
        [&](FileDescriptor directory, const std::string& prefix, int depth, bool is_odd) -> Result<void> {
        if (depth > kMaxDepth)
            return {};
        const OpenDirectory entries(fdopendir(directory.get()));
        if (!entries)
            return fail_errno(errno, "cannot list container {}", container);
        const int fd = directory.release();
        for (;;) {
            errno = 0;
            const dirent* entry = readdir(entries.get());
            if (entry == nullptr && errno != 0)
                return fail_errno(errno, "cannot list container {}", container);
            if (entry == nullptr)
                return {};
            const std::string name = entry->d_name;
            struct stat status {};
            if (name == "." || name == "..")
                continue;
            if (fstatat(fd, name.c_str(), &status, AT_SYMLINK_NOFOLLOW) != 0) {
                if (errno == ENOENT)  // removed since it was seen
                    continue;
                return fail_errno(errno, "cannot list container {}", container);
            }
            if (S_ISDIR(status.st_mode)) {
                FileDescriptor child(openat(fd, name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
                if (child)
                    DRAY_TRY(walk(std::move(child), prefix + name + "/", depth + 1, is_odd));
                else if (errno != ENOENT && errno != ENOTDIR)  // a listing with a silent hole would be a lie
                    return fail_errno(errno, "cannot list {}{}/ of container {}", prefix, name, container);
            } else if (S_ISREG(status.st_mode) && !is_odd) {
                // What others have put there may have a name that is none of a blob.
                if (check_name({container, prefix + name}))
                    visit(prefix + name, status);
            } else if (S_ISREG(status.st_mode)) {
                // Its true name is in the side file, which an odd blob always has.
                const Result<FileDescriptor> sides =
                    this->directory(fmt::format(".dray/side/{}/{}", container, prefix), false);
                if (!sides && sides.error().kind() != ErrorKind::NotFound)
                    return fail(sides.error());
                if (!sides)
                    continue;
                for (const std::string& file : {pending_name(name, status.st_ino), name}) {
                    const Result<SideFile> side = read_side_at(sides->get(), file);
                    if (!side)
                        continue;
                    visit(side->name.name, status);
                    break;
                }
            }
        }
    };
    DRAY_TRY(need_container(container));
    DRAY_LET(FileDescriptor plain, directory(container, false));
    DRAY_TRY(walk(std::move(plain), "", 0, false));
    Result<FileDescriptor> odd = directory(".dray/odd/" + container, false);
    if (odd)
        return walk(*std::move(odd), "", 0, true);
    if (odd.error().kind() != ErrorKind::NotFound)
        return fail(std::move(odd.error()));
    return {};
}

}  // namespace dray::store
