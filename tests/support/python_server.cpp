// SPDX-License-Identifier: Apache-2.0
#include "tests/support/python_server.hpp"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <random>
#include <stdexcept>

namespace dray::test {
namespace {

[[noreturn]] void give_up(const std::string& what) {
    std::cerr << what << "\n";
    std::exit(1);
}

std::string read_line(int fd) {
    std::string line;
    char character = 0;
    while (read(fd, &character, 1) == 1 && character != '\n')
        line += character;
    return line;
}

void write_all(int fd, const std::string& text) {
    for (std::size_t sent = 0; sent < text.size();) {
        const ssize_t count = send(fd, text.data() + sent, text.size() - sent, MSG_NOSIGNAL);
        if (count <= 0)
            throw std::runtime_error("the fault server's control port has closed");
        sent += static_cast<std::size_t>(count);
    }
}

std::string read_all(int fd) {
    std::string text;
    std::array<char, 65536> part{};
    ssize_t count = 0;
    while ((count = read(fd, part.data(), part.size())) > 0)
        text.append(part.data(), static_cast<std::size_t>(count));
    return text;
}

// Enough for each test of a program that takes accounts, several times over.
constexpr int kAccounts = 600;

}  // namespace

PythonServer::PythonServer(const std::vector<std::string>& arguments) {
    std::array<int, 2> input{};
    std::array<int, 2> output{};
    if (pipe2(input.data(), O_CLOEXEC) != 0 || pipe2(output.data(), O_CLOEXEC) != 0)
        give_up("no pipe for a test's server");
    std::vector<std::string> words = {"/usr/bin/python3", "-B", DRAY_TEST_SUPPORT "/" + arguments.front()};
    words.insert(words.end(), arguments.begin() + 1, arguments.end());
    std::vector<char*> argv;
    for (std::string& word : words)
        argv.push_back(word.data());
    argv.push_back(nullptr);
    pid_ = fork();
    if (pid_ == 0) {
        dup2(input[0], STDIN_FILENO);
        dup2(output[1], STDOUT_FILENO);
        execv(argv[0], argv.data());
        _exit(127);
    }
    close(input[0]);
    close(output[1]);
    input_ = input[1];
    output_ = output[0];
    const std::string line = read_line(output_);
    ready_ = nlohmann::json::parse(line, nullptr, false);
    if (pid_ < 0 || !ready_.is_object())
        give_up(words[2] + " did not come up, it said: " + line);
}

PythonServer::~PythonServer() {
    close(input_);
    waitpid(pid_, nullptr, 0);
    close(output_);
}

Azurite::Azurite() : server_({"azurite.py", "--accounts", std::to_string(kAccounts)}) {}

Azurite& Azurite::the() {
    static Azurite azurite;
    return azurite;
}

std::string Azurite::new_account() {
    const nlohmann::json& accounts = server_.ready().at("accounts");
    if (taken_ == accounts.size())
        throw std::runtime_error("every account of the emulator has been used");
    return accounts.at(taken_++);
}

FaultServer::FaultServer(const std::string& backend, const std::vector<std::string>& more)
    : server_([&] {
          std::vector<std::string> words = {"fault_server.py", "--backend", backend};
          words.insert(words.end(), more.begin(), more.end());
          return words;
      }()) {}

FaultServer& FaultServer::mild() {
    static FaultServer faults(Azurite::the().url(), [] {
        const char* given = std::getenv("DRAY_TEST_SEED");
        const std::string seed = given != nullptr ? given : std::to_string(std::random_device()());
        std::cout << "faults by DRAY_TEST_SEED=" << seed << std::endl;
        return std::vector<std::string>{"--mild", "--seed", seed};
    }());
    return faults;
}

std::string FaultServer::url() const {
    return "http://127.0.0.1:" + std::to_string(server_.ready().at("http").get<int>());
}

std::string FaultServer::tls_url(const std::string& kind, const std::string& host) const {
    return "https://" + host + ":" + std::to_string(server_.ready().at(kind).get<int>());
}

nlohmann::json FaultServer::command(const std::string& method, const std::string& path,
                                    const nlohmann::json& said) const {
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(server_.ready().at("control").get<std::uint16_t>());
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    std::string answer;
    try {
        if (connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
            throw std::runtime_error("the fault server's control port does not answer");
        const std::string body = said.dump();
        write_all(fd, method + " " + path + " HTTP/1.1\r\nConnection: close\r\nContent-Length: " +
                          std::to_string(body.size()) + "\r\n\r\n" + body);
        answer = read_all(fd);
    } catch (...) {
        close(fd);
        throw;
    }
    close(fd);
    const std::size_t end = answer.find("\r\n\r\n");
    nlohmann::json found =
        nlohmann::json::parse(end == std::string::npos ? "" : answer.substr(end + 4), nullptr, false);
    if (!answer.starts_with("HTTP/1.1 200"))
        throw std::runtime_error(found.is_object() ? found.value("error", answer) : answer);
    return found;
}

}  // namespace dray::test
