// SPDX-License-Identifier: Apache-2.0
#include "daemon/ctl/source_tree.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "daemon/base/file.hpp"
#include "daemon/base/handle.hpp"
#include "daemon/ctl/interrupt.hpp"
#include "daemon/format/drive_manifest.hpp"
#include "daemon/format/xml_text.hpp"

namespace dray::ctl {
namespace {

/// Of a name in ext4.
constexpr std::size_t kMaxName = 255;
/// Of a path that one system call takes.
constexpr std::size_t kMaxPath = 4095;
/// Sentences that are kept; a tree may be full of links.
constexpr std::size_t kMaxSentences = 20;

using Directory = Handle<DIR, closedir>;

const char* kind_of(mode_t mode) {
    switch (mode & S_IFMT) {
        case S_IFLNK:
            return "a symbolic link";
        case S_IFIFO:
            return "a pipe";
        case S_IFSOCK:
            return "a socket";
        case S_IFBLK:
            return "a block device";
        case S_IFCHR:
            return "a character device";
        default:
            return "neither a file nor a directory";
    }
}

std::uint64_t modified_usec(const struct stat& status) {
    if (status.st_mtim.tv_sec < 0)
        return 0;
    return static_cast<std::uint64_t>(status.st_mtim.tv_sec) * 1'000'000 +
           static_cast<std::uint64_t>(status.st_mtim.tv_nsec) / 1000;
}

}  // namespace

std::string readable(std::string_view path) {
    if (format::is_xml_text(path) && std::ranges::none_of(path, [](char c) {
            return static_cast<unsigned char>(c) < 0x20 || c == 0x7F;
        }))
        return std::string(path);
    std::string result;
    for (const char c : path) {
        const auto byte = static_cast<unsigned char>(c);
        if (byte < 0x20 || byte >= 0x7F)
            result += fmt::format("\\x{:02x}", byte);
        else
            result += c;
    }
    return result;
}

Result<void> check_source_path(std::string_view path) {
    const std::size_t slash = path.rfind('/');
    const std::string_view name = slash == std::string_view::npos ? path : path.substr(slash + 1);
    const auto refuse = [&](const std::string& why) {
        return fail(ErrorKind::InvalidArgument, "{} cannot go onto a drive: {}", readable(path),
                    why);
    };
    if (name.size() > kMaxName)
        return refuse(fmt::format("its name has {} bytes, more than {}", name.size(), kMaxName));
    if (path.size() > kMaxPath)
        return refuse(fmt::format("its path has {} bytes, more than {}", path.size(), kMaxPath));
    if (name.find('\\') != std::string_view::npos)
        return refuse("its name has a backslash, which separates directories in a manifest");
    if (std::ranges::any_of(
            name, [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7F; }))
        return refuse("its name has a control character");
    if (!format::is_xml_text(name))
        return refuse("its name is not UTF-8, or has a character that XML cannot hold");
    if (const auto split = format::split_drive_path(path); !split)
        return refuse(split.error().message());
    return {};
}

/// One walk: a stack of directories, each with what is still to be visited in it.
class SourceTree::Walker {
public:
    Walker(SourceTree& tree, const Check& check, const Patterns& excluded)
        : tree_(tree), check_(check), excluded_(excluded) {}

    Result<void> run() {
        DRAY_TRY(enter(SourceEntry::kRoot, {}));
        while (!levels_.empty()) {
            Level& level = levels_.back();
            if (level.next == level.entries.size()) {
                levels_.pop_back();
                continue;
            }
            DRAY_TRY(visit(std::move(level.entries[level.next++]), level.path));
        }
        return {};
    }

private:
    struct Level {
        /// Empty for the root, else with '/' at its end.
        std::string path;
        std::vector<SourceEntry> entries;
        std::size_t next = 0;
        std::vector<std::string> left_out;
    };

    Result<void> visit(SourceEntry entry, const std::string& directory) {
        const std::string path = directory + entry.name;
        const bool is_directory = entry.is_directory;
        if (tree_.entries_.size() >= SourceEntry::kRoot - 1)
            return fail(ErrorKind::LimitReached, "{} has too many files for a drive",
                        tree_.root_path_);
        if (!is_directory) {
            DRAY_TRY(check_(path));
            ++tree_.files_;
            // Holes can make files of any length.
            if (__builtin_add_overflow(tree_.bytes_, entry.size, &tree_.bytes_))
                return fail(ErrorKind::LimitReached, "{} has too many bytes for a drive",
                            tree_.root_path_);
        }
        tree_.entries_.push_back(std::move(entry));
        if (is_directory)
            DRAY_TRY(enter(static_cast<std::uint32_t>(tree_.entries_.size() - 1), path + "/"));
        return {};
    }

    /// Lists a directory and puts it on top of the stack.
    Result<void> enter(std::uint32_t parent, const std::string& path) {
        Level level;
        level.path = path;
        DRAY_LET(FileDescriptor fd, open_directory(parent, path));
        Directory directory(fdopendir(fd.get()));
        if (!directory)
            return fail_errno(errno, "cannot read {}", absolute(path));
        const int number = fd.release();  // closedir closes it
        for (;;) {
            DRAY_TRY(check_interrupt());
            errno = 0;
            const dirent* found = readdir(directory.get());
            if (found == nullptr && errno != 0)
                return fail_errno(errno, "cannot read {}", absolute(path));
            if (found == nullptr)
                break;
            const std::string_view name = found->d_name;
            if (name != "." && name != "..")
                DRAY_TRY(look_at(number, found->d_name, parent, level));
        }
        std::ranges::sort(level.entries, {}, &SourceEntry::name);
        std::ranges::sort(level.left_out);
        for (std::string& sentence : level.left_out)
            if (tree_.left_out_.size() < kMaxSentences)
                tree_.left_out_.push_back(std::move(sentence));
        level.left_out = {};
        levels_.push_back(std::move(level));
        return {};
    }

    Result<FileDescriptor> open_directory(std::uint32_t entry, const std::string& path) const {
        const bool is_root = entry == SourceEntry::kRoot;
        FileDescriptor fd(openat(tree_.root_.get(), is_root ? "." : path.c_str(),
                                 O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
        if (!fd)
            return fail_errno(errno, "cannot open the directory {}", absolute(path));
        struct stat status {};
        if (fstat(fd.get(), &status) != 0)
            return fail_errno(errno, "cannot look at {}", absolute(path));
        // A link may have taken the place of a directory on the way here.
        if (!is_root && status.st_ino != tree_.entries_[entry].inode)
            return fail(ErrorKind::Conflict, "{} changes while it is read", absolute(path));
        return fd;
    }

    Result<void> look_at(int directory, const char* name, std::uint32_t parent, Level& level) {
        const std::string path = level.path + name;
        // Whatever it is, and whether it could go onto a drive or not.
        if (std::ranges::any_of(excluded_, [&](const std::string& pattern) {
                return fnmatch(pattern.c_str(), path.c_str(), 0) == 0;
            })) {
            ++tree_.excluded_count_;
            return {};
        }
        struct stat status {};
        if (fstatat(directory, name, &status, AT_SYMLINK_NOFOLLOW) != 0)
            return fail_errno(errno, "cannot look at {}", absolute(path));
        if (!S_ISREG(status.st_mode) && !S_ISDIR(status.st_mode)) {
            leave_out(level, path, kind_of(status.st_mode));
            return {};
        }
        if (path == "lost+found" && S_ISDIR(status.st_mode)) {
            leave_out(level, path, "a directory that each file system has for itself");
            return {};
        }
        if (path == "lost+found")
            return fail(ErrorKind::InvalidArgument,
                        "{} cannot go onto a drive: the drive's file system uses that name itself",
                        absolute(path));
        DRAY_TRY(check_source_path(path));
        if (faccessat(directory, name, R_OK, AT_EACCESS) != 0)
            return fail_errno(errno, "cannot read {}", absolute(path));
        SourceEntry entry;
        entry.name = name;
        entry.parent = parent;
        entry.is_directory = S_ISDIR(status.st_mode);
        entry.size = entry.is_directory ? 0 : static_cast<Bytes>(status.st_size);
        entry.modified_usec = modified_usec(status);
        entry.inode = status.st_ino;
        level.entries.push_back(std::move(entry));
        return {};
    }

    void leave_out(Level& level, const std::string& path, const char* kind) {
        ++tree_.left_out_count_;
        level.left_out.push_back(fmt::format("{} is left out: it is {}", readable(path), kind));
    }

    std::string absolute(const std::string& path) const {
        return readable(tree_.root_path_ + "/" + path);
    }

    SourceTree& tree_;
    const Check& check_;
    const Patterns& excluded_;
    std::vector<Level> levels_;
};

Result<SourceTree> SourceTree::walk(const std::string& directory, const Check& check, const Patterns& excluded) {
    SourceTree tree;
    tree.root_path_ = directory.substr(0, directory.find_last_not_of('/') + 1);
    DRAY_LET(tree.root_, open_file(directory, O_RDONLY | O_DIRECTORY));
    DRAY_TRY(Walker(tree, check, excluded).run());
    return tree;
}

Result<SourceTree> SourceTree::of_file(const std::string& path) {
    SourceTree tree;
    const std::size_t slash = path.rfind('/');
    tree.root_path_ = slash == std::string::npos ? "." : path.substr(0, slash);
    SourceEntry entry;
    entry.name = path.substr(slash == std::string::npos ? 0 : slash + 1);
    DRAY_TRY(check_source_path(entry.name));
    DRAY_LET(tree.root_, open_file(tree.root_path_.empty() ? "/" : tree.root_path_, O_RDONLY | O_DIRECTORY));
    struct stat status {};
    if (fstatat(tree.root_.get(), entry.name.c_str(), &status, AT_SYMLINK_NOFOLLOW) != 0)
        return fail_errno(errno, "cannot look at {}", readable(path));
    if (!S_ISREG(status.st_mode))
        return fail(ErrorKind::InvalidArgument, "{} is no file: it is {}", readable(path),
                    S_ISDIR(status.st_mode) ? "a directory" : kind_of(status.st_mode));
    if (faccessat(tree.root_.get(), entry.name.c_str(), R_OK, AT_EACCESS) != 0)
        return fail_errno(errno, "cannot read {}", readable(path));
    entry.size = static_cast<Bytes>(status.st_size);
    entry.modified_usec = modified_usec(status);
    entry.inode = status.st_ino;
    tree.files_ = 1;
    tree.bytes_ = entry.size;
    tree.entries_.push_back(std::move(entry));
    return tree;
}

std::string SourceTree::path(std::size_t entry) const {
    const SourceEntry& found = entries_[entry];
    if (found.parent == SourceEntry::kRoot)
        return found.name;
    return path(found.parent) + "/" + found.name;
}

Result<FileDescriptor> SourceTree::open(std::size_t entry) const {
    const std::string name = path(entry);
    const std::string shown = readable(root_path_ + "/" + name);
    // Whatever may stand there by now: a pipe must not stop us, a link not lead us away.
    FileDescriptor fd(openat(root_.get(), name.c_str(),
                             O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC));
    if (!fd)
        return fail_errno(errno, "cannot open {}", shown);
    struct stat status {};
    if (fstat(fd.get(), &status) != 0)
        return fail_errno(errno, "cannot look at {}", shown);
    if (!S_ISREG(status.st_mode) || status.st_ino != entries_[entry].inode)
        return fail(ErrorKind::Conflict, "{} is another file than it was when the copy began",
                    shown);
    return fd;
}

}  // namespace dray::ctl
