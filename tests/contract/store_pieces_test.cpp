// SPDX-License-Identifier: Apache-2.0
//
// The contract of what a blob is made of: blocks with their ids, pages that have content, or nothing that the store knows of.
#include <gmock/gmock.h>

#include <algorithm>

#include "daemon/base/encoding.hpp"
#include "tests/contract/store_fixture.hpp"

namespace dray::store {
namespace {

const BlobName kBlob{"lab", "dir/disk 1.img"};

std::string id_of(unsigned number) {
    const std::string text = fmt::format("{:08}", number);
    return to_base64(std::as_bytes(std::span(text)));
}

class Pieces : public EveryStore {
protected:
    /// A blob of parts of these lengths, at these offsets.
    Result<std::string> make(BlobType type, Bytes length, const std::vector<std::pair<Bytes, Bytes>>& parts) {
        CreateOptions options;
        options.type = type;
        options.length = length;
        options.replace = true;
        options.upload_id = fmt::format("pieces-{}", ++uploads_);
        DRAY_LET(const std::unique_ptr<BlobWriter> writer, store().create(kBlob, options, {}));
        std::vector<Piece> pieces;
        for (const auto& [offset, size] : parts) {
            const Content content = random_content(static_cast<std::size_t>(size));
            Piece piece{offset, size, type == BlobType::Block ? id_of(static_cast<unsigned>(pieces.size())) : "", {}, content};
            DRAY_TRY(writer->put(piece));
            piece.content = {};
            pieces.push_back(std::move(piece));
        }
        DRAY_TRY(writer->finish(pieces, {}, {}));
        DRAY_LET(const BlobStatus status, store().stat(kBlob));
        return status.etag;
    }

    using Told = std::vector<std::tuple<Bytes, Bytes, std::string>>;
    Told told(const std::string& etag) {
        const auto pieces = store().pieces(kBlob, etag, {});
        EXPECT_TRUE(pieces) << pieces.error().text();
        Told result;
        if (pieces && *pieces)
            for (const Piece& piece : **pieces)
                result.emplace_back(piece.offset, piece.length, piece.id);
        return result;
    }

private:
    unsigned uploads_ = 0;
};

TEST_P(Pieces, OfABlockBlobAreItsBlocks) {
    const Result<std::string> etag = make(BlobType::Block, 70'000, {{0, 40'000}, {40'000, 29'999}, {69'999, 1}});
    ASSERT_TRUE(etag) << etag.error().text();
    if (!place().tells_pieces()) {
        EXPECT_FALSE(store().pieces(kBlob, *etag, {})->has_value());
        return;
    }
    EXPECT_EQ(told(*etag), (Told{{0, 40'000, id_of(0)}, {40'000, 29'999, id_of(1)}, {69'999, 1, id_of(2)}}));
    reopen();
    EXPECT_EQ(told(""), told(*etag));
}

TEST_P(Pieces, OfAPageBlobAreTheRangesWithContent) {
    const Result<std::string> etag = make(BlobType::Page, 512 * 100, {{512, 1024}, {512 * 50, 512}});
    if (!etag && etag.error().kind() == ErrorKind::Unsupported)
        return;
    ASSERT_TRUE(etag) << etag.error().text();
    if (!place().tells_pieces()) {
        EXPECT_FALSE(store().pieces(kBlob, *etag, {})->has_value());
        return;
    }
    EXPECT_EQ(told(*etag), (Told{{512, 1024, ""}, {512 * 50, 512, ""}}));
    ASSERT_TRUE(make(BlobType::Page, 1024, {}));
    const auto none = store().pieces(kBlob, "", {});
    ASSERT_TRUE(none && *none);
    EXPECT_TRUE((*none)->empty());
}

TEST_P(Pieces, OfWhatWasPutInOneRequestThereAreNone) {
    ASSERT_TRUE(put_whole(kBlob, random_content(1000)));
    EXPECT_FALSE(store().pieces(kBlob, "", {})->has_value());
}

TEST_P(Pieces, AreThoseOfTheBlobThatIsMeantOrOfNone) {
    if (!place().tells_pieces())
        return;
    EXPECT_EQ(kind_of(store().pieces(kBlob, "", {})), "NotFound");
    const Result<std::string> etag = make(BlobType::Block, 2000, {{0, 1000}, {1000, 1000}});
    ASSERT_TRUE(etag);
    ASSERT_TRUE(make(BlobType::Block, 500, {{0, 500}}));
    EXPECT_EQ(kind_of(store().pieces(kBlob, *etag, {})), "Busy");
}

INSTANTIATE_TEST_SUITE_P(Stores, Pieces, testing::ValuesIn(store_kinds()),
                         [](const auto& kind) { return kind.param.name; });

}  // namespace
}  // namespace dray::store
