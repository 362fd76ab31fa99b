// SPDX-License-Identifier: Apache-2.0
#include "drivers/store/azure/azure_request.hpp"

#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <algorithm>
#include <array>
#include <ctime>
#include <utility>

#include "daemon/base/encoding.hpp"

namespace dray::store::azure {
namespace {

constexpr const char* kDays[] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
constexpr const char* kMonths[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
/// Signed in this order, each on a line of its own; Content-Length and Date are dealt with apart.
constexpr const char* kSignedHeaders[] = {"Content-Encoding", "Content-Language", "Content-Length", "Content-MD5",
                                          "Content-Type",     "Date",             "If-Modified-Since", "If-Match",
                                          "If-None-Match",    "If-Unmodified-Since", "Range"};

bool is_unreserved(char c) {
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '.' ||
           c == '_' || c == '~';
}

std::string_view trimmed(std::string_view text) {
    constexpr std::string_view kBlanks = " \t\r\n";
    const std::size_t first = text.find_first_not_of(kBlanks);
    return first == std::string_view::npos ? std::string_view()
                                           : text.substr(first, text.find_last_not_of(kBlanks) - first + 1);
}

std::string lower_case(std::string text) {
    std::ranges::transform(text, text.begin(), [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; });
    return text;
}

/// The part of the endpoint behind the host: "" or "/account".
std::string path_of_endpoint(const std::string& endpoint) {
    const std::size_t host = endpoint.find("://");
    const std::size_t path = endpoint.find('/', host == std::string::npos ? 0 : host + 3);
    return path == std::string::npos ? "" : endpoint.substr(path);
}

std::string query_of(const std::map<std::string, std::string>& query) {
    std::string text;
    for (const auto& [name, value] : query)
        text += (text.empty() ? "" : "&") + percent_encoded(name) + "=" + percent_encoded(value);
    return text;
}

std::optional<int> number_at(std::string_view text, std::size_t at, std::size_t digits) {
    if (at + digits > text.size())
        return std::nullopt;
    int value = 0;
    for (const char c : text.substr(at, digits)) {
        if (c < '0' || c > '9')
            return std::nullopt;
        value = value * 10 + (c - '0');
    }
    return value;
}

std::optional<TimePoint> time_of(int year, int month, int day, int hour, int minute, int second) {
    const std::chrono::year_month_day date{std::chrono::year(year), std::chrono::month(static_cast<unsigned>(month)),
                                           std::chrono::day(static_cast<unsigned>(day))};
    if (!date.ok())
        return std::nullopt;
    return TimePoint(std::chrono::sys_days(date).time_since_epoch() + std::chrono::hours(hour) +
                     std::chrono::minutes(minute) + std::chrono::seconds(second));
}

}  // namespace

std::string percent_encoded(std::string_view text, std::string_view kept) {
    std::string result;
    for (const char c : text) {
        if (is_unreserved(c) || kept.contains(c))
            result += c;
        else
            result += fmt::format("%{:02X}", static_cast<unsigned char>(c));
    }
    return result;
}

std::string path_of_container(const std::string& container) { return "/" + percent_encoded(container, "$"); }

std::string path_of(const BlobName& name) {
    return path_of_container(name.container) + "/" + percent_encoded(name.name, "/");
}

AzureRequest request_for(const std::string& method, const BlobName& name, const char* comp) {
    AzureRequest request;
    request.method = method;
    request.path = path_of(name);
    if (*comp != '\0')
        request.query["comp"] = comp;
    if (!name.snapshot.empty())
        request.query["snapshot"] = name.snapshot;
    return request;
}

std::string http_date(TimePoint time) {
    const auto seconds = static_cast<std::time_t>(to_usec(time) / 1'000'000);
    std::tm parts{};
    (void)gmtime_r(&seconds, &parts);
    return fmt::format("{}, {:02} {} {:04} {:02}:{:02}:{:02} GMT", kDays[parts.tm_wday % 7], parts.tm_mday,
                       kMonths[parts.tm_mon % 12], parts.tm_year + 1900, parts.tm_hour, parts.tm_min, parts.tm_sec);
}

std::optional<TimePoint> parse_http_date(const std::string& text) {
    // "Fri, 01 Mar 2024 12:00:00 GMT"
    if (text.size() != 29 || !text.ends_with(" GMT"))
        return std::nullopt;
    const auto* month = std::ranges::find(kMonths, std::string_view(text).substr(8, 3));
    const auto day = number_at(text, 5, 2);
    const auto year = number_at(text, 12, 4);
    const auto hour = number_at(text, 17, 2);
    const auto minute = number_at(text, 20, 2);
    const auto second = number_at(text, 23, 2);
    if (month == std::end(kMonths) || !day || !year || !hour || !minute || !second)
        return std::nullopt;
    return time_of(*year, static_cast<int>(month - kMonths) + 1, *day, *hour, *minute, *second);
}

std::string string_to_sign(const AzureRequest& request, const std::string& account, const std::string& url_path) {
    std::string text = request.method + "\n";
    for (const char* name : kSignedHeaders) {
        const auto found = request.headers.find(name);
        if (std::string_view(name) == "Content-Length")
            text += request.body.empty() ? "" : std::to_string(request.body.size());
        else if (found != request.headers.end())
            text += found->second;
        text += '\n';
    }
    std::map<std::string, std::string> canonical;  // in order of name
    for (const auto& [name, value] : request.headers)
        if (name.starts_with("x-ms-"))
            canonical.emplace(name, trimmed(value));
    for (const auto& [name, value] : request.metadata)
        canonical.emplace("x-ms-meta-" + lower_case(name), trimmed(value));
    for (const auto& [name, value] : canonical)
        text.append(name).append(":").append(value).append("\n");
    text += "/" + account + url_path;
    for (const auto& [name, value] : request.query)
        text.append("\n").append(name).append(":").append(value);
    return text;
}

Result<std::string> shared_key_authorization(const std::string& text, const std::string& account,
                                             std::string_view key) {
    Result<std::vector<std::byte>> decoded = from_base64(trimmed(key));
    if (!decoded || decoded->empty())
        return fail(ErrorKind::Denied, "the credential is no shared key: it must be the account's key in Base64");
    const SecretBytes bytes(*decoded);
    std::ranges::fill(*decoded, std::byte{0});
    std::array<unsigned char, EVP_MAX_MD_SIZE> code{};
    unsigned size = 0;
    if (HMAC(EVP_sha256(), bytes.data(), static_cast<int>(bytes.size()),
             reinterpret_cast<const unsigned char*>(text.data()), text.size(), code.data(), &size) == nullptr)
        return fail(ErrorKind::Internal, "a request cannot be signed");
    return "SharedKey " + account + ":" + to_base64(std::as_bytes(std::span(code).first(size)));
}

std::string_view sas_of(const SecretBytes& secret) {
    std::string_view sas = trimmed(secret.text());
    if (sas.starts_with('?'))
        sas.remove_prefix(1);
    return sas;
}

std::optional<TimePoint> sas_expiry(const SecretBytes& secret) {
    const std::string sas = "&" + std::string(sas_of(secret));
    const std::size_t at = sas.find("&se=");
    if (at == std::string::npos)
        return std::nullopt;
    std::string text = sas.substr(at + 4, sas.find('&', at + 1) - at - 4);
    for (std::size_t colon = text.find("%3"); colon != std::string::npos; colon = text.find("%3", colon + 1))
        text.replace(colon, std::min<std::size_t>(3, text.size() - colon), ":");
    // "2024-03-01", "2024-03-01T12:00Z", "2024-03-01T12:00:00Z", "2024-03-01T12:00:00.0000000Z"
    const auto year = number_at(text, 0, 4);
    const auto month = number_at(text, 5, 2);
    const auto day = number_at(text, 8, 2);
    if (!year || !month || !day)
        return std::nullopt;
    return time_of(*year, *month, *day, number_at(text, 11, 2).value_or(0), number_at(text, 14, 2).value_or(0),
                   number_at(text, 17, 2).value_or(0));
}

std::string copy_source(const AzureConfig& config, const SecretBytes& secret, const std::string& path) {
    std::string url = config.endpoint + path;
    if (config.credential_kind == CredentialKind::Sas)
        url += "?" + std::string(sas_of(secret));
    return url;
}

Result<http::HttpRequest> signed_request(AzureRequest request, const AzureConfig& config, const SecretBytes& secret,
                                         TimePoint now) {
    request.headers["x-ms-version"] = config.api_version;
    request.headers["x-ms-date"] = http_date(now);
    http::HttpRequest result;
    result.method = request.method;
    result.body = request.body;
    result.into = request.into;
    result.url = config.endpoint + request.path;
    std::string query = query_of(request.query);
    const auto add_header = [&](const std::string& name, const std::string& value) {
        result.headers.push_back(value.empty() ? name + ";" : name + ": " + value);
    };
    switch (config.credential_kind) {
        case CredentialKind::SharedKey: {
            const std::string text =
                string_to_sign(request, config.account, path_of_endpoint(config.endpoint) + request.path);
            DRAY_LET(const std::string authorization, shared_key_authorization(text, config.account, secret.text()));
            add_header("Authorization", authorization);
            break;
        }
        case CredentialKind::Sas: {
            const std::string_view sas = sas_of(secret);
            if (!sas.contains("sig=") || sas.find_first_of(" \t\r\n#") != std::string_view::npos)
                return fail(ErrorKind::Denied, "the credential is no SAS: it must be a query string with a signature "
                                               "(sv=...&se=...&sp=...&sig=...)");
            query += (query.empty() ? "" : "&") + std::string(sas);
            break;
        }
        case CredentialKind::Token: {
            const std::string_view token = trimmed(secret.text());
            if (token.empty() || token.find_first_of(" \t\r\n") != std::string_view::npos)
                return fail(ErrorKind::Denied, "the credential is no token: it must be one word");
            add_header("Authorization", "Bearer " + std::string(token));
            break;
        }
    }
    if (!query.empty())
        result.url += "?" + query;
    for (const auto& [name, value] : request.headers)
        add_header(name, value);
    for (const auto& [name, value] : request.metadata)
        add_header("x-ms-meta-" + name, value);
    // What libcurl would send by itself and is not signed.
    if (!request.headers.contains("Content-Type"))
        result.headers.emplace_back("Content-Type:");
    return result;
}

}  // namespace dray::store::azure
