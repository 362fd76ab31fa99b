// SPDX-License-Identifier: Apache-2.0
#include "config/url.hpp"

#include <gtest/gtest.h>

namespace dray {
namespace {

TEST(Url, IsReadIntoItsParts) {
    const Url plain = parse_url("https://acme.blob.example").value();
    EXPECT_TRUE(plain.is_https);
    EXPECT_EQ(plain.host, "acme.blob.example");
    EXPECT_EQ(plain.port, 443);
    EXPECT_EQ(plain.path, "");
    EXPECT_FALSE(plain.is_address());
    const Url path = parse_url("HTTP://LocalHost:10000/Acme/").value();
    EXPECT_FALSE(path.is_https);
    EXPECT_EQ(path.host, "localhost");
    EXPECT_EQ(path.port, 10'000);
    EXPECT_EQ(path.path, "/Acme");
    EXPECT_EQ(parse_url("http://[::1]").value().port, 80);
    EXPECT_EQ(parse_url("http://[::1]").value().host, "::1");
    EXPECT_TRUE(parse_url("http://[::1]").value().is_address());
    EXPECT_TRUE(parse_url("http://127.0.0.1:1").value().is_address());
}

TEST(Url, IsShownAsItWasMeant) {
    for (const char* text : {"https://acme.blob.example", "http://localhost:10000/acme", "https://[fd00::1]:8443/a/b"})
        EXPECT_EQ(parse_url(text).value().text(), text);
    EXPECT_EQ(parse_url("https://Acme.example//").value().text(), "https://acme.example");
}

TEST(Url, OfAnotherKindIsRefused) {
    for (const char* text :
         {"", "acme.example", "ftp://acme.example", "https:acme.example", "https://", "https:///path", "https://:443",
          "https://acme.example:", "https://acme.example:0", "https://acme.example:65536", "https://acme.example:1x",
          "https://acme.example:-1", "https://acme..example", "https://.acme", "https://-acme", "https://acme-",
          "https://ac me", "https://[::1", "https://[::1]x", "https://[acme]", "https://::1", "https://acme/a b",
          "https://acme/%20", "https://acme/\n", "https://acme\r\nHost: x"}) {
        const Result<Url> url = parse_url(text);
        ASSERT_FALSE(url) << text;
        EXPECT_EQ(url.error().kind(), ErrorKind::InvalidArgument);
    }
}

TEST(Url, WithASecretInItIsRefusedWithoutRepeatingIt) {
    for (const char* text : {"https://user:S3CRET@acme.example", "https://S3CRET@acme.example/x",
                             "https://acme.example?sig=S3CRET", "https://acme.example/x?sv=1&sig=S3CRET",
                             "https://acme.example#S3CRET", "https://acme.example:S3CRET", "https://S3CRET acme"}) {
        const Result<Url> url = parse_url(text);
        ASSERT_FALSE(url) << text;
        EXPECT_EQ(url.error().text().find("S3CRET"), std::string::npos) << url.error().text();
    }
}

TEST(Url, EndsWhereItsLimitsAre) {
    const std::string label(63, 'a');
    EXPECT_TRUE(parse_url("https://" + label));
    EXPECT_FALSE(parse_url("https://a" + label));
    const std::string host = label + "." + label + "." + label + "." + std::string(61, 'a');
    ASSERT_EQ(host.size(), 253U);
    EXPECT_TRUE(parse_url("https://" + host));
    EXPECT_FALSE(parse_url("https://" + host + "a"));
    EXPECT_TRUE(parse_url("https://acme.example:65535"));
    EXPECT_TRUE(parse_url("https://acme.example:1"));
    const std::string start = "https://acme.example/";
    EXPECT_TRUE(parse_url(start + std::string(1024 - start.size(), 'p')));
    EXPECT_FALSE(parse_url(start + std::string(1025 - start.size(), 'p')));
}

}  // namespace
}  // namespace dray
