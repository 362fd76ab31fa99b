// SPDX-License-Identifier: Apache-2.0
//
// Locks: BlockMemory's comes before a writer's, so nothing here calls it with the writer's lock held.
#include "drivers/store/encryption/encrypting_writer.hpp"

#include <openssl/rand.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "daemon/base/digest.hpp"
#include "daemon/base/encoding.hpp"
#include "daemon/hash/crc64.hpp"
#include "drivers/store/blob_rules.hpp"

namespace dray::store {
namespace {

constexpr Md5Hash kNoHash{};
/// Azure's limit.
constexpr std::uint64_t kMaxBlocks = 50'000;

constexpr std::uint64_t divided_up(std::uint64_t number, std::uint64_t by) { return number / by + (number % by != 0 ? 1 : 0); }

}  // namespace

Result<BlobEncryption> BlobEncryption::create(const WrappingKey& key, Bytes length, const std::string& upload_id,
                                              std::optional<SecretBytes> content_key) {
    if (!content_key) {
        DRAY_LET(content_key, random_secret(kContentKeySize));
    }
    Envelope envelope;
    envelope.key_id = key.id();
    envelope.algorithm = key.algorithm();
    envelope.region = kWrittenRegion;
    envelope.length = length;
    envelope.upload_id = upload_id;
    DRAY_LET(envelope.wrapped_key, key.wrap(with_protocol(envelope.protocol, *content_key)));
    return BlobEncryption{RegionCipher(*std::move(content_key)), write_envelope(envelope)};
}

std::uint64_t regions_per_block(Bytes length) {
    return std::max<std::uint64_t>(1, divided_up(divided_up(length, kWrittenRegion), kMaxBlocks));
}

Result<void> check_can_encrypt(const BlobName& name, const CreateOptions& options) {
    if (options.type == BlobType::Page)
        return fail(ErrorKind::Unsupported,
                    "blob {} is a page blob, and client-side encryption has no page blobs: it needs a store without encryption-key",
                    name.path());
    if (divided_up(options.length, kWrittenRegion) > kMaxWrittenRegions)
        return fail(ErrorKind::Unsupported, "blob {} of {} is too long for client-side encryption, which goes up to {}",
                    name.path(), format_bytes(options.length), format_bytes(kMaxWrittenRegions * kWrittenRegion));
    return {};
}

Result<BlobMetadata> with_envelope(const BlobMetadata& metadata, const std::string& envelope) {
    BlobMetadata all = metadata;
    all[std::string(kEnvelopeName)] = envelope;
    if (!check_metadata(all) || all.size() == metadata.size()) {
        DRAY_TRY(check_metadata(metadata));
        return fail(ErrorKind::InvalidArgument,
                    "the metadata has the name \"{}\", and there the encryption of the store keeps what it needs for reading",
                    kEnvelopeName);
    }
    return all;
}

BlobProperties without_hash(BlobProperties properties) {
    properties.content_md5.clear();
    return properties;
}

Piece sealed_piece(const BlobStore& inner, Bytes offset, std::string id, std::span<const std::byte> content) {
    Piece piece;
    piece.offset = offset;
    piece.length = content.size();
    piece.id = std::move(id);
    piece.content = content;
    if (inner.takes_crc64())
        piece.crc64 = hash::crc64(content);
    else if (inner.checks_at_far_end())
        piece.md5 = md5(content);
    return piece;
}

Result<std::unique_ptr<EncryptingWriter>> EncryptingWriter::create(BlobStore& inner, BlockMemory& memory,
                                                                   BlobEncryption encryption, const BlobName& name,
                                                                   const CreateOptions& options, std::stop_token stop) {
    DRAY_TRY(check_can_encrypt(name, options));
    DRAY_LET(Marker marker, Marker::create());
    std::unique_ptr<EncryptingWriter> writer(
        new EncryptingWriter(inner, memory, std::move(encryption), std::move(marker), name, options, stop));
    if (RAND_bytes(reinterpret_cast<unsigned char*>(writer->attempt_.data()), static_cast<int>(writer->attempt_.size())) != 1)
        return fail(ErrorKind::Internal, "no random numbers for an upload");
    CreateOptions stored = options;
    stored.length = stored_length(options.length, kWrittenRegion);
    DRAY_LET(writer->inner_, inner.create(name, stored, std::move(stop)));
    return writer;
}

EncryptingWriter::EncryptingWriter(BlobStore& inner, BlockMemory& memory, BlobEncryption encryption, Marker marker,
                                   BlobName name, const CreateOptions& options, std::stop_token stop)
    : inner_store_(inner),
      memory_(memory),
      encryption_(std::move(encryption)),
      marker_(std::move(marker)),
      name_(std::move(name)),
      length_(options.length),
      block_size_(regions_per_block(options.length) * kWrittenRegion),
      block_count_(divided_up(options.length, block_size_)),
      stop_(std::move(stop)),
      sent_(block_count_) {
    memory_.join(*this);
}

EncryptingWriter::~EncryptingWriter() {
    memory_.leave(*this);
    memory_.give_back(drop_idle());  // nobody else knows it any more
}

Bytes EncryptingWriter::block_length(std::uint64_t block) const {
    return std::min(block_size_, length_ - block * block_size_);
}

// Of one length for all blocks of a blob, as a service wants it: 24 characters.
std::string EncryptingWriter::id_of(std::uint64_t block) const {
    std::array<std::byte, 16> id;
    std::ranges::copy(attempt_, id.begin());
    for (std::size_t i = 0; i < 8; ++i)
        id[8 + i] = static_cast<std::byte>(block >> (56 - 8 * i));
    return to_base64(id);
}

std::vector<EncryptingWriter::Part> EncryptingWriter::parts_of(const Piece& piece) const {
    std::vector<Part> parts;
    for (Bytes done = 0; done < piece.length;) {
        const std::uint64_t block = (piece.offset + done) / block_size_;
        const Bytes offset = (piece.offset + done) % block_size_;
        const Bytes length = std::min(piece.length - done, block_size_ - offset);
        parts.push_back({block, offset, piece.content.subspan(done, length)});
        done += length;
    }
    return parts;
}

Result<void> EncryptingWriter::check(const Piece& piece) const {
    if (piece.content.size() != piece.length || piece.offset > length_ || piece.length > length_ - piece.offset)
        return fail(ErrorKind::InvalidArgument, "blob {} of {} bytes: a piece of {} bytes at offset {} is no part of it",
                    name_.path(), length_, piece.length, piece.offset);
    return {};
}

Result<void> EncryptingWriter::put(const Piece& piece) {
    DRAY_TRY(check(piece));
    const std::vector<Part> parts = parts_of(piece);
    if (parts.empty())
        return {};
    // First: who waits for another put of the same piece is not at work.
    DRAY_LET(const bool is_new, claim(piece, parts));
    if (!is_new)
        return {};
    BlockMemory::Work work(memory_, this);
    std::size_t used = 0;
    const Result<Mark> mark = copy_in(piece, parts, used, work);
    if (!mark) {
        unclaim(piece, std::span(parts).first(used));
        return fail(mark.error());
    }
    DRAY_LET(const std::vector<std::uint64_t> whole, count_in(piece, parts, *mark));
    Result<void> done;
    for (const std::uint64_t block : whole) {
        if (done)
            done = send(block);
        else
            drop(block);
    }
    return done;
}

Result<bool> EncryptingWriter::claim(const Piece& piece, const std::vector<Part>& parts) {
    std::unique_lock lock(mutex_);
    const auto is_being_put = [&] {
        const auto found = puts_.find(piece.offset);
        return found != puts_.end() && found->second.length == piece.length && !found->second.is_done;
    };
    claimed_.wait(lock, [&] { return failure_ || !is_being_put(); });
    if (failure_)
        return fail(*failure_);
    const auto next = puts_.lower_bound(piece.offset);
    if (next != puts_.end() && next->first == piece.offset && next->second.length == piece.length)
        return claim_again(lock, piece, parts);
    const bool is_over_next = next != puts_.end() && next->first < piece.offset + piece.length;
    const bool is_over_last = next != puts_.begin() && std::prev(next)->first + std::prev(next)->second.length > piece.offset;
    if (is_over_next || is_over_last)
        return fail(ErrorKind::InvalidArgument, "blob {}: the piece of {} bytes at offset {} lies across another one",
                    name_.path(), piece.length, piece.offset);
    puts_[piece.offset].length = piece.length;
    return true;
}

// What cannot be read at first is read again, and then its neighbours in the same piece come again, too.
Result<bool> EncryptingWriter::claim_again(std::unique_lock<std::mutex>& lock, const Piece& piece,
                                           const std::vector<Part>& parts) {
    const Mark before = puts_.at(piece.offset).mark;
    lock.unlock();
    std::vector<std::byte> copy(piece.content.begin(), piece.content.end());
    const std::span<std::byte> run(copy);
    DRAY_LET(const Mark now, verified(piece, std::span(&run, 1)));
    if (now == before)
        return false;
    lock.lock();
    if (failure_)
        return fail(*failure_);
    const auto found = puts_.find(piece.offset);
    if (found == puts_.end() || !found->second.is_done || found->second.mark != before) {
        lock.unlock();
        return claim(piece, parts);  // somebody else put it meanwhile
    }
    const auto is_gone = [&](const Part& part) { return sent_[part.block] || blocks_.at(part.block).is_going; };
    if (std::ranges::any_of(parts, is_gone)) {
        lock.unlock();
        return std::unexpected(fail_for_good({ErrorKind::Busy,
                                              fmt::format("blob {}: the piece at offset {} has come a second time with another "
                                                          "content, and the first is encrypted already; the blob has to be begun anew",
                                                          name_.path(), piece.offset)}));
    }
    found->second.is_done = false;
    for (const Part& part : parts)
        blocks_.at(part.block).filled -= part.content.size();
    return true;
}

// `runs` are private memory: what is hashed here is what will be stored.
Result<Mark> EncryptingWriter::verified(const Piece& piece, std::span<const std::span<std::byte>> runs) const {
    if (piece.md5 != kNoHash) {
        Digest digest(DigestKind::Md5);
        for (const std::span<std::byte> run : runs)
            digest.update(run);
        if (!std::ranges::equal(digest.finish(), piece.md5))
            return fail(ErrorKind::Corrupt, "blob {}: the piece at offset {} has changed since it was verified",
                        name_.path(), piece.offset);
    }
    return marker_.mark(runs);
}

Result<std::span<std::byte>> EncryptingWriter::use_block(std::uint64_t block, BlockMemory::Work& work) {
    const Bytes stored = block_stored(block);
    const auto find = [&]() -> std::span<std::byte> {
        const auto found = blocks_.find(block);
        if (found == blocks_.end())
            return {};
        ++found->second.users;
        found->second.when = work.when();
        return {found->second.bytes.get(), stored};
    };
    {
        const std::scoped_lock lock(mutex_);
        if (failure_)
            return fail(*failure_);
        if (const auto there = find(); !there.empty())
            return there;
    }
    DRAY_TRY(work.take(stored, stop_));
    std::unique_lock lock(mutex_);
    std::span<std::byte> bytes;
    if (!failure_) {
        bytes = find();  // another put may have been first
        if (bytes.empty()) {
            blocks_[block].bytes = std::make_unique_for_overwrite<std::byte[]>(stored);
            return find();
        }
    }
    const std::optional<Error> failure = failure_;
    lock.unlock();
    memory_.give_back(stored);
    if (failure)
        return fail(*failure);
    return bytes;
}

// `used`: how many of the parts' blocks are in use by this put.
Result<Mark> EncryptingWriter::copy_in(const Piece& piece, std::span<const Part> parts, std::size_t& used,
                                       BlockMemory::Work& work) {
    std::vector<std::span<std::byte>> all;
    for (const Part& part : parts) {
        DRAY_LET(const std::span<std::byte> block, use_block(part.block, work));
        ++used;
        Bytes done = 0;
        for (const std::span<std::byte> run : text_runs(block, kWrittenRegion, part.offset, part.content.size())) {
            std::memcpy(run.data(), part.content.data() + done, run.size());
            done += run.size();
            all.push_back(run);
        }
    }
    return verified(piece, all);
}

void EncryptingWriter::unclaim(const Piece& piece, std::span<const Part> used) {
    Bytes freed = 0;
    {
        const std::scoped_lock lock(mutex_);
        puts_.erase(piece.offset);
        for (const Part& part : used) {
            Block& block = blocks_.at(part.block);
            if (--block.users == 0 && (block.filled == 0 || failure_)) {
                freed += block_stored(part.block);
                blocks_.erase(part.block);
            }
        }
    }
    claimed_.notify_all();
    memory_.give_back(freed);
}

Result<std::vector<std::uint64_t>> EncryptingWriter::count_in(const Piece& piece, std::span<const Part> parts,
                                                              const Mark& mark) {
    std::vector<std::uint64_t> whole;
    std::optional<Error> failure;
    Bytes freed = 0;
    {
        const std::scoped_lock lock(mutex_);
        failure = failure_;
        puts_[piece.offset] = {piece.length, mark, true};
        for (const Part& part : parts) {
            Block& block = blocks_.at(part.block);
            --block.users;
            block.filled += part.content.size();
            if (!failure && block.filled == block_length(part.block)) {
                block.is_going = true;
                whole.push_back(part.block);
            }
        }
        if (failure)
            freed = drop_idle();
    }
    claimed_.notify_all();
    memory_.give_back(freed);
    if (failure)
        return fail(*failure);
    return whole;
}

// Only here is anything encrypted, and a block comes here once.
Result<void> EncryptingWriter::send(std::uint64_t block) {
    std::span<std::byte> stored;
    std::optional<Error> failure;
    {
        const std::scoped_lock lock(mutex_);
        stored = {blocks_.at(block).bytes.get(), block_stored(block)};
        failure = failure_;
    }
    Result<void> done;
    if (failure)
        done = fail(*failure);
    else
        done = encryption_.cipher.seal_all(NonceScheme::Python, block * (block_size_ / kWrittenRegion), stored, kWrittenRegion);
    if (done)
        done = inner_->put(
            sealed_piece(inner_store_, block * stored_length(block_size_, kWrittenRegion), id_of(block), stored));
    if (done) {
        const std::scoped_lock lock(mutex_);
        sent_[block] = true;
    }
    drop(block);
    if (done)
        return {};
    // Here it is not the drive's content that is wrong.
    if (done.error().kind() == ErrorKind::Corrupt)
        return std::unexpected(fail_for_good(
            {ErrorKind::Unreachable, fmt::format("the store did not get what was sent to it: {}", done.error().text())}));
    return std::unexpected(fail_for_good(std::move(done.error())));
}

void EncryptingWriter::drop(std::uint64_t block) {
    {
        const std::scoped_lock lock(mutex_);
        blocks_.erase(block);
    }
    memory_.give_back(block_stored(block));
}

Error EncryptingWriter::fail_for_good(Error error) {
    Bytes freed = 0;
    {
        const std::scoped_lock lock(mutex_);
        if (!failure_)
            failure_ = error;
        freed = drop_idle();
    }
    claimed_.notify_all();
    memory_.give_back(freed);
    return error;
}

Bytes EncryptingWriter::drop_idle() {
    Bytes freed = 0;
    std::erase_if(blocks_, [&](const auto& entry) {
        const bool is_idle = entry.second.users == 0 && !entry.second.is_going;
        freed += is_idle ? block_stored(entry.first) : 0;
        return is_idle;
    });
    return freed;
}

Bytes EncryptingWriter::give_up(std::uint64_t when) {
    const std::scoped_lock lock(mutex_);
    const auto is_stale = [&](const auto& entry) {
        return entry.second.users == 0 && !entry.second.is_going && entry.second.when < when;
    };
    if (std::ranges::none_of(blocks_, is_stale))
        return 0;
    if (!failure_)
        failure_ = Error(ErrorKind::Unsupported,
                         fmt::format("blob {}: too much of it waits for pieces that have not come; client-side encryption "
                                     "needs them in regions of {}", name_.path(), format_bytes(kWrittenRegion)));
    return drop_idle();
}

Result<void> EncryptingWriter::finish(std::span<const Piece> pieces, const BlobProperties& properties,
                                      const BlobMetadata& metadata) {
    DRAY_LET(const BlobMetadata all, with_envelope(metadata, encryption_.envelope));
    Bytes end = 0;
    bool is_in_order = true;
    for (const Piece& piece : pieces) {
        is_in_order = is_in_order && piece.offset == end;
        end += piece.length;
    }
    if (!is_in_order || end != length_)
        return fail(ErrorKind::InvalidArgument, "blob {}: what is encrypted is published whole, and the pieces named are not all "
                    "of it in its order", name_.path());
    std::vector<Piece> blocks;
    {
        const std::scoped_lock lock(mutex_);
        if (failure_)
            return fail(*failure_);
        if (!std::ranges::all_of(sent_, [](bool is_sent) { return is_sent; }))
            return fail(ErrorKind::Corrupt, "blob {}: the store does not have all its pieces", name_.path());
    }
    blocks.reserve(block_count_);
    for (std::uint64_t block = 0; block < block_count_; ++block)
        blocks.push_back({block * stored_length(block_size_, kWrittenRegion), block_stored(block), id_of(block), {}, {}});
    return inner_->finish(blocks, without_hash(properties), all);
}

Result<void> EncryptingWriter::rename(const BlobName& name) {
    DRAY_TRY(inner_->rename(name));
    const std::scoped_lock lock(mutex_);
    name_ = name;
    return {};
}

Result<void> EncryptingWriter::abandon() { return inner_->abandon(); }

}  // namespace dray::store
