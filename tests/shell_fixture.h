// Tests that run the program as people do: a folder of its own for each, and a shell in it.
#pragma once

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>

namespace brood {

class Shell : public testing::Test {
 protected:
  Shell() {
    static int number = 0;
    folder_ = std::filesystem::temp_directory_path() /
              ("brood-shell-" + std::to_string(getpid()) + "-" + std::to_string(number++));
    std::filesystem::create_directories(folder_);
    const char* binary = std::getenv("BROOD_BINARY");
    binary_ = binary != nullptr ? binary : "./brood";
  }
  ~Shell() override {
    std::error_code ignored;
    std::filesystem::remove_all(folder_, ignored);
  }

  std::string path(const std::string& name) const { return (folder_ / name).string(); }

  void write(const std::string& name, const std::string& text) const {
    std::ofstream(path(name), std::ios::binary) << text;
  }

  std::string read(const std::string& name) const {
    std::ostringstream text;
    text << std::ifstream(path(name), std::ios::binary).rdbuf();
    return text.str();
  }

  struct Result {
    int status = 0;
    std::string output;  // standard output and error together
  };

  // Runs a shell command in the folder, with $BROOD the program.
  Result shell(const std::string& command) const {
    const std::string all = "cd '" + folder_.string() + "' && BROOD='" + binary_ + "' && (" +
                            command + ") > output.txt 2>&1";
    const int status = std::system(all.c_str());
    return {WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status), read("output.txt")};
  }

 private:
  std::filesystem::path folder_;
  std::string binary_;
};

}  // namespace brood
