// Tables as people, programs and spreadsheets read them.
#include "cli/table.h"

#include <gtest/gtest.h>

#include <limits>
#include <sstream>

namespace brood {
namespace {

std::string printed(const Table& table, Format format, int width = 0) {
  std::ostringstream out;
  print(table, format, width, out);
  return out.str();
}

const Table kTable = {{"trial", "learning_rate", "optimizer", "flag"},
                      {{std::int64_t{0}, 0.001, std::string("adam"), true},
                       {std::int64_t{10}, Cell(), std::string("say \"hi\", twice\n"), false},
                       {std::int64_t{2}, 1.0 / 3.0, std::string(), Cell()}}};

TEST(Table, AlignsForPeople) {
  EXPECT_EQ(printed(kTable, Format::people),
            "trial  learning_rate  optimizer         flag\n"
            "-----  -------------  ----------------  -----\n"
            "    0          0.001  adam              true\n"
            "   10              -  say \"hi\", twice?  false\n"
            "    2       0.333333                    -\n");
}

TEST(Table, CutsTheWidestTextToFitATerminal) {
  EXPECT_EQ(printed(kTable, Format::people, 41),
            "trial  learning_rate  optimizer     flag\n"
            "-----  -------------  ------------  -----\n"
            "    0          0.001  adam          true\n"
            "   10              -  say \"hi\",...  false\n"
            "    2       0.333333                -\n");
}

TEST(Table, FitsATerminalFirstByTellingConstantColumnsOnce) {
  const std::string adam = "adam";
  const Table table = {{"trial", "optimizer", "batch_size", "units", "state"},
                       {{std::int64_t{0}, adam, std::int64_t{64}, std::int64_t{8}, "completed"},
                        {std::int64_t{1}, adam, std::int64_t{64}, std::int64_t{16}, "stopped"}}};
  EXPECT_EQ(printed(table, Format::people, 36),
            "trial  optimizer  units  state\n"
            "-----  ---------  -----  ---------\n"
            "    0  adam           8  completed\n"
            "    1  adam          16  stopped\n"
            "(the same in all rows: batch_size 64)\n");
  EXPECT_EQ(printed(table, Format::people, 18),
            "trial  units\n"
            "-----  -----\n"
            "    0      8\n"
            "    1     16\n"
            "(the same in all rows: optimizer adam, batch_size 64)\n"
            "(no room for: state)\n");
}

TEST(Table, IsExactAsJson) {
  EXPECT_EQ(
      printed(kTable, Format::json),
      "[\n"
      " {\"trial\": 0, \"learning_rate\": 0.001, \"optimizer\": \"adam\", \"flag\": true},\n"
      " {\"trial\": 10, \"learning_rate\": null, \"optimizer\": \"say \\\"hi\\\", twice\\u000a\", "
      "\"flag\": false},\n"
      " {\"trial\": 2, \"learning_rate\": 0.3333333333333333, \"optimizer\": \"\", \"flag\": "
      "null}\n"
      "]\n");
  EXPECT_EQ(printed({{"a"}, {}}, Format::json), "[]\n");
  const double nan = std::numeric_limits<double>::quiet_NaN();
  EXPECT_EQ(printed({{"a", "a"}, {{nan, std::int64_t{1}}}}, Format::json),
            "[\n {\"a\": \"NaN\", \"a_2\": 1}\n]\n");
}

TEST(Table, FollowsRfc4180AsCsv) {
  EXPECT_EQ(printed(kTable, Format::csv),
            "trial,learning_rate,optimizer,flag\r\n"
            "0,0.001,adam,true\r\n"
            "10,,\"say \"\"hi\"\", twice\n\",false\r\n"
            "2,0.3333333333333333,\"\",\r\n");
}

TEST(Table, CountsCharactersNotBytes) {
  EXPECT_EQ(printed({{"name", "n"}, {{std::string("\xC3\xA4\xC3\xB6"), std::int64_t{1}}}},
                    Format::people),
            "name  n\n----  -\n\xC3\xA4\xC3\xB6    1\n");
}

TEST(Table, LetsNoTextSteerTheTerminal) {
  EXPECT_EQ(printed({{"a\x1b[2J"}, {{std::string("\x1b]0;x\x07")}}}, Format::people),
            "a?[2J\n------\n?]0;x?\n");
  EXPECT_EQ(printable("caf\xC3\xA9 \xC2\x9B[2J\n"), "caf\xC3\xA9 ?[2J?");
}

}  // namespace
}  // namespace brood
