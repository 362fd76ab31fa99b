// SPDX-License-Identifier: Apache-2.0
#include "daemon/ctl/client.hpp"

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <string_view>

#include "daemon/bus/names.hpp"
#include "daemon/model/drive.hpp"

namespace dray::ctl {
namespace {

constexpr std::uint64_t kCallTimeoutUsec = 30'000'000;

struct NamedKind {
    std::string_view name;
    ErrorKind kind;
};

// The way back from the table in daemon/bus (rules.md 29).
constexpr NamedKind kKinds[] = {
    {"org.dray1.Error.InvalidArgument", ErrorKind::InvalidArgument},
    {"org.dray1.Error.NotFound", ErrorKind::NotFound},
    {"org.dray1.Error.Exists", ErrorKind::Exists},
    {"org.dray1.Error.StateConflict", ErrorKind::Conflict},
    {"org.dray1.Error.LimitExceeded", ErrorKind::LimitReached},
    {"org.dray1.Error.AccessDenied", ErrorKind::Denied},
    {"org.dray1.Error.WrongKey", ErrorKind::WrongKey},
    {"org.dray1.Error.StoreUnreachable", ErrorKind::Unreachable},
    {"org.dray1.Error.DeviceGone", ErrorKind::Gone},
    {"org.dray1.Error.Corrupt", ErrorKind::Corrupt},
    {"org.dray1.Error.Unsupported", ErrorKind::Unsupported},
    {SD_BUS_ERROR_ACCESS_DENIED, ErrorKind::Denied},
    {SD_BUS_ERROR_UNKNOWN_OBJECT, ErrorKind::NotFound},
};

std::unexpected<Error> bus_failure(const sd_bus_error& error, int result) {
    if (error.name == nullptr)
        return fail_errno(-result, "the call to drayd failed");
    const std::string_view name = error.name;
    const char* message = error.message != nullptr ? error.message : error.name;
    if (name == SD_BUS_ERROR_SERVICE_UNKNOWN || name == SD_BUS_ERROR_NAME_HAS_NO_OWNER)
        return fail(ErrorKind::Unreachable, "drayd is not running");
    if (name == SD_BUS_ERROR_NO_REPLY || name == SD_BUS_ERROR_TIMEOUT ||
        name == SD_BUS_ERROR_DISCONNECTED)
        return fail(ErrorKind::Unreachable, "drayd did not answer");
    for (const NamedKind& known : kKinds)
        if (name == known.name)
            return fail(known.kind, "{}", message);
    return fail(ErrorKind::Internal, "{}", message);
}

class BusError {
public:
    BusError() = default;
    BusError(const BusError&) = delete;
    BusError& operator=(const BusError&) = delete;
    ~BusError() { sd_bus_error_free(&error_); }
    sd_bus_error* get() { return &error_; }
    const sd_bus_error& value() const { return error_; }

private:
    sd_bus_error error_ = SD_BUS_ERROR_NULL;
};

int append_texts(sd_bus_message* message, const Texts& texts) {
    int result = sd_bus_message_open_container(message, 'a', "{ss}");
    for (const auto& [name, value] : texts)
        if (result >= 0)
            result = sd_bus_message_append(message, "{ss}", name.c_str(), value.c_str());
    return result < 0 ? result : sd_bus_message_close_container(message);
}

int append_lists(sd_bus_message* message, const Lists& lists) {
    int result = sd_bus_message_open_container(message, 'a', "{sas}");
    for (const auto& [name, texts] : lists) {
        if (result >= 0)
            result = sd_bus_message_open_container(message, 'e', "sas");
        if (result >= 0)
            result = sd_bus_message_append(message, "s", name.c_str());
        if (result >= 0)
            result = sd_bus_message_open_container(message, 'a', "s");
        for (const std::string& text : texts)
            if (result >= 0)
                result = sd_bus_message_append(message, "s", text.c_str());
        if (result >= 0)
            result = sd_bus_message_close_container(message);
        if (result >= 0)
            result = sd_bus_message_close_container(message);
    }
    return result < 0 ? result : sd_bus_message_close_container(message);
}

int append_option(sd_bus_message* message, const Option& option) {
    const char* name = option.name.c_str();
    if (const auto* flag = std::get_if<bool>(&option.value))
        return sd_bus_message_append(message, "{sv}", name, "b", static_cast<int>(*flag));
    if (const auto* number = std::get_if<std::uint32_t>(&option.value))
        return sd_bus_message_append(message, "{sv}", name, "u", *number);
    if (const auto* text = std::get_if<std::string>(&option.value))
        return sd_bus_message_append(message, "{sv}", name, "s", text->c_str());
    if (const auto* fd = std::get_if<int>(&option.value))
        return sd_bus_message_append(message, "{sv}", name, "h", *fd);
    const auto* lists = std::get_if<Lists>(&option.value);
    int result = sd_bus_message_open_container(message, 'e', "sv");
    if (result >= 0)
        result = sd_bus_message_append(message, "s", name);
    if (result >= 0)
        result = sd_bus_message_open_container(message, 'v', lists != nullptr ? "a{sas}" : "a{ss}");
    if (result >= 0)
        result = lists != nullptr ? append_lists(message, *lists) : append_texts(message, std::get<Texts>(option.value));
    if (result >= 0)
        result = sd_bus_message_close_container(message);
    return result < 0 ? result : sd_bus_message_close_container(message);
}

Result<Value> read_value(sd_bus_message* message) {
    char type = 0;
    const char* contents = nullptr;
    if (const int result = sd_bus_message_peek_type(message, &type, &contents); result <= 0)
        return fail(ErrorKind::Internal, "drayd's answer cannot be read");
    const std::string signature = contents;
    if (sd_bus_message_enter_container(message, 'v', contents) < 0)
        return fail(ErrorKind::Internal, "drayd's answer cannot be read");
    Value value;
    if (signature == "s" || signature == "o") {
        const char* text = "";
        sd_bus_message_read_basic(message, signature[0], static_cast<void*>(&text));
        value = std::string(text);
    } else if (signature == "b") {
        int flag = 0;
        sd_bus_message_read_basic(message, 'b', &flag);
        value = flag != 0;
    } else if (signature == "t") {
        std::uint64_t number = 0;
        sd_bus_message_read_basic(message, 't', &number);
        value = number;
    } else if (signature == "u") {
        std::uint32_t number = 0;
        sd_bus_message_read_basic(message, 'u', &number);
        value = std::uint64_t{number};
    } else if (signature == "d") {
        double number = 0;
        sd_bus_message_read_basic(message, 'd', &number);
        value = number;
    } else if (signature == "as" || signature == "ao") {
        std::vector<std::string> texts;
        const char* text = "";
        sd_bus_message_enter_container(message, 'a', signature.c_str() + 1);
        while (sd_bus_message_read_basic(message, signature[1], static_cast<void*>(&text)) > 0)
            texts.emplace_back(text);
        sd_bus_message_exit_container(message);
        value = std::move(texts);
    } else {
        sd_bus_message_skip(message, signature.c_str());
    }
    sd_bus_message_exit_container(message);
    return value;
}

// Messages that nobody handles otherwise; wait_for_change() only wants to wake.
int wake(sd_bus_message* /*message*/, void* /*data*/, sd_bus_error* /*error*/) noexcept { return 0; }

template <typename T>
T value_or(const std::map<std::string, Value>& values, const std::string& name) {
    const auto found = values.find(name);
    if (found == values.end() || !std::holds_alternative<T>(found->second))
        return T();
    return std::get<T>(found->second);
}

}  // namespace

std::string Properties::text(const std::string& name) const { return value_or<std::string>(values, name); }
std::uint64_t Properties::number(const std::string& name) const {
    return value_or<std::uint64_t>(values, name);
}
double Properties::real(const std::string& name) const { return value_or<double>(values, name); }
bool Properties::flag(const std::string& name) const { return value_or<bool>(values, name); }
std::vector<std::string> Properties::list(const std::string& name) const {
    return value_or<std::vector<std::string>>(values, name);
}

Result<Client> Client::connect() {
    sd_bus* raw = nullptr;
    if (const int result = sd_bus_open_system(&raw); result < 0)
        return fail(Error(ErrorKind::Unreachable, errno_text(-result)), "cannot reach the system bus");
    Bus bus(raw);
    sd_bus_set_method_call_timeout(bus.get(), kCallTimeoutUsec);
    return Client(std::move(bus));
}

Result<BusMessage> Client::call(const std::string& path, const char* interface, const char* member,
                                const std::vector<std::string>& arguments,
                                const Options* options, Microseconds patience) const {
    sd_bus_message* raw = nullptr;
    int result = sd_bus_message_new_method_call(bus_.get(), &raw, bus::kService, path.c_str(), interface,
                                                member);
    BusMessage request(raw);
    for (const std::string& argument : arguments)
        if (result >= 0)
            result = sd_bus_message_append(raw, "s", argument.c_str());
    if (options != nullptr && result >= 0) {
        result = sd_bus_message_open_container(raw, 'a', "{sv}");
        for (const Option& option : *options)
            if (result >= 0)
                result = append_option(raw, option);
        if (result >= 0)
            result = sd_bus_message_close_container(raw);
    }
    if (result < 0)
        return fail_errno(-result, "cannot write a message for drayd");
    // A password may be asked for only where somebody can type one.
    (void)sd_bus_message_set_allow_interactive_authorization(raw, 1);
    BusError error;
    sd_bus_message* reply = nullptr;
    result = sd_bus_call(bus_.get(), raw, static_cast<std::uint64_t>(patience.count()), error.get(), &reply);
    if (result < 0)
        return bus_failure(error.value(), result);
    return BusMessage(reply);
}

Result<Properties> Client::properties(const std::string& path, const char* interface) const {
    DRAY_LET(const BusMessage reply,
             call(path, "org.freedesktop.DBus.Properties", "GetAll", {interface}, nullptr));
    Properties properties;
    sd_bus_message_enter_container(reply.get(), 'a', "{sv}");
    while (sd_bus_message_enter_container(reply.get(), 'e', "sv") > 0) {
        const char* name = "";
        sd_bus_message_read_basic(reply.get(), 's', static_cast<void*>(&name));
        DRAY_LET(properties.values[name], read_value(reply.get()));
        sd_bus_message_exit_container(reply.get());
    }
    return properties;
}

Result<std::string> Client::job_path(const std::string& job) const {
    DRAY_LET(const BusMessage reply,
             call(bus::kRootPath, bus::kManagerInterface, "GetJob", {job}, nullptr));
    const char* path = "";
    sd_bus_message_read_basic(reply.get(), 'o', static_cast<void*>(&path));
    return std::string(path);
}

Result<std::string> Client::drive_path(const std::string& job, const std::string& serial) const {
    DRAY_LET(const std::string path, job_path(job));
    DRAY_LET(const Properties properties, this->properties(path, bus::kJobInterface));
    for (const std::string& drive : properties.list("Drives")) {
        DRAY_LET(const Properties found, this->properties(drive, bus::kDriveInterface));
        if (fold_serial(found.text("Serial")) == fold_serial(serial))
            return drive;
    }
    return fail(ErrorKind::NotFound, "job {} has no drive {}", properties.text("Name"), serial);
}

Result<std::string> Client::device_path(const std::string& device) const {
    DRAY_LET(const std::vector<std::string> paths, device_paths());
    std::string match;
    for (const std::string& path : paths) {
        DRAY_LET(const Properties found, properties(path, bus::kDeviceInterface));
        const std::string node = found.text("Node");
        char* id = nullptr;
        (void)sd_bus_path_decode(path.c_str(), bus::kDevicePath, &id);
        const std::string name = id != nullptr ? id : "";
        std::free(id);
        if (name == device)
            return path;
        if (node != device && node.substr(node.rfind('/') + 1) != device &&
            fold_serial(found.text("Serial")) != fold_serial(device))
            continue;
        if (!match.empty())
            return fail(ErrorKind::Conflict,
                        "two devices answer to {}; name one by its id, see drayctl devices", device);
        match = path;
    }
    if (match.empty())
        return fail(ErrorKind::NotFound, "no device {} is plugged in, see drayctl devices", device);
    return match;
}

Result<std::vector<std::string>> Client::last_members(const char* member, const char* signature,
                                                      const char* row) const {
    DRAY_LET(const BusMessage reply,
             call(bus::kRootPath, bus::kManagerInterface, member, {}, nullptr));
    std::vector<std::string> paths;
    sd_bus_message_enter_container(reply.get(), 'a', signature);
    while (sd_bus_message_enter_container(reply.get(), 'r', row) > 0) {
        (void)sd_bus_message_skip(reply.get(), std::string(row, std::strlen(row) - 1).c_str());
        const char* path = "";
        sd_bus_message_read_basic(reply.get(), 'o', static_cast<void*>(&path));
        paths.emplace_back(path);
        sd_bus_message_exit_container(reply.get());
    }
    return paths;
}

Result<std::vector<std::string>> Client::job_paths() const {
    return last_members("ListJobs", "(sssbdo)", "sssbdo");
}

Result<std::vector<std::string>> Client::device_paths() const {
    return last_members("ListDevices", "(ssstso)", "ssstso");
}

Result<std::vector<std::string>> Client::store_paths() const {
    DRAY_LET(const Properties manager, properties(bus::kRootPath, bus::kManagerInterface));
    return manager.list("Stores");
}

Result<void> Client::subscribe() {
    const std::string ours =
        std::string("type='signal',path_namespace='") + bus::kRootPath + "',sender='" + bus::kService + "'";
    const std::string owner =
        std::string("type='signal',sender='org.freedesktop.DBus',member='NameOwnerChanged',arg0='") +
        bus::kService + "'";
    for (const std::string& rule : {ours, owner}) {
        sd_bus_slot* slot = nullptr;
        if (const int result = sd_bus_add_match(bus_.get(), &slot, rule.c_str(), wake, nullptr); result < 0)
            return fail_errno(-result, "cannot listen to drayd");
        matches_.emplace_back(slot);
    }
    return {};
}

Result<bool> Client::wait_for_change(Microseconds most) {
    bool has_changed = false;
    for (;;) {
        const int handled = sd_bus_process(bus_.get(), nullptr);
        if (handled < 0)
            return fail_errno(-handled, "the connection to the bus broke");
        has_changed = has_changed || handled > 0;
        if (handled > 0)
            continue;
        if (has_changed)
            return true;
        const int waited = sd_bus_wait(bus_.get(), static_cast<std::uint64_t>(most.count()));
        if (waited == -EINTR || waited == 0)
            return false;
        if (waited < 0)
            return fail_errno(-waited, "the connection to the bus broke");
    }
}

}  // namespace dray::ctl
