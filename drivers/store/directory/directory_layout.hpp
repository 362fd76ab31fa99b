// SPDX-License-Identifier: Apache-2.0
//
// Where the directory store keeps what. Everything is reached from one descriptor of the root without
// following a symbolic link, so that nothing inside leads out. Any thread.
//
//   <container>/<dir>/<name>              a blob's content
//   .dray/store.json                      the store's identity
//   .dray/hold, .dray/publish             see the driver's README
//   .dray/uploads/<upload id>             what is being written
//   .dray/uploads/<upload id>.whole       its pieces closed up, where they are not a blob as they lie
//   .dray/side/<container>/<hh>/<hash>    properties and metadata; hash of the blob's name
//   .dray/side/<container>/<hh>/<hash>-<inode>   the same for the content with that inode, while it is published
//   .dray/odd/<container>/<hh>/<hash>     content whose name a file system cannot hold
#pragma once

#include <sys/stat.h>

#include <functional>
#include <optional>
#include <string>

#include "daemon/base/file_descriptor.hpp"
#include "daemon/base/result.hpp"
#include "daemon/model/blob_name.hpp"
#include "drivers/store/directory/side_file.hpp"

namespace dray::store {

/// A file's place: the directory, open, and the name in it.
struct Place {
    FileDescriptor directory;
    std::string name;
    bool is_odd = false;
};

class DirectoryLayout {
public:
    /// NotFound, Denied: with how to mend it.
    static Result<DirectoryLayout> open(const std::string& store, const std::string& root);

    int root() const { return root_.get(); }
    int uploads() const { return uploads_.get(); }
    const std::string& path() const { return path_; }

    /// Opens a directory below the root. NotFound unless `may_make`.
    Result<FileDescriptor> directory(const std::string& path, bool may_make) const;
    /// NotFound: no such container. InvalidArgument: no such name of one.
    Result<void> need_container(const std::string& container) const;

    /// Where the blob's content is now, with its status. NotFound: nowhere.
    Result<std::pair<Place, struct stat>> find(const BlobName& name) const;
    /// Where the content of a blob that is written now goes: where it is already, else under its name,
    /// else, where the file system cannot hold that beside the others, under its hash. NotFound: no such
    /// container.
    Result<Place> place_for(const BlobName& name) const;
    /// The odd place, for when the other one turned out to be taken by a directory.
    Result<Place> odd_place(const BlobName& name) const;

    Result<Place> side_place(const BlobName& name, bool may_make) const;
    /// Whether a file system holds the name as it is, when nothing else is in its way.
    static bool is_plain(const BlobName& name);
    /// What is kept beside the content with this inode. Nothing kept: a trivial one. Whoever asks looks
    /// afterwards whether the content is still that one.
    Result<SideFile> side_of(const BlobName& name, ino_t inode) const;
    static std::string pending_name(const std::string& side_name, ino_t inode);

    /// Calls `visit` for each blob of the container, in no order.
    Result<void> visit(const std::string& container,
                       const std::function<void(const std::string& name, const struct stat& status)>& visit) const;

private:
    FileDescriptor root_;
    FileDescriptor uploads_;
    std::string path_;
};

/// Writes a small file whole under a name that nobody looks for yet.
Result<void> write_small_file(int directory, const std::string& name, const std::string& content);

}  // namespace dray::store
