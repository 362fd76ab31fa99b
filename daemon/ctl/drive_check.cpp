// SPDX-License-Identifier: Apache-2.0
#include "daemon/ctl/drive_check.hpp"

#include <algorithm>
#include <tuple>
#include <utility>
#include <variant>

#include "daemon/base/encoding.hpp"
#include "daemon/base/overloaded.hpp"
#include "daemon/ctl/interrupt.hpp"
#include "daemon/format/blob_properties.hpp"
#include "daemon/model/blob_name.hpp"

namespace dray::ctl {
namespace {

/// Files open at one time, those of metadata and properties among them.
constexpr std::uint32_t kMostFiles = 128;
/// Blobs that are done wait for those before them, so that findings come in order.
constexpr std::size_t kMostItems = 1024;
/// Hashed before somebody looks again at what has come.
constexpr Bytes kStep = 2 * kMiB;

Fault fault_of(ErrorKind kind) {
    switch (kind) {
        case ErrorKind::NotFound: return Fault::Missing;
        case ErrorKind::InvalidArgument:
        case ErrorKind::LimitReached: return Fault::BadFileName;
        default: return Fault::Unreadable;
    }
}

Error out_of_turn() {
    return {ErrorKind::Corrupt, "dray-drive answered something that was not asked"};
}

}  // namespace

std::string_view to_string(BlobFile file) {
    switch (file) {
        case BlobFile::Content: return "content";
        case BlobFile::Metadata: return "metadata";
        case BlobFile::Properties: return "properties";
    }
    return "content";
}

std::string_view to_string(Fault fault) {
    switch (fault) {
        case Fault::BadBlobName: return "blob-name";
        case Fault::BadFileName: return "file-name";
        case Fault::Missing: return "missing";
        case Fault::Unreadable: return "unreadable";
        case Fault::Short: return "short";
        case Fault::Damaged: return "damaged";
        case Fault::Malformed: return "malformed";
    }
    return "damaged";
}

struct DriveCheck::Piece {
    Item* item = nullptr;
    std::size_t index = 0;
    hash::Md5Stream stream;
    unsigned parts_out = 0;
    bool is_asked = false;
    bool is_done = false;
    std::optional<drive::Failure> failure;
};

/// A metadata or properties file. It is judged once for all blobs that share it, at the first of them.
struct DriveCheck::SideCheck {
    Item* item = nullptr;
    BlobFile which = BlobFile::Metadata;
    format::SideFile file;
    std::optional<std::uint32_t> number;
    Bytes size = 0;
};

struct DriveCheck::Item {
    format::ManifestBlob blob;
    std::optional<std::uint32_t> number;
    std::optional<Bytes> size;
    std::optional<Error> open_error;
    std::deque<Piece> pieces;
    std::vector<std::unique_ptr<SideCheck>> sides;
    unsigned outstanding = 0;
    bool is_asked = false;
    std::size_t pieces_good = 0;
    Bytes bytes_counted = 0;
    std::vector<Finding> findings;

    void add(BlobFile which, Fault fault, const std::string& path, std::string reason,
             std::optional<Bytes> offset = std::nullopt, Bytes length = 0) {
        findings.push_back({which, fault, blob.blob_path, path, offset, length, std::move(reason)});
    }
};

struct DriveCheck::Asked {
    /// One of these.
    Item* content = nullptr;
    SideCheck* side = nullptr;
    std::optional<Part> part;
    std::optional<std::size_t> side_extent;
    std::uint64_t request = 0;
};

DriveCheck::DriveCheck(drive::Client& client, OnFinding on_finding, std::function<void(Bytes)> show)
    : client_(client), on_finding_(std::move(on_finding)), show_(std::move(show)) {
    for (std::size_t extent = kExtents; extent-- > 0;)
        free_extents_.push_back(extent);
    for (std::uint32_t file = kMostFiles; file-- > 0;)
        free_files_.push_back(file);
}

DriveCheck::~DriveCheck() = default;

Result<CheckTotals> DriveCheck::run(const manifest::Spool& spool) {
    DRAY_TRY(spool.walk([this](std::uint64_t, format::ManifestBlob&& blob) { return begin_blob(std::move(blob)); }));
    while (!items_.empty())
        DRAY_TRY(pump());
    return totals_;
}

Result<void> DriveCheck::begin_blob(format::ManifestBlob&& blob) {
    while (items_.size() >= kMostItems)
        DRAY_TRY(pump());
    items_.push_back(std::make_unique<Item>());
    Item& item = *items_.back();
    item.blob = std::move(blob);
    ++totals_.blobs;
    totals_.bytes += manifest::bytes_of(item.blob);
    if (const auto name = parse_blob_path(item.blob.blob_path); !name)
        item.add(BlobFile::Content, Fault::BadBlobName, item.blob.file_path, name.error().text());
    for (const auto& [file, which, shared] : {std::tuple(&item.blob.metadata, BlobFile::Metadata, &shared_metadata_),
                                              std::tuple(&item.blob.properties, BlobFile::Properties, &shared_properties_)}) {
        if (!*file || ((*file)->is_shared && *file == *shared))
            continue;
        if ((*file)->is_shared)
            *shared = *file;
        DRAY_TRY(begin_side_file(item, which, **file));
    }
    DRAY_TRY(open_content(item));
    DRAY_TRY(read_pieces(item));
    item.is_asked = true;
    return settle();
}

Result<void> DriveCheck::open_content(Item& item) {
    Result<std::string> path = format::to_lookup_path(item.blob.file_path);
    if (!path) {
        item.open_error = std::move(path.error());
        return {};
    }
    DRAY_LET(const std::uint32_t number, free_file());
    item.number = number;
    ++item.outstanding;
    ask(drive::Open{number, *std::move(path)}, {&item, nullptr, {}, {}, 0});
    return {};
}

Result<void> DriveCheck::read_pieces(Item& item) {
    // What the answer to the opening has told meanwhile saves asking.
    for (std::size_t index = 0; index < item.blob.pieces.size() && !item.open_error; ++index) {
        const format::ManifestPiece& piece = item.blob.pieces[index];
        if (item.size && piece.offset + piece.length > *item.size)
            break;
        DRAY_TRY(read_piece(item, index));
    }
    return {};
}

Result<void> DriveCheck::read_piece(Item& item, std::size_t index) {
    // Copied: while an extent is waited for, the blob's own list does not move, but readers need not know.
    const Bytes begin = item.blob.pieces[index].offset;
    const Bytes length = item.blob.pieces[index].length;
    Piece& piece = item.pieces.emplace_back();
    piece.item = &item;
    piece.index = index;
    ++item.outstanding;
    for (Bytes done = 0; done < length && !piece.failure;) {
        DRAY_LET(const std::size_t extent, free_extent());
        Part part{&piece, extent, begin + done, std::min(kExtent, length - done), false};
        done += part.length;
        part.is_last = done == length;
        ++piece.parts_out;
        const std::uint64_t request = next_request_++;
        ask(drive::Read{request, *item.number, part.offset, part.length, extent * kExtent}, {nullptr, nullptr, part, {}, request});
    }
    piece.is_asked = true;
    if (piece.parts_out == 0)
        piece_done(piece);
    return {};
}

Result<void> DriveCheck::begin_side_file(Item& item, BlobFile which, const format::SideFile& file) {
    ++totals_.side_files;
    SideCheck& side = *item.sides.emplace_back(std::make_unique<SideCheck>());
    side.item = &item;
    side.which = which;
    side.file = file;
    Result<std::string> path = format::to_lookup_path(file.path);
    if (!path) {
        item.add(which, fault_of(path.error().kind()), file.path, path.error().text());
        return {};
    }
    DRAY_LET(const std::uint32_t number, free_file());
    side.number = number;
    ++item.outstanding;
    ask(drive::Open{number, *std::move(path)}, {nullptr, &side, {}, {}, 0});
    return {};
}

void DriveCheck::read_side_file(SideCheck& side) {
    const std::size_t extent = free_extents_.back();
    free_extents_.pop_back();
    const std::uint64_t request = next_request_++;
    ask(drive::Read{request, *side.number, 0, side.size, extent * kExtent}, {nullptr, &side, {}, extent, request});
}

void DriveCheck::judge_side_file(SideCheck& side, std::span<const std::byte> content) {
    if (const Md5Hash hash = md5(content); hash != side.file.hash) {
        side.item->add(side.which, Fault::Damaged, side.file.path,
                       fmt::format("its hash is {}, not {}", to_hex(hash), to_hex(side.file.hash)));
        return;
    }
    const std::string_view text(reinterpret_cast<const char*>(content.data()), content.size());
    std::optional<Error> error;
    if (side.which == BlobFile::Metadata) {
        if (const auto read = format::read_metadata(text); !read)
            error = read.error();
    } else if (const auto read = format::read_properties(text); !read) {
        error = read.error();
    }
    if (error)
        side.item->add(side.which, Fault::Malformed, side.file.path, error->text());
}

void DriveCheck::end_side_file(SideCheck& side) {
    close_file(side.number);
    --side.item->outstanding;
}

Result<std::uint32_t> DriveCheck::free_file() {
    while (free_files_.empty())
        DRAY_TRY(pump());
    const std::uint32_t file = free_files_.back();
    free_files_.pop_back();
    return file;
}

Result<std::size_t> DriveCheck::free_extent() {
    while (free_extents_.empty())
        DRAY_TRY(pump());
    const std::size_t extent = free_extents_.back();
    free_extents_.pop_back();
    return extent;
}

void DriveCheck::ask(drive::Request request, Asked asked) {
    outbox_.push_back(std::move(request));
    asked_.push_back(asked);
}

void DriveCheck::close_file(std::optional<std::uint32_t>& file) {
    if (!file)
        return;
    // It is not answered, and the number is free as soon as it is sent.
    outbox_.emplace_back(drive::Close{*file});
    free_files_.push_back(*file);
    file.reset();
}

Result<void> DriveCheck::flush() {
    for (std::size_t begin = 0; begin < outbox_.size(); begin += drive::kMaxBatch)
        DRAY_TRY(client_.submit(std::span(outbox_).subspan(begin, std::min(drive::kMaxBatch, outbox_.size() - begin))));
    outbox_.clear();
    return {};
}

Result<void> DriveCheck::pump() {
    DRAY_TRY(check_interrupt());
    while (!side_ready_.empty() && !free_extents_.empty()) {
        read_side_file(*side_ready_.front());
        side_ready_.pop_front();
    }
    DRAY_TRY(flush());
    if (!asked_.empty()) {
        DRAY_LET(const std::vector<drive::Reply> replies, lanes_.is_idle() ? client_.receive() : client_.try_receive());
        for (const drive::Reply& reply : replies)
            DRAY_TRY(heard(reply));
    }
    if (!lanes_.is_idle())
        for (const hash::Md5Work& work : lanes_.step(kStep))
            part_done(in_extent_[work.tag]);
    show_(bytes_done_);
    return settle();
}

Result<void> DriveCheck::heard(const drive::Reply& reply) {
    if (asked_.empty())
        return fail(out_of_turn());
    const Asked asked = asked_.front();
    asked_.pop_front();
    return asked.request == 0 ? opened(asked, reply) : arrived(asked, reply);
}

Result<void> DriveCheck::opened(const Asked& asked, const drive::Reply& reply) {
    const auto* good = std::get_if<drive::Opened>(&reply);
    const auto* bad = std::get_if<drive::OpenFailed>(&reply);
    const std::optional<std::uint32_t>& number = asked.content != nullptr ? asked.content->number : asked.side->number;
    if ((good == nullptr && bad == nullptr) || number != (good != nullptr ? good->file : bad->file))
        return fail(out_of_turn());
    if (bad != nullptr && bad->failure.kind == ErrorKind::Gone)
        return fail(drive::to_error(bad->failure));
    if (asked.content != nullptr) {
        --asked.content->outstanding;
        if (good != nullptr)
            asked.content->size = good->size;
        else
            asked.content->open_error = drive::to_error(bad->failure);
        return {};
    }
    SideCheck& side = *asked.side;
    if (good != nullptr && good->size > 0 && good->size <= format::kMaxSideFile) {
        side.size = good->size;
        side_ready_.push_back(&side);
        return {};
    }
    if (bad != nullptr)
        side.item->add(side.which, fault_of(bad->failure.kind), side.file.path, bad->failure.message);
    else if (good->size == 0)
        judge_side_file(side, {});
    else
        side.item->add(side.which, Fault::Malformed, side.file.path,
                       fmt::format("it has {} bytes, more than {}", good->size, format::kMaxSideFile));
    end_side_file(side);
    return {};
}

Result<void> DriveCheck::arrived(const Asked& asked, const drive::Reply& reply) {
    const auto* good = std::get_if<drive::ReadDone>(&reply);
    const auto* bad = std::get_if<drive::ReadFailed>(&reply);
    if ((good == nullptr && bad == nullptr) || asked.request != (good != nullptr ? good->request : bad->request))
        return fail(out_of_turn());
    if (bad != nullptr && bad->failure.kind == ErrorKind::Gone)
        return fail(drive::to_error(bad->failure));
    if (asked.part) {
        part_arrived(*asked.part, bad != nullptr ? &bad->failure : nullptr);
        return {};
    }
    SideCheck& side = *asked.side;
    const std::size_t extent = *asked.side_extent;
    if (bad != nullptr) {
        side.item->add(side.which, Fault::Unreadable, side.file.path, bad->failure.message);
    } else {
        // Copied out of the ring: what is hashed must be what is parsed (rules.md 11).
        const auto content = client_.ring().subspan(extent * kExtent, static_cast<std::size_t>(side.size));
        const std::vector<std::byte> copy(content.begin(), content.end());
        judge_side_file(side, copy);
    }
    free_extents_.push_back(extent);
    end_side_file(side);
    return {};
}

void DriveCheck::part_arrived(const Part& part, const drive::Failure* failure) {
    Piece& piece = *part.piece;
    if (failure != nullptr && !piece.failure)
        piece.failure = *failure;
    in_extent_[part.extent] = part;
    if (piece.failure) {
        part_done(part);
        return;
    }
    const auto content = client_.ring().subspan(part.extent * kExtent, static_cast<std::size_t>(part.length));
    lanes_.add({&piece.stream, content, part.is_last, part.extent});
}

void DriveCheck::part_done(const Part& part) {
    free_extents_.push_back(part.extent);
    part.piece->item->bytes_counted += part.length;
    bytes_done_ += part.length;
    if (--part.piece->parts_out == 0 && part.piece->is_asked)
        piece_done(*part.piece);
}

void DriveCheck::piece_done(Piece& piece) {
    Item& item = *piece.item;
    judge_piece(item, piece);
    piece.is_done = true;
    // A page blob may have more pieces than there should be hashes in memory.
    while (!item.pieces.empty() && item.pieces.front().is_done)
        item.pieces.pop_front();
    --item.outstanding;
}

void DriveCheck::judge_piece(Item& item, const Piece& piece) {
    const format::ManifestPiece& wanted = item.blob.pieces[piece.index];
    if (item.open_error || (item.size && wanted.offset + wanted.length > *item.size))
        return;  // told once for the file
    if (piece.failure) {
        item.add(BlobFile::Content, Fault::Unreadable, item.blob.file_path, piece.failure->message, wanted.offset,
                 wanted.length);
        return;
    }
    if (piece.stream.digest() != wanted.hash) {
        item.add(BlobFile::Content, Fault::Damaged, item.blob.file_path,
                 fmt::format("its hash is {}, not {}", to_hex(piece.stream.digest()), to_hex(wanted.hash)),
                 wanted.offset, wanted.length);
        return;
    }
    ++item.pieces_good;
    totals_.bytes_good += wanted.length;
}

Result<void> DriveCheck::settle() {
    while (!items_.empty() && items_.front()->is_asked && items_.front()->outstanding == 0) {
        Item& item = *items_.front();
        close_file(item.number);
        if (item.open_error)
            item.add(BlobFile::Content, fault_of(item.open_error->kind()), item.blob.file_path, item.open_error->text());
        const auto& pieces = item.blob.pieces;
        if (item.size && !pieces.empty() && pieces.back().offset + pieces.back().length > *item.size)
            item.add(BlobFile::Content, Fault::Short, item.blob.file_path,
                     fmt::format("the file ends at {}, the blob's content at {}", *item.size,
                                 pieces.back().offset + pieces.back().length));
        // Parts may have come in any order of their pieces' ends.
        std::ranges::sort(item.findings, {}, [](const Finding& finding) {
            return std::tuple(finding.offset.value_or(0), finding.file, finding.fault);
        });
        totals_.blobs_bad += item.findings.empty() ? 0 : 1;
        totals_.findings += item.findings.size();
        for (const std::unique_ptr<SideCheck>& side : item.sides)
            totals_.side_files_bad +=
                std::ranges::any_of(item.findings, [&](const Finding& found) { return found.file == side->which; }) ? 1 : 0;
        for (const Finding& finding : item.findings)
            DRAY_TRY(on_finding_(finding));
        totals_.pieces_good += item.pieces_good;
        totals_.pieces_bad += pieces.size() - item.pieces_good;
        bytes_done_ += manifest::bytes_of(item.blob) - item.bytes_counted;
        items_.pop_front();
    }
    return {};
}

}  // namespace dray::ctl
