// SPDX-License-Identifier: Apache-2.0
#include "drivers/store/azure/azure_store.hpp"

#include <algorithm>
#include <utility>

#include "daemon/base/encoding.hpp"
#include "drivers/store/azure/azure_blobs.hpp"
#include "drivers/store/azure/azure_writer.hpp"
#include "drivers/store/azure/azure_xml.hpp"
#include "drivers/store/blob_rules.hpp"

namespace dray::store::azure {
namespace {

/// The service gives no more in one answer (A.4).
constexpr std::size_t kMostListed = 5000;
/// More than that is no blob but many.
constexpr std::size_t kMostSegments = 254;

/// What the service would make another name of, or refuse (A.1).
Result<void> check_azure_name(const BlobName& name) {
    DRAY_TRY(check_name(name));
    std::size_t segments = 1;
    std::size_t start = 0;
    for (std::size_t slash = name.name.find('/');; slash = name.name.find('/', start)) {
        const std::string_view segment = std::string_view(name.name).substr(start, slash == std::string::npos ? slash : slash - start);
        if (segment == "." || segment == "..")
            return fail(ErrorKind::InvalidArgument, "the service keeps no names with the segment \"{}\": {}", segment, name.path());
        if (slash == std::string::npos)
            break;
        start = slash + 1;
        ++segments;
    }
    if (segments > kMostSegments)
        return fail(ErrorKind::InvalidArgument, "the service keeps no names of more than {} segments: {}", kMostSegments, name.path());
    if (std::ranges::any_of(name.name, [](char c) { return c == '\\' || (c >= '\0' && c < ' '); }))
        return fail(ErrorKind::InvalidArgument, "the service keeps no names with a backslash or control characters: {}",
                    name.path());
    if (name.name.ends_with('.') || name.name.ends_with('/'))
        return fail(ErrorKind::InvalidArgument, "the service keeps no names that end in \"{}\": {}", name.name.back(), name.path());
    return {};
}

AzureRequest container_request(const std::string& method, const std::string& container) {
    AzureRequest request;
    request.method = method;
    request.path = path_of_container(container);
    request.query["restype"] = "container";
    return request;
}

}  // namespace

Result<std::unique_ptr<BlobStore>> AzureStore::open(const StoreConfig& config, const StoreAccess& access) {
    std::unique_ptr<AzureStore> store(new AzureStore(config, access));
    DRAY_TRY(store->check());
    return store;
}

std::string AzureStore::identity() const {
    return "azure:" + client_.config().azure.endpoint + "#" + client_.config().azure.account;
}

std::string AzureStore::uri(const BlobName& name) const {
    const std::string uri = client_.config().azure.endpoint + path_of(name);
    return name.snapshot.empty() ? uri : uri + "?snapshot=" + percent_encoded(name.snapshot);
}

bool AzureStore::is_for_one_container() const { return !client_.config().azure.container.empty(); }

Result<void> AzureStore::check() {
    const std::string& container = client_.config().azure.container;
    AzureRequest request;
    if (is_for_one_container())
        request = container_request("GET", container);
    request.query["comp"] = "list";
    request.query["maxresults"] = "1";
    Result<Reply> reply = client_.ask(request, {});
    if (!reply)
        return fail(std::move(reply.error()));
    if (reply->is_good()) {
        if (parse_listing(reply->answer.body))
            return {};
        return fail(ErrorKind::Unreachable, "store \"{}\": what answers at {} is no blob storage; look at the endpoint",
                    client_.config().name, client_.config().azure.endpoint);
    }
    // Signed well, and may not list the account's containers: it is for less, and what it is for will tell.
    if (reply->answer.status == 403 && reply->code.starts_with("Authorization") && client_.is_for_less() && !is_for_one_container())
        return {};
    if (reply->code == "ContainerNotFound")
        return fail(ErrorKind::NotFound, "store \"{}\": there is no container {} in account {}; make it, or correct the setting "
                                         "container", client_.config().name, container, client_.config().azure.account);
    return fail(client_.error_of(*reply, "use it"));
}

// A container may be there for who may not look at it.
Result<void> AzureStore::need_container(const std::string& container) {
    {
        const std::scoped_lock lock(mutex_);
        if (containers_.contains(container))
            return {};
    }
    DRAY_LET(const Reply reply, client_.call(container_request("HEAD", container), {}));
    if (!reply.is_good() && reply.answer.status != 403)
        return fail(reply.answer.status == 404
                        ? Error(ErrorKind::NotFound, fmt::format("store \"{}\": there is no container {}", client_.config().name, container))
                        : client_.error_of(reply, "look at container " + container));
    const std::scoped_lock lock(mutex_);
    containers_.insert(container);
    return {};
}

Result<void> AzureStore::ensure_container(const std::string& container) {
    DRAY_TRY(check_container(container));
    Result<void> seen = need_container(container);
    if (seen || seen.error().kind() != ErrorKind::NotFound)
        return seen;
    DRAY_LET(const Reply reply, client_.call(container_request("PUT", container), {}));
    if (!reply.is_good() && reply.code != "ContainerAlreadyExists")
        return fail(client_.error_of(reply, "make container " + container));
    const std::scoped_lock lock(mutex_);
    containers_.insert(container);
    return {};
}

Result<std::unique_ptr<BlobWriter>> AzureStore::create(const BlobName& name, const CreateOptions& options,
                                                       std::stop_token stop) {
    DRAY_TRY(check_target(name));
    DRAY_TRY(check_azure_name(name));
    DRAY_TRY(check_upload_id(options.upload_id));
    if (stop.stop_requested())
        return fail(ErrorKind::Cancelled, "stopped before {} was begun", name.path());
    DRAY_TRY(need_container(name.container));
    return AzureWriter::open(client_, name, options, std::move(stop));
}

// One request, unless the type or a hash that is only to be kept takes more.
Result<void> AzureStore::put_whole(const BlobName& name, const CreateOptions& options, const Piece& piece,
                                   const BlobProperties& properties, const BlobMetadata& metadata, std::stop_token stop) {
    DRAY_TRY(check_target(name));
    DRAY_TRY(check_azure_name(name));
    DRAY_TRY(check_metadata(metadata));
    DRAY_LET(Dress dress, dress_of(properties, metadata));
    // Put Blob compares it with the content, and keeps none that differs (A.3).
    const bool keeps_hash = properties.content_md5.empty() ||
                            (piece.md5 != Md5Hash{} && properties.content_md5 == to_base64(piece.md5));
    if (options.type == BlobType::Block && keeps_hash)
        return put_blob(client_, {name, options.replace, piece, std::move(dress)}, stop);
    DRAY_LET(const std::unique_ptr<BlobWriter> writer, create(name, options, stop));
    Result<void> done = piece.length == 0 ? Result<void>() : writer->put(piece);
    if (done)
        done = writer->finish(std::span(&piece, piece.length == 0 ? 0 : 1), properties, metadata);
    if (!done)
        (void)writer->abandon();  // the first error is the one that tells
    return done;
}

Result<BlobStatus> AzureStore::stat(const BlobName& name) {
    DRAY_TRY(check_name(name));
    if (!check_azure_name(name))
        return fail(ErrorKind::NotFound, "the service keeps no blob {}", name.path());
    DRAY_LET(Seen seen, look_at(client_, name, {}));
    // On its way into place, it is no blob yet; whose it is its writer finds out.
    const bool is_done = seen.copy_status.empty() || seen.copy_status == "success";
    if (!is_done && seen.copy_source.contains("/" + std::string(kStaging)))
        return fail(ErrorKind::NotFound, "blob {} is still being published", name.path());
    return std::move(seen.status);
}

Result<void> AzureStore::read(const BlobName& name, Bytes offset, std::span<std::byte> content,
                              const std::string& if_match, std::stop_token stop) {
    if (content.empty() || offset > ~Bytes{0} - content.size()) {
        DRAY_LET(const BlobStatus status, stat(name));
        if (!if_match.empty() && if_match != status.etag)
            return fail(ErrorKind::Busy, "blob {} has changed", name.path());
        if (offset > status.length || !content.empty())
            return fail(ErrorKind::InvalidArgument, "blob {} has {} bytes, {} at offset {} were asked for", name.path(),
                        status.length, content.size(), offset);
        return {};
    }
    DRAY_TRY(check_name(name));
    if (!check_azure_name(name))
        return fail(ErrorKind::NotFound, "the service keeps no blob {}", name.path());
    AzureRequest request = request_for("GET", name);
    request.headers["x-ms-range"] = fmt::format("bytes={}-{}", offset, offset + content.size() - 1);
    if (!if_match.empty())
        request.headers["If-Match"] = "\"" + if_match + "\"";
    request.into = content;
    DRAY_LET(const Reply reply, client_.call(request, stop));
    if (!reply.is_good())
        return fail(client_.error_of(reply, "read " + name.path()));
    if (reply.answer.received != content.size())
        return fail(ErrorKind::InvalidArgument, "blob {} ends before offset {}", name.path(), offset + content.size());
    return {};
}

Result<ListPage> AzureStore::list(const std::string& container, const std::string& prefix, const std::string& marker,
                                  std::size_t most) {
    return list_including("metadata", container, prefix, marker, most);
}

Result<ListPage> AzureStore::list_with_snapshots(const std::string& container, const std::string& prefix,
                                                 const std::string& marker, std::size_t most) {
    return list_including("snapshots,metadata", container, prefix, marker, most);
}

Result<ListPage> AzureStore::list_including(const std::string& what, const std::string& container, const std::string& prefix,
                                            const std::string& marker, std::size_t most) {
    DRAY_TRY(check_container(container));
    if (most == 0)
        return fail(ErrorKind::InvalidArgument, "a listing of no blobs was asked for");
    AzureRequest request = container_request("GET", container);
    request.query["comp"] = "list";
    request.query["include"] = what;
    request.query["maxresults"] = std::to_string(std::min(most, kMostListed));
    if (!prefix.empty())
        request.query["prefix"] = prefix;
    ListPage page;
    page.marker = marker;
    // A page can be empty and still not be the last.
    do {
        if (!page.marker.empty())
            request.query["marker"] = page.marker;
        DRAY_LET(const Reply reply, client_.call(request, {}));
        if (!reply.is_good())
            return fail(reply.code == "ContainerNotFound"
                            ? Error(ErrorKind::NotFound, fmt::format("there is no container {}", container))
                            : client_.error_of(reply, "list container " + container));
        DRAY_LET(Listing listing, parse_listing(reply.answer.body));
        for (BlobStatus& blob : listing.blobs) {
            blob.name.container = container;
            if (!is_staging_name(blob.name.name))
                page.blobs.push_back(std::move(blob));
        }
        page.marker = std::move(listing.marker);
    } while (page.blobs.empty() && !page.marker.empty());
    return page;
}

Result<std::vector<std::string>> AzureStore::containers() {
    AzureRequest request;
    request.query["comp"] = "list";
    std::vector<std::string> containers;
    std::string marker;
    do {
        if (!marker.empty())
            request.query["marker"] = marker;
        DRAY_LET(const Reply reply, client_.call(request, {}));
        if (!reply.is_good())
            return fail(client_.error_of(reply, "list the containers"));
        DRAY_LET(ContainerListing listing, parse_containers(reply.answer.body));
        for (std::string& name : listing.names)
            if (check_container(name))
                containers.push_back(std::move(name));
        marker = std::move(listing.marker);
    } while (!marker.empty());
    std::ranges::sort(containers);
    return containers;
}

Result<std::string> AzureStore::snapshot(const BlobName& name) {
    DRAY_TRY(check_target(name));
    if (!check_azure_name(name))
        return fail(ErrorKind::NotFound, "the service keeps no blob {}", name.path());
    // After a lost answer there may be one more than is known of; it costs what is changed from now on and nothing else.
    DRAY_LET(const Reply reply, client_.call(request_for("PUT", name, "snapshot"), {}));
    if (!reply.is_good())
        return fail(client_.error_of(reply, "take a snapshot of " + name.path()));
    const std::string& snapshot = reply.answer.header("x-ms-snapshot");
    if (snapshot.empty())
        return fail(ErrorKind::Unreachable, "the service took a snapshot of {} and does not say which", name.path());
    return snapshot;
}

Result<void> AzureStore::remove(const BlobName& name) {
    DRAY_TRY(check_name(name));
    if (!check_azure_name(name))
        return fail(ErrorKind::NotFound, "the service keeps no blob {}", name.path());
    // Whether it was there is known from before: a removal whose answer is lost is not heard of a second time.
    DRAY_LET([[maybe_unused]] const Seen seen, look_at(client_, name, {}));
    return remove_if_there(client_, name, {});
}

}  // namespace dray::store::azure
