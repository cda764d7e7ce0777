#include "engine/device.h"

#include <dlfcn.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <optional>

namespace brood {

namespace {

// The part of the library's stable interface that is used, version 2 of each function where there
// are two. NVIDIA, "NVML API Reference Guide": a handle is a pointer, success is 0.
using Handle = void*;
struct Memory {
  unsigned long long total, free, used;
};

constexpr int kSuccess = 0;
constexpr int kDriverNotLoaded = 9;
constexpr std::size_t kTextMax = 96;  // NVML_DEVICE_NAME_V2_BUFFER_SIZE

// Opened, started, and ended with the object.
class Library {
 public:
  explicit Library(const std::string& file) : opened_(::dlopen(file.c_str(), RTLD_NOW)) {
    if (opened_ == nullptr) return;
    const auto start = function<int()>("nvmlInit_v2");
    status_ = start ? start() : -1;
  }
  ~Library() {
    if (opened_ == nullptr) return;
    const auto end = function<int()>("nvmlShutdown");
    if (status_ == kSuccess && end) end();
    ::dlclose(opened_);
  }
  Library(const Library&) = delete;
  Library& operator=(const Library&) = delete;

  bool opened() const { return opened_ != nullptr; }
  int status() const { return status_; }

  template <class Signature>
  Signature* function(const char* name) const {
    return reinterpret_cast<Signature*>(::dlsym(opened_, name));
  }

 private:
  void* opened_;
  int status_ = -1;
};

std::vector<std::string> entries_of(const std::string& list) {
  std::vector<std::string> out;
  for (std::size_t at = 0; at <= list.size();) {
    const std::size_t end = std::min(list.find(',', at), list.size());
    std::string entry = list.substr(at, end - at);
    std::erase(entry, ' ');
    out.push_back(std::move(entry));
    at = end + 1;
  }
  if (out.size() == 1 && out.front().empty()) out.clear();
  return out;
}

// "3"; -1: not a plain number.
int plain_number(const std::string& text) {
  if (text.empty() || text.size() > 4 ||
      !std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; }))
    return -1;
  return std::atoi(text.c_str());
}

std::optional<Handle> handle_of(const Library& library, const std::string& entry) {
  Handle handle = nullptr;
  int status = -1;
  if (const int number = plain_number(entry); number >= 0) {
    const auto by_number =
        library.function<int(unsigned, Handle*)>("nvmlDeviceGetHandleByIndex_v2");
    if (by_number) status = by_number(static_cast<unsigned>(number), &handle);
  } else if (const auto by_uuid =
                 library.function<int(const char*, Handle*)>("nvmlDeviceGetHandleByUUID")) {
    status = by_uuid(entry.c_str(), &handle);
  }
  return status == kSuccess ? std::optional(handle) : std::nullopt;
}

Device describe(const Library& library, Handle handle) {
  Device out;
  std::array<char, kTextMax> text{};
  if (const auto name = library.function<int(Handle, char*, unsigned)>("nvmlDeviceGetName"))
    if (name(handle, text.data(), kTextMax) == kSuccess) out.model = text.data();
  if (const auto uuid = library.function<int(Handle, char*, unsigned)>("nvmlDeviceGetUUID"))
    if (uuid(handle, text.data(), kTextMax) == kSuccess) out.uuid = text.data();
  Memory memory{};
  if (const auto bytes = library.function<int(Handle, Memory*)>("nvmlDeviceGetMemoryInfo"))
    if (bytes(handle, &memory) == kSuccess) {
      out.bytes = memory.total;
      out.used = memory.used;
    }
  int major = 0, minor = 0;
  if (const auto architecture =
          library.function<int(Handle, int*, int*)>("nvmlDeviceGetCudaComputeCapability"))
    if (architecture(handle, &major, &minor) == kSuccess)
      out.architecture = "sm_" + std::to_string(major) + std::to_string(minor);
  return out;
}

unsigned count_of(const Library& library) {
  unsigned count = 0;
  const auto counted = library.function<int(unsigned*)>("nvmlDeviceGetCount_v2");
  return counted && counted(&count) == kSuccess ? count : 0;
}

std::string driver_of(const Library& library) {
  std::array<char, kTextMax> text{};
  const auto driver = library.function<int(char*, unsigned)>("nvmlSystemGetDriverVersion");
  return driver && driver(text.data(), kTextMax) == kSuccess ? text.data() : "unknown";
}

}  // namespace

std::uint64_t memory_for_trials(std::uint64_t bytes) {
  constexpr std::uint64_t kGiB = std::uint64_t{1} << 30;
  const std::uint64_t tenth = bytes - bytes / 10 * 9;
  return bytes - (bytes > 2 * kGiB ? std::max(tenth, kGiB) : tenth);
}

std::string architecture_of(const std::string& numeric_class) {
  const std::string prefix = "cuda/";
  if (!numeric_class.starts_with(prefix)) return "";
  return numeric_class.substr(prefix.size(),
                              numeric_class.find('/', prefix.size()) - prefix.size());
}

int cuda_number(const std::string& device) {
  return device.starts_with("cuda:") ? plain_number(device.substr(5)) : -1;
}

std::string visible_alone(const std::string& device, const char* visible) {
  const int number = cuda_number(device);
  if (number < 0) return "";
  if (visible == nullptr) return std::to_string(number);
  const auto entries = entries_of(visible);
  const auto index = static_cast<std::size_t>(number);
  return index < entries.size() ? entries[index] : "";
}

std::string missing_devices(const std::vector<std::string>& wanted,
                            const std::vector<Device>& found) {
  std::string missing, has;
  for (const Device& device : found) has += (has.empty() ? "" : ", ") + device.name;
  for (const std::string& device : wanted)
    if (device != "cpu" && std::none_of(found.begin(), found.end(),
                                        [&](const Device& one) { return one.name == device; }))
      missing += (missing.empty() ? "" : ", ") + device;
  if (missing.empty()) return {};
  return "it has no " + missing + (has.empty() ? "; no GPU was found" : "; it has " + has);
}

Devices find_devices(const std::string& file) {
  Devices out;
  const Library library(file);
  if (!library.opened()) {
    out.why_none = "no NVIDIA driver is installed (" + file + " is not there)";
    return out;
  }
  if (library.status() != kSuccess) {
    out.why_none = library.status() == kDriverNotLoaded
                       ? "the NVIDIA driver is not loaded"
                       : "the NVIDIA driver does not answer (status " +
                             std::to_string(library.status()) + " of nvmlInit)";
    return out;
  }
  out.driver = driver_of(library);
  const char* const visible = std::getenv("CUDA_VISIBLE_DEVICES");
  std::vector<std::string> entries;
  if (visible != nullptr)
    entries = entries_of(visible);
  else
    for (unsigned i = 0; i < count_of(library); ++i) entries.push_back(std::to_string(i));
  for (const std::string& entry : entries) {
    const auto handle = handle_of(library, entry);
    if (!handle) break;  // as CUDA does: what follows an unknown one is hidden too
    Device device = describe(library, *handle);
    device.name = "cuda:" + std::to_string(out.found.size());
    out.found.push_back(std::move(device));
  }
  if (out.found.empty())
    out.why_none = visible != nullptr
                       ? "CUDA_VISIBLE_DEVICES=\"" + std::string(visible) + "\" hides all of them"
                       : "the NVIDIA driver " + out.driver + " finds none";
  return out;
}

}  // namespace brood
