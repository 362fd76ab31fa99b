// SPDX-License-Identifier: Apache-2.0
//
// One blob on its way from the drive into the store: what import.cpp knows of it while it is in flight.
// Touched by the reading thread alone, but for what a lane was handed.
#pragma once

#include <atomic>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "daemon/drive/protocol.hpp"
#include "daemon/format/copy_log.hpp"
#include "daemon/format/drive_manifest.hpp"
#include "daemon/hash/md5_lanes.hpp"
#include "daemon/model/blob_name.hpp"
#include "drivers/store/blob_store.hpp"

namespace dray::transfer {

/// The blob's status when its file cannot be opened.
format::BlobOutcome outcome_of_open(ErrorKind kind);

struct BlobWork {
    std::uint64_t index = 0;
    format::ManifestBlob blob;
    /// What it is to be called: the manifest's name, or the one reserved for it.
    BlobName name;
    /// The n of the rename rule that `name` has; 1: the manifest's name.
    unsigned number = 1;
    /// Names that nobody else may have meanwhile.
    std::vector<std::string> held_names;
    /// Place of its reservation in the journal; 0: it has none.
    std::uint64_t reservation = 0;
    /// The number dray-drive knows its file by.
    std::uint32_t file = 0;
    std::optional<Bytes> file_size;
    std::optional<Error> open_error;
    /// One answer to an Open; a second one is a lie.
    bool is_open_answered = false;
    /// Null for a blob that goes in one request.
    std::unique_ptr<store::BlobWriter> writer;
    /// nullopt: not dealt with yet.
    std::vector<std::optional<format::PieceOutcome>> pieces;
    /// Of the file, found out when all else is done.
    std::vector<format::LostRange> lost;
    store::BlobProperties properties;
    store::BlobMetadata metadata;
    std::optional<format::SideFileOutcome> properties_outcome;
    std::optional<format::SideFileOutcome> metadata_outcome;
    /// Opens, reads and puts that have not answered.
    unsigned outstanding = 0;
    /// Nothing more will be asked of the drive for it.
    bool is_issued = false;
    bool is_finishing = false;
    /// What could not be read counts as such: it was tried twice, and the device is there (rules.md 1).
    bool is_confirmed = false;
    /// Set once the store does not want this blob; it ends when nothing of it is under way any more.
    std::optional<format::BlobOutcome> refusal;
    /// A store's call on a lane threw; the blob is given up.
    std::atomic<bool> has_thrown = false;
    /// What has come of pieces in several parts: the hash so far, and where the next part begins.
    struct Partial {
        hash::Md5Stream stream;
        Bytes next = 0;
        /// Parts of it that are being hashed, or wait for it.
        unsigned hashing = 0;
        /// A part could not be read, or came out of turn: the others are not looked at.
        bool is_broken = false;
    };
    std::map<std::size_t, Partial> partials;
    /// Parts of a piece that the store has not taken yet; a piece in one part is not listed.
    std::map<std::size_t, unsigned> parts_left;
    Bytes bytes_counted = 0;
    /// What of them counts as verified and in the store.
    Bytes bytes_succeeded = 0;

    /// Whether it goes in one request: a block blob of one piece that comes in one part.
    bool is_whole() const {
        return blob.pieces.size() <= 1 && !blob.is_page_blob && blob.length <= drive::kMaxRead;
    }
    /// `has_replaced`: a blob of that name was there before.
    format::DispositionOutcome disposition_outcome(bool has_replaced) const {
        if (name.path() != blob.blob_path)
            return format::DispositionOutcome::Renamed;
        return has_replaced ? format::DispositionOutcome::Overwritten : format::DispositionOutcome::Created;
    }
    /// Whether any piece has come to this end.
    bool has_piece(format::PieceOutcome outcome) const {
        for (const auto& piece : pieces)
            if (piece == outcome)
                return true;
        return false;
    }
    bool has_bad_piece() const {
        for (const auto& piece : pieces)
            if (piece && *piece != format::PieceOutcome::Completed)
                return true;
        return false;
    }
    /// Whether reading failed, as far as one can tell.
    bool has_unread() const {
        for (const auto& piece : pieces)
            if (piece == format::PieceOutcome::IOFailed)
                return true;
        return open_error && outcome_of_open(open_error->kind()) == format::BlobOutcome::IOFailed;
    }
    /// A piece is bad and no second look will mend it.
    bool is_spoilt() const {
        for (const auto& piece : pieces)
            if (piece && *piece != format::PieceOutcome::Completed &&
                (is_confirmed || *piece != format::PieceOutcome::IOFailed))
                return true;
        return false;
    }
    bool is_complete() const {
        for (const auto& piece : pieces)
            if (piece != format::PieceOutcome::Completed)
                return false;
        return true;
    }
};

/// A part of a piece: at most drive::kMaxRead bytes.
struct Part {
    BlobWork* work = nullptr;
    std::size_t piece = 0;
    Bytes offset = 0;
    Bytes length = 0;
    Bytes ring_offset = 0;
    bool is_first = false;
    bool is_last = false;
    /// Where it lies in private memory; then its place in the ring is another's.
    std::optional<Bytes> copy;

    bool is_piece() const { return is_first && is_last; }
};

}  // namespace dray::transfer
