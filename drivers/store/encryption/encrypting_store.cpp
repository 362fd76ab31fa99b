// SPDX-License-Identifier: Apache-2.0
#include "drivers/store/encryption/encrypting_store.hpp"

#include <algorithm>
#include <cstring>
#include <utility>

#include "daemon/base/digest.hpp"
#include "drivers/store/encryption/encrypting_writer.hpp"

namespace dray::store {
namespace {

/// So often a blob may be replaced under a reader's hands before it gives up.
constexpr int kMostLooks = 100;
constexpr std::size_t kMostReadings = 64;
/// Read from the inner store in one step, where regions are small.
constexpr Bytes kReadStep = 4 * kMiB;
/// A region has to lie in memory as a whole: nothing of it can be trusted before its end.
constexpr Bytes kMaxRegionHeld = 64 * kMiB;
constexpr Md5Hash kNoHash{};

char folded(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

/// Names of metadata know no case.
BlobMetadata::const_iterator find_envelope(const BlobMetadata& metadata) {
    return std::ranges::find_if(metadata, [](const auto& entry) {
        return std::ranges::equal(entry.first, kEnvelopeName, {}, folded);
    });
}

/// What is stored, as those see it who do not know of the encryption.
Result<BlobStatus> decrypted(const BlobStatus& stored) {
    const auto found = find_envelope(stored.metadata);
    if (found == stored.metadata.end())
        return stored;
    const Result<Envelope> envelope = read_envelope(found->second);
    if (!envelope && envelope.error().kind() == ErrorKind::Unsupported)
        return stored;
    const Result<Bytes> length = envelope ? length_of(*envelope, stored.length) : fail(Error(envelope.error()));
    if (!length)
        return fail(Error(length.error()), "blob {}", stored.name.path());
    BlobStatus status = stored;
    status.length = *length;
    status.upload_id = envelope->upload_id;
    // That of the ciphertext.
    status.properties = without_hash(std::move(status.properties));
    std::erase_if(status.metadata, [&](const auto& entry) { return entry.first == found->first; });
    return status;
}

ListPage decrypted(ListPage page) {
    for (BlobStatus& blob : page.blobs)
        if (Result<BlobStatus> status = decrypted(blob); status)
            blob = *std::move(status);
    return page;
}

}  // namespace

std::string encryption_mark(const EncryptionConfig& config) { return "+cse:" + config.key + ":" + config.algorithm; }

Result<std::unique_ptr<BlobStore>> encrypt_store(std::unique_ptr<BlobStore> inner, const EncryptionConfig& config,
                                                 const std::shared_ptr<const SecretBytes>& key) {
    if (!key || key->empty())
        return fail(ErrorKind::InvalidArgument, "key \"{}\" is empty", config.key);
    DRAY_LET(WrappingKey wrapping, WrappingKey::create(config, *key));
    return std::make_unique<EncryptingStore>(std::move(inner), std::move(wrapping), encryption_mark(config));
}

Result<std::unique_ptr<BlobWriter>> EncryptingStore::create(const BlobName& name, const CreateOptions& options,
                                                            std::stop_token stop) {
    DRAY_TRY(check_can_encrypt(name, options));
    if (options.must_resume) {
        // What was put is of no use without its content key, and nobody else would throw it away.
        DRAY_LET(const std::unique_ptr<BlobWriter> before, inner_->create(name, options, std::move(stop)));
        DRAY_TRY(before->abandon());
        return fail(ErrorKind::NotFound, "blob {}: an encrypted upload that was interrupted begins anew", name.path());
    }
    DRAY_LET(BlobEncryption encryption, BlobEncryption::create(key_, options.length, options.upload_id));
    return EncryptingWriter::create(*inner_, memory_, std::move(encryption), name, options, std::move(stop));
}

Result<void> EncryptingStore::put_whole(const BlobName& name, const CreateOptions& options, const Piece& piece,
                                        const BlobProperties& properties, const BlobMetadata& metadata,
                                        std::stop_token stop) {
    DRAY_TRY(check_can_encrypt(name, options));
    const Bytes length = piece.content.size();
    DRAY_LET(const BlobEncryption encryption, BlobEncryption::create(key_, length, options.upload_id));
    DRAY_LET(const BlobMetadata all, with_envelope(metadata, encryption.envelope));
    const Bytes stored = stored_length(length, kWrittenRegion);
    BlockMemory::Work work(memory_, nullptr);
    DRAY_TRY(work.take(stored, stop));
    const auto give_back = [this, stored](const std::byte* bytes) {
        delete[] bytes;
        memory_.give_back(stored);
    };
    const std::unique_ptr<std::byte[], decltype(give_back)> bytes(new std::byte[stored], give_back);
    const std::span<std::byte> body(bytes.get(), stored);
    Digest digest(DigestKind::Md5);
    Bytes done = 0;
    for (const std::span<std::byte> run : text_runs(body, kWrittenRegion, 0, length)) {
        std::memcpy(run.data(), piece.content.data() + done, run.size());
        done += run.size();
        if (piece.md5 != kNoHash)
            digest.update(run);
    }
    if (piece.md5 != kNoHash && !std::ranges::equal(digest.finish(), piece.md5))
        return fail(ErrorKind::Corrupt, "blob {}: its content has changed since it was verified", name.path());
    DRAY_TRY(encryption.cipher.seal_all(NonceScheme::Python, 0, body, kWrittenRegion));
    CreateOptions inner_options = options;
    inner_options.length = stored;
    Result<void> put = inner_->put_whole(name, inner_options, sealed_piece(*inner_, 0, piece.id, body),
                                         without_hash(properties), all, std::move(stop));
    // Here it is not the drive's content that is wrong.
    if (!put && put.error().kind() == ErrorKind::Corrupt)
        return fail(ErrorKind::Unreachable, "the store did not get what was sent to it: {}", put.error().text());
    return put;
}

Result<BlobStatus> EncryptingStore::stat(const BlobName& name) {
    DRAY_LET(const BlobStatus stored, inner_->stat(name));
    return decrypted(stored);
}

Result<ListPage> EncryptingStore::list(const std::string& container, const std::string& prefix, const std::string& marker,
                                       std::size_t most) {
    DRAY_LET(ListPage page, inner_->list(container, prefix, marker, most));
    return decrypted(std::move(page));
}

Result<ListPage> EncryptingStore::list_with_snapshots(const std::string& container, const std::string& prefix,
                                                      const std::string& marker, std::size_t most) {
    DRAY_LET(ListPage page, inner_->list_with_snapshots(container, prefix, marker, most));
    return decrypted(std::move(page));
}

Result<std::shared_ptr<EncryptingStore::Reading>> EncryptingStore::begin_reading(const BlobName& name) {
    DRAY_LET(const BlobStatus status, inner_->stat(name));
    const auto prepare = [&]() -> Result<std::shared_ptr<Reading>> {
        const auto found = find_envelope(status.metadata);
        if (found == status.metadata.end())
            return fail(ErrorKind::Unsupported, "it is not encrypted, and a store with encryption-key reads only what is");
        DRAY_LET(const Envelope envelope, read_envelope(found->second));
        if (envelope.region > kMaxRegionHeld)
            return fail(ErrorKind::Unsupported, "its encrypted regions of {} are too long to be read; {} is the most",
                        format_bytes(envelope.region), format_bytes(kMaxRegionHeld));
        DRAY_LET(const Bytes length, length_of(envelope, status.length));
        DRAY_LET(SecretBytes content_key, content_key_of(envelope, key_));
        return std::make_shared<Reading>(name, status.etag, status.length, length, envelope.region,
                                         RegionCipher(std::move(content_key)));
    };
    Result<std::shared_ptr<Reading>> reading = prepare();
    if (!reading)
        return fail(std::move(reading.error()), "blob {}", name.path());
    const std::scoped_lock lock(mutex_);
    // Others may have begun the same: all are to share one.
    for (const std::shared_ptr<Reading>& other : readings_)
        if (other->name == name && other->etag == status.etag)
            return other;
    readings_.push_front(*reading);
    if (readings_.size() > kMostReadings)
        readings_.pop_back();
    return reading;
}

std::shared_ptr<EncryptingStore::Reading> EncryptingStore::known_reading(const BlobName& name) {
    const std::scoped_lock lock(mutex_);
    for (auto reading = readings_.begin(); reading != readings_.end(); ++reading)
        if ((*reading)->name == name) {
            readings_.splice(readings_.begin(), readings_, reading);
            return readings_.front();
        }
    return nullptr;
}

void EncryptingStore::forget(const Reading& reading) {
    const std::scoped_lock lock(mutex_);
    readings_.remove_if([&](const auto& other) { return other.get() == &reading; });
}

Result<void> EncryptingStore::read(const BlobName& name, Bytes offset, std::span<std::byte> content,
                                   const std::string& if_match, std::stop_token stop) {
    for (int look = 0; look < kMostLooks; ++look) {
        if (stop.stop_requested())
            return fail(ErrorKind::Cancelled, "stopped");
        // What is read asks for the etag again; of nothing at all the store would not be asked.
        std::shared_ptr<Reading> reading = look == 0 && !content.empty() ? known_reading(name) : nullptr;
        const bool is_known = reading != nullptr;
        if (!is_known) {
            DRAY_LET(reading, begin_reading(name));
        }
        const bool is_there = offset <= reading->length && content.size() <= reading->length - offset;
        const bool is_other = !if_match.empty() && reading->etag != if_match;
        Result<void> done;
        if (is_other)
            done = fail(ErrorKind::Busy, "blob {} has changed", name.path());
        else if (!is_there)
            done = fail(ErrorKind::InvalidArgument, "blob {} has {} bytes, {} at offset {} were asked for", name.path(),
                        reading->length, content.size(), offset);
        else
            done = read_range(*reading, offset, content, stop);
        if (done)
            return done;
        // It may only be that the blob was replaced since we looked.
        const ErrorKind kind = done.error().kind();
        if (kind == ErrorKind::Busy || kind == ErrorKind::NotFound || is_known)
            forget(*reading);
        const bool may_be_new = is_known ? is_other || !is_there || kind == ErrorKind::Busy : kind == ErrorKind::Busy && if_match.empty();
        if (!may_be_new)
            return done;
    }
    return fail(ErrorKind::Busy, "blob {} is being replaced again and again", name.path());
}

Result<void> EncryptingStore::read_range(Reading& reading, Bytes offset, std::span<std::byte> content,
                                         const std::stop_token& stop) {
    const Bytes whole = reading.region + kRegionOverhead;
    const std::uint64_t at_once = std::max<Bytes>(1, kReadStep / whole);
    std::vector<std::byte> buffer;
    while (!content.empty()) {
        const std::uint64_t first = offset / reading.region;
        const std::uint64_t last = std::min(first + at_once - 1, (offset + content.size() - 1) / reading.region);
        const Bytes from = first * whole;
        buffer.resize(std::min((last + 1) * whole, reading.stored) - from);
        DRAY_TRY(inner_->read(reading.name, from, buffer, reading.etag, stop));
        const Bytes within = offset - first * reading.region;
        const Bytes length = std::min<Bytes>(content.size(), (last + 1) * reading.region - offset);
        for (std::uint64_t number = first; number <= last; ++number) {
            const Bytes at = (number - first) * whole;
            const auto region = std::span(buffer).subspan(at, std::min<Bytes>(whole, buffer.size() - at));
            if (Result<void> opened = reading.cipher.open(reading.schemes, number, region); !opened)
                return fail(std::move(opened.error()), "blob {}", reading.name.path());
        }
        Bytes done = 0;
        for (const std::span<std::byte> run : text_runs(buffer, reading.region, within, length)) {
            std::memcpy(content.data() + done, run.data(), run.size());
            done += run.size();
        }
        offset += length;
        content = content.subspan(length);
    }
    return {};
}

}  // namespace dray::store
