#include "trainers/data/cache_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <type_traits>

#include "engine/error.h"
#include "trainers/data/hash.h"

namespace brood::data {

namespace {

constexpr std::uint64_t kMagic = 0x3161746164627262U;  // "brbdata1" as it lies in the file
constexpr std::uint64_t kAlign = 64;
constexpr std::uint64_t kPage = 4096;
constexpr std::uint64_t kHeaderMax = std::uint64_t{1} << 26;

struct Head {
  std::uint64_t magic = kMagic;
  std::uint64_t header_hash = 0;  // of the header from here to its end
  std::uint64_t data_hash = 0;    // of all after the header
  std::uint64_t header_bytes = 0, file_bytes = 0;
  std::int64_t train = 0, test = 0;
  std::int32_t height = 0, width = 0, channels = 0, classes = 0;
};
static_assert(std::is_trivially_copyable_v<Head> && sizeof(Head) == 72, "no padding");
constexpr std::size_t kHashedFrom = 16;  // offset of data_hash

std::uint64_t aligned(std::uint64_t offset, std::uint64_t to) {
  return (offset + to - 1) / to * to;
}

struct Layout {
  std::uint64_t pixels[2], labels[2], end;  // offsets; train and test
};

Layout layout_of(const Contents& contents, std::uint64_t header_bytes) {
  Layout out{};
  std::uint64_t at = header_bytes;
  for (const Part part : {Part::train, Part::test}) {
    out.pixels[static_cast<int>(part)] = at;
    at += static_cast<std::uint64_t>(contents.count(part) * contents.image_bytes());
    at = aligned(at, kAlign);
  }
  for (const Part part : {Part::train, Part::test}) {
    out.labels[static_cast<int>(part)] = at;
    at = aligned(at + 2 * static_cast<std::uint64_t>(contents.count(part)), kAlign);
  }
  out.end = at;
  return out;
}

// Texts follow the head: the key, then the class names, each with its length in four bytes.
void append(std::string& out, const std::string& text) {
  const auto size = static_cast<std::uint32_t>(text.size());
  out.append(reinterpret_cast<const char*>(&size), sizeof size);
  out += text;
}

std::string texts_of(const Contents& contents, const std::string& key) {
  std::string out;
  append(out, key);
  for (const std::string& name : contents.class_names) append(out, name);
  return out;
}

std::uint64_t header_bytes_of(const Contents& contents, const std::string& key) {
  return aligned(sizeof(Head) + texts_of(contents, key).size(), kPage);
}

std::string header_of(const Contents& contents, const std::string& key, std::uint64_t data_hash) {
  Head head;
  head.data_hash = data_hash;
  head.header_bytes = header_bytes_of(contents, key);
  head.file_bytes = layout_of(contents, head.header_bytes).end;
  head.train = contents.train;
  head.test = contents.test;
  head.height = contents.height;
  head.width = contents.width;
  head.channels = contents.channels;
  head.classes = contents.classes();
  std::string out(reinterpret_cast<const char*>(&head), sizeof head);
  out += texts_of(contents, key);
  out.resize(head.header_bytes);
  head.header_hash = hash_of(out.data() + kHashedFrom, out.size() - kHashedFrom);
  std::memcpy(out.data(), &head, sizeof head);
  return out;
}

// A file in memory, read-only, until it is destroyed.
class Mapping {
 public:
  // Empty when there is no such file or it cannot be mapped.
  explicit Mapping(const std::string& path) {
    const int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    if (file < 0) return;
    struct stat status {};
    if (::fstat(file, &status) == 0 && S_ISREG(status.st_mode) && status.st_size > 0) {
      const auto size = static_cast<std::size_t>(status.st_size);
      void* const at = ::mmap(nullptr, size, PROT_READ, MAP_SHARED, file, 0);
      if (at != MAP_FAILED) {
        bytes_ = static_cast<const std::uint8_t*>(at);
        size_ = size;
      }
    }
    ::close(file);
  }
  Mapping(const Mapping&) = delete;
  Mapping& operator=(const Mapping&) = delete;
  ~Mapping() {
    if (bytes_) ::munmap(const_cast<std::uint8_t*>(bytes_), size_);
  }
  const std::uint8_t* bytes() const { return bytes_; }
  std::uint64_t size() const { return size_; }

 private:
  const std::uint8_t* bytes_ = nullptr;
  std::size_t size_ = 0;
};

struct Header {
  Head head;
  Contents contents;
};

// Nothing of the file is believed before the hash of its header fits.
std::optional<Header> header_in(const Mapping& file, const std::string& key) {
  Header out;
  Head& head = out.head;
  if (file.size() < sizeof head) return std::nullopt;
  std::memcpy(&head, file.bytes(), sizeof head);
  if (head.magic != kMagic || head.file_bytes != file.size() || head.header_bytes > kHeaderMax ||
      head.header_bytes < sizeof head || head.header_bytes > file.size() ||
      head.header_hash != hash_of(file.bytes() + kHashedFrom, head.header_bytes - kHashedFrom))
    return std::nullopt;
  if (head.height < 1 || head.width < 1 || head.channels < 1 || head.classes < 0 ||
      head.train < 0 || head.test < 0)
    return std::nullopt;
  out.contents = {head.height, head.width, head.channels, {}, head.train, head.test, false};
  const std::uint8_t* at = file.bytes() + sizeof head;
  const std::uint8_t* const end = file.bytes() + head.header_bytes;
  std::vector<std::string> texts;
  for (int i = 0; i < head.classes + 1; ++i) {
    std::uint32_t size = 0;
    if (static_cast<std::size_t>(end - at) < sizeof size) return std::nullopt;
    std::memcpy(&size, at, sizeof size);
    at += sizeof size;
    if (static_cast<std::size_t>(end - at) < size) return std::nullopt;
    texts.emplace_back(reinterpret_cast<const char*>(at), size);
    at += size;
  }
  if (texts.front() != key) return std::nullopt;
  out.contents.class_names.assign(texts.begin() + 1, texts.end());
  if (layout_of(out.contents, head.header_bytes).end != file.size()) return std::nullopt;
  return out;
}

[[noreturn]] void cannot_write(const std::string& path) {
  throw CacheTrouble(path + " cannot be written (" + std::strerror(errno) + ")");
}

}  // namespace

std::optional<Contents> cache_contents(const std::string& path, const std::string& key) {
  const Mapping file(path);
  const std::optional<Header> header = header_in(file, key);
  if (!header) return std::nullopt;
  return header->contents;
}

std::optional<Dataset> map_cache(const std::string& path, const std::string& key) {
  const auto file = std::make_shared<const Mapping>(path);
  const std::optional<Header> header = header_in(*file, key);
  if (!header) return std::nullopt;
  const Head& head = header->head;
  if (head.data_hash !=
      hash_of(file->bytes() + head.header_bytes, file->size() - head.header_bytes))
    return std::nullopt;
  const Contents& contents = header->contents;
  const Layout layout = layout_of(contents, head.header_bytes);
  Dataset out;
  out.height = contents.height;
  out.width = contents.width;
  out.channels = contents.channels;
  out.classes = contents.classes();
  out.class_names = contents.class_names;
  for (const Part part : {Part::train, Part::test}) {
    Images& images = part == Part::train ? out.train : out.test;
    images.count = contents.count(part);
    const auto count = static_cast<std::size_t>(images.count);
    images.pixels = {file->bytes() + layout.pixels[static_cast<int>(part)],
                     count * static_cast<std::size_t>(contents.image_bytes())};
    images.labels = {reinterpret_cast<const std::uint16_t*>(file->bytes() +
                                                            layout.labels[static_cast<int>(part)]),
                     count};
  }
  out.cache_file = path;
  out.owner = file;
  return out;
}

CacheWriter::CacheWriter(std::string beside, Contents contents, std::string key)
    : beside_(std::move(beside)),
      contents_(std::move(contents)),
      key_(std::move(key)),
      header_bytes_(header_bytes_of(contents_, key_)) {
  file_ = ::open(beside_.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (file_ < 0) cannot_write(beside_);
  const Layout layout = layout_of(contents_, header_bytes_);
  // Room is asked for at once: a full disk is known before hours of decoding.
  const int error = ::posix_fallocate(file_, 0, static_cast<off_t>(layout.end));
  if (error == 0) return;
  ::close(file_);
  ::unlink(beside_.c_str());
  errno = error;
  cannot_write(beside_);
}

CacheWriter::~CacheWriter() {
  if (file_ < 0) return;
  ::close(file_);
  ::unlink(beside_.c_str());
}

void CacheWriter::write(const void* bytes, std::size_t size, std::uint64_t offset) {
  const char* from = static_cast<const char*>(bytes);
  while (size > 0) {
    const ssize_t done = ::pwrite(file_, from, size, static_cast<off_t>(offset));
    if (done < 0 && errno == EINTR) continue;
    if (done <= 0) cannot_write(beside_);
    from += done;
    size -= static_cast<std::size_t>(done);
    offset += static_cast<std::uint64_t>(done);
  }
}

void CacheWriter::put(Part part, std::int64_t first, std::span<const std::uint8_t> pixels,
                      std::span<const std::uint16_t> labels) {
  const auto count = static_cast<std::int64_t>(labels.size());
  CHECK(static_cast<std::int64_t>(pixels.size()) == count * contents_.image_bytes(),
        "whole images with their labels");
  CHECK(first >= 0 && first + count <= contents_.count(part), "counted before");
  const Layout layout = layout_of(contents_, header_bytes_);
  const auto start = static_cast<std::uint64_t>(first);
  const int index = static_cast<int>(part);
  write(pixels.data(), pixels.size_bytes(),
        layout.pixels[index] + start * static_cast<std::uint64_t>(contents_.image_bytes()));
  write(labels.data(), labels.size_bytes(), layout.labels[index] + 2 * start);
  images_ += count;
}

void CacheWriter::finish(const std::string& path) {
  CHECK(images_ == contents_.train + contents_.test, "every image once");
  {
    const Mapping file(beside_);
    if (file.size() < header_bytes_) throw CacheTrouble(beside_ + " cannot be read again");
    const std::string header = header_of(
        contents_, key_, hash_of(file.bytes() + header_bytes_, file.size() - header_bytes_));
    write(header.data(), header.size(), 0);
  }
  if (::fsync(file_) != 0) cannot_write(beside_);
  if (::rename(beside_.c_str(), path.c_str()) != 0) cannot_write(path);
  ::close(file_);
  file_ = -1;
  const std::string folder = std::filesystem::path(path).parent_path().string();
  const int directory = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (directory < 0) return;
  ::fsync(directory);
  ::close(directory);
}

}  // namespace brood::data
