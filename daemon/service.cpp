// SPDX-License-Identifier: Apache-2.0
#include "daemon/service.hpp"

#include <fcntl.h>
#include <fmt/ranges.h>
#include <sys/file.h>
#include <systemd/sd-daemon.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <optional>
#include <sstream>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "daemon/base/file.hpp"
#include "daemon/base/log.hpp"
#include "daemon/bus/connection.hpp"
#include "daemon/bus/objects.hpp"
#include "daemon/catalog/catalog.hpp"
#include "daemon/confine/confine.hpp"
#include "daemon/device/image_monitor.hpp"
#include "daemon/device/udev_monitor.hpp"
#include "daemon/engine/job_engine.hpp"
#include "daemon/loop/event_loop.hpp"

namespace dray {
namespace {

constexpr Microseconds kStatusPause = std::chrono::milliseconds(500);

Result<void> make_directory(const std::string& path) {
    std::error_code error;
    std::filesystem::create_directories(path, error);
    if (error)
        return fail_errno(error.value(), "cannot make the state directory {}", path);
    return {};
}

/// Held as long as the daemon lives: two daemons on two buses would share the catalog otherwise.
Result<FileDescriptor> lock_directory(const std::string& path) {
    DRAY_LET(FileDescriptor lock, open_file(path + "/lock", O_RDWR | O_CREAT));
    if (flock(lock.get(), LOCK_EX | LOCK_NB) == 0)
        return lock;
    if (errno == EWOULDBLOCK)
        return fail(ErrorKind::Exists, "another drayd uses the state directory {}", path);
    return fail_errno(errno, "cannot lock {}/lock", path);
}

/// Without its master key, or with another one, the catalog opens all the same: drives whose keys cannot be read are
/// faulted, and a new key must not take the old one's place (rules.md 23).
Result<void> unlock_catalog(Catalog& catalog, const std::string& directory) {
    DRAY_LET(const bool has_keys, catalog.has_keys());
    auto key = load_master_key(directory, !has_keys);
    if (!key && !has_keys)
        return fail(std::move(key.error()));
    if (key)
        if (auto fits = catalog.check_master_key(*key); !fits)
            key = fail(std::move(fits.error()), "the master key is not the one that the keys of the drives were "
                                                "encrypted with");
    if (key) {
        catalog.use_master_key(std::move(*key));
        return {};
    }
    log::error("{}; the drives' keys cannot be read until it is back", key.error().text());
    catalog.refuse_keys(key.error().text());
    return {};
}

std::vector<std::unique_ptr<DeviceMonitor>> make_monitors(const Config& config, EventLoop& loop) {
    std::vector<std::unique_ptr<DeviceMonitor>> monitors;
    if (config.devices.use_udev)
        monitors.push_back(std::make_unique<UdevMonitor>(loop, config.devices.allow_loop));
    if (config.devices.use_images)
        monitors.push_back(std::make_unique<ImageMonitor>(loop, config.devices.images));
    return monitors;
}

/// What was decided once, at the start: sentences for those that are others in `next`.
std::vector<std::string> fixed_settings_changed(const Config& config, const Config& next) {
    std::vector<std::string> found;
    const auto note = [&](const char* setting, bool is_same) {
        if (!is_same)
            found.push_back(fmt::format("{} cannot be changed while drayd runs; restart it for that", setting));
    };
    note("state-directory", config.state_directory == next.state_directory);
    note("devices.sources", config.devices.use_udev == next.devices.use_udev &&
                                config.devices.use_images == next.devices.use_images);
    note("devices.images", config.devices.images == next.devices.images);
    note("devices.allow-loop", config.devices.allow_loop == next.devices.allow_loop);
    return found;
}

}  // namespace

std::string state_directory_of(const std::string& configured) {
    if (!configured.empty())
        return configured;
    const char* directories = std::getenv("STATE_DIRECTORY");
    const std::string given = directories != nullptr ? directories : "";
    const std::string first = given.substr(0, given.find(':'));
    return first.empty() ? "/var/lib/dray" : first;
}

/// Members go from the last to the first: monitors, engine, objects, connection, catalog. What create() made
/// is there for the rest of its life, so only that uses pointers.
struct Service::State {
    State(Config given, const Clock& given_clock, EventLoop given_loop)
        : config(std::move(given)), clock(given_clock), loop(std::move(given_loop)) {}

    Result<void> connect();
    Result<void> open_catalog();
    Result<void> start_engine();
    Result<void> start_monitors();
    Result<void> watch_signals();
    /// All or nothing (rules.md 22); the caller gets every reason, one a line, and so does the log.
    Result<void> reload();
    Result<void> take_new_config();
    void stop(int code);
    void show_status_soon();
    void show_status();

    Config config;
    const Clock& clock;
    ReadConfig read_config;
    EventLoop loop;
    std::optional<ChildUsers> child_users;
    FileDescriptor lock;
    std::unique_ptr<Catalog> catalog;
    std::unique_ptr<bus::Connection> connection;
    std::unique_ptr<bus::Objects> objects;
    std::unique_ptr<JobEngine> engine;
    std::vector<std::unique_ptr<DeviceMonitor>> monitors;
    std::vector<EventSource> signals;
    EventSource status;
    bool is_status_due = false;
    bool is_stopping = false;
};

Result<void> Service::State::connect() {
    DRAY_LET(bus::Connection opened, bus::Connection::open(loop, [this] {
                 log::error("the connection to the bus is lost: stopping");
                 stop(1);
             }));
    connection = std::make_unique<bus::Connection>(std::move(opened));
    objects = std::make_unique<bus::Objects>(connection->get());
    return objects->publish();
}

Result<void> Service::State::open_catalog() {
    DRAY_TRY(make_directory(config.state_directory));
    DRAY_LET(lock, lock_directory(config.state_directory));
    DRAY_LET(catalog, Catalog::open(config.state_directory + "/catalog.sqlite"));
    return unlock_catalog(*catalog, config.state_directory);
}

Result<void> Service::State::start_engine() {
    engine = std::make_unique<JobEngine>(config, *catalog, clock, loop, *objects);
    if (child_users)
        engine->run_children_as(*child_users);
    objects->show(engine.get());
    objects->on_overview([this] { show_status_soon(); });
    objects->on_reload([this] { return reload(); });
    return engine->start();
}

Result<void> Service::State::start_monitors() {
    monitors = make_monitors(config, loop);
    for (const auto& monitor : monitors) {
        DRAY_TRY(monitor->start({.present = [this](const Device& device) { engine->device_present(device); },
                                 .removed = [this](const std::string& id) { engine->device_removed(id); }}));
    }
    return {};
}

Result<void> Service::State::watch_signals() {
    signals.push_back(loop.signal(SIGHUP, [this] { (void)reload(); }));  // the log has why not
    if (!signals.back())
        return fail(ErrorKind::Internal, "cannot watch signal {}", SIGHUP);
    for (const int number : {SIGTERM, SIGINT}) {
        signals.push_back(loop.signal(number, [this] {
            log::info("stopping");
            stop(0);
        }));
        if (!signals.back())
            return fail(ErrorKind::Internal, "cannot watch signal {}", number);
    }
    return {};
}

Result<void> Service::State::reload() {
    if (is_stopping)
        return fail(ErrorKind::Conflict, "drayd is stopping");
    timespec now{};
    (void)clock_gettime(CLOCK_MONOTONIC, &now);  // cannot fail
    (void)sd_notifyf(0, "RELOADING=1\nMONOTONIC_USEC=%lld\nSTATUS=Reading the configuration anew",
                     static_cast<long long>(now.tv_sec) * 1'000'000 + now.tv_nsec / 1000);
    const Result<void> taken = take_new_config();
    (void)sd_notify(0, "READY=1");
    show_status();
    if (taken) {
        log::info("the configuration was read anew and holds from now on");
        return {};
    }
    log::error("the new configuration is not taken, the old one is kept:");
    std::istringstream lines(taken.error().text());
    for (std::string line; std::getline(lines, line);)
        log::error("{}", line);
    return taken;
}

Result<void> Service::State::take_new_config() {
    if (!read_config)
        return fail(ErrorKind::Unsupported, "there is no configuration to read anew");
    Result<Config> next = read_config();
    // Whatever is wrong with the file is the caller's to mend.
    if (!next)
        return fail(ErrorKind::InvalidArgument, "{}", next.error().text());
    next->state_directory = state_directory_of(next->state_directory);
    std::vector<std::string> obstacles = fixed_settings_changed(config, *next);
    for (std::string& obstacle : engine->obstacles_to(*next))
        obstacles.push_back(std::move(obstacle));
    if (!obstacles.empty())
        return fail(ErrorKind::Conflict, "{}", fmt::join(obstacles, "\n"));
    const Config before = std::exchange(config, *std::move(next));
    log::set_level(config.log_level);
    engine->reconfigured(before);
    return {};
}

void Service::State::stop(int code) {
    if (is_stopping)
        return;
    is_stopping = true;
    (void)sd_notify(0, "STOPPING=1\nSTATUS=Stopping: transfers write down where they are.");
    // What is plugged in from now on waits for the next start.
    monitors.clear();
    engine->stop([this, code] { loop.quit(code); });
}

void Service::State::show_status_soon() {
    if (is_status_due || is_stopping)
        return;
    is_status_due = true;
    // Not more often than a person can read: sending waits when the receiver has more than a few to read.
    status = loop.after(kStatusPause, [this] { show_status(); });
}

void Service::State::show_status() {
    is_status_due = false;
    const std::size_t jobs = engine->jobs().size();
    // Without systemd nobody listens, and that is fine.
    (void)sd_notifyf(0, "STATUS=%zu job%s, %u copying", jobs, jobs == 1 ? "" : "s", engine->active_transfers());
}

Service::Service(std::unique_ptr<State> state) : state_(std::move(state)) {}

Service::~Service() = default;

Result<std::unique_ptr<Service>> Service::create(Config config, const Clock& clock,
                                                 const SettleUsers& settle_users, ReadConfig read_config) {
    DRAY_LET(EventLoop loop, EventLoop::create());
    auto state = std::make_unique<State>(std::move(config), clock, std::move(loop));
    state->read_config = std::move(read_config);
    DRAY_TRY(state->connect());
    if (settle_users) {
        DRAY_LET(state->child_users, settle_users());
    }
    const bool has_network = std::ranges::any_of(
        state->config.stores, [](const auto& store) { return !store.second.azure.endpoint.empty(); });
    for (const std::string& problem : {confine::file_system_problem(), has_network ? confine::port_problem() : ""})
        if (!problem.empty())
            log::warning("{}", problem);
    DRAY_TRY(state->open_catalog());
    DRAY_TRY(state->watch_signals());
    DRAY_TRY(state->start_engine());
    DRAY_TRY(state->start_monitors());
    // Last: who sees the name finds everything there.
    DRAY_TRY(state->connection->take_name());
    return std::unique_ptr<Service>(new Service(std::move(state)));
}

Result<int> Service::run() {
    // Sends WATCHDOG=1 from the loop itself, when the unit asks for it.
    if (const int result = sd_event_set_watchdog(state_->loop.get(), 1); result < 0)
        log::warning("the watchdog cannot be fed: {}", errno_text(-result));
    (void)sd_notify(0, "READY=1");
    state_->show_status();
    const auto& config = state_->config;
    log::info("drayd is ready: {} jobs, {} stores, state in {}", state_->engine->jobs().size(),
              config.stores.size(), config.state_directory);
    return state_->loop.run();
}

}  // namespace dray
