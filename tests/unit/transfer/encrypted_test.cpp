// SPDX-License-Identifier: Apache-2.0
//
// Copies into a store with client-side encryption: what its way of gathering pieces, and of beginning anew, means for
// interruptions, lost answers and drives that are read twice.
#include <gtest/gtest.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>

#include <algorithm>
#include <atomic>
#include <fstream>

#include "daemon/base/handle.hpp"
#include "drivers/store/encryption/encrypting_store.hpp"
#include "drivers/store/store_list.hpp"
#include "tests/unit/transfer/copy_fixture.hpp"

namespace dray::test {
namespace {

using format::BlobOutcome;
using format::DispositionOutcome;
using format::PieceOutcome;

class EncryptedTest : public CopyTest {
protected:
    EncryptedTest() { encrypt({"site", "A256KW", ""}, "0123456789abcdef0123456789abcdef"); }

    void encrypt(const EncryptionConfig& config, std::string_view key) {
        StoreConfig plain{"vault", "directory", scratch_ / "vault"};
        auto inner = std::make_unique<FaultyStore>(store::open_store(plain).value(), faults_);
        inner_ = inner.get();
        store_ = std::move(store::encrypt_store(std::move(inner), config, std::make_shared<const SecretBytes>(key))).value();
    }
    static std::string public_key() {
        const Handle<EVP_PKEY, EVP_PKEY_free> key(EVP_RSA_gen(2048));
        const Handle<BIO, BIO_free> bio(BIO_new(BIO_s_mem()));
        EXPECT_EQ(PEM_write_bio_PUBKEY(bio.get(), key.get()), 1);
        char* bytes = nullptr;
        const long size = BIO_get_mem_data(bio.get(), &bytes);
        return {bytes, static_cast<std::size_t>(size)};
    }
    void lose_answers_of(const std::string& operation) {
        faults_.after = [operation](const std::string& done, const std::string&, Bytes) -> Result<void> {
            return done == operation ? fail(ErrorKind::Unreachable, "the answer was lost") : Result<void>();
        };
    }
    void answer() {
        faults_.after = [](const std::string&, const std::string&, Bytes) { return Result<void>(); };
    }

    FaultyStore* inner_ = nullptr;
};

TEST_F(EncryptedTest, CopiesBlobsOfAllSizesAndLeavesNothingPlain) {
    add("empty", {});
    add("one", random(1));
    add("small", random(70'000));
    add("aligned", random(12 * kMiB));
    add("crooked", random(13 * kMiB + 77), 300'001);
    add("long-pieces", random(30 * kMiB + 1), 11 * kMiB + 3);
    copy_all();
    for (const auto& [name, content] : files_) {
        const Result<store::BlobStatus> stored = inner_->stat({"lab", name});
        ASSERT_TRUE(stored);
        EXPECT_EQ(stored->length, store::stored_length(content.size(), store::kWrittenRegion)) << name;
        std::ifstream file(scratch_ / ("vault/lab/" + name), std::ios::binary);
        const std::string body{std::istreambuf_iterator<char>(file), {}};
        const std::string_view plain(reinterpret_cast<const char*>(content.data()), std::min<std::size_t>(content.size(), 32));
        if (plain.size() == 32) {
            EXPECT_EQ(body.find(plain), std::string::npos) << name;
        }
    }
}

TEST_F(EncryptedTest, BeginsABlobAnewThatWasInterrupted) {
    add("large", random(40 * kMiB), 3 * kMiB);
    add("later", random(10 * kMiB), kMiB);
    std::atomic<unsigned> puts = 0;
    faults_.before = [&](const std::string& operation, const std::string&, Bytes) -> Result<void> {
        if (operation == "put" && ++puts > 5)
            return fail(ErrorKind::Unreachable, "the network is gone");
        return {};
    };
    const Copied first = copy();
    ASSERT_FALSE(first.end);
    EXPECT_EQ(first.end.error().kind(), ErrorKind::Unreachable);
    EXPECT_TRUE(blobs().empty());
    faults_.before = [](const std::string&, const std::string&, Bytes) { return Result<void>(); };
    copy_all();
}

// No false "already exists", even where nothing can be read.
TEST_F(EncryptedTest, KnowsItsOwnBlobAfterALostAnswer) {
    const std::string pem = public_key();
    for (const bool can_read : {true, false})
        for (const std::string operation : {"finish", "put-whole"}) {
            SCOPED_TRACE(operation + (can_read ? "" : ", with a public key"));
            std::filesystem::remove_all(scratch_ / "vault");
            std::filesystem::remove_all(scratch_ / "state");
            std::filesystem::create_directories(scratch_ / "vault");
            std::filesystem::create_directories(scratch_ / "state");
            if (can_read)
                encrypt({"site", "A256KW", ""}, "0123456789abcdef0123456789abcdef");
            else
                encrypt({"site", "RSA-OAEP-256", ""}, pem);
            manifest_.clear();
            files_.clear();
            add("blob", random(operation == "finish" ? 9 * kMiB : 1000), 2 * kMiB);
            lose_answers_of(operation);
            ASSERT_FALSE(copy().end);
            answer();
            ASSERT_TRUE(store_->stat({"lab", "blob"}));
            const std::string etag = store_->stat({"lab", "blob"})->etag;
            const Copied second = copy();
            ASSERT_TRUE(second.end) << second.end.error().text();
            const auto& record = second.records.at("lab/blob");
            ASSERT_TRUE(record);
            EXPECT_EQ(record->outcome, BlobOutcome::Completed);
            EXPECT_EQ(record->disposition, DispositionOutcome::Created);
            EXPECT_EQ(record->bytes_succeeded, files_["blob"].size());
            EXPECT_EQ(second.counters.bytes_succeeded, files_["blob"].size());
            EXPECT_EQ(store_->stat({"lab", "blob"})->etag, etag) << "it was not sent again";
            EXPECT_FALSE(has_uncommitted());
        }
}

// Somebody else's blob of the same name, length and content is not ours.
TEST_F(EncryptedTest, TakesNobodyElsesBlobForItsOwn) {
    add("blob", random(1000));
    // The answer is lost before anything was done, and somebody else comes.
    faults_.before = [](const std::string& operation, const std::string&, Bytes) -> Result<void> {
        return operation == "put-whole" ? fail(ErrorKind::Unreachable, "gone") : Result<void>();
    };
    ASSERT_FALSE(copy().end);
    faults_.before = [](const std::string&, const std::string&, Bytes) { return Result<void>(); };
    store::CreateOptions options;
    options.length = 1000;
    options.upload_id = "another";
    ASSERT_TRUE(store_->put_whole({"lab", "blob"}, options, {0, 1000, "", {}, files_["blob"]}, {}, {}, {}));
    const Copied second = copy();
    ASSERT_TRUE(second.end);
    EXPECT_EQ(second.records.at("lab/blob")->disposition, DispositionOutcome::Skipped);
}

// Its other parts come a second time when one could not be read at first.
TEST_F(EncryptedTest, ReadsALongPieceTwice) {
    add("long", random(40 * kMiB), 20 * kMiB);
    const Copied copied = copy([](FakeDrive& drive, transfer::Control&) { drive.fail_at_first("long", 17 * kMiB, 1); });
    ASSERT_TRUE(copied.end) << copied.end.error().text();
    EXPECT_EQ(copied.records.at("lab/long")->outcome, BlobOutcome::Completed);
    EXPECT_EQ(blobs(), expected());
}

TEST_F(EncryptedTest, RefusesPageBlobsAloneAndPublishesNothingHalf) {
    add("good", random(5 * kMiB));
    add("page", random(kMiB), kMiB).is_page_blob = true;
    add("broken", random(12 * kMiB), kMiB);
    const Copied copied = copy([](FakeDrive& drive, transfer::Control&) { drive.fail_at("broken", 5 * kMiB, ErrorKind::Internal); });
    ASSERT_TRUE(copied.end) << copied.end.error().text();
    EXPECT_EQ(copied.records.at("lab/good")->outcome, BlobOutcome::Completed);
    EXPECT_EQ(copied.records.at("lab/page")->outcome, BlobOutcome::BlobRequestFailed);
    EXPECT_EQ(copied.records.at("lab/broken")->outcome, BlobOutcome::CompletedWithErrors);
    EXPECT_EQ(copied.records.at("lab/broken")->pieces.at(5), PieceOutcome::IOFailed);
    std::map<std::string, Content> left = expected();
    left.erase("lab/page");
    left.erase("lab/broken");
    EXPECT_EQ(blobs(), left);
    EXPECT_FALSE(has_uncommitted());
}

TEST_F(EncryptedTest, SaysThatTheNameOfItsMetadataIsTaken) {
    const std::string_view xml = "<Metadata><EncryptionData>x</EncryptionData></Metadata>";
    const auto bytes = std::as_bytes(std::span(xml));
    const Content metadata(bytes.begin(), bytes.end());
    files_["meta.xml"] = metadata;
    add("blob", random(1000)).metadata = format::SideFile{"\\meta.xml", md5(metadata), false};
    const Copied copied = copy();
    ASSERT_TRUE(copied.end);
    const auto& record = copied.records.at("lab/blob");
    EXPECT_EQ(record->outcome, BlobOutcome::CompletedWithErrors);
    EXPECT_EQ(record->metadata, format::SideFileOutcome::BlobRequestFailed);
    EXPECT_EQ(blobs()["lab/blob"], files_["blob"]);
}

}  // namespace
}  // namespace dray::test
