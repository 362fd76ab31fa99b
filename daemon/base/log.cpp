// SPDX-License-Identifier: Apache-2.0
#include "daemon/base/log.hpp"

#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <atomic>
#include <cstdlib>
#include <memory>
#include <string>

namespace dray::log {
namespace {

std::atomic<Level> g_level{Level::Info};

/// sd-daemon(3): a line that begins with <N> carries its priority to the journal.
class JournalPrefix : public spdlog::custom_flag_formatter {
public:
    void format(const spdlog::details::log_msg& message, const std::tm& /*time*/,
                spdlog::memory_buf_t& out) override {
        const char* prefix = "<6>";
        if (message.level == spdlog::level::debug)
            prefix = "<7>";
        else if (message.level == spdlog::level::warn)
            prefix = "<4>";
        else if (message.level >= spdlog::level::err)
            prefix = "<3>";
        out.append(prefix, prefix + 3);
    }
    std::unique_ptr<custom_flag_formatter> clone() const override {
        return std::make_unique<JournalPrefix>();
    }
};

spdlog::logger& logger() {
    static const std::shared_ptr<spdlog::logger> instance = [] {
        auto made = std::make_shared<spdlog::logger>(
            "dray", std::make_shared<spdlog::sinks::stderr_sink_mt>());
        made->set_level(spdlog::level::debug);
        made->flush_on(spdlog::level::debug);
        return made;
    }();
    return *instance;
}

}  // namespace

Result<Level> parse_level(std::string_view text) {
    if (text == "debug")
        return Level::Debug;
    if (text == "info")
        return Level::Info;
    if (text == "warning")
        return Level::Warning;
    if (text == "error")
        return Level::Error;
    return fail(ErrorKind::InvalidArgument,
                "\"{}\" is not a log level; it is one of debug, info, warning, error", text);
}

void start(std::string_view program, Level level) {
    auto formatter = std::make_unique<spdlog::pattern_formatter>();
    if (std::getenv("JOURNAL_STREAM") != nullptr) {
        formatter->add_flag<JournalPrefix>('*').set_pattern("%*%v");
    } else {
        formatter->set_pattern(fmt::format("%Y-%m-%dT%H:%M:%S.%e {}[%P] %l: %v", program));
    }
    logger().set_formatter(std::move(formatter));
    set_level(level);
}

void set_level(Level level) { g_level.store(level, std::memory_order_relaxed); }

Level level() { return g_level.load(std::memory_order_relaxed); }

void write(Level level, std::string_view line) {
    if (level < log::level())
        return;
    constexpr spdlog::level::level_enum kLevels[] = {spdlog::level::debug, spdlog::level::info,
                                                     spdlog::level::warn, spdlog::level::err};
    // Names come from drives: a line break or an escape in one must not look like a line of ours.
    std::string clean(line);
    for (char& character : clean)
        if (static_cast<unsigned char>(character) < 0x20 || character == 0x7F)
            character = '?';
    logger().log(kLevels[static_cast<int>(level)], spdlog::string_view_t(clean.data(), clean.size()));
}

}  // namespace dray::log
