// SPDX-License-Identifier: Apache-2.0
//
// Real servers for C++ tests: the programs of tests/support that say in one line of JSON when they are ready and end
// with their standard input. Each is started once per test program, when it is first asked for.
#pragma once

#include <sys/types.h>

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace dray::test {

/// One program of tests/support, running. Ends the test program with a sentence where it does not come up.
class PythonServer {
public:
    explicit PythonServer(const std::vector<std::string>& arguments);
    PythonServer(const PythonServer&) = delete;
    PythonServer& operator=(const PythonServer&) = delete;
    ~PythonServer();

    /// What it said when it was ready.
    const nlohmann::json& ready() const { return ready_; }

private:
    pid_t pid_ = -1;
    int input_ = -1;
    int output_ = -1;
    nlohmann::json ready_;
};

/// The emulator. Its accounts are apart: a test takes one of its own.
class Azurite {
public:
    static Azurite& the();

    /// http://HOST:PORT, without an account.
    std::string url() const { return server_.ready().at("url"); }
    /// All accounts'; Base64.
    std::string key() const { return server_.ready().at("key"); }
    /// An account that nobody has used yet.
    std::string new_account();

private:
    Azurite();

    PythonServer server_;
    std::size_t taken_ = 0;
};

/// A fault server; see tests/support/fault_server.py for what it can be told.
class FaultServer {
public:
    /// `backend`: the URL of what is behind it, "" for none.
    explicit FaultServer(const std::string& backend, const std::vector<std::string>& more = {});
    /// In front of Azurite, with the faults that nobody may notice, by DRAY_TEST_SEED or a seed of its own, printed.
    static FaultServer& mild();

    std::string url() const;
    /// `kind`: "https", "https-wrong-name", "https-expired" or "https-stranger".
    std::string tls_url(const std::string& kind, const std::string& host = "127.0.0.1") const;
    /// The file with the certificate that all but "https-stranger" go back to.
    std::string ca_file() const { return server_.ready().at("ca"); }

    /// One command; its answer. Throws std::runtime_error with what it said where it refuses.
    nlohmann::json command(const std::string& method, const std::string& path,
                           const nlohmann::json& said = nlohmann::json::object()) const;

private:
    PythonServer server_;
};

}  // namespace dray::test
