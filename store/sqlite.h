// The only door to the SQLite C library: a connection, a statement, a transaction.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "engine/error.h"

struct sqlite3;
struct sqlite3_stmt;

namespace brood::sqlite {

// What kind of trouble SQLite met, as far as anybody acts differently on it.
enum class Failure : std::uint8_t {
  full,            // no space on the disk
  io,              // the medium failed, or refuses for now
  busy,            // another program holds the write lock
  damaged,         // the file is not what SQLite wrote
  not_a_database,  // it never was
  read_only,
  cannot_open,
  other,  // a bug, or a statement of the user's own
};

// The file, SQLite's own text and a remedy.
class Error : public UserError {
 public:
  Error(Failure failure, const std::string& text) : UserError(text), failure_(failure) {}
  Failure failure() const { return failure_; }

 private:
  Failure failure_;
};

enum class Access : std::uint8_t {
  create,          // read and write; the file is made when it is missing
  write,           // read and write an existing file
  read,            // reads what a writer commits meanwhile; may leave -shm and -wal beside it
  read_immutable,  // nobody writes it: works on a read-only medium, touches nothing
};

// One thread at a time.
class Connection {
 public:
  // vfs: the file system of SQLite's under it, by its registered name; empty: the usual one.
  Connection(const std::string& path, Access access, const std::string& vfs = "");

  void run(const std::string& sql);            // any number of statements, results ignored
  std::int64_t whole(const std::string& sql);  // first column of the first row; 0 without one
  std::string text(const std::string& sql);    // the same; empty without one

  // From now on statements that attach files or change settings are refused: for SQL that is not
  // ours. The connection must be a reading one.
  void distrust();

  // A condition without arguments for statements: it is asked again for each row, in their order.
  // It must not throw; `holds` outlives the statements.
  void define(const std::string& name, std::function<bool()>& holds);

  std::int64_t changed_rows() const;  // by the last statement
  const std::string& path() const { return path_; }
  sqlite3* handle() const { return handle_.get(); }

 private:
  struct Close {
    void operator()(sqlite3* db) const;
  };
  std::string path_;
  std::unique_ptr<sqlite3, Close> handle_;
};

enum class CellType : std::uint8_t { null, whole, real, text, blob };

// A compiled statement. Bound values stay until they are bound again. Parameters count from 1,
// columns from 0. The connection outlives it.
class Statement {
 public:
  Statement(Connection& db, const std::string& sql);

  Statement& bind(int at, std::int64_t value);
  Statement& bind(int at, int value) { return bind(at, std::int64_t{value}); }
  Statement& bind(int at, double value);  // NaN becomes NULL
  Statement& bind(int at, std::string_view value);
  Statement& bind_null(int at);
  template <class T>
  Statement& bind(int at, const std::optional<T>& value) {
    return value ? bind(at, *value) : bind_null(at);
  }
  Statement& bind_text_or_null(int at, std::string_view value) {
    return value.empty() ? bind_null(at) : bind(at, value);
  }

  bool step();     // true: a row is ready. At the end, or on an error, it is ready to run again.
  void execute();  // runs a statement that gives no rows
  void reset();    // before the last row was read

  int columns() const;
  std::string column_name(int column) const;
  CellType type(int column) const;
  bool null(int column) const { return type(column) == CellType::null; }
  std::int64_t whole(int column) const;
  double real(int column) const;            // NaN for NULL
  std::string_view text(int column) const;  // until the next step()
  bool reads_only() const;
  bool more_sql() const { return more_sql_; }  // something followed the first statement

 private:
  [[noreturn]] void fail() const;
  void check(int code) const;

  struct Finalize {
    void operator()(sqlite3_stmt* statement) const;
  };
  Connection* db_;
  std::unique_ptr<sqlite3_stmt, Finalize> handle_;
  bool more_sql_ = false;
};

// Rolls back unless committed. Takes the write lock at once.
class Transaction {
 public:
  explicit Transaction(Connection& db) : db_(db) { db_.run("BEGIN IMMEDIATE"); }
  ~Transaction();
  Transaction(const Transaction&) = delete;
  Transaction& operator=(const Transaction&) = delete;
  void commit();

 private:
  Connection& db_;
  bool open_ = true;
};

// "name" with its quotes doubled; 'text' likewise.
std::string quote_name(std::string_view name);
std::string quote_text(std::string_view text);

}  // namespace brood::sqlite
