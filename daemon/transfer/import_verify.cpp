// SPDX-License-Identifier: Apache-2.0
//
// Import between drive and store: what has arrived is taken out of the ring, hashed together, and compared with the
// manifest. Each byte is hashed once.
#include <algorithm>
#include <utility>

#include "daemon/transfer/import.hpp"

namespace dray::transfer {
namespace {

using format::PieceOutcome;

/// So much is hashed before anybody looks whether more has come.
constexpr Bytes kHashStep = 512 * kKiB;

}  // namespace

void Import::arrived(const Part& part) {
    if (part.is_piece() || is_next(part)) {
        arrived_.push_back(part);
        return;
    }
    piece_done(*part.work, part.piece, PieceOutcome::Corrupted);
    release(part);
    --part.work->outstanding;
}

// Parts of a piece come in their order. An earlier part that could not be read, or this one not being the next:
// whoever mixes parts up wants one of them to go by without being looked at.
bool Import::is_next(const Part& part) {
    BlobWork& work = *part.work;
    if (part.is_first) {
        work.partials.erase(part.piece);  // of an earlier look, of which nothing is under way any more
        work.partials[part.piece].next = part.offset;
    }
    const auto found = work.partials.find(part.piece);
    if (found == work.partials.end())
        return false;
    if (found->second.is_broken || found->second.next != part.offset) {
        break_off(work, part.piece);
        return false;
    }
    found->second.next += part.length;
    ++found->second.hashing;
    return true;
}

void Import::break_off(BlobWork& work, std::size_t piece) {
    const auto found = work.partials.find(piece);
    if (found == work.partials.end())
        return;
    found->second.is_broken = true;
    if (found->second.hashing == 0)
        work.partials.erase(found);
}

void Import::take_in() {
    while (!arrived_.empty()) {
        Part part = arrived_.front();
        if (fault_ || is_gone_) {
            // Nothing of it counts any more.
            release(part);
            --part.work->outstanding;
            arrived_.pop_front();
            continue;
        }
        if (!checks_at_far_end_ || !part.is_piece()) {
            part.copy = copies_.copy(content_of(part));
            if (!part.copy)
                return;
            ring_.give_back(part.ring_offset);
        }
        arrived_.pop_front();
        Hashing& hashing = hashing_[++hashings_];
        hashing.part = part;
        hash::Md5Stream* stream = &hashing.stream;
        if (!part.is_piece())
            stream = &part.work->partials.at(part.piece).stream;
        md5_.add({stream, content_of(part), part.is_last, hashings_});
    }
}

// A short step over whatever has arrived.
void Import::hash_on() {
    take_in();
    for (const hash::Md5Work& done : md5_.step(kHashStep)) {
        const auto found = hashing_.find(done.tag);
        const Part part = found->second.part;
        const bool is_right = !part.is_last || done.stream->digest() == part.work->blob.pieces[part.piece].hash;
        hashing_.erase(found);
        if (!part.is_piece()) {
            const auto partial = part.work->partials.find(part.piece);
            if (--partial->second.hashing == 0 && (partial->second.is_broken || part.is_last))
                part.work->partials.erase(partial);
        }
        verified(part, is_right);
    }
}

void Import::verified(const Part& part, bool is_right) {
    BlobWork& work = *part.work;
    if (!is_right)
        piece_done(work, part.piece, PieceOutcome::Corrupted);
    // A block blob with a bad piece is not published: the rest is only looked at, for the log.
    const bool is_wanted = is_right && !fault_ && !is_gone_ && (work.blob.is_page_blob || !work.is_spoilt());
    if (is_wanted && work.is_whole()) {
        put_whole(work, part);
    } else if (is_wanted) {
        put_part(part);
    } else {
        release(part);
        --work.outstanding;
        if (is_right && part.is_last && !fault_ && !is_gone_)
            piece_done(work, part.piece, PieceOutcome::Completed);
    }
}

std::span<const std::byte> Import::content_of(const Part& part) const {
    return part.copy ? copies_.at(*part.copy, part.length) : drive_.ring().subspan(part.ring_offset, part.length);
}

// What lies in private memory needs no second look; a far end that looks in any case is told what to find.
store::Piece Import::piece_of(const Part& part) const {
    const format::ManifestPiece& wanted = part.work->blob.pieces[part.piece];
    store::Piece piece;
    piece.offset = part.offset;
    piece.length = part.length;
    piece.id = wanted.id;
    if (checks_at_far_end_ && part.is_piece())
        piece.md5 = wanted.hash;
    piece.content = content_of(part);
    return piece;
}

void Import::release(const Part& part) {
    if (part.copy)
        copies_.give_back(*part.copy);
    else
        ring_.give_back(part.ring_offset);
}

}  // namespace dray::transfer
