// Goal: slips are recognised and units read as people write them. Method: tables by hand.
#include <gtest/gtest.h>

#include "engine/error.h"
#include "engine/suggest.h"
#include "engine/units.h"

namespace brood {
namespace {

TEST(Suggest, FindsTheNearestWordWithinAThirdOfItsLength) {
  const std::vector<std::string> known = {"max_trials", "max_wall_time", "seed", "epochs"};
  EXPECT_EQ(nearest("max_trails", known), "max_trials");
  EXPECT_EQ(nearest("maxtrial", known), "max_trials");
  EXPECT_EQ(nearest("sede", known), "seed");
  EXPECT_EQ(nearest("Epochs", known), "epochs");
  EXPECT_EQ(nearest("epcohs", known), "epochs");
  EXPECT_EQ(nearest("dropout", known), "");
  EXPECT_EQ(nearest("", known), "");
  EXPECT_EQ(nearest(std::string(1000, 'x'), known), "");
  EXPECT_EQ(did_you_mean("epoch", known), " (did you mean \"epochs\"?)");
  EXPECT_EQ(did_you_mean("learning", known), "");
}

TEST(Suggest, PrefersTheEarlierOfEquallyNearWords) {
  EXPECT_EQ(nearest("grad", {"gred", "grid"}), "gred");
}

std::string duration(const std::string& text) {
  try {
    return std::to_string(parse_duration(text).count());
  } catch (const UserError& error) {
    return error.what();
  }
}

TEST(Units, ReadsDurations) {
  EXPECT_EQ(duration("250ms"), "250");
  EXPECT_EQ(duration("90s"), "90000");
  EXPECT_EQ(duration("30m"), "1800000");
  EXPECT_EQ(duration("1.5h"), "5400000");
  EXPECT_EQ(duration("1h30m"), "5400000");
  EXPECT_EQ(duration("2 d"), "172800000");
  const std::string expected = "expected a duration like \"90s\", \"30m\" or \"1h30m\"";
  for (const char* wrong : {"", "30", "m", "-3m", "3 weeks", "1h30", "nan s", "1e9s"})
    EXPECT_EQ(duration(wrong), expected + " (is \"" + wrong + "\")");
  EXPECT_EQ(duration("0s"), expected + " of at least a millisecond (is \"0s\")");
  EXPECT_EQ(duration("99999999d"), expected + " of at most ten years (is \"99999999d\")");
}

TEST(Units, ReadsSizes) {
  EXPECT_EQ(parse_size("2GiB"), std::uint64_t{2} << 30);
  EXPECT_EQ(parse_size("1.5 kB"), 1500U);
  EXPECT_EQ(parse_size("7B"), 7U);
  for (const char* wrong : {"", "2", "2gb", "GiB", "-1MB", "2GiB3", "0B", "99999999999TiB"})
    EXPECT_THROW(parse_size(wrong), UserError) << wrong;
}

TEST(Units, WritesThemForPeople) {
  EXPECT_EQ(duration_text(Millis(40)), "40ms");
  EXPECT_EQ(duration_text(Millis(2500)), "2.5s");
  EXPECT_EQ(duration_text(Millis(5400000)), "1h 30m");
  EXPECT_EQ(duration_text(Millis(7200000)), "2h");
  EXPECT_EQ(duration_text(Millis(90000000 * 3L)), "3d 3h");
  EXPECT_EQ(size_text(640), "640 B");
  EXPECT_EQ(size_text(std::uint64_t{3} << 29), "1.5 GiB");
}

}  // namespace
}  // namespace brood
