#include "engine/expression.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>

#include "engine/error.h"
#include "engine/exact_math.h"

namespace brood {

namespace {

constexpr std::size_t kLengthMax = 500;
constexpr int kDepthMax = 32;
constexpr double kWholeMax = 9007199254740992.0;  // 2^53: whole numbers up to it are exact

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; }
bool is_whole(double x) { return std::abs(x) <= kWholeMax && std::floor(x) == x; }

// Whole exponents by squaring, so that 2^-1 and 3^2 are exact wherever they can be.
double power(double base, double exponent) {
  if (is_whole(exponent) && std::abs(exponent) <= 1024) {
    double result = 1.0, square = base;
    for (auto n = static_cast<unsigned>(std::abs(exponent)); n != 0; n >>= 1) {
      if (n & 1U) result *= square;
      square *= square;
    }
    return exponent < 0 ? 1.0 / result : result;
  }
  if (base < 0) throw UserError("a negative number has no real power with a fraction");
  return exact::pow(base, exponent);
}

[[noreturn]] void not_declared(const std::string& name, const std::vector<std::string>& declared) {
  std::string family;
  for (const std::string& other : declared)
    if (other.starts_with(name.substr(0, name.find('[')) + "["))
      family += (family.empty() ? "" : ", ") + other;
  throw UserError("there is no parameter " + name +
                  (family.empty() ? "" : " (the family has " + family + ")"));
}

[[noreturn]] void not_whole(const std::string& name, double index) {
  throw UserError("the index of " + name + " should be a whole number (is " +
                  to_text(Value(index)) + ")");
}

}  // namespace

bool is_name(std::string_view text) {
  if (text.empty() || is_digit(text.front())) return false;
  for (const char c : text)
    if (!is_letter(c) && !is_digit(c)) return false;
  return true;
}

Value number_value(double number) {
  if (is_whole(number)) return static_cast<std::int64_t>(number);
  return number;
}

// Recursive descent with the usual precedence: + - below * / below unary minus below ^, which
// groups to the right.
class ExpressionParser {
 public:
  explicit ExpressionParser(std::string_view text) : text_(text) {}

  Expression whole() {
    if (text_.size() > kLengthMax)
      fail("an expression has at most " + std::to_string(kLengthMax) + " characters");
    sum();
    skip_spaces();
    if (at_ != text_.size()) fail(expected_operator());
    out_.text_ = std::string(text_);
    return std::move(out_);
  }

  Reference reference_alone() {
    if (text_.size() > kLengthMax) fail("a name has at most 500 characters");
    Reference found = reference();
    skip_spaces();
    if (at_ != text_.size()) fail("expected a parameter's name, like \"width\" or \"filters[i]\"");
    return found;
  }

 private:
  using Op = Expression::Op;

  [[noreturn]] void fail(const std::string& why) const {
    std::string shown(text_.substr(0, 80));
    throw UserError("\"" + shown + (text_.size() > 80 ? "...\"" : "\"") + ", character " +
                    std::to_string(at_ + 1) + ": " + why);
  }

  std::string expected_operator() const {
    if (text_[at_] == ')' || text_[at_] == ']')
      return std::string("a ") + text_[at_] + " that nothing opened";
    return std::string("expected an operator or the end (found ") + text_[at_] + ")";
  }

  void skip_spaces() {
    while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\t')) ++at_;
  }

  bool take(char wanted) {
    skip_spaces();
    if (at_ == text_.size() || text_[at_] != wanted) return false;
    ++at_;
    return true;
  }

  void need(char wanted) {
    if (!take(wanted)) fail(std::string("expected ") + wanted);
  }

  void emit(Op op) { out_.steps_.push_back({op, 0.0, 0}); }

  struct Level {
    explicit Level(ExpressionParser& in) : parser(in) {
      if (++parser.depth_ > kDepthMax) parser.fail("nested deeper than 32 levels");
    }
    Level(const Level&) = delete;
    Level& operator=(const Level&) = delete;
    ~Level() { --parser.depth_; }
    ExpressionParser& parser;
  };

  void sum() {
    const Level level(*this);
    product();
    for (;;) {
      if (take('+')) {
        product();
        emit(Op::add);
      } else if (take('-')) {
        product();
        emit(Op::subtract);
      } else {
        return;
      }
    }
  }

  void product() {
    factor();
    for (;;) {
      if (take('*')) {
        factor();
        emit(Op::multiply);
      } else if (take('/')) {
        factor();
        emit(Op::divide);
      } else {
        return;
      }
    }
  }

  void factor() {
    const Level level(*this);
    if (take('-')) {
      factor();
      emit(Op::negate);
      return;
    }
    atom();
    if (take('^')) {
      factor();
      emit(Op::power);
    }
  }

  void atom() {
    skip_spaces();
    if (at_ == text_.size()) fail("expected a number, a name or a parenthesis");
    if (take('(')) {
      sum();
      need(')');
    } else if (is_digit(text_[at_]) || text_[at_] == '.') {
      number();
    } else if (is_letter(text_[at_])) {
      named();
    } else {
      fail(std::string("expected a number, a name or a parenthesis (found ") + text_[at_] + ")");
    }
  }

  void number() {
    double value = 0.0;
    const char* first = text_.data() + at_;
    const auto [end, error] = std::from_chars(first, text_.data() + text_.size(), value);
    if (error != std::errc() || !std::isfinite(value)) fail("not a number that can be held");
    at_ += static_cast<std::size_t>(end - first);
    out_.steps_.push_back({Op::number, value, 0});
  }

  std::string_view word() {
    const std::size_t start = at_;
    while (at_ < text_.size() && (is_letter(text_[at_]) || is_digit(text_[at_]))) ++at_;
    return text_.substr(start, at_ - start);
  }

  Reference reference() {
    skip_spaces();
    if (at_ == text_.size() || !is_letter(text_[at_]))
      fail("expected a parameter's name, like \"width\" or \"filters[i]\"");
    Reference found;
    found.name = std::string(word());
    if (!take('[')) return found;
    ExpressionParser inside(text_);
    inside.at_ = at_;
    inside.depth_ = depth_;
    inside.sum();
    inside.out_.text_ = std::string(text_.substr(at_, inside.at_ - at_));
    at_ = inside.at_;
    need(']');
    found.index.push_back(std::move(inside.out_));
    return found;
  }

  void named() {
    const std::size_t start = at_;
    const std::string_view name = word();
    skip_spaces();
    if (at_ < text_.size() && text_[at_] == '(') return call(name, start);
    at_ = start;
    out_.references_.push_back(reference());
    out_.steps_.push_back({Op::reference, 0.0, out_.references_.size() - 1});
  }

  void call(std::string_view name, std::size_t start) {
    const auto one = [&](Op op) {
      need('(');
      sum();
      need(')');
      emit(op);
    };
    const auto several = [&](Op op) {
      need('(');
      sum();
      if (!take(',')) fail("min and max want at least two numbers");
      do {
        sum();
        emit(op);
      } while (take(','));
      need(')');
    };
    if (name == "min") return several(Op::min);
    if (name == "max") return several(Op::max);
    if (name == "round") return one(Op::round);
    if (name == "floor") return one(Op::floor);
    if (name == "ceil") return one(Op::ceil);
    at_ = start;
    fail("unknown function " + std::string(name) + " (there are min, max, round, floor, ceil)");
  }

  std::string_view text_;
  std::size_t at_ = 0;
  int depth_ = 0;
  Expression out_;
};

Expression Expression::parse(std::string_view text) { return ExpressionParser(text).whole(); }

Reference parse_reference(std::string_view text) {
  return ExpressionParser(text).reference_alone();
}

const std::int64_t* Scope::counter(std::string_view name) const {
  for (auto at = counters.rbegin(); at != counters.rend(); ++at)
    if (at->first == name) return &at->second;
  return nullptr;
}

std::optional<std::string> Reference::spell(Scope& scope) const {
  if (index.empty()) return name;
  const std::optional<double> at = index.front().evaluate(scope);
  if (!at) return std::nullopt;
  if (!is_whole(*at)) not_whole(name, *at);
  return name + "[" + std::to_string(static_cast<std::int64_t>(*at)) + "]";
}

std::string Reference::written() const {
  return index.empty() ? name : name + "[" + index.front().text() + "]";
}

const Value* Reference::find(Scope& scope) const {
  const std::size_t mark = scope.used.size();
  const std::optional<std::string> spelled = spell(scope);
  if (spelled) {
    const auto& entries = scope.params->entries();
    for (std::size_t i = 0; i < entries.size(); ++i) {
      if (entries[i].first != *spelled) continue;
      scope.used.push_back(i);
      return &entries[i].second;
    }
    if (scope.declared != nullptr && std::find(scope.declared->begin(), scope.declared->end(),
                                               *spelled) == scope.declared->end())
      not_declared(*spelled, *scope.declared);
  }
  scope.used.resize(mark);
  return nullptr;
}

std::optional<double> Expression::evaluate(Scope& scope) const {
  const std::size_t mark = scope.used.size();
  std::array<double, 2 * kLengthMax> stack;  // a step needs a character; no step pushes two
  std::size_t top = 0;
  for (const Step& step : steps_) {
    switch (step.op) {
      case Op::number:
        stack[top++] = step.number;
        continue;
      case Op::reference: {
        const Reference& reference = references_[step.reference];
        const std::int64_t* count =
            reference.index.empty() ? scope.counter(reference.name) : nullptr;
        if (count != nullptr) {
          stack[top++] = static_cast<double>(*count);
          continue;
        }
        const Value* value = reference.find(scope);
        if (value == nullptr) {
          scope.used.resize(mark);
          return std::nullopt;
        }
        if (!as_real(*value, stack[top]))
          throw UserError(reference.name + " is not a number here (is " + to_text(*value) + ")");
        ++top;
        continue;
      }
      case Op::negate:
        stack[top - 1] = -stack[top - 1];
        continue;
      case Op::round:
        stack[top - 1] = std::round(stack[top - 1]);
        continue;
      case Op::floor:
        stack[top - 1] = std::floor(stack[top - 1]);
        continue;
      case Op::ceil:
        stack[top - 1] = std::ceil(stack[top - 1]);
        continue;
      default:
        break;
    }
    const double right = stack[--top];
    double& left = stack[top - 1];
    switch (step.op) {
      case Op::add:
        left += right;
        break;
      case Op::subtract:
        left -= right;
        break;
      case Op::multiply:
        left *= right;
        break;
      case Op::divide:
        if (right == 0) throw UserError("\"" + text_ + "\" divides by zero");
        left /= right;
        break;
      case Op::power:
        left = power(left, right);
        break;
      case Op::min:
        left = right < left ? right : left;
        break;
      case Op::max:
        left = right > left ? right : left;
        break;
      default:
        CHECK(false, "an operator without a meaning");
    }
    if (!std::isfinite(left)) throw UserError("\"" + text_ + "\" is not a finite number here");
  }
  return stack[0];
}

}  // namespace brood
