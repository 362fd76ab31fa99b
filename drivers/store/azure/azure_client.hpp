// SPDX-License-Identifier: Apache-2.0
//
// Requests to one account, tried again as blob-rest.md A.6 says, with the credential of the moment. Any thread.
#pragma once

#include <atomic>
#include <memory>
#include <string>

#include "config/config.hpp"
#include "daemon/base/clock.hpp"
#include "drivers/store/azure/azure_request.hpp"
#include "drivers/store/http/http_client.hpp"
#include "drivers/store/http/patience.hpp"
#include "drivers/store/store_list.hpp"

namespace dray::store::azure {

/// An answer that no further try would change.
struct Reply {
    http::HttpAnswer answer;
    /// The service's word for what is wrong; "" where nothing is.
    std::string code;
    /// Its sentence.
    std::string message;
    /// An earlier try may have been carried out without our hearing of it.
    bool is_repeated = false;
    /// By the service's clock, about when the first try was sent.
    TimePoint first_sent;

    bool is_good() const { return answer.status >= 200 && answer.status < 300; }
};

class AzureClient {
public:
    AzureClient(const StoreConfig& config, const StoreAccess& access);

    /// Unreachable: no answer within the patience. Cancelled: stopped. Denied: the credential is none of its kind.
    Result<Reply> call(const AzureRequest& request, const std::stop_token& stop);
    /// The same for somebody who waits: a few attempts within some seconds.
    Result<Reply> ask(const AzureRequest& request, const std::stop_token& stop);

    /// What a refusal means: "cannot ACTION: ..." with what would mend it.
    Error error_of(const Reply& reply, const std::string& action) const;
    /// Whether a refusal may be of this one question alone, because the credential is for less than the account: a key is for
    /// all of it, and one that has expired is for nothing.
    bool is_for_less() const;
    /// The copy's source, for the header.
    std::string source_of(const std::string& path) const;

    const StoreConfig& config() const { return config_; }
    /// Whether the service has not said yet that it knows no CRC64.
    bool takes_crc64() const { return takes_crc64_; }
    void has_no_crc64() { takes_crc64_ = false; }
    void tell(const std::string& sentence) const;
    void pause(Microseconds time, const std::stop_token& stop) const { patience_.pause(time, stop); }

private:
    struct Attempts;
    Result<Reply> run(const AzureRequest& request, const std::stop_token& stop, bool is_brief);
    http::Trial attempt(const AzureRequest& request, const std::stop_token& stop, Attempts& attempts);
    http::Trial judge(const AzureRequest& request, http::HttpAnswer answer, std::uint64_t generation,
                      Attempts& attempts);
    bool answers() const;
    std::string denied_sentence(const Reply& reply) const;

    const StoreConfig config_;
    const std::shared_ptr<Credential> credential_;
    const std::function<void(const std::string&)> tell_;
    std::atomic<bool> takes_crc64_ = true;
    SystemClock clock_;
    mutable http::HttpClient http_;
    http::Patience patience_;
};

}  // namespace dray::store::azure
