// SPDX-License-Identifier: Apache-2.0
#include "drivers/store/http/patience.hpp"

#include <algorithm>
#include <utility>

namespace dray::store::http {
namespace {

constexpr Microseconds kFirstWait = std::chrono::seconds(1);
constexpr Microseconds kLongestWait = std::chrono::minutes(2);
/// However long an endpoint asks for.
constexpr Microseconds kLongestAsked = std::chrono::minutes(10);
/// So many answers, and one more request may be under way again.
constexpr unsigned kAnswersForOneMore = 20;
/// Requests that were under way together are throttled together; that counts once.
constexpr Microseconds kThrottleOnce = std::chrono::seconds(1);
/// For somebody who waits (rules.md 27: 20 s).
constexpr int kBriefAttempts = 4;
constexpr Microseconds kBriefWait = std::chrono::milliseconds(200);
constexpr Microseconds kBriefLimit = std::chrono::seconds(5);
/// Silence that is worth a line in the log.
constexpr Microseconds kWorthTelling = std::chrono::seconds(5);

void pause_really(Microseconds time, const std::stop_token& stop) {
    std::mutex mutex;
    std::unique_lock lock(mutex);
    std::condition_variable_any never;
    (void)never.wait_for(lock, stop, time, [] { return false; });
}

std::string seconds_text(Microseconds time) {
    const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(time).count();
    return seconds >= 120 ? fmt::format("{} min", seconds / 60) : fmt::format("{} s", seconds);
}

}  // namespace

Patience::Patience(Settings settings)
    : settings_([&] {
          if (!settings.pause)
              settings.pause = pause_really;
          return std::move(settings);
      }()),
      allowed_(settings_.most),
      last_answer_(settings_.clock->since_boot()),
      random_(settings_.seed) {}

unsigned Patience::allowed() const {
    const std::scoped_lock lock(mutex_);
    return allowed_;
}

void Patience::tell(const std::string& sentence) const {
    if (settings_.tell)
        settings_.tell(fmt::format("store \"{}\" {}", settings_.name, sentence));
}

bool Patience::enter(const std::stop_token& stop) {
    std::unique_lock lock(mutex_);
    for (;;) {
        if (!left_.wait(lock, stop, [&] { return under_way_ < allowed_; }) || stop.stop_requested())
            return false;
        const Microseconds now = settings_.clock->since_boot();
        if (now >= not_before_)
            break;
        const Microseconds wait = not_before_ - now;
        lock.unlock();
        settings_.pause(wait, stop);
        lock.lock();
    }
    ++under_way_;
    return true;
}

void Patience::leave(const Trial& trial) {
    std::string sentence;
    {
        const std::scoped_lock lock(mutex_);
        --under_way_;
        const Microseconds now = settings_.clock->since_boot();
        if (trial.outcome == Trial::Outcome::Answered) {
            if (std::exchange(has_told_, false))
                sentence = fmt::format("answers again after {}", seconds_text(now - last_answer_));
            last_answer_ = now;
            if (++successes_ >= kAnswersForOneMore && allowed_ < settings_.most) {
                successes_ = 0;
                ++allowed_;
            }
        }
        if (trial.outcome == Trial::Outcome::Throttled && now - last_throttle_ >= kThrottleOnce) {
            last_throttle_ = now;
            allowed_ = std::max(1U, allowed_ / 2);
            successes_ = 0;
        }
        if (trial.wait)
            not_before_ = std::max(not_before_, now + std::min(*trial.wait, kLongestAsked));
    }
    left_.notify_all();
    if (!sentence.empty())
        tell(sentence);
}

void Patience::tell_of_failure(const Error& error) {
    {
        const std::scoped_lock lock(mutex_);
        if (has_told_ || settings_.clock->since_boot() - last_answer_ < kWorthTelling)
            return;
        has_told_ = true;
    }
    tell(fmt::format("does not answer: {}; it is tried again for up to {}", error.text(), seconds_text(settings_.outage)));
}

bool Patience::answers_others(Microseconds begun) const {
    {
        const std::scoped_lock lock(mutex_);
        if (last_answer_ > begun)
            return true;
    }
    return settings_.probe && settings_.probe();
}

// While others are answered, this request is the one that does not get through; while nobody is, the endpoint is waited
// for as long as an outage may take.
std::optional<Error> Patience::give_up(const Error& error, unsigned attempt, Microseconds begun) {
    if (attempt >= settings_.attempts && answers_others(begun))
        return Error(ErrorKind::Unreachable, fmt::format("{}; tried {} times", error.text(), attempt));
    const std::scoped_lock lock(mutex_);
    const Microseconds silent = settings_.clock->since_boot() - last_answer_;
    if (silent < settings_.outage)
        return std::nullopt;
    return Error(ErrorKind::Unreachable, fmt::format("{}; it has not answered for {}", error.text(), seconds_text(silent)));
}

Microseconds Patience::wait_after(const Trial& trial, unsigned attempt) {
    if (trial.wait)
        return std::min(*trial.wait, kLongestAsked);
    const std::scoped_lock lock(mutex_);
    const Microseconds most = std::min(kLongestWait, kFirstWait * (std::int64_t{1} << std::min(attempt - 1, 16U)));
    return Microseconds(std::uniform_int_distribution<std::int64_t>(0, most.count())(random_));
}

Result<void> Patience::run(const std::function<Trial()>& attempt, const std::stop_token& stop) {
    const Microseconds begun = settings_.clock->since_boot();
    for (unsigned number = 1;; ++number) {
        if (!enter(stop))
            return fail(ErrorKind::Cancelled, "stopped");
        Trial trial;
        try {
            trial = attempt();
        } catch (...) {
            leave({Trial::Outcome::Hopeless, {}, {}});
            throw;
        }
        leave(trial);
        if (trial.outcome == Trial::Outcome::Answered)
            return {};
        Error error = trial.error.value_or(Error(ErrorKind::Unreachable, "no answer"));
        if (trial.outcome == Trial::Outcome::Hopeless)
            return fail(std::move(error));
        if (std::optional<Error> end = give_up(error, number, begun))
            return fail(*std::move(end));
        tell_of_failure(error);
        settings_.pause(wait_after(trial, number), stop);
        if (stop.stop_requested())
            return fail(ErrorKind::Cancelled, "stopped");
    }
}

Result<void> Patience::run_briefly(const std::function<Trial()>& attempt, const std::stop_token& stop) {
    std::optional<Error> error;
    const Microseconds begun = settings_.clock->since_boot();
    for (int number = 0; number < kBriefAttempts; ++number) {
        if (number > 0)
            settings_.pause(kBriefWait * number, stop);
        Trial trial = attempt();
        if (trial.outcome == Trial::Outcome::Answered)
            return {};
        error = trial.error.value_or(Error(ErrorKind::Unreachable, "no answer"));
        if (trial.outcome == Trial::Outcome::Hopeless || stop.stop_requested() ||
            settings_.clock->since_boot() - begun > kBriefLimit)
            break;
    }
    return fail(*std::move(error));
}

}  // namespace dray::store::http
