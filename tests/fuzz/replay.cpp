// SPDX-License-Identifier: Apache-2.0
//
// Runs a fuzz target over every file of a corpus, so that each build and every sanitizer sees what the fuzzers
// found. One argument: the corpus' directory. Each input is also given cut in half and with single bytes
// changed, from a seed that is printed (DRAY_TEST_SEED has the run again).
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <string>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace {

constexpr int kChanged = 8;

using Input = std::vector<std::uint8_t>;

Input read(const std::filesystem::path& path) {
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

/// An input of its own length on the heap, so that a sanitizer sees a read past its end.
void run(const Input& input) {
    const Input copy(input.begin(), input.end());
    LLVMFuzzerTestOneInput(copy.data(), copy.size());
}

}  // namespace

int main(int argc, char** argv) {
    if (argc != 2) {
        std::fprintf(stderr, "usage: %s CORPUS-DIRECTORY\n", argv[0]);
        return 2;
    }
    const char* given = std::getenv("DRAY_TEST_SEED");
    const unsigned long seed =
        given != nullptr ? std::strtoul(given, nullptr, 10) : static_cast<unsigned long>(std::time(nullptr));
    std::vector<std::filesystem::path> files;
    for (const auto& entry : std::filesystem::directory_iterator(argv[1]))
        if (entry.is_regular_file())
            files.push_back(entry.path());
    std::ranges::sort(files);
    if (files.empty()) {
        std::fprintf(stderr, "the corpus %s is empty\n", argv[1]);
        return 1;
    }
    std::printf("%zu inputs, seed %lu\n", files.size(), seed);
    std::mt19937_64 random(seed);
    run({});
    for (const auto& file : files) {
        // Left there when the target dies.
        std::printf("%s\n", file.filename().c_str());
        std::fflush(stdout);
        Input input = read(file);
        run(input);
        if (input.empty())
            continue;
        run(Input(input.begin(), input.begin() + static_cast<std::ptrdiff_t>(input.size() / 2)));
        for (int i = 0; i < kChanged; ++i) {
            std::uint8_t& byte = input[random() % input.size()];
            const std::uint8_t old = byte;
            byte = static_cast<std::uint8_t>(random());
            run(input);
            byte = old;
        }
    }
    return 0;
}
