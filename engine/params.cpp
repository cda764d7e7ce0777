#include "engine/params.h"

#include <array>
#include <bit>
#include <charconv>

#include "engine/error.h"

namespace brood {

namespace {

std::string real_to_text(double value) {
  std::array<char, 32> buffer{};
  const auto end = std::to_chars(buffer.data(), buffer.data() + buffer.size(), value,
                                 std::chars_format::general);
  std::string text(buffer.data(), end.ptr);
  if (text.find_first_of(".en") == std::string::npos) text += ".0";  // inf and nan have an n
  return text;
}

struct Fnv {
  std::uint64_t state = 14695981039346656037U;
  void byte(std::uint8_t b) { state = (state ^ b) * 1099511628211U; }
  void word(std::uint64_t w) {
    for (int i = 0; i < 8; ++i) byte(static_cast<std::uint8_t>(w >> (8 * i)));
  }
  void text(std::string_view s) {
    word(s.size());
    for (char c : s) byte(static_cast<std::uint8_t>(c));
  }
};

template <class T>
const T& typed(const ParamSet& params, std::string_view name, const char* type) {
  const Value* value = params.find(name);
  if (value == nullptr)
    throw UserError("parameter \"" + std::string(name) + "\" is not set in this trial");
  if (const T* held = std::get_if<T>(value)) return *held;
  throw UserError("parameter \"" + std::string(name) + "\" should be " + type + " (is " +
                  to_text(*value) + ")");
}

}  // namespace

std::string to_text(const Value& value) {
  if (const auto* flag = std::get_if<bool>(&value)) return *flag ? "true" : "false";
  if (const auto* whole = std::get_if<std::int64_t>(&value)) return std::to_string(*whole);
  if (const auto* real = std::get_if<double>(&value)) return real_to_text(*real);
  return std::get<std::string>(value);
}

bool as_real(const Value& value, double& out) {
  if (const auto* whole = std::get_if<std::int64_t>(&value)) {
    out = static_cast<double>(*whole);
    return true;
  }
  if (const auto* real = std::get_if<double>(&value)) {
    out = *real;
    return true;
  }
  return false;
}

const std::vector<ParamSet::Entry>& ParamSet::entries() const {
  static const std::vector<Entry> kNone;
  return entries_ ? *entries_ : kNone;
}

void ParamSet::set(std::string name, Value value) {
  if (!entries_)
    entries_ = std::make_shared<std::vector<Entry>>();
  else if (entries_.use_count() > 1)
    entries_ = std::make_shared<std::vector<Entry>>(*entries_);
  for (Entry& entry : *entries_) {
    if (entry.first == name) {
      entry.second = std::move(value);
      return;
    }
  }
  entries_->emplace_back(std::move(name), std::move(value));
}

const Value* ParamSet::find(std::string_view name) const {
  for (const Entry& entry : entries())
    if (entry.first == name) return &entry.second;
  return nullptr;
}

double ParamSet::real(std::string_view name) const {
  if (const Value* value = find(name)) {
    double out = 0.0;
    if (as_real(*value, out)) return out;
  }
  return typed<double>(*this, name, "a real number");
}

std::int64_t ParamSet::whole(std::string_view name) const {
  return typed<std::int64_t>(*this, name, "a whole number");
}

bool ParamSet::flag(std::string_view name) const {
  return typed<bool>(*this, name, "true or false");
}

const std::string& ParamSet::label(std::string_view name) const {
  return typed<std::string>(*this, name, "a label");
}

std::uint64_t hash(const ParamSet& params) {
  Fnv fnv;
  for (const auto& [name, value] : params.entries()) {
    fnv.text(name);
    fnv.byte(static_cast<std::uint8_t>(value.index()));
    if (const auto* flag = std::get_if<bool>(&value)) fnv.byte(*flag ? 1 : 0);
    if (const auto* whole = std::get_if<std::int64_t>(&value))
      fnv.word(static_cast<std::uint64_t>(*whole));
    if (const auto* real = std::get_if<double>(&value))
      fnv.word(std::bit_cast<std::uint64_t>(*real));
    if (const auto* label = std::get_if<std::string>(&value)) fnv.text(*label);
  }
  return fnv.state;
}

std::string to_text(const ParamSet& params) {
  std::string text;
  for (const auto& [name, value] : params.entries()) {
    if (!text.empty()) text += ' ';
    text += name + '=' + to_text(value);
  }
  return text;
}

}  // namespace brood
