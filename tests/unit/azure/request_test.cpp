// SPDX-License-Identifier: Apache-2.0
//
// Signatures against the vectors, addresses, dates.
#include "drivers/store/azure/azure_request.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>

#include <nlohmann/json.hpp>

namespace dray::store::azure {
namespace {

const char* const kKey = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";

AzureConfig config_of(CredentialKind kind) {
    AzureConfig config;
    config.endpoint = "https://acme.blob.example";
    config.account = "acme";
    config.credential_kind = kind;
    return config;
}

bool has_header(const http::HttpRequest& request, const std::string& line) {
    return std::ranges::find(request.headers, line) != request.headers.end();
}

TEST(AzureRequest, SignsAsTheVectorsDo) {
    const nlohmann::json vectors = nlohmann::json::parse(std::ifstream(DRAY_TEST_DATA "/rest/sharedkey-vectors.json"));
    ASSERT_FALSE(vectors.empty());
    for (const nlohmann::json& vector : vectors) {
        SCOPED_TRACE(vector["name"].get<std::string>());
        AzureRequest request;
        request.method = vector["verb"];
        request.query = vector["query"];
        std::vector<std::byte> body;
        for (const auto& [name, value] : vector["headers"].items()) {
            const std::string text = value;
            if (name == "Content-Length")
                body.resize(std::stoull(text));
            else
                request.headers[name] = text;
        }
        request.body = body;
        const std::string text = string_to_sign(request, "devstoreaccount1", vector["path"]);
        EXPECT_EQ(text, vector["string_to_sign"].get<std::string>());
        const Result<std::string> signature = shared_key_authorization(text, "devstoreaccount1", kKey);
        ASSERT_TRUE(signature);
        EXPECT_EQ(*signature, vector["authorization"].get<std::string>());
    }
}

TEST(AzureRequest, MetadataIsSignedInLowerCaseAndSentAsGiven) {
    AzureRequest request;
    request.method = "PUT";
    request.path = "/lab/x";
    request.metadata = {{"Zoo", "1"}, {"author", "Ada"}};
    const std::string text = string_to_sign(request, "acme", "/lab/x");
    EXPECT_TRUE(text.contains("x-ms-meta-author:Ada\nx-ms-meta-zoo:1\n/acme/lab/x")) << text;
    const auto wire = signed_request(request, config_of(CredentialKind::SharedKey), SecretBytes(std::string_view(kKey)), {});
    ASSERT_TRUE(wire);
    EXPECT_TRUE(has_header(*wire, "x-ms-meta-Zoo: 1"));
}

TEST(AzureRequest, ASasGoesIntoTheAddressAndNothingIsSigned) {
    AzureRequest request;
    request.path = "/lab/x";
    request.query["comp"] = "block";
    for (const char* text : {"sv=1&se=2026-01-01&sig=a%2Bb", "?sv=1&se=2026-01-01&sig=a%2Bb\n"}) {
        const auto wire = signed_request(request, config_of(CredentialKind::Sas), SecretBytes(std::string_view(text)), {});
        ASSERT_TRUE(wire);
        EXPECT_EQ(wire->url, "https://acme.blob.example/lab/x?comp=block&sv=1&se=2026-01-01&sig=a%2Bb");
        for (const std::string& line : wire->headers)
            EXPECT_FALSE(line.starts_with("Authorization")) << line;
    }
}

TEST(AzureRequest, SecretsThatAreNoneAreRefusedWithoutBeingTold) {
    const struct {
        CredentialKind kind;
        const char* secret;
    } rows[] = {{CredentialKind::SharedKey, "geheim!"}, {CredentialKind::SharedKey, ""},   {CredentialKind::Sas, "geheim"},
                {CredentialKind::Sas, "sig=geheim\nX: y"}, {CredentialKind::Token, ""}, {CredentialKind::Token, "geheim x"}};
    for (const auto& row : rows) {
        const auto wire = signed_request({}, config_of(row.kind), SecretBytes(std::string_view(row.secret)), {});
        ASSERT_FALSE(wire) << row.secret;
        EXPECT_EQ(wire.error().kind(), ErrorKind::Denied);
        EXPECT_FALSE(wire.error().text().contains("geheim")) << wire.error().text();
    }
    const auto wire = signed_request({}, config_of(CredentialKind::Token), SecretBytes(std::string_view("abc.def\n")), {});
    ASSERT_TRUE(wire);
    EXPECT_TRUE(has_header(*wire, "Authorization: Bearer abc.def"));
}

TEST(AzureRequest, EncodesNamesBySegments) {
    EXPECT_EQ(path_of({"lab", "dir with blanks/50% \xC3\xA9?#x=1"}), "/lab/dir%20with%20blanks/50%25%20%C3%A9%3F%23x%3D1");
    EXPECT_EQ(path_of({"$root", "a"}), "/$root/a");
}

TEST(AzureRequest, DatesGoBothWays) {
    const TimePoint time = from_usec(1'709'294'400'000'000);
    EXPECT_EQ(http_date(time), "Fri, 01 Mar 2024 12:00:00 GMT");
    EXPECT_EQ(parse_http_date("Fri, 01 Mar 2024 12:00:00 GMT"), time);
    for (const char* bad : {"", "Fri, 01 Mar 2024 12:00:00", "Fri, 31 Feb 2024 12:00:00 GMT", "Fri, xx Mar 2024 12:00:00 GMT",
                            "Fri, 01 Mrz 2024 12:00:00 GMT"})
        EXPECT_FALSE(parse_http_date(bad)) << bad;
}

TEST(AzureRequest, ReadsWhenASasExpires) {
    const auto expiry = [](const char* text) { return sas_expiry(SecretBytes(std::string_view(text))); };
    EXPECT_EQ(expiry("sv=1&se=2024-03-01T12%3A00%3A00Z&sig=x"), from_usec(1'709'294'400'000'000));
    EXPECT_EQ(expiry("se=2024-03-01T12:00Z&sig=x"), from_usec(1'709'294'400'000'000));
    EXPECT_EQ(expiry("?se=2024-03-01&sig=x"), from_usec(1'709'251'200'000'000));
    EXPECT_FALSE(expiry("sv=1&ses=2024-03-01&sig=x"));
    EXPECT_FALSE(expiry("se=&sig=x"));
}

}  // namespace
}  // namespace dray::store::azure
