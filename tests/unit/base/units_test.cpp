// SPDX-License-Identifier: Apache-2.0
#include "daemon/base/units.hpp"

#include <gtest/gtest.h>

namespace dray {
namespace {

using namespace std::chrono_literals;

TEST(Units, ReadsSizesAsPeopleWriteThem) {
    EXPECT_EQ(parse_bytes("512").value(), 512U);
    EXPECT_EQ(parse_bytes("96MiB").value(), 96 * kMiB);
    EXPECT_EQ(parse_bytes("1 GiB").value(), kGiB);
    EXPECT_EQ(parse_bytes("1.5KiB").value(), 1536U);
    EXPECT_EQ(parse_bytes("500GB").value(), 500'000'000'000U);
    EXPECT_EQ(parse_bytes("9223372036854775807").value(), 9223372036854775807U);
    for (const char* bad : {"", "MiB", "-1", "1mib", "1 2", "0x10", "9223372036854775808", "9000PiBs", "8192PiB"})
        EXPECT_EQ(parse_bytes(bad).error().kind(), ErrorKind::InvalidArgument) << bad;
}

TEST(Units, ReadsTimesAsPeopleWriteThem) {
    EXPECT_EQ(parse_duration("90d").value(), 90 * 24h);
    EXPECT_EQ(parse_duration("30s").value(), 30s);
    EXPECT_EQ(parse_duration("2h30min").value(), 150min);
    EXPECT_EQ(parse_duration("1d 12h").value(), 36h);
    EXPECT_EQ(parse_duration("250ms").value(), 250ms);
    for (const char* bad : {"", "30", "s", "-3s", "3 parsecs", "999999999999999d"})
        EXPECT_EQ(parse_duration(bad).error().kind(), ErrorKind::InvalidArgument) << bad;
}

TEST(Units, ShowsSizesAndTimesForEyes) {
    EXPECT_EQ(format_bytes(0), "0B");
    EXPECT_EQ(format_bytes(1023), "1023B");
    EXPECT_EQ(format_bytes(1536), "1.5KiB");
    EXPECT_EQ(format_bytes(179 * kMiB), "179MiB");
    EXPECT_EQ(format_bytes(1024 * kGiB), "1.0TiB");
    EXPECT_EQ(format_duration(12s), "12s");
    EXPECT_EQ(format_duration(44min), "44min");
    EXPECT_EQ(format_duration(90s), "1min 30s");
    EXPECT_EQ(format_duration(27h), "1d 3h");
    EXPECT_EQ(format_utc(from_usec(1'764'000'000'000'000)), "2025-11-24T16:00:00Z");
    EXPECT_EQ(format_utc(TimePoint()), "");
    EXPECT_EQ(format_local(TimePoint()), "-");
}

}  // namespace
}  // namespace dray
