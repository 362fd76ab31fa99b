// SPDX-License-Identifier: Apache-2.0
#include "daemon/bus/options.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>

#include "daemon/base/memfd.hpp"
#include "daemon/bus/handles.hpp"

namespace dray::bus {
namespace {

using testing::HasSubstr;

constexpr std::array kKnown{OptionSpec{"drain", OptionType::Text},      OptionSpec{"force", OptionType::Flag},
                            OptionSpec{"expected", OptionType::Number}, OptionSpec{"tags", OptionType::Dictionary},
                            OptionSpec{"key", OptionType::Secret},      OptionSpec{"selection", OptionType::Selection}};

/// A message is made on a bus that never gets an answer: only its content matters here.
class OptionsTest : public testing::Test {
protected:
    OptionsTest() {
        std::array<int, 2> ends{};
        EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends.data()), 0);
        other_end_ = FileDescriptor(ends[1]);
        sd_bus* raw = nullptr;
        EXPECT_GE(sd_bus_new(&raw), 0);
        bus_.reset(raw);
        EXPECT_GE(sd_bus_set_fd(raw, ends[0], ends[0]), 0);
        EXPECT_GE(sd_bus_start(raw), 0);
    }

    template <typename... Args>
    BusMessage message(const char* types, Args... args) {
        sd_bus_message* raw = nullptr;
        EXPECT_GE(sd_bus_message_new_method_call(bus_.get(), &raw, "a.b", "/", "a.b", "C"), 0);
        EXPECT_GE(sd_bus_message_append(raw, types, args...), 0);
        EXPECT_GE(sd_bus_message_seal(raw, 1, 0), 0);
        EXPECT_GE(sd_bus_message_rewind(raw, 1), 0);
        return BusMessage(raw);
    }

    template <typename... Args>
    Result<Options> read(const char* types, Args... args) {
        const BusMessage held = message(types, args...);
        return Options::read(held.get(), kKnown);
    }

    template <typename... Args>
    std::string refusal(const char* types, Args... args) {
        const auto options = read(types, args...);
        if (options)
            return "accepted";
        EXPECT_EQ(options.error().kind(), ErrorKind::InvalidArgument);
        return options.error().text();
    }

    FileDescriptor other_end_;
    Handle<sd_bus, sd_bus_close_unref> bus_;
};

TEST_F(OptionsTest, ReadsEachType) {
    const std::string_view secret = "open sesame";
    const auto key = make_sealed_memfd("key", std::as_bytes(std::span(secret))).value();
    auto options = read("a{sv}", 6, "drain", "s", "piece", "force", "b", 1, "expected", "u", 7U, "tags", "a{ss}",
                        2, "a", "1", "b", "2", "key", "h", key.get(), "selection", "a{sas}", 1, "paths", 2, "c/x", "c/y");
    ASSERT_TRUE(options) << options.error().text();
    EXPECT_EQ(options->text("drain"), "piece");
    EXPECT_EQ(options->flag("force"), true);
    EXPECT_EQ(options->number("expected"), 7U);
    EXPECT_EQ(options->dictionary("tags"), (Texts{{"a", "1"}, {"b", "2"}}));
    EXPECT_EQ(options->selection("selection"), (format::BlobSelection{{"c/x"}, {"c/y"}}));
    EXPECT_EQ(options->take_secret("key").value_or(SecretBytes()).text(), secret);
}

TEST_F(OptionsTest, AnswersNothingForWhatWasNotGiven) {
    auto options = read("a{sv}", 0);
    ASSERT_TRUE(options);
    EXPECT_FALSE(options->has("drain"));
    EXPECT_FALSE(options->text("drain"));
    EXPECT_FALSE(options->flag("force"));
    EXPECT_FALSE(options->number("expected"));
    EXPECT_FALSE(options->dictionary("tags"));
    EXPECT_FALSE(options->take_secret("key"));
    EXPECT_FALSE(options->selection("selection"));
}

TEST_F(OptionsTest, BoundsSelectionsAndNamesWhatIsWrongInThem) {
    const std::string text = "c/" + std::string(4096 - 2, 'x');
    const auto of = [&](int count) {
        sd_bus_message* raw = nullptr;
        EXPECT_GE(sd_bus_message_new_method_call(bus_.get(), &raw, "org.dray1", "/org/dray1", "org.dray1.Manager", "M"), 0);
        BusMessage made(raw);
        EXPECT_GE(sd_bus_message_open_container(raw, 'a', "{sv}"), 0);
        EXPECT_GE(sd_bus_message_open_container(raw, 'e', "sv"), 0);
        EXPECT_GE(sd_bus_message_append(raw, "s", "selection"), 0);
        EXPECT_GE(sd_bus_message_open_container(raw, 'v', "a{sas}"), 0);
        EXPECT_GE(sd_bus_message_open_container(raw, 'a', "{sas}"), 0);
        EXPECT_GE(sd_bus_message_open_container(raw, 'e', "sas"), 0);
        EXPECT_GE(sd_bus_message_append(raw, "s", "paths"), 0);
        EXPECT_GE(sd_bus_message_open_container(raw, 'a', "s"), 0);
        for (int i = 0; i < count; ++i)
            EXPECT_GE(sd_bus_message_append(raw, "s", text.c_str()), 0);
        for (int i = 0; i < 6; ++i)
            EXPECT_GE(sd_bus_message_close_container(raw), 0);
        EXPECT_GE(sd_bus_message_seal(raw, 1, 0), 0);
        EXPECT_GE(sd_bus_message_rewind(raw, 1), 0);
        return Options::read(raw, kKnown);
    };
    // 256 KiB together.
    EXPECT_TRUE(of(64));
    EXPECT_EQ(of(65).error().text(), "option selection is longer than 256KiB; put it into a list blob");
    EXPECT_EQ(refusal("a{sv}", 1, "selection", "a{sas}", 1, "path", 1, "c/x"),
              "option selection: unknown word \"path\"; known are prefixes, paths, base-paths, snapshots");
    EXPECT_EQ(refusal("a{sv}", 1, "selection", "a{sas}", 1, "prefixes", 1, "c/x"),
              "option selection: the prefix c/x does not begin with /: it is /CONTAINER/NAME's beginning");
    EXPECT_EQ(refusal("a{sv}", 1, "selection", "a{sas}", 1, "base-paths", 1, "/"), "option selection: \"/\" is no path of one blob");
    EXPECT_EQ(refusal("a{sv}", 1, "selection", "a{sas}", 1, "snapshots", 1, "c/x"),
              "option selection: \"c/x\" is not SNAPSHOT CONTAINER/NAME");
}

TEST_F(OptionsTest, RefusesUnknownOnesByNameAndSaysWhatIsKnown) {
    EXPECT_EQ(refusal("a{sv}", 1, "Drain", "s", "piece"),
              "unknown option \"Drain\"; known are drain, force, expected, tags, key, selection");
    const BusMessage none = message("a{sv}", 1, "x", "s", "");
    EXPECT_EQ(Options::read(none.get(), {}).error().text(), "unknown option \"x\"; this method takes none");
}

TEST_F(OptionsTest, RefusesWrongTypesByName) {
    EXPECT_EQ(refusal("a{sv}", 1, "drain", "b", 1), "option drain must be of type s, not b");
    EXPECT_EQ(refusal("a{sv}", 1, "force", "s", "yes"), "option force must be of type b, not s");
    EXPECT_EQ(refusal("a{sv}", 1, "expected", "i", 1), "option expected must be of type u, not i");
    EXPECT_EQ(refusal("a{sv}", 1, "tags", "as", 1, "a"), "option tags must be of type a{ss}, not as");
    EXPECT_EQ(refusal("a{sv}", 1, "key", "s", "secret"), "option key must be of type h, not s");
    EXPECT_EQ(refusal("a{sv}", 1, "drain", "v", "s", "piece"), "option drain must be of type s, not v");
    EXPECT_EQ(refusal("a{sv}", 2, "force", "b", 1, "force", "b", 0), "option force is given twice");
}

TEST_F(OptionsTest, BoundsTexts) {
    EXPECT_EQ(refusal("a{sv}", 1, "drain", "s", std::string(4096, 'x').c_str()), "accepted");
    EXPECT_EQ(refusal("a{sv}", 1, "drain", "s", std::string(4097, 'x').c_str()),
              "option drain has 4097 bytes, at most 4096 are allowed");
    const std::string half(4096, 'x');
    const char* text = half.c_str();
    // Four names of one byte and values that fill 16 KiB exactly, and one byte more.
    const std::string last(4092, 'x');
    EXPECT_EQ(refusal("a{sv}", 1, "tags", "a{ss}", 4, "a", text, "b", text, "c", text, "d", last.c_str()),
              "accepted");
    EXPECT_THAT(refusal("a{sv}", 1, "tags", "a{ss}", 4, "aa", text, "b", text, "c", text, "d", last.c_str()),
                HasSubstr("option tags is too large"));
    EXPECT_THAT(refusal("a{sv}", 1, "tags", "a{ss}", 1, "a", std::string(4097, 'x').c_str()),
                HasSubstr("a value has 4097 bytes"));
    EXPECT_THAT(refusal("a{sv}", 1, "tags", "a{ss}", 1, std::string(4097, 'x').c_str(), ""),
                HasSubstr("a name has 4097 bytes"));
    EXPECT_EQ(refusal("a{sv}", 1, "tags", "a{ss}", 2, "a", "1", "a", "2"), "option tags has a name twice");
}

TEST_F(OptionsTest, TakesKeysAsSealedMemoryOnly) {
    std::array<int, 2> ends{};
    ASSERT_EQ(pipe(ends.data()), 0);
    const FileDescriptor read_end(ends[0]);
    const FileDescriptor write_end(ends[1]);
    EXPECT_THAT(refusal("a{sv}", 1, "key", "h", read_end.get()), HasSubstr("option key: a secret must come as"));
    const auto loose = make_shared_memfd("key", 4096).value();
    EXPECT_THAT(refusal("a{sv}", 1, "key", "h", loose.get()), HasSubstr("sealed against writing"));
    const std::vector<std::byte> most(kMaxKeyBytes);
    const auto largest = make_sealed_memfd("key", most).value();
    EXPECT_EQ(refusal("a{sv}", 1, "key", "h", largest.get()), "accepted");
    const std::vector<std::byte> more(kMaxKeyBytes + 1);
    const auto larger = make_sealed_memfd("key", more).value();
    EXPECT_THAT(refusal("a{sv}", 1, "key", "h", larger.get()), HasSubstr("at most 65536"));
}

TEST_F(OptionsTest, BoundsArguments) {
    const BusMessage longest = message("s", std::string(4096, 'x').c_str());
    EXPECT_EQ(read_text(longest.get(), "name")->size(), 4096U);
    const BusMessage longer = message("s", std::string(4097, 'x').c_str());
    EXPECT_EQ(read_text(longer.get(), "name").error().text(),
              "argument name has 4097 bytes, at most 4096 are allowed");
    const BusMessage other = message("u", 1U);
    EXPECT_EQ(read_text(other.get(), "name").error().kind(), ErrorKind::InvalidArgument);
}

}  // namespace
}  // namespace dray::bus
