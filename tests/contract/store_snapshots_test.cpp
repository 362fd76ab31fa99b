// SPDX-License-Identifier: Apache-2.0
//
// The contract of snapshots: what a blob was stays readable whatever becomes of it, or the store says that it keeps none.
#include <gmock/gmock.h>

#include <algorithm>

#include "tests/contract/store_fixture.hpp"

namespace dray::store {
namespace {

const BlobName kBlob{"lab", "dir/disk 1.img"};

BlobName snapshot_of(const BlobName& name, const std::string& snapshot) {
    return {name.container, name.name, snapshot};
}

class Snapshots : public EveryStore {
protected:
    /// Skips nothing: stores without snapshots are held to their refusal.
    bool refuses_rightly() {
        EXPECT_EQ(kind_of(store().snapshot(kBlob)), "Unsupported");
        const BlobName name = snapshot_of(kBlob, "2024-03-01T12:00:00.0000000Z");
        Content part(1);
        EXPECT_EQ(kind_of(store().stat(name)), "NotFound");
        EXPECT_EQ(kind_of(store().read(name, 0, part, "", {})), "NotFound");
        EXPECT_EQ(kind_of(store().remove(name)), "NotFound");
        EXPECT_EQ(kind_of(store().stat(kBlob)), "success");
        const Result<ListPage> page = store().list_with_snapshots("lab", "", "", 10);
        EXPECT_TRUE(page && page->blobs.size() == 1 && page->blobs[0].name == kBlob && page->marker.empty());
        return true;
    }
};

TEST_P(Snapshots, KeepWhatABlobWas) {
    const Content first = random_content(100'000);
    ASSERT_TRUE(put_whole(kBlob, first, false, {}, {{"state", "first"}}));
    if (!place().keeps_snapshots()) {
        EXPECT_TRUE(refuses_rightly());
        return;
    }
    const Result<std::string> snapshot = store().snapshot(kBlob);
    ASSERT_TRUE(snapshot) << snapshot.error().text();
    const BlobName name = snapshot_of(kBlob, *snapshot);
    const Content second = random_content(50);
    ASSERT_TRUE(put_whole(kBlob, second, true, {}, {{"state", "second"}}));
    EXPECT_EQ(content_of(name), first);
    EXPECT_EQ(content_of(kBlob), second);
    const Result<BlobStatus> status = store().stat(name);
    ASSERT_TRUE(status) << status.error().text();
    EXPECT_EQ(status->name, name);
    EXPECT_EQ(status->length, first.size());
    EXPECT_EQ(status->metadata, (BlobMetadata{{"state", "first"}}));
    EXPECT_NE(store().uri(name), store().uri(kBlob));
    Content part(1000);
    EXPECT_TRUE(store().read(name, 99'000, part, status->etag, {}));
    EXPECT_TRUE(std::ranges::equal(part, std::span(first).subspan(99'000)));
    EXPECT_EQ(kind_of(store().read(name, 99'001, part, "", {})), "InvalidArgument");
    reopen();
    EXPECT_EQ(content_of(name), first);
}

TEST_P(Snapshots, AreListedWithTheirBlob) {
    ASSERT_TRUE(put_whole(kBlob, random_content(10)));
    ASSERT_TRUE(put_whole({"lab", "other"}, random_content(20)));
    if (!place().keeps_snapshots())
        return;
    const Result<std::string> first = store().snapshot(kBlob);
    ASSERT_TRUE(first);
    ASSERT_TRUE(put_whole(kBlob, random_content(11), true));
    const Result<std::string> second = store().snapshot(kBlob);
    ASSERT_TRUE(second);
    ASSERT_NE(*first, *second);
    const std::vector<std::string> expected{kBlob.name + "?" + *first, kBlob.name + "?" + *second, kBlob.name + "?", "other?"};
    // One page for all: the emulator's pages begin behind a name, whatever was left of it.
    const Result<ListPage> page = store().list_with_snapshots("lab", "", "", 100);
    ASSERT_TRUE(page) << page.error().text();
    std::vector<std::string> found;
    for (const BlobStatus& blob : page->blobs)
        found.push_back(blob.name.name + "?" + blob.name.snapshot);
    EXPECT_THAT(found, testing::UnorderedElementsAreArray(expected));
    EXPECT_EQ(found.back(), "other?");
    EXPECT_EQ(names(), (std::vector<std::string>{kBlob.name, "other"}));
}

TEST_P(Snapshots, GoOneByOneAndNeverWithTheirBlob) {
    const Content first = random_content(10);
    ASSERT_TRUE(put_whole(kBlob, first));
    if (!place().keeps_snapshots())
        return;
    const Result<std::string> snapshot = store().snapshot(kBlob);
    ASSERT_TRUE(snapshot);
    const BlobName name = snapshot_of(kBlob, *snapshot);
    EXPECT_EQ(kind_of(store().remove(kBlob)), "Unsupported");
    EXPECT_EQ(content_of(kBlob), first);
    EXPECT_EQ(content_of(name), first);
    ASSERT_TRUE(store().remove(name));
    EXPECT_EQ(kind_of(store().stat(name)), "NotFound");
    EXPECT_EQ(kind_of(store().remove(name)), "NotFound");
    EXPECT_EQ(content_of(kBlob), first);
    EXPECT_TRUE(store().remove(kBlob));
}

// Replacing by the other type means removing at most services: the snapshots would go with it.
TEST_P(Snapshots, AreNotLostWhenABlobIsReplacedByOneOfTheOtherType) {
    const Content content = random_content(512);
    ASSERT_TRUE(put_whole(kBlob, content));
    if (!place().keeps_snapshots() || !place().keeps_pages())
        return;
    const Result<std::string> snapshot = store().snapshot(kBlob);
    ASSERT_TRUE(snapshot);
    CreateOptions pages = options(512, true);
    pages.type = BlobType::Page;
    const Content other = random_content(512);
    const std::string put = kind_of(store().put_whole(kBlob, pages, piece_at(0, other), {}, {}, {}));
    EXPECT_TRUE(put == "success" || put == "Unsupported") << put;
    EXPECT_EQ(content_of(kBlob), put == "success" ? other : content);
    EXPECT_EQ(content_of(snapshot_of(kBlob, *snapshot)), content);
}

TEST_P(Snapshots, CannotBeWritten) {
    ASSERT_TRUE(put_whole(kBlob, random_content(10)));
    const BlobName name = snapshot_of(kBlob, "2024-03-01T12:00:00.0000000Z");
    EXPECT_EQ(kind_of(put_whole(name, random_content(10), true)), "InvalidArgument");
    EXPECT_EQ(kind_of(store().create(name, options(10, true), {})), "InvalidArgument");
    if (place().keeps_snapshots()) {
        EXPECT_EQ(kind_of(store().snapshot(name)), "InvalidArgument");
        EXPECT_EQ(kind_of(store().snapshot({"lab", "nothing"})), "NotFound");
    }
}

INSTANTIATE_TEST_SUITE_P(Stores, Snapshots, testing::ValuesIn(store_kinds()),
                         [](const auto& kind) { return kind.param.name; });

}  // namespace
}  // namespace dray::store
