#include "store/sqlite.h"

#include <sqlite3.h>

#include <limits>

namespace brood::sqlite {

namespace {

Failure failure_of(int code) {
  switch (code & 0xff) {
    case SQLITE_FULL:
      return Failure::full;
    case SQLITE_IOERR:
    case SQLITE_NOMEM:
      return Failure::io;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
      return Failure::busy;
    case SQLITE_CORRUPT:
      return Failure::damaged;
    case SQLITE_NOTADB:
      return Failure::not_a_database;
    case SQLITE_READONLY:
    case SQLITE_PERM:
      return Failure::read_only;
    case SQLITE_CANTOPEN:
      return Failure::cannot_open;
    default:
      return Failure::other;
  }
}

const char* remedy(Failure failure) {
  switch (failure) {
    case Failure::full:
      return "free some space on its disk";
    case Failure::io:
      return "check the disk it lies on";
    case Failure::busy:
      return "end the other program that has it open for writing";
    case Failure::damaged:
      return "restore a copy, or save what can be read with: sqlite3 FILE .recover";
    case Failure::not_a_database:
      return "name another file";
    case Failure::read_only:
      return "make the file and its folder writable, or name another place";
    case Failure::cannot_open:
      return "check that its folder exists and may be read and written";
    case Failure::other:
      return "";
  }
  return "";
}

[[noreturn]] void fail_with(sqlite3* db, int code, const std::string& path,
                            std::string_view doing) {
  const Failure failure = failure_of(code);
  std::string text = path + ": ";
  text += db != nullptr ? sqlite3_errmsg(db) : sqlite3_errstr(code);
  if (failure == Failure::other && !doing.empty()) {
    text += " (in: ";
    text += doing.substr(0, 200);
    text += ")";
  }
  if (*remedy(failure) != '\0') text += std::string(": ") + remedy(failure);
  throw Error(failure, text);
}

// A path as a file: URI, so that `?`, `#` and `%` in it are only characters.
std::string uri_of(const std::string& path) {
  static constexpr char kHex[] = "0123456789ABCDEF";
  std::string out = "file:";
  for (const char c : path) {
    if (c == '?' || c == '#' || c == '%') {
      out += '%';
      out += kHex[static_cast<unsigned char>(c) >> 4];
      out += kHex[static_cast<unsigned char>(c) & 15];
    } else {
      out += c;
    }
  }
  return out;
}

int allow_reading(void*, int action, const char* first, const char* second, const char*,
                  const char*) {
  if (action == SQLITE_ATTACH || action == SQLITE_DETACH) return SQLITE_DENY;
  // A pragma without a value asks; with one it sets, but for those that describe a table.
  if (action == SQLITE_PRAGMA && second != nullptr) {
    const std::string_view name = first != nullptr ? first : "";
    const bool describes = name.starts_with("table_") || name.starts_with("index_") ||
                           name == "foreign_key_list" || name == "integrity_check" ||
                           name == "quick_check";
    return describes ? SQLITE_OK : SQLITE_DENY;
  }
  return SQLITE_OK;
}

}  // namespace

void Connection::Close::operator()(sqlite3* db) const { sqlite3_close_v2(db); }

Connection::Connection(const std::string& path, Access access, const std::string& vfs)
    : path_(path) {
  int flags = SQLITE_OPEN_URI | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE;
  if (access == Access::create) flags |= SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE;
  if (access == Access::write) flags |= SQLITE_OPEN_READWRITE;
  if (access == Access::read || access == Access::read_immutable) flags |= SQLITE_OPEN_READONLY;
  std::string uri = uri_of(path);
  if (access == Access::read_immutable) uri += "?immutable=1";
  sqlite3* raw = nullptr;
  const int code = sqlite3_open_v2(uri.c_str(), &raw, flags, vfs.empty() ? nullptr : vfs.c_str());
  handle_.reset(raw);
  if (code != SQLITE_OK) fail_with(raw, code, path_, "opening");
  sqlite3_busy_timeout(raw, 5000);
  // A mistyped "name" must be an error, not a string.
  sqlite3_db_config(raw, SQLITE_DBCONFIG_DQS_DML, 0, nullptr);
  sqlite3_db_config(raw, SQLITE_DBCONFIG_DQS_DDL, 0, nullptr);
}

void Connection::run(const std::string& sql) {
  const int code = sqlite3_exec(handle_.get(), sql.c_str(), nullptr, nullptr, nullptr);
  if (code != SQLITE_OK) fail_with(handle_.get(), code, path_, sql);
}

std::int64_t Connection::whole(const std::string& sql) {
  Statement statement(*this, sql);
  return statement.step() ? statement.whole(0) : 0;
}

std::string Connection::text(const std::string& sql) {
  Statement statement(*this, sql);
  return statement.step() ? std::string(statement.text(0)) : std::string();
}

void Connection::distrust() {
  sqlite3_set_authorizer(handle_.get(), nullptr, nullptr);
  run("PRAGMA query_only=ON");
  sqlite3_set_authorizer(handle_.get(), allow_reading, nullptr);
}

void Connection::define(const std::string& name, std::function<bool()>& holds) {
  const auto call = [](sqlite3_context* context, int, sqlite3_value**) {
    auto& asked = *static_cast<std::function<bool()>*>(sqlite3_user_data(context));
    sqlite3_result_int(context, asked() ? 1 : 0);
  };
  const int code = sqlite3_create_function_v2(handle_.get(), name.c_str(), 0, SQLITE_UTF8, &holds,
                                              call, nullptr, nullptr, nullptr);
  if (code != SQLITE_OK) fail_with(handle_.get(), code, path_, name);
}

std::int64_t Connection::changed_rows() const { return sqlite3_changes64(handle_.get()); }

void Statement::Finalize::operator()(sqlite3_stmt* statement) const { sqlite3_finalize(statement); }

Statement::Statement(Connection& db, const std::string& sql) : db_(&db) {
  sqlite3_stmt* raw = nullptr;
  const char* tail = nullptr;
  const int code = sqlite3_prepare_v3(db.handle(), sql.c_str(), static_cast<int>(sql.size()),
                                      SQLITE_PREPARE_PERSISTENT, &raw, &tail);
  handle_.reset(raw);
  if (code != SQLITE_OK) fail_with(db.handle(), code, db.path(), sql);
  if (raw == nullptr) throw Error(Failure::other, db.path() + ": no SQL statement in: " + sql);
  more_sql_ = std::string_view(tail).find_first_not_of(" \t\r\n;") != std::string_view::npos;
}

void Statement::fail() const {
  fail_with(db_->handle(), sqlite3_extended_errcode(db_->handle()), db_->path(),
            sqlite3_sql(handle_.get()));
}

void Statement::check(int code) const {
  if (code != SQLITE_OK) fail();
}

Statement& Statement::bind(int at, std::int64_t value) {
  check(sqlite3_bind_int64(handle_.get(), at, value));
  return *this;
}

Statement& Statement::bind(int at, double value) {
  check(sqlite3_bind_double(handle_.get(), at, value));
  return *this;
}

Statement& Statement::bind(int at, std::string_view value) {
  check(sqlite3_bind_text64(handle_.get(), at, value.data() != nullptr ? value.data() : "",
                            value.size(), SQLITE_TRANSIENT, SQLITE_UTF8));
  return *this;
}

Statement& Statement::bind_null(int at) {
  check(sqlite3_bind_null(handle_.get(), at));
  return *this;
}

bool Statement::step() {
  const int code = sqlite3_step(handle_.get());
  if (code == SQLITE_ROW) return true;
  if (code == SQLITE_DONE) {
    sqlite3_reset(handle_.get());
    return false;
  }
  try {
    fail_with(db_->handle(), code, db_->path(), sqlite3_sql(handle_.get()));
  } catch (const Error&) {
    sqlite3_reset(handle_.get());
    throw;
  }
}

void Statement::execute() {
  CHECK(!step(), std::string("rows from: ") + sqlite3_sql(handle_.get()));
}

void Statement::reset() { sqlite3_reset(handle_.get()); }

int Statement::columns() const { return sqlite3_column_count(handle_.get()); }

std::string Statement::column_name(int column) const {
  const char* name = sqlite3_column_name(handle_.get(), column);
  return name != nullptr ? name : "";
}

CellType Statement::type(int column) const {
  switch (sqlite3_column_type(handle_.get(), column)) {
    case SQLITE_INTEGER:
      return CellType::whole;
    case SQLITE_FLOAT:
      return CellType::real;
    case SQLITE_TEXT:
      return CellType::text;
    case SQLITE_BLOB:
      return CellType::blob;
    default:
      return CellType::null;
  }
}

std::int64_t Statement::whole(int column) const {
  return sqlite3_column_int64(handle_.get(), column);
}

double Statement::real(int column) const {
  if (null(column)) return std::numeric_limits<double>::quiet_NaN();
  return sqlite3_column_double(handle_.get(), column);
}

std::string_view Statement::text(int column) const {
  const auto* bytes = static_cast<const char*>(
      static_cast<const void*>(sqlite3_column_text(handle_.get(), column)));
  if (bytes == nullptr) return {};
  return {bytes, static_cast<std::size_t>(sqlite3_column_bytes(handle_.get(), column))};
}

bool Statement::reads_only() const { return sqlite3_stmt_readonly(handle_.get()) != 0; }

Transaction::~Transaction() {
  // SQLite may have rolled back by itself already (a full disk); then this fails, and that is fine.
  if (open_) sqlite3_exec(db_.handle(), "ROLLBACK", nullptr, nullptr, nullptr);
}

void Transaction::commit() {
  db_.run("COMMIT");
  open_ = false;
}

namespace {

std::string quoted(std::string_view text, char quote) {
  std::string out(1, quote);
  for (const char c : text) {
    out += c;
    if (c == quote) out += c;
  }
  out += quote;
  return out;
}

}  // namespace

std::string quote_name(std::string_view name) { return quoted(name, '"'); }
std::string quote_text(std::string_view text) { return quoted(text, '\''); }

}  // namespace brood::sqlite
