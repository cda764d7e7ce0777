#include "store/filter.h"

#include <cctype>
#include <charconv>
#include <utility>

#include "engine/error.h"
#include "engine/suggest.h"
#include "store/sqlite.h"

namespace brood {

namespace {

using Kind = KnownColumn::Kind;

struct Token {
  enum class Type : std::uint8_t { name, number, label, symbol, end };
  Type type = Type::end;
  std::string text;     // of a name or label: without its quotes
  bool quoted = false;  // a name in double quotes is never a keyword
  std::size_t at = 0;   // offset in the filter
};

std::string lower(std::string text) {
  for (char& c : text) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return text;
}

bool starts_name(char c) {
  return std::isalpha(static_cast<unsigned char>(c)) != 0 || c == '_' ||
         static_cast<unsigned char>(c) >= 0x80;
}
bool is_digit(char c) { return c >= '0' && c <= '9'; }

class Parser {
 public:
  Parser(std::string_view text, const std::vector<KnownColumn>& known)
      : text_(text), known_(known) {
    next();
  }

  Filter parse() {
    if (token_.type == Token::Type::end) return {};
    filter_.sql = any_of();
    if (token_.type != Token::Type::end) refuse("expected \"and\", \"or\" or the end");
    return std::move(filter_);
  }

 private:
  struct Operand {
    const KnownColumn* column = nullptr;  // else a value
    Cell value;
    std::size_t at = 0;
  };

  [[noreturn]] void refuse_at(std::size_t at, const std::string& what) const {
    throw UserError("filter, character " + std::to_string(at + 1) + ": " + what);
  }

  [[noreturn]] void refuse(const std::string& what) const {
    const std::string found = token_.type == Token::Type::end
                                  ? "the end"
                                  : std::string(text_.substr(token_.at, at_ - token_.at));
    refuse_at(token_.at, what + ", found " + found);
  }

  void next() {
    while (at_ < text_.size() && std::isspace(static_cast<unsigned char>(text_[at_])) != 0) ++at_;
    token_ = {Token::Type::end, "", false, at_};
    if (at_ == text_.size()) return;
    const char c = text_[at_];
    const char after = at_ + 1 < text_.size() ? text_[at_ + 1] : '\0';
    if (c == '\'' || c == '"' || c == '`') return take_quoted(c);
    if (starts_name(c)) return take_name();
    if (is_digit(c) || ((c == '-' || c == '+' || c == '.') && (is_digit(after) || after == '.')))
      return take_number();
    token_.type = Token::Type::symbol;
    token_.text = c;
    const std::string two = {c, after};
    for (const char* known : {"==", "!=", "<>", "<=", ">=", "&&", "||"})
      if (two == known) token_.text = two;
    at_ += token_.text.size();
  }

  void take_quoted(char quote) {
    token_.type = quote == '\'' ? Token::Type::label : Token::Type::name;
    token_.quoted = true;
    for (++at_; at_ < text_.size(); ++at_) {
      if (text_[at_] == quote) {
        if (at_ + 1 == text_.size() || text_[at_ + 1] != quote) break;
        ++at_;  // doubled: the quote itself
      }
      token_.text += text_[at_];
    }
    if (at_ == text_.size()) refuse_at(token_.at, "the quote is never closed");
    ++at_;
  }

  void take_name() {
    token_.type = Token::Type::name;
    const auto in_name = [](char c) { return starts_name(c) || is_digit(c) || c == '.'; };
    while (at_ < text_.size() && in_name(text_[at_])) token_.text += text_[at_++];
    while (at_ < text_.size() && text_[at_] == '[') {
      const std::size_t end = text_.find(']', at_);
      if (end == std::string_view::npos) refuse_at(at_, "the [ is never closed");
      token_.text += text_.substr(at_, end + 1 - at_);
      at_ = end + 1;
    }
  }

  void take_number() {
    token_.type = Token::Type::number;
    const auto in_number = [this](std::size_t at) {
      const char c = text_[at];
      return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '.' ||
             ((c == '-' || c == '+') &&
              (at == token_.at || text_[at - 1] == 'e' || text_[at - 1] == 'E'));
    };
    while (at_ < text_.size() && in_number(at_)) token_.text += text_[at_++];
  }

  bool keyword(const char* word) const {
    return token_.type == Token::Type::name && !token_.quoted && lower(token_.text) == word;
  }
  bool symbol(std::string_view text) const {
    return token_.type == Token::Type::symbol && token_.text == text;
  }
  bool take(const char* word_or_symbol) {
    if (!keyword(word_or_symbol) && !symbol(word_or_symbol)) return false;
    next();
    return true;
  }

  std::string any_of() {
    std::string sql = all_of();
    while (take("or") || take("||")) sql.append(" OR ").append(all_of());
    return sql;
  }

  std::string all_of() {
    std::string sql = term();
    while (take("and") || take("&&")) sql.append(" AND ").append(term());
    return sql;
  }

  std::string term() {
    if (++depth_ > 100) refuse("nested too deeply");
    std::string sql;
    if (take("not") || take("!")) {
      sql.append("NOT (").append(term()).append(")");
    } else if (take("(")) {
      sql.append("(").append(any_of()).append(")");
      if (!take(")")) refuse("expected )");
    } else {
      sql = test();
    }
    --depth_;
    return sql;
  }

  std::string test() {
    const Operand left = operand();
    static const std::vector<std::pair<std::string, const char*>> kOperators = {
        {"=", " = "}, {"==", " = "},  {"!=", " <> "}, {"<>", " <> "},
        {"<", " < "}, {"<=", " <= "}, {">", " > "},   {">=", " >= "}};
    for (const auto& [written, sql] : kOperators) {
      if (!symbol(written)) continue;
      next();
      const Operand right = operand();
      if (left.column == nullptr && right.column == nullptr)
        refuse_at(left.at, "one side of a comparison has to be a name");
      const std::string first = side(left, right);
      return first + sql + side(right, left);
    }
    if (left.column == nullptr) refuse("expected a comparison");
    return test_of(left);
  }

  // What follows a name but a comparison.
  std::string test_of(const Operand& left) {
    const std::string column = sqlite::quote_name(left.column->column);
    if (take("is")) {
      const bool negated = take("not");
      if (!take("missing") && !take("null")) refuse("expected \"missing\" or \"not missing\"");
      return column + (negated ? " IS NOT NULL" : " IS NULL");
    }
    const bool negated = take("not");
    if (take("like")) {
      if (token_.type != Token::Type::label) refuse("expected a 'pattern'");
      std::string sql = column + (negated ? " NOT LIKE " : " LIKE ") + bound(token_.text);
      next();
      return sql;
    }
    if (!take("in"))
      refuse("expected = != < <= > >= in like or \"is missing\" after \"" + left.column->name +
             "\"");
    if (!take("(")) refuse("expected ( and the values");
    std::string list;
    do {
      const Operand value = operand();
      if (value.column != nullptr) refuse_at(value.at, "expected a value");
      if (!list.empty()) list += ", ";
      list += side(value, left);
    } while (take(","));
    if (!take(")")) refuse("expected ) after the values");
    return column + (negated ? " NOT IN (" : " IN (") + list + ")";
  }

  Operand operand() {
    Operand out;
    out.at = token_.at;
    switch (token_.type) {
      case Token::Type::label:
        out.value = token_.text;
        break;
      case Token::Type::number:
        out.value = number();
        break;
      case Token::Type::name:
        if (keyword("true") || keyword("false"))
          out.value = keyword("true");
        else
          out.column = &column();
        break;
      case Token::Type::symbol:
      case Token::Type::end:
        refuse("expected a name or a value");
    }
    next();
    return out;
  }

  const KnownColumn& column() const {
    try {
      return find_column(token_.text, known_);
    } catch (const UserError& error) {
      const std::string hint = token_.quoted
                                   ? " (labels are written in 'single quotes')"
                                   : " (a label is written in quotes: '" + token_.text + "')";
      refuse_at(token_.at, error.what() + hint);
    }
  }

  Cell number() const {
    const char* first = token_.text.data() + (token_.text[0] == '+' ? 1 : 0);
    const char* last = token_.text.data() + token_.text.size();
    std::int64_t whole = 0;
    if (const auto got = std::from_chars(first, last, whole);
        got.ec == std::errc() && got.ptr == last)
      return whole;
    double real = 0.0;
    if (const auto got = std::from_chars(first, last, real);
        got.ec == std::errc() && got.ptr == last)
      return real;
    refuse_at(token_.at, "not a number: " + token_.text);
  }

  std::string bound(Cell value) {
    filter_.values.push_back(std::move(value));
    std::string name = "?";
    name += std::to_string(filter_.values.size());
    return name;
  }

  // One side of a comparison; a value must fit the column on the other one.
  std::string side(const Operand& own, const Operand& other) {
    if (own.column != nullptr) return sqlite::quote_name(own.column->column);
    const KnownColumn& column = *other.column;
    const bool label = std::holds_alternative<std::string>(own.value);
    const bool flag = std::holds_alternative<bool>(own.value);
    switch (column.kind) {
      case Kind::number:
        if (label || flag)
          refuse_at(own.at, "\"" + column.name + "\" is a number: compare it with one");
        return bound(own.value);
      case Kind::label:
        if (!label)
          refuse_at(own.at, "\"" + column.name + "\" is a label: write the value in 'quotes'");
        return bound(own.value);
      case Kind::flag:
        if (!flag) refuse_at(own.at, "\"" + column.name + "\" is true or false");
        return bound(std::int64_t{std::get<bool>(own.value) ? 1 : 0});
      case Kind::any:
        break;
    }
    if (flag) return bound(std::string(std::get<bool>(own.value) ? "true" : "false"));
    return bound(own.value);
  }

  std::string_view text_;
  const std::vector<KnownColumn>& known_;
  std::size_t at_ = 0;  // after token_
  Token token_;
  int depth_ = 0;
  Filter filter_;
};

}  // namespace

Filter parse_filter(std::string_view text, const std::vector<KnownColumn>& known) {
  return Parser(text, known).parse();
}

const KnownColumn& find_column(std::string_view name, const std::vector<KnownColumn>& known) {
  std::vector<std::string> names;
  for (const KnownColumn& column : known) {
    if (column.name == name) return column;
    names.push_back(column.name);
  }
  std::string hint = did_you_mean(name, names);
  if (hint.empty()) {
    hint = "; known are";
    for (const std::string& each : names) hint += " " + each;
  }
  throw UserError("there is no parameter or metric \"" + std::string(name) + "\"" + hint);
}

}  // namespace brood
