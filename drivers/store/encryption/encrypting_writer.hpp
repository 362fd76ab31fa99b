// SPDX-License-Identifier: Apache-2.0
//
// One blob being encrypted on its way into the inner store. Pieces of any size and in any order are gathered in private
// memory into blocks of whole regions; a block that is complete is encrypted where it lies, once, and put; whatever the
// inner store does to get it through, it sends those bytes.
//
// A blob has a content key of its own for each writer, and a writer that is opened again starts over with a new one: what
// was put before is of no use then, and must_resume is answered with NotFound. Blocks have the caller's upload id and, within
// it, ids of their own for each writer; every one of them is put before finish() succeeds, so nothing of an earlier writer
// can be in the blob.
#pragma once

#include <array>
#include <condition_variable>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "drivers/store/blob_store.hpp"
#include "drivers/store/encryption/block_memory.hpp"
#include "drivers/store/encryption/envelope.hpp"
#include "drivers/store/encryption/key_wrap.hpp"
#include "drivers/store/encryption/region_cipher.hpp"

namespace dray::store {

/// The content key of one blob, and what is written of it. `content_key`: for tests; else a new one.
struct BlobEncryption {
    RegionCipher cipher;
    std::string envelope;

    static Result<BlobEncryption> create(const WrappingKey& key, Bytes length, const std::string& upload_id,
                                         std::optional<SecretBytes> content_key = std::nullopt);
};

/// Plaintext regions in a block: the fewest with which a blob has at most 50,000 blocks.
std::uint64_t regions_per_block(Bytes length);
/// Unsupported: a page blob (the format has none), or one of more than 2^32 regions.
Result<void> check_can_encrypt(const BlobName& name, const CreateOptions& options);
/// The customer's metadata with the envelope. InvalidArgument: names that differ in case alone, or that of the envelope.
Result<BlobMetadata> with_envelope(const BlobMetadata& metadata, const std::string& envelope);
/// Without Content-MD5: a customer's is that of the plaintext, and who reads the blob compares it with what is stored. A
/// hash of the plaintext is also more than an encrypted blob should tell.
BlobProperties without_hash(BlobProperties properties);
/// A piece of ciphertext in private memory, with the check that costs the inner store least.
Piece sealed_piece(const BlobStore& inner, Bytes offset, std::string id, std::span<const std::byte> content);

class EncryptingWriter : public BlobWriter, private BlockMemory::Holder {
public:
    static Result<std::unique_ptr<EncryptingWriter>> create(BlobStore& inner, BlockMemory& memory, BlobEncryption encryption,
                                                            const BlobName& name, const CreateOptions& options,
                                                            std::stop_token stop);
    ~EncryptingWriter() override;

    /// A piece may be reported as put while it still waits for its neighbours. What fails later is told by the put that
    /// completes the block, by every one after it, and by finish(). Busy: a piece that comes again has another content
    /// than before, and that one is encrypted already; the blob has to be begun anew. Unsupported: too much waits for
    /// pieces that do not come (BlockMemory).
    Result<void> put(const Piece& piece) override;
    /// InvalidArgument: `pieces` are not the whole blob in its order; a part of one is no plaintext anybody could have.
    Result<void> finish(std::span<const Piece> pieces, const BlobProperties& properties,
                        const BlobMetadata& metadata) override;
    Result<void> rename(const BlobName& name) override;
    Result<void> abandon() override;

private:
    struct Block {
        /// As it will be stored; the text of each region in its place.
        std::unique_ptr<std::byte[]> bytes;
        Bytes filled = 0;
        /// Puts that write to it, or wait to.
        unsigned users = 0;
        /// When the last of them came.
        std::uint64_t when = 0;
        bool is_going = false;
    };
    struct Put {
        Bytes length = 0;
        Mark mark{};
        bool is_done = false;
    };
    /// The part of a piece that lies in one block.
    struct Part {
        std::uint64_t block;
        Bytes offset;
        std::span<const std::byte> content;
    };

    EncryptingWriter(BlobStore& inner, BlockMemory& memory, BlobEncryption encryption, Marker marker, BlobName name,
                     const CreateOptions& options, std::stop_token stop);
    Bytes give_up(std::uint64_t when) override;

    Bytes block_length(std::uint64_t block) const;
    Bytes block_stored(std::uint64_t block) const { return stored_length(block_length(block), kWrittenRegion); }
    std::vector<Part> parts_of(const Piece& piece) const;

    Result<void> check(const Piece& piece) const;
    /// False: it was put before, with the same content.
    Result<bool> claim(const Piece& piece, const std::vector<Part>& parts);
    Result<bool> claim_again(std::unique_lock<std::mutex>& lock, const Piece& piece, const std::vector<Part>& parts);
    Result<Mark> verified(const Piece& piece, std::span<const std::span<std::byte>> runs) const;
    Result<std::span<std::byte>> use_block(std::uint64_t block, BlockMemory::Work& work);
    Result<Mark> copy_in(const Piece& piece, std::span<const Part> parts, std::size_t& used, BlockMemory::Work& work);
    void unclaim(const Piece& piece, std::span<const Part> used);
    /// The blocks that are whole with it.
    Result<std::vector<std::uint64_t>> count_in(const Piece& piece, std::span<const Part> parts, const Mark& mark);
    Result<void> send(std::uint64_t block);
    void drop(std::uint64_t block);
    Error fail_for_good(Error error);
    /// With the lock held; the caller gives back what it says without it.
    Bytes drop_idle();
    std::string id_of(std::uint64_t block) const;

    BlobStore& inner_store_;
    BlockMemory& memory_;
    const BlobEncryption encryption_;
    const Marker marker_;
    BlobName name_;
    const Bytes length_;
    const Bytes block_size_;
    const std::uint64_t block_count_;
    const std::stop_token stop_;
    /// Of this writer's blocks.
    std::array<std::byte, 8> attempt_{};
    std::unique_ptr<BlobWriter> inner_;

    std::mutex mutex_;
    std::condition_variable claimed_;
    /// By offset.
    std::map<Bytes, Put> puts_;
    std::map<std::uint64_t, Block> blocks_;
    std::vector<bool> sent_;
    /// The first that could not be put; nothing more goes after it.
    std::optional<Error> failure_;
};

}  // namespace dray::store
