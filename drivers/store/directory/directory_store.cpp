// SPDX-License-Identifier: Apache-2.0
#include "drivers/store/directory/directory_store.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <openssl/rand.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <set>
#include <utility>

#include <nlohmann/json.hpp>

#include "daemon/base/encoding.hpp"
#include "daemon/base/file.hpp"
#include "drivers/store/blob_rules.hpp"
#include "drivers/store/directory/directory_writer.hpp"

namespace dray::store {
namespace {

constexpr const char* kIdentityFile = "/.dray/store.json";
constexpr const char* kHoldFile = ".dray/hold";
constexpr const char* kPublishFile = ".dray/publish";
/// So often a blob may be replaced under a reader's hands before it gives up.
constexpr int kMostLooks = 100;

std::string etag_of(const struct stat& status) {
    return fmt::format("{:x}-{:x}-{:x}-{:x}", status.st_ino, status.st_size, status.st_mtim.tv_sec,
                       status.st_mtim.tv_nsec);
}

/// When it became visible: the rename sets the inode's change time.
TimePoint modified_of(const struct stat& status) {
    return from_usec(static_cast<std::uint64_t>(status.st_ctim.tv_sec) * 1'000'000 +
                     static_cast<std::uint64_t>(status.st_ctim.tv_nsec) / 1000);
}

/// The store's own name, made at its first use; two first users agree on what is there in the end.
Result<std::string> identity_of(const std::string& root) {
    const std::string path = root + kIdentityFile;
    Result<std::string> text = read_file(path, 4096);
    if (!text && text.error().kind() == ErrorKind::NotFound) {
        std::byte random[16];
        if (RAND_bytes(reinterpret_cast<unsigned char*>(random), sizeof random) != 1)
            return fail(ErrorKind::Internal, "no random numbers for a store's identity");
        const nlohmann::json document = {{"version", 1}, {"identity", to_hex(random)}};
        const std::string made = document.dump() + "\n";
        const std::string temporary = path + "." + to_hex(random);
        DRAY_TRY(write_file_atomically(temporary, std::as_bytes(std::span(made.data(), made.size())), 0666));
        const int linked = link(temporary.c_str(), path.c_str());
        const int error = errno;
        unlink(temporary.c_str());
        if (linked != 0 && error != EEXIST)
            return fail_errno(error, "cannot make {}", path);
        text = read_file(path, 4096);
    }
    if (!text)
        return fail(std::move(text.error()));
    const nlohmann::json document = nlohmann::json::parse(*text, nullptr, false);
    if (!document.is_object() || !document.contains("identity") || !document["identity"].is_string())
        return fail(ErrorKind::Corrupt, "{} is damaged", path);
    return "directory:" + document["identity"].get<std::string>();
}

/// What was not mounted is an empty directory, and everything would go onto the disk below it without a word.
Result<void> refuse_an_empty_mount_point(const StoreConfig& config) {
    struct stat status {};
    if (::stat(config.path.c_str(), &status) != 0 || ::stat((config.path + "/.dray").c_str(), &status) == 0)
        return {};
    return fail(ErrorKind::Unreachable,
                "store \"{}\": there was a store in {} before, and nothing of it is there now; mount what belongs there. "
                "If it is to begin anew, make the directory {}/.dray", config.name, config.path, config.path);
}

}  // namespace

Result<std::unique_ptr<BlobStore>> DirectoryStore::open(const StoreConfig& config,
                                                          const std::string& known_identity) {
    if (!known_identity.empty())
        DRAY_TRY(refuse_an_empty_mount_point(config));
    DRAY_LET(DirectoryLayout layout, DirectoryLayout::open(config.name, config.path));
    std::unique_ptr<DirectoryStore> store(new DirectoryStore(config, std::move(layout)));
    const auto open_lock = [&](const char* path, int access) -> Result<FileDescriptor> {
        FileDescriptor lock(openat(store->layout_.root(), path, access | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0666));
        if (!lock)
            return fail_errno(errno, "store \"{}\": cannot open {}/{}", config.name, config.path, path);
        return lock;
    };
    Committer::Locks locks;
    DRAY_LET(locks.hold, open_lock(kHoldFile, O_RDONLY));
    DRAY_LET(locks.hold_for_waiting, open_lock(kHoldFile, O_RDONLY));
    DRAY_LET(locks.publish, open_lock(kPublishFile, O_RDWR));
    Result<std::string> identity = identity_of(config.path);
    if (!identity)
        return fail(std::move(identity.error()), "store \"{}\"", config.name);
    store->identity_ = *std::move(identity);
    store->committer_ = std::make_unique<Committer>(store->layout_.root(), std::move(locks));
    return store;
}

std::string DirectoryStore::uri(const BlobName& name) const {
    constexpr std::string_view kUnreserved = "-._~/";
    std::string path = config_.path + "/" + name.path();
    std::string uri = "file://";
    for (const char c : path) {
        if (std::isalnum(static_cast<unsigned char>(c)) != 0 || kUnreserved.contains(c))
            uri += c;
        else
            uri += fmt::format("%{:02X}", static_cast<unsigned char>(c));
    }
    return uri;
}

Result<void> DirectoryStore::check() {
    // What the descriptor of the start still reaches may have been moved away or unmounted.
    struct stat now {};
    struct stat opened {};
    if (fstat(layout_.root(), &opened) != 0)
        return fail_errno(errno, "store \"{}\": cannot look at {}", config_.name, config_.path);
    const bool is_there = ::stat(config_.path.c_str(), &now) == 0;
    if (is_there && (now.st_dev != opened.st_dev || now.st_ino != opened.st_ino))
        return fail(ErrorKind::NotFound, "store \"{}\": {} is another directory than at the start; mount or move back "
                    "what belongs there, or reload", config_.name, config_.path);
    // Opened anew for its sentences about what is missing and what is not allowed.
    DRAY_LET([[maybe_unused]] const DirectoryLayout layout, DirectoryLayout::open(config_.name, config_.path));
    return {};
}

Result<void> DirectoryStore::ensure_container(const std::string& container) {
    DRAY_TRY(check_container(container));
    DRAY_LET([[maybe_unused]] const FileDescriptor made, layout_.directory(container, true));
    return {};
}

Result<std::unique_ptr<BlobWriter>> DirectoryStore::create(const BlobName& name, const CreateOptions& options,
                                                           std::stop_token stop) {
    DRAY_TRY(check_target(name));
    DRAY_TRY(layout_.need_container(name.container));
    return DirectoryWriter::open(layout_, *committer_, name, options, std::move(stop));
}

Result<void> DirectoryStore::put_whole(const BlobName& name, const CreateOptions& options, const Piece& piece,
                                       const BlobProperties& properties, const BlobMetadata& metadata,
                                       std::stop_token stop) {
    DRAY_LET(const std::unique_ptr<BlobWriter> writer, create(name, options, std::move(stop)));
    Result<void> done = writer->put(piece);
    if (done)
        done = writer->finish(std::span(&piece, 1), properties, metadata);
    if (!done)
        (void)writer->abandon();  // the first error is the one that tells
    return done;
}

// Content and side file are two files: what was read of the second belongs to the first only if that is
// still in its place afterwards.
Result<BlobStatus> DirectoryStore::stat(const BlobName& name) {
    for (int look = 0; look < kMostLooks; ++look) {
        DRAY_LET(const auto found, layout_.find(name));
        const auto& [place, content] = found;
        DRAY_LET(SideFile side, layout_.side_of(name, content.st_ino));
        struct stat now {};
        if (fstatat(place.directory.get(), place.name.c_str(), &now, AT_SYMLINK_NOFOLLOW) != 0 ||
            etag_of(now) != etag_of(content))
            continue;
        BlobStatus status;
        status.name = name;
        status.type = side.type;
        status.length = static_cast<Bytes>(content.st_size);
        status.modified = modified_of(content);
        status.etag = etag_of(content);
        status.properties = std::move(side.properties);
        status.metadata = std::move(side.metadata);
        return status;
    }
    return fail(ErrorKind::Busy, "blob {} is being replaced again and again", name.path());
}

Result<void> DirectoryStore::read(const BlobName& name, Bytes offset, std::span<std::byte> content,
                                  const std::string& if_match, std::stop_token stop) {
    if (stop.stop_requested())
        return fail(ErrorKind::Cancelled, "stopped");
    DRAY_LET(const auto found, layout_.find(name));
    const FileDescriptor file(openat(found.first.directory.get(), found.first.name.c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC));
    struct stat status {};
    if (!file || fstat(file.get(), &status) != 0)
        return fail_errno(errno, "cannot open blob {}", name.path());
    if (!if_match.empty() && if_match != etag_of(status))
        return fail(ErrorKind::Busy, "blob {} has changed", name.path());
    const auto size = static_cast<Bytes>(status.st_size);
    if (offset > size || content.size() > size - offset)
        return fail(ErrorKind::InvalidArgument, "blob {} has {} bytes, {} at offset {} were asked for", name.path(),
                    size, content.size(), offset);
    return read_fully(file.get(), offset, content, "blob " + name.path());
}

Result<ListPage> DirectoryStore::list(const std::string& container, const std::string& prefix,
                                      const std::string& marker, std::size_t most) {
    if (most == 0)
        return fail(ErrorKind::InvalidArgument, "a listing of no blobs was asked for");
    // The first `most` names behind the marker, however many the container holds.
    std::set<std::string> names;
    bool has_more = false;
    DRAY_TRY(layout_.visit(container, [&](const std::string& name, const struct stat& /*status*/) {
        if (!name.starts_with(prefix) || name <= marker)
            return;
        names.insert(name);
        if (names.size() > most) {
            names.erase(std::prev(names.end()));
            has_more = true;
        }
    }));
    ListPage page;
    for (const std::string& name : names) {
        Result<BlobStatus> status = stat({container, name});
        if (status)
            page.blobs.push_back(*std::move(status));
        else if (status.error().kind() != ErrorKind::NotFound)  // removed since it was seen
            return fail(std::move(status.error()));
    }
    if (has_more && !names.empty())
        page.marker = *names.rbegin();
    return page;
}

Result<std::vector<std::string>> DirectoryStore::containers() {
    DRAY_LET(FileDescriptor root, layout_.directory(".", false));
    const Handle<DIR, closedir> entries(fdopendir(root.get()));
    if (!entries)
        return fail_errno(errno, "cannot list {}", config_.path);
    (void)root.release();
    std::vector<std::string> containers;
    while (const dirent* entry = readdir(entries.get()))
        if (check_container(entry->d_name) && layout_.need_container(entry->d_name))
            containers.emplace_back(entry->d_name);
    std::ranges::sort(containers);
    return containers;
}

Result<void> DirectoryStore::remove(const BlobName& name) {
    return committer_->exclusively([&]() -> Result<void> {
        DRAY_LET(const auto found, layout_.find(name));
        const auto& [place, content] = found;
        if (unlinkat(place.directory.get(), place.name.c_str(), 0) != 0)
            return fail_errno(errno, "cannot remove blob {}", name.path());
        if (const Result<Place> side = layout_.side_place(name, false); side) {
            unlinkat(side->directory.get(), side->name.c_str(), 0);
            // Where a kill fell between content and side file.
            unlinkat(side->directory.get(), DirectoryLayout::pending_name(side->name, content.st_ino).c_str(), 0);
        }
        return {};
    });
}

Result<void> DirectoryStore::sync() { return committer_->sync(); }

}  // namespace dray::store
