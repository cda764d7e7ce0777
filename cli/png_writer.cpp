#include <png.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

#include "cli/bitmap.h"
#include "engine/error.h"

namespace brood {

void write_png(const std::string& path, const Bitmap& bitmap) {
  const auto cannot = [&](const std::string& why) {
    throw UserError(path + ": cannot be written (" + why +
                    "); check the folder and its permissions, or name another file");
  };
  const std::string beside = path + ".part";
  std::FILE* const file = std::fopen(beside.c_str(), "wb");
  if (file == nullptr) cannot(std::strerror(errno));
  png_image image{};
  image.version = PNG_IMAGE_VERSION;
  image.width = static_cast<png_uint_32>(bitmap.width);
  image.height = static_cast<png_uint_32>(bitmap.height);
  image.format = PNG_FORMAT_RGB;
  std::string why;
  if (png_image_write_to_stdio(&image, file, 0, bitmap.rgb.data(), 0, nullptr) == 0)
    why = image.message;
  if (std::fclose(file) != 0 && why.empty()) why = std::strerror(errno);
  if (why.empty() && std::rename(beside.c_str(), path.c_str()) != 0) why = std::strerror(errno);
  if (why.empty()) return;
  std::remove(beside.c_str());
  cannot(why);
}

}  // namespace brood
