// SPDX-License-Identifier: Apache-2.0
//
// The contract of names: every name that parse_blob_path() allows can be written, found, listed,
// removed, also those that no file system would hold.
#include <algorithm>
#include <set>

#include "tests/contract/store_fixture.hpp"

namespace dray::store {
namespace {

std::string repeated(std::string_view text, std::size_t times) {
    std::string result;
    for (std::size_t i = 0; i < times; ++i)
        result += text;
    return result;
}

std::vector<std::string> hard_names() {
    std::vector<std::string> names = {
        "a",
        "a/b",
        "a/b/c",
        "a/b/c/d",  // a name and names below it
        "x/",
        "x",
        "x//",
        "//",
        "/",
        "/x",
        "x//y",
        "x/y",
        "x///y",  // empty segments
        ".",
        "..",
        "./x",
        "../x",
        "x/.",
        "x/..",
        "x/../y",
        "../../../../etc/passwd",
        "...",
        "x/...",
        ".dray",
        ".dray/hold",
        ".dray/side/lab/x",
        ".dray/store.json",
        "lab/.dray",
        "-rf",
        "~",
        "case",
        "Case",
        "CASE",
        "case/x",
        "Case/x",
        "\xC3\xA9",
        "e\xCC\x81",  // one letter, composed and not
        "\xF0\x9F\x92\xBE/\xE2\x82\xAC",
        "\xD8\xA7\xD9\x84",
        "\xE2\x80\x8B",
        "a\nb",
        "a\tb",
        "\x01",
        "\x7F",
        " ",
        "  x",
        "x ",
        "x.",
        "con",
        "nul.txt",
        "a:b",
        "a\\b",
        "a*?\"<>|",
        "100%25",
        "%2F",
        "%00",
        "x.whole",
        "upload-1",
        "upload-1.whole",
        repeated("l", 254),
        repeated("l", 255),
        repeated("l", 256),
        repeated("l", 257),
        repeated("l", 1024),
        "d/" + repeated("l", 255),
        "d/" + repeated("l", 256) + "/x",
        repeated("l", 255) + "/x",
        repeated("\xC3\xA9", 127),
        repeated("\xC3\xA9", 128),
        repeated("\xC3\xA9", 1024),
        repeated("\xF0\x9F\x92\xBE", 1024),
        repeated("d/", 511) + "dd",  // 512 segments
        repeated("s/", 512),
    };
    return names;
}

TEST_P(EveryStore, HoldsEveryName) {
    std::vector<std::string> all = hard_names();
    std::ranges::shuffle(all, random());
    std::erase_if(all, [&](const std::string& name) {
        if (place().holds(name))
            return false;
        EXPECT_EQ(kind_of(put_whole({"lab", name}, bytes(name))), "InvalidArgument") << name;
        EXPECT_EQ(kind_of(store().create({"lab", name}, options(0), {})), "InvalidArgument") << name;
        EXPECT_EQ(kind_of(store().stat({"lab", name})), "NotFound") << name;
        return true;
    });
    for (const std::string& name : all) {
        ASSERT_TRUE(parse_blob_path("lab/" + name)) << name;
        const Result<void> put = put_whole({"lab", name}, bytes(name));
        ASSERT_TRUE(put) << put.error().text();
    }
    reopen();
    for (const std::string& name : all) {
        EXPECT_EQ(content_of({"lab", name}), bytes(name)) << name;
        EXPECT_EQ(kind_of(put_whole({"lab", name}, {})), "Exists") << name;
    }
    std::vector<std::string> sorted = all;
    std::ranges::sort(sorted);
    ASSERT_EQ(names(), sorted);
    EXPECT_EQ(names("", 7), sorted);
    EXPECT_EQ(*store().containers(), std::vector<std::string>{"lab"});
    // Replaced and removed one by one; the others stay.
    std::ranges::shuffle(all, random());
    for (std::size_t i = 0; i < all.size(); ++i) {
        const BlobName name{"lab", all[i]};
        const Content content = bytes("new " + all[i]);
        ASSERT_TRUE(put_whole(name, content, true, {}, {{"number", std::to_string(i)}})) << all[i];
        EXPECT_EQ(content_of(name), content) << all[i];
        EXPECT_EQ(store().stat(name)->metadata, (BlobMetadata{{"number", std::to_string(i)}}))
            << all[i];
        if (i % 2 == 0) {
            ASSERT_TRUE(store().remove(name)) << all[i];
        }
    }
    std::set<std::string> left;
    for (std::size_t i = 1; i < all.size(); i += 2) {
        left.insert(all[i]);
        EXPECT_EQ(content_of({"lab", all[i]}), bytes("new " + all[i])) << all[i];
    }
    EXPECT_EQ(names(), std::vector<std::string>(left.begin(), left.end()));
    for (const std::string& name : left)
        ASSERT_TRUE(store().remove({"lab", name})) << name;
    EXPECT_TRUE(names().empty());
}

// Segments that a file system holds, in directories whose path is longer than it takes.
TEST_P(EveryStore, HoldsTheLongestNameInTheLongestContainer) {
    std::string name;
    for (int i = 0; i < 16; ++i)
        name += repeated("\xF0\x9F\x92\xBE", i < 15 ? 63 : 62) + "/";
    name += "x";
    const BlobName blob{std::string(63, 'c'), name};
    ASSERT_TRUE(parse_blob_path(blob.path()));
    ASSERT_TRUE(store().ensure_container(blob.container));
    const Result<void> put = put_whole(blob, bytes("x"), false, {}, {{"a", "b"}});
    ASSERT_TRUE(put) << put.error().text();
    EXPECT_EQ(content_of(blob), bytes("x"));
    EXPECT_EQ(names("", 10, blob.container), std::vector<std::string>{name});
    EXPECT_EQ(kind_of(store().remove(blob)), "success");
}

// The way a name was stored may depend on what was there then; it is found all the same later.
TEST_P(EveryStore, HoldsANameBesideNamesBelowItInAnyOrder) {
    std::vector<std::string> all = {"a", "a/b", "a/b/c", "a/"};
    std::erase_if(all, [&](const std::string& name) { return !place().holds(name); });
    std::vector<std::string> order = all;
    std::ranges::sort(order);
    do {
        for (const std::string& name : order)
            ASSERT_TRUE(put_whole({"lab", name}, bytes(name), false, {}, {{"name", name}}));
        std::vector<std::string> sorted = all;
        std::ranges::sort(sorted);
        EXPECT_EQ(names(), sorted);
        std::vector<std::string> removal = order;
        std::ranges::shuffle(removal, random());
        const std::string again = removal.front();
        ASSERT_TRUE(store().remove({"lab", again}));
        EXPECT_EQ(kind_of(store().stat({"lab", again})), "NotFound");
        ASSERT_TRUE(put_whole({"lab", again}, bytes(again), false, {}, {{"name", again}}));
        for (const std::string& name : all) {
            EXPECT_EQ(content_of({"lab", name}), bytes(name)) << name;
            EXPECT_EQ(store().stat({"lab", name})->metadata, (BlobMetadata{{"name", name}}))
                << name;
            EXPECT_EQ(kind_of(put_whole({"lab", name}, {})), "Exists") << name;
        }
        EXPECT_EQ(names(), sorted);
        for (const std::string& name : removal)
            ASSERT_TRUE(store().remove({"lab", name})) << name;
        EXPECT_TRUE(names().empty());
    } while (std::ranges::next_permutation(order).found);
}

TEST_P(EveryStore, RefusesNamesThatAreNone) {
    const std::string names[] = {"", "x\xFF", "\xC3", std::string("a\0b", 3), repeated("l", 1025)};
    for (const std::string& text : names) {
        const BlobName name{"lab", text};
        Content part;
        EXPECT_EQ(kind_of(store().create(name, options(0), {})), "InvalidArgument") << text;
        EXPECT_EQ(kind_of(put_whole(name, {})), "InvalidArgument") << text;
        EXPECT_EQ(kind_of(store().stat(name)), "InvalidArgument") << text;
        EXPECT_EQ(kind_of(store().read(name, 0, part, "", {})), "InvalidArgument") << text;
        EXPECT_EQ(kind_of(store().remove(name)), "InvalidArgument") << text;
        EXPECT_EQ(kind_of(create({"lab", "good"}, options(0))->rename(name)), "InvalidArgument")
            << text;
    }
    ASSERT_TRUE(store().ensure_container("$root"));
    EXPECT_EQ(kind_of(put_whole({"$root", "a/b"}, {})), "InvalidArgument");
}

}  // namespace
}  // namespace dray::store
