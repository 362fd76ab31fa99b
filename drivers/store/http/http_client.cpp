// SPDX-License-Identifier: Apache-2.0
#include "drivers/store/http/http_client.hpp"

#include <curl/curl.h>

#include <algorithm>
#include <cstring>
#include <mutex>
#include <utility>

#include "daemon/base/handle.hpp"

namespace dray::store::http {
namespace {

using Easy = Handle<CURL, curl_easy_cleanup>;
using HeaderList = Handle<curl_slist, curl_slist_free_all>;

constexpr std::size_t kMaxBody = 32 * kMiB;
constexpr std::size_t kMaxHeaders = 256;
constexpr long kStallBytesPerSecond = 1024;
/// One write to the socket; more needs memory for each lane, less costs calls.
constexpr long kUploadBuffer = 256L * 1024;

/// libcurl's own beginning, once a process.
bool is_curl_ready() {
    static const bool is_ready = curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK;
    return is_ready;
}

long milliseconds(Microseconds time) {
    return static_cast<long>(std::chrono::duration_cast<std::chrono::milliseconds>(time).count());
}

/// What libcurl's callbacks work on.
struct Exchange {
    const HttpRequest& request;
    const std::stop_token& stop;
    CURL* easy;
    HttpAnswer answer{};
    std::size_t sent = 0;
    unsigned sends = 0;
    bool is_too_long = false;

    bool is_for_caller() const {
        long status = 0;
        (void)curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status);
        return !request.into.empty() && (status == 200 || status == 206);
    }
};

std::size_t give_body(char* to, std::size_t size, std::size_t count, void* context) {
    auto& exchange = *static_cast<Exchange*>(context);
    const std::size_t length = std::min(size * count, exchange.request.body.size() - exchange.sent);
    if (length != 0)  // an empty body has no address
        std::memcpy(to, exchange.request.body.data() + exchange.sent, length);
    exchange.sent += length;
    return length;
}

/// libcurl sends a body anew when a kept connection turns out to be closed.
int rewind_body(void* context, curl_off_t offset, int origin) {
    auto& exchange = *static_cast<Exchange*>(context);
    if (origin != SEEK_SET || offset < 0 || static_cast<std::size_t>(offset) > exchange.request.body.size())
        return CURL_SEEKFUNC_FAIL;
    exchange.sent = static_cast<std::size_t>(offset);
    return CURL_SEEKFUNC_OK;
}

std::size_t take_body(char* from, std::size_t size, std::size_t count, void* context) {
    auto& exchange = *static_cast<Exchange*>(context);
    const std::size_t length = size * count;
    HttpAnswer& answer = exchange.answer;
    if (exchange.is_for_caller()) {
        exchange.is_too_long = length > exchange.request.into.size() - answer.received;
        if (exchange.is_too_long)
            return 0;
        std::memcpy(exchange.request.into.data() + answer.received, from, length);
        answer.received += length;
        return length;
    }
    exchange.is_too_long = length > kMaxBody - answer.body.size();
    if (exchange.is_too_long)
        return 0;
    answer.body.append(from, length);
    return length;
}

std::size_t take_header(char* from, std::size_t size, std::size_t count, void* context) {
    auto& exchange = *static_cast<Exchange*>(context);
    std::string_view line(from, size * count);
    if (line.starts_with("HTTP/")) {  // what came before was "100 Continue", or a proxy's
        exchange.answer.headers.clear();
        exchange.answer.names.clear();
    }
    const std::size_t colon = line.find(':');
    if (colon == std::string_view::npos || exchange.answer.headers.size() >= kMaxHeaders)
        return line.size();
    const std::string_view sent = line.substr(0, colon);
    std::string name(sent);
    std::ranges::transform(name, name.begin(), [](unsigned char c) {
        return static_cast<char>(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
    });
    std::string_view value = line.substr(colon + 1);
    const std::size_t first = value.find_first_not_of(" \t");
    const std::size_t last = value.find_last_not_of(" \t\r\n");
    value = first == std::string_view::npos || last == std::string_view::npos || last < first
                ? std::string_view()
                : value.substr(first, last - first + 1);
    exchange.answer.names.insert_or_assign(name, std::string(sent));
    exchange.answer.headers.insert_or_assign(std::move(name), std::string(value));
    return line.size();
}

int look_at_stop(void* context, curl_off_t /*total*/, curl_off_t /*now*/, curl_off_t /*total_up*/, curl_off_t /*up*/) {
    return static_cast<Exchange*>(context)->stop.stop_requested() ? 1 : 0;
}

int count_sends(void* context, char* /*to*/, char* /*from*/, int /*to_port*/, int /*from_port*/) {
    ++static_cast<Exchange*>(context)->sends;
    return CURL_PREREQFUNC_OK;
}

/// Host and port, for sentences.
std::string host_of(const std::string& url) {
    const std::size_t start = url.find("://");
    const std::string rest = start == std::string::npos ? url : url.substr(start + 3);
    return rest.substr(0, rest.find_first_of("/?"));
}

/// By what the TLS library says; it has no other way to tell these apart.
std::string_view mend_of_certificate(std::string_view why) {
    if (why.contains("expired"))
        return "renew it at the service, or set the clock of this machine";
    if (why.contains("not yet valid"))
        return "set the clock of this machine, or wait";
    if (why.contains("subject name") || why.contains("does not match"))
        return "write the endpoint with a name that is in the certificate";
    return "if a CA of the site has issued it, name that CA's file in the setting ca-file";
}

NoAnswer no_answer(CURLcode code, const char* detail, const Exchange& exchange) {
    const std::string host = host_of(exchange.request.url);
    const std::string why = *detail != '\0' ? detail : curl_easy_strerror(code);
    switch (code) {
        case CURLE_ABORTED_BY_CALLBACK: return {Error(ErrorKind::Cancelled, "stopped"), false};
        case CURLE_COULDNT_RESOLVE_HOST:
            return {Error(ErrorKind::Unreachable,
                          fmt::format("the name of {} is not known; look at the endpoint and at the name servers in "
                                      "/etc/resolv.conf", host)), true};
        case CURLE_COULDNT_RESOLVE_PROXY:
            return {Error(ErrorKind::Unreachable, "the name of the proxy is not known; look at the setting proxy"), true};
        case CURLE_COULDNT_CONNECT:
            return {Error(ErrorKind::Unreachable,
                          fmt::format("cannot connect to {} ({}); look at the endpoint, at the network and whether the "
                                      "service is running", host, why)), true};
        case CURLE_PEER_FAILED_VERIFICATION:
            return {Error(ErrorKind::Unreachable,
                          fmt::format("the certificate of {} is not trusted ({}); {}", host, why, mend_of_certificate(why))),
                    false};
        case CURLE_SSL_CACERT_BADFILE:
            return {Error(ErrorKind::Unreachable, "the trusted certificates (ca-file) cannot be used: " + why), false};
        case CURLE_OPERATION_TIMEDOUT:
            return {Error(ErrorKind::Unreachable, fmt::format("{} does not answer in time ({})", host, why)), true};
        case CURLE_WRITE_ERROR:
            if (exchange.is_too_long)
                return {Error(ErrorKind::Corrupt, fmt::format("{} sends more than was asked for", host)), true};
            [[fallthrough]];
        default:
            return {Error(ErrorKind::Unreachable, fmt::format("the connection to {} broke off ({})", host, why)), true};
    }
}

}  // namespace

const std::string& HttpAnswer::header(const std::string& name) const {
    static const std::string none;
    const auto found = headers.find(name);
    return found == headers.end() ? none : found->second;
}

struct HttpClient::Connections {
    HttpSettings settings;
    std::mutex mutex;
    std::vector<Easy> idle;

    Easy borrow() {
        {
            const std::scoped_lock lock(mutex);
            if (!idle.empty()) {
                Easy easy = std::move(idle.back());
                idle.pop_back();
                return easy;
            }
        }
        return Easy(is_curl_ready() ? curl_easy_init() : nullptr);
    }

    void give_back(Easy easy) {
        const std::scoped_lock lock(mutex);
        idle.push_back(std::move(easy));
    }

    void set_up(CURL* easy) const {
        curl_easy_reset(easy);  // its connections stay
        (void)curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
        (void)curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
        (void)curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, long{CURL_HTTP_VERSION_1_1});
        (void)curl_easy_setopt(easy, CURLOPT_PATH_AS_IS, 1L);
        (void)curl_easy_setopt(easy, CURLOPT_PROXY, settings.proxy.c_str());
        (void)curl_easy_setopt(easy, CURLOPT_NETRC, long{CURL_NETRC_IGNORED});
        (void)curl_easy_setopt(easy, CURLOPT_SSLVERSION, long{CURL_SSLVERSION_TLSv1_2});
        (void)curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, milliseconds(settings.connect_timeout));
        (void)curl_easy_setopt(easy, CURLOPT_LOW_SPEED_LIMIT, kStallBytesPerSecond);
        (void)curl_easy_setopt(easy, CURLOPT_LOW_SPEED_TIME, std::max(1L, milliseconds(settings.stall_timeout) / 1000));
        (void)curl_easy_setopt(easy, CURLOPT_UPLOAD_BUFFERSIZE, kUploadBuffer);
        // Read before the box is shut; a path would not be found inside it.
        (void)curl_easy_setopt(easy, CURLOPT_CAPATH, nullptr);
        (void)curl_easy_setopt(easy, CURLOPT_CAINFO, nullptr);
        if (!settings.certificates.empty()) {
            // The settings outlive every handle. NOLINTNEXTLINE(cppcoreguidelines-pro-type-const-cast)
            curl_blob certificates{const_cast<char*>(settings.certificates.data()), settings.certificates.size(),
                                   CURL_BLOB_NOCOPY};
            (void)curl_easy_setopt(easy, CURLOPT_CAINFO_BLOB, &certificates);
        }
    }
};

HttpClient::HttpClient(HttpSettings settings) : connections_(std::make_unique<Connections>()) {
    connections_->settings = std::move(settings);
}

HttpClient::~HttpClient() = default;

std::expected<HttpAnswer, NoAnswer> HttpClient::send(const HttpRequest& request, const std::stop_token& stop) {
    Easy handle = connections_->borrow();
    if (!handle)
        return std::unexpected(NoAnswer{Error(ErrorKind::Internal, "libcurl cannot be used"), false});
    CURL* easy = handle.get();
    connections_->set_up(easy);
    Exchange exchange{request, stop, easy};
    char detail[CURL_ERROR_SIZE] = "";
    (void)curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, detail);
    (void)curl_easy_setopt(easy, CURLOPT_URL, request.url.c_str());
    (void)curl_easy_setopt(easy, CURLOPT_NOPROGRESS, 0L);
    (void)curl_easy_setopt(easy, CURLOPT_XFERINFOFUNCTION, look_at_stop);
    (void)curl_easy_setopt(easy, CURLOPT_XFERINFODATA, &exchange);
    (void)curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, take_body);
    (void)curl_easy_setopt(easy, CURLOPT_WRITEDATA, &exchange);
    (void)curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, take_header);
    (void)curl_easy_setopt(easy, CURLOPT_HEADERDATA, &exchange);
    (void)curl_easy_setopt(easy, CURLOPT_PREREQFUNCTION, count_sends);
    (void)curl_easy_setopt(easy, CURLOPT_PREREQDATA, &exchange);
    if (request.method == "HEAD")
        (void)curl_easy_setopt(easy, CURLOPT_NOBODY, 1L);
    if (request.method == "PUT") {
        (void)curl_easy_setopt(easy, CURLOPT_UPLOAD, 1L);
        (void)curl_easy_setopt(easy, CURLOPT_INFILESIZE_LARGE, static_cast<curl_off_t>(request.body.size()));
        (void)curl_easy_setopt(easy, CURLOPT_READFUNCTION, give_body);
        (void)curl_easy_setopt(easy, CURLOPT_READDATA, &exchange);
        (void)curl_easy_setopt(easy, CURLOPT_SEEKFUNCTION, rewind_body);
        (void)curl_easy_setopt(easy, CURLOPT_SEEKDATA, &exchange);
    } else if (request.method != "HEAD") {
        (void)curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, request.method.c_str());
    }
    HeaderList headers;
    // What libcurl would add by itself is not signed.
    for (const char* line : {"Expect:", "Accept: */*"})
        headers = HeaderList(curl_slist_append(headers.release(), line));
    for (const std::string& line : request.headers)
        headers = HeaderList(curl_slist_append(headers.release(), line.c_str()));
    (void)curl_easy_setopt(easy, CURLOPT_HTTPHEADER, headers.get());
    const CURLcode code = curl_easy_perform(easy);
    if (code != CURLE_OK)
        return std::unexpected(no_answer(code, detail, exchange));  // the handle, and its connection, end here
    long status = 0;
    (void)curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status);
    exchange.answer.status = static_cast<int>(status);
    exchange.answer.sends = exchange.sends;
    connections_->give_back(std::move(handle));
    return std::move(exchange.answer);
}

}  // namespace dray::store::http
