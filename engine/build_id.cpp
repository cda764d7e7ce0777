// The identity of the running program: controller and workers must be the same build, or the same
// trial could give other bits. Taken from the note that the linker writes, so it cannot be stale.
#include <elf.h>
#include <link.h>

#include <cstring>
#include <string>

#include "engine/message.h"

namespace brood {

namespace {

// Visits the program's own segments (the first entry of the list) and copies the build id.
int find_note(dl_phdr_info* info, std::size_t, void* out) {
  auto& id = *static_cast<std::string*>(out);
  for (int i = 0; i < info->dlpi_phnum; ++i) {
    const auto& segment = info->dlpi_phdr[i];
    if (segment.p_type != PT_NOTE) continue;
    const char* at = reinterpret_cast<const char*>(info->dlpi_addr + segment.p_vaddr);
    const char* end = at + segment.p_memsz;
    while (at + sizeof(ElfW(Nhdr)) <= end) {
      ElfW(Nhdr) note;
      std::memcpy(&note, at, sizeof note);
      const char* name = at + sizeof note;
      const char* body = name + ((note.n_namesz + 3U) & ~3U);
      if (note.n_type == NT_GNU_BUILD_ID && note.n_namesz == 4 && !std::memcmp(name, "GNU", 4)) {
        static constexpr char kHex[] = "0123456789abcdef";
        for (unsigned b = 0; b < note.n_descsz && b < 8; ++b) {
          const auto byte = static_cast<unsigned char>(body[b]);
          id += kHex[byte >> 4U];
          id += kHex[byte & 15U];
        }
        return 1;
      }
      at = body + ((note.n_descsz + 3U) & ~3U);
    }
  }
  return 1;
}

}  // namespace

std::string build_id() {
  static const std::string id = [] {
    std::string found;
    dl_iterate_phdr(find_note, &found);
    return std::string(BROOD_VERSION) + "-" + (found.empty() ? "unknown" : found);
  }();
  return id;
}

}  // namespace brood
