// SPDX-License-Identifier: Apache-2.0
#include "drivers/store/azure/azure_client.hpp"

#include <charconv>
#include <utility>

#include "drivers/store/azure/azure_xml.hpp"

namespace dray::store::azure {
namespace {

using http::Trial;

/// The service turns requests away from a quarter of an hour on (A.1); from here on it is worth saying.
constexpr Microseconds kClockIsOff = std::chrono::minutes(10);

http::HttpSettings http_settings(const StoreConfig& config, const StoreAccess& access) {
    http::HttpSettings settings;
    settings.certificates = access.certificates;
    settings.proxy = config.azure.proxy;
    settings.connect_timeout = config.azure.connect_timeout;
    settings.stall_timeout = config.azure.stall_timeout;
    return settings;
}

http::Patience::Settings patience_settings(const StoreConfig& config, const StoreAccess& access, const Clock& clock,
                                           std::function<bool()> probe) {
    http::Patience::Settings settings;
    settings.name = config.name;
    settings.clock = &clock;
    settings.most = 1024;  // lanes are the limit until the service says otherwise
    settings.outage = config.azure.outage;
    settings.tell = access.tell;
    settings.seed = to_usec(clock.now());
    settings.probe = std::move(probe);
    return settings;
}

bool is_worth_another_try(int status, const std::string& code) {
    switch (status) {
        case 408:
        case 502:
        case 504: return true;
        case 500: return code != "FeatureNotSupported";
        case 409: return code == "ContainerBeingDeleted";
        default: return code == "OperationTimedOut";
    }
}

std::optional<Microseconds> milliseconds_of(const std::string& text) {
    std::int64_t value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (text.empty() || error != std::errc() || end != text.data() + text.size() || value < 0)
        return std::nullopt;
    return std::chrono::milliseconds(value);
}

/// Retry-After in its forms.
std::optional<Microseconds> asked_wait(const http::HttpAnswer& answer) {
    for (const char* name : {"x-ms-retry-after-ms", "retry-after-ms"})
        if (const auto wait = milliseconds_of(answer.header(name)))
            return wait;
    const std::string& text = answer.header("retry-after");
    if (const auto seconds = milliseconds_of(text))
        return *seconds * 1000;
    const auto date = parse_http_date(text);
    const auto now = parse_http_date(answer.header("date"));
    if (date && now && *date > *now)
        return *date - *now;
    return std::nullopt;
}

}  // namespace

struct AzureClient::Attempts {
    std::optional<Reply> reply;
    TimePoint first_sent;
    bool is_repeated = false;
};

AzureClient::AzureClient(const StoreConfig& config, const StoreAccess& access)
    : config_(config),
      credential_(access.credential ? access.credential : std::make_shared<Credential>()),
      tell_(access.tell),
      http_(http_settings(config, access)),
      patience_(patience_settings(config, access, clock_, [this] { return answers(); })) {}

// A refusal is an answer, too.
bool AzureClient::answers() const {
    AzureRequest request;
    request.query = {{"comp", "list"}, {"maxresults", "1"}};
    const Result<http::HttpRequest> wire = signed_request(request, config_.azure, *credential_->secret(), clock_.now());
    const auto answer = wire ? http_.send(*wire, {}) : std::expected<http::HttpAnswer, http::NoAnswer>(http::HttpAnswer());
    return answer && answer->status < 500 && answer->status != 429 && answer->status != 408;
}

void AzureClient::tell(const std::string& sentence) const {
    if (tell_)
        tell_(sentence);
}

std::string AzureClient::source_of(const std::string& path) const {
    return copy_source(config_.azure, *credential_->secret(), path);
}

Result<Reply> AzureClient::call(const AzureRequest& request, const std::stop_token& stop) {
    return run(request, stop, false);
}

Result<Reply> AzureClient::ask(const AzureRequest& request, const std::stop_token& stop) {
    return run(request, stop, true);
}

Result<Reply> AzureClient::run(const AzureRequest& request, const std::stop_token& stop, bool is_brief) {
    Attempts attempts;
    attempts.first_sent = clock_.now();
    const auto once = [&] { return attempt(request, stop, attempts); };
    Result<void> done = is_brief ? patience_.run_briefly(once, stop) : patience_.run(once, stop);
    if (!done)
        return fail(std::move(done.error()), "store \"{}\"", config_.name);
    return *std::move(attempts.reply);
}

Trial AzureClient::attempt(const AzureRequest& request, const std::stop_token& stop, Attempts& attempts) {
    const std::uint64_t generation = credential_->generation();
    const std::shared_ptr<const SecretBytes> secret = credential_->secret();
    const Result<http::HttpRequest> wire = signed_request(request, config_.azure, *secret, clock_.now());
    if (!wire)
        return {Trial::Outcome::Hopeless, wire.error(), {}};
    std::expected<http::HttpAnswer, http::NoAnswer> answer = http_.send(*wire, stop);
    if (answer)
        return judge(request, *std::move(answer), generation, attempts);
    attempts.is_repeated = true;
    return {answer.error().may_retry ? Trial::Outcome::Again : Trial::Outcome::Hopeless, answer.error().error, {}};
}

Trial AzureClient::judge(const AzureRequest& request, http::HttpAnswer answer, std::uint64_t generation, Attempts& attempts) {
    Reply reply;
    attempts.is_repeated = attempts.is_repeated || answer.sends > 1;
    reply.is_repeated = attempts.is_repeated;
    reply.first_sent = attempts.first_sent;
    if (const auto date = parse_http_date(answer.header("date")))
        reply.first_sent += *date - clock_.now();
    if (answer.status >= 300) {
        const ServiceError error = answer.body.empty() ? ServiceError() : parse_error(answer.body);
        reply.code = answer.header("x-ms-error-code").empty() ? error.code : answer.header("x-ms-error-code");
        reply.message = error.message;
    }
    const int status = answer.status;
    // Whoever gave a hash looks at the content himself; without one it can only be the way.
    const bool is_changed = reply.code.ends_with("Mismatch") && status == 400 && !request.headers.contains("Content-MD5") &&
                            !request.headers.contains("x-ms-content-crc64");
    const bool is_throttled = status == 429 || status == 503;
    const bool is_refused = status == 401 || status == 403;
    const auto wait = asked_wait(answer);
    const std::string what = fmt::format("it answers {}{}{}", status, reply.code.empty() ? "" : " ", reply.code);
    if (is_throttled || is_changed || is_worth_another_try(status, reply.code)) {
        attempts.is_repeated = attempts.is_repeated || status >= 500;
        return {is_throttled ? Trial::Outcome::Throttled : Trial::Outcome::Again, Error(ErrorKind::Unreachable, what), wait};
    }
    // What was signed with the credential before this one.
    if (is_refused && credential_->generation() != generation)
        return {Trial::Outcome::Again, Error(ErrorKind::Denied, what), Microseconds(0)};
    reply.answer = std::move(answer);
    attempts.reply = std::move(reply);
    return {};
}

bool AzureClient::is_for_less() const {
    if (config_.azure.credential_kind != CredentialKind::Sas)
        return config_.azure.credential_kind == CredentialKind::Token;
    const auto expiry = sas_expiry(*credential_->secret());
    return !expiry || *expiry > clock_.now();
}

std::string AzureClient::denied_sentence(const Reply& reply) const {
    const AzureConfig& azure = config_.azure;
    const auto service_time = parse_http_date(reply.answer.header("date"));
    if (service_time && std::chrono::abs(*service_time - clock_.now()) > kClockIsOff)
        return fmt::format("the clock of this machine ({}) and that of the service ({}) are too far apart; set the clock "
                           "of this machine", format_utc(clock_.now()), format_utc(*service_time));
    if (azure.credential_kind == CredentialKind::Sas) {
        const auto expiry = sas_expiry(*credential_->secret());
        if (expiry && *expiry <= clock_.now())
            return fmt::format("the SAS has expired at {}; put a new one in the place of the credential {}",
                               format_utc(*expiry), azure.credential);
        if (reply.code.starts_with("Authorization"))
            return fmt::format("the SAS {} does not permit this ({}); imports need read, create, write, list and delete",
                               azure.credential, reply.code);
        return fmt::format("the service refuses the SAS {} ({}); put a valid one in its place", azure.credential, reply.code);
    }
    // A key has every right; what is refused with this code all the same is refused for where it comes from.
    if (azure.credential_kind == CredentialKind::SharedKey && reply.code.starts_with("Authorization"))
        return fmt::format("the service refuses the key {} of account {} ({}); put the right key in its place, or have the "
                           "account's network rules let this machine in", azure.credential, azure.account, reply.code);
    if (reply.code.starts_with("Authorization") || reply.code == "InsufficientAccountPermissions")
        return fmt::format("the credential {} does not permit this ({}); give it the right to read, write and delete blobs",
                           azure.credential, reply.code);
    if (azure.credential_kind == CredentialKind::Token)
        return fmt::format("the service refuses the token {} ({}); it may have expired, put a new one in its place",
                           azure.credential, reply.code);
    if (reply.code == "AuthenticationFailed" || reply.code == "InvalidAuthenticationInfo" || reply.code.empty())
        return fmt::format("the service refuses the key {} of account {} ({}); put the right key in its place",
                           azure.credential, azure.account, reply.code.empty() ? "403" : reply.code);
    return fmt::format("the service does not permit it ({})", reply.code);
}

Error AzureClient::error_of(const Reply& reply, const std::string& action) const {
    const std::string& code = reply.code;
    const auto error = [&](ErrorKind kind, const std::string& why) {
        return Error(kind, fmt::format("store \"{}\": cannot {}: {}", config_.name, action, why));
    };
    const std::string word = code.empty() ? std::to_string(reply.answer.status) : code;
    // Followed, it would take the credential along.
    if (reply.answer.status >= 300 && reply.answer.status < 400)
        return error(ErrorKind::Unreachable, fmt::format("the service sends us elsewhere ({}); correct the setting endpoint",
                                                         reply.answer.header("location")));
    switch (reply.answer.status) {
        case 401:
        case 403: return error(ErrorKind::Denied, denied_sentence(reply));
        case 404:
            return error(ErrorKind::NotFound, code == "ContainerNotFound" ? "there is no such container" : "there is no such blob");
        case 409:
            if (code == "BlobAlreadyExists" || code == "UnauthorizedBlobOverwrite")
                return error(ErrorKind::Exists, "there is such a blob already");
            if (code == "BlobArchived")
                return error(ErrorKind::Unsupported, "it is archived; rehydrate it first");
            if (code == "SnapshotsPresent")
                return error(ErrorKind::Unsupported, "it has snapshots, which would go with it; remove them first");
            if (code.starts_with("BlobImmutable") || code == "BlobOverwritten")
                return error(ErrorKind::Denied, "a policy keeps it from being changed (" + word + ")");
            return error(ErrorKind::Conflict, word);
        case 412:
            if (code.starts_with("Lease"))
                return error(ErrorKind::Conflict, "somebody holds a lease on it (" + word + ")");
            return error(ErrorKind::Busy, "it has been changed");
        case 416: return error(ErrorKind::InvalidArgument, "the range is not in it (" + word + ")");
        case 400:
            if (code == "Md5Mismatch" || code == "Crc64Mismatch" || code == "InvalidBlockList" || code == "InvalidOperation")
                return error(ErrorKind::Corrupt, word == "InvalidBlockList" ? "the service does not have its blocks"
                                                                          : "it arrived changed (" + word + ")");
            [[fallthrough]];
        default:
            return error(ErrorKind::InvalidArgument,
                         fmt::format("the service answers {}{}", word, reply.message.empty() ? "" : ", " + reply.message));
    }
}

}  // namespace dray::store::azure
