#include "trainers/cnn/checkpoint.h"

#include <fcntl.h>
#include <unistd.h>

#include <bit>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "engine/error.h"
#include "engine/json.h"
#include "engine/json_library.h"

namespace brood::cnn {

namespace {

static_assert(std::endian::native == std::endian::little, "arrays are written as they lie");

constexpr std::uint64_t kHeaderMax = std::uint64_t{1} << 26;

// How each header begins that write_checkpoint made.
constexpr std::string_view kBegin = R"({"__metadata__":{"format":"brood.)";

// Told by its beginning, whatever follows: a stranger's file, or one of ours that is damaged.
bool is_ours(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::string begin(sizeof(std::uint64_t) + kBegin.size(), '\0');
  file.read(begin.data(), static_cast<std::streamsize>(begin.size()));
  begin.resize(static_cast<std::size_t>(file.gcount()));
  return begin.size() > sizeof(std::uint64_t) && begin.ends_with(kBegin);
}

[[noreturn]] void refuse(const std::string& path, const std::string& why) {
  // What is quoted of a damaged file may be as long as the file.
  constexpr std::size_t kShown = 300;
  throw UserError(path + (is_ours(path) ? ": is damaged: " : ": is not a checkpoint of brood: ") +
                  (why.size() > kShown ? why.substr(0, kShown) + "..." : why));
}

[[noreturn]] void cannot_write(const std::string& path) {
  throw UserError(path + ": cannot be written (" + std::strerror(errno) +
                  "); free some space, or check the folder and its permissions");
}

// Closes and removes the file unless it was finished.
class NewFile {
 public:
  explicit NewFile(std::string path) : path_(std::move(path)) {
    descriptor_ = ::open(path_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (descriptor_ < 0) cannot_write(path_);
  }
  NewFile(const NewFile&) = delete;
  NewFile& operator=(const NewFile&) = delete;
  ~NewFile() {
    if (descriptor_ < 0) return;
    ::close(descriptor_);
    ::unlink(path_.c_str());
  }

  void write(const void* data, std::size_t size) {
    const char* from = static_cast<const char*>(data);
    while (size > 0) {
      const ssize_t done = ::write(descriptor_, from, size);
      if (done < 0 && errno == EINTR) continue;
      if (done <= 0) cannot_write(path_);
      from += done;
      size -= static_cast<std::size_t>(done);
    }
  }

  void rename_to(const std::string& path) {
    if (::fsync(descriptor_) != 0) cannot_write(path_);
    if (::rename(path_.c_str(), path.c_str()) != 0) cannot_write(path);
    ::close(descriptor_);
    descriptor_ = -1;
    const std::string folder = std::filesystem::path(path).parent_path().string();
    const int directory =
        ::open(folder.empty() ? "." : folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (directory < 0) return;
    ::fsync(directory);
    ::close(directory);
  }

 private:
  std::string path_;
  int descriptor_ = -1;
};

constexpr const char* kChecksum = "checksum";

// FNV-1a over words of 32 bits: what a disk gave back wrong must not train on unnoticed.
std::string checksum(const std::vector<NamedArray>& arrays) {
  std::uint64_t hash = 0xcbf29ce484222325U;
  for (const NamedArray& array : arrays)
    for (const float value : array.values)
      hash = (hash ^ std::bit_cast<std::uint32_t>(value)) * 0x100000001b3U;
  return std::to_string(hash);
}

// What is wrong with it shows when the file is opened.
void make_folder(const std::string& path) {
  const auto folder = std::filesystem::path(path).parent_path();
  std::error_code error;
  if (!folder.empty()) std::filesystem::create_directories(folder, error);
}

Json header_of(const Checkpoint& checkpoint) {
  Json header = Json::object();
  Json& metadata = header["__metadata__"] = Json::object();
  for (const auto& [key, value] : checkpoint.metadata) metadata[key] = value;
  metadata[kChecksum] = checksum(checkpoint.arrays);
  std::uint64_t offset = 0;
  for (const NamedArray& array : checkpoint.arrays) {
    const std::uint64_t end = offset + array.values.size() * sizeof(float);
    header[array.name] = {
        {"dtype", "F32"}, {"shape", array.shape}, {"data_offsets", {offset, end}}};
    offset = end;
  }
  return header;
}

// One array of the header; its place must follow the previous one's.
NamedArray read_entry(const std::string& path, const std::string& name, const Json& entry,
                      std::uint64_t offset, std::uint64_t data_size) {
  const auto whole = [](const Json& json) { return json.is_number_unsigned(); };
  if (!entry.is_object() || !entry.contains("dtype") || entry["dtype"] != "F32" ||
      !entry.contains("shape") || !entry["shape"].is_array() || !entry.contains("data_offsets") ||
      !entry["data_offsets"].is_array() || entry["data_offsets"].size() != 2 ||
      !whole(entry["data_offsets"][0]) || !whole(entry["data_offsets"][1]))
    refuse(path, "array \"" + name + "\" has no type F32, shape and data_offsets");
  NamedArray array;
  array.name = name;
  std::uint64_t count = 1;
  for (const Json& side : entry["shape"]) {
    const std::uint64_t value = whole(side) ? side.get<std::uint64_t>() : 0;
    if (value == 0 || count > data_size / value)
      refuse(path, "array \"" + name + "\" has the shape " + entry["shape"].dump());
    count *= value;
    array.shape.push_back(static_cast<std::int64_t>(value));
  }
  const auto begin = entry["data_offsets"][0].get<std::uint64_t>();
  const auto end = entry["data_offsets"][1].get<std::uint64_t>();
  if (begin != offset || end < begin || end - begin != count * sizeof(float) || end > data_size)
    refuse(path, "array \"" + name + "\" does not lie where its shape says");
  array.values.resize(count);
  return array;
}

}  // namespace

const std::string& Checkpoint::text(const std::string& key) const {
  for (const auto& [name, value] : metadata)
    if (name == key) return value;
  throw UserError("it has no entry \"" + key + "\"");
}

void write_file(const std::string& path, std::string_view bytes) {
  make_folder(path);
  NewFile file(path + ".part");
  file.write(bytes.data(), bytes.size());
  file.rename_to(path);
}

void write_checkpoint(const std::string& path, const Checkpoint& checkpoint) {
  make_folder(path);
  std::string header = header_of(checkpoint).dump();
  header.resize((header.size() + 7) / 8 * 8, ' ');
  const std::uint64_t size = header.size();
  // Two attempts of a trial may be at it, when one was given up and does not know it yet.
  NewFile file(path + "." + std::to_string(::getpid()) + ".part");
  file.write(&size, sizeof size);
  file.write(header.data(), header.size());
  for (const NamedArray& array : checkpoint.arrays)
    file.write(array.values.data(), array.values.size() * sizeof(float));
  file.rename_to(path);
}

Checkpoint read_checkpoint(const std::string& path) {
  std::error_code error;
  const std::uint64_t file_size = std::filesystem::file_size(path, error);
  std::ifstream file(path, std::ios::binary);
  if (error || !file)
    throw UserError(path + ": cannot be read (" + (error ? error.message() : "open failed") + ")");
  std::uint64_t size = 0;
  if (file_size < sizeof size || !file.read(reinterpret_cast<char*>(&size), sizeof size))
    refuse(path, "it is shorter than 8 bytes");
  if (size > kHeaderMax || size > file_size - sizeof size)
    refuse(path, "its header would end after the file");
  std::string text(size, '\0');
  file.read(text.data(), static_cast<std::streamsize>(size));
  Checkpoint out;
  Json header;
  try {
    header = parse_json(text);
  } catch (const UserError& problem) {
    refuse(path, std::string("its header is ") + problem.what());
  }
  if (!header.is_object()) refuse(path, "its header is no object");
  const std::uint64_t data_size = file_size - sizeof size - size;
  std::uint64_t offset = 0;
  for (const auto& [name, entry] : header.items()) {
    if (name == "__metadata__") {
      if (!entry.is_object()) refuse(path, "its metadata is no object");
      for (const auto& [key, value] : entry.items()) {
        if (!value.is_string()) refuse(path, "its metadata holds more than text");
        out.metadata.emplace_back(key, value.get<std::string>());
      }
      continue;
    }
    NamedArray array = read_entry(path, name, entry, offset, data_size);
    const std::uint64_t bytes = array.values.size() * sizeof(float);
    if (!file.read(reinterpret_cast<char*>(array.values.data()),
                   static_cast<std::streamsize>(bytes)))
      refuse(path, "it ends inside array \"" + name + "\"");
    offset += bytes;
    out.arrays.push_back(std::move(array));
  }
  if (offset != data_size)
    refuse(path, "it holds " + std::to_string(data_size) + " bytes of arrays, its header says " +
                     std::to_string(offset));
  // Files of the first version have none.
  for (auto entry = out.metadata.begin(); entry != out.metadata.end(); ++entry) {
    if (entry->first != kChecksum) continue;
    if (entry->second != checksum(out.arrays)) refuse(path, "its arrays are not what was written");
    out.metadata.erase(entry);
    break;
  }
  return out;
}

}  // namespace brood::cnn
