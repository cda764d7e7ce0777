// The product at the heart of convolutions and dense layers against Eigen's: an oracle that shares
// no line with ours. Every kernel set that this machine can run, random shapes, in double.
#include <gtest/gtest.h>

#include <Eigen/Core>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <memory>
#include <new>
#include <vector>

#include "engine/rng.h"
#include "trainers/cnn/cnn.h"
#include "trainers/cnn/kernels.h"

namespace brood::cnn {
namespace {

// Zeroed floats on a 64-byte boundary, as the trial's arena gives them.
class Buffer {
 public:
  explicit Buffer(std::size_t count)
      : data_(static_cast<float*>(::operator new(count * sizeof(float), std::align_val_t(64)))) {
    std::memset(data_.get(), 0, count * sizeof(float));
  }
  float* data() { return data_.get(); }
  float& operator[](std::size_t i) { return data_.get()[i]; }

 private:
  struct Free {
    void operator()(float* p) const { ::operator delete(p, std::align_val_t(64)); }
  };
  std::unique_ptr<float, Free> data_;
};

class EveryKernelSet : public testing::TestWithParam<std::string> {};

INSTANTIATE_TEST_SUITE_P(Product, EveryKernelSet, testing::ValuesIn(cnn_numeric_classes()),
                         [](const auto& made) {
                           std::string name = made.param;
                           for (char& c : name)
                             if (std::isalnum(static_cast<unsigned char>(c)) == 0) c = '_';
                           return name;
                         });

TEST_P(EveryKernelSet, MultipliesAsEigenDoes) {
  const Kernels& kernels = kernels_of(GetParam());
  Rng rng(1, 0, Purpose::synthetic);
  for (int round = 0; round < 200; ++round) {
    const int rows = 1 + static_cast<int>(rng.below(40));
    const int depth = 1 + static_cast<int>(rng.below(70));
    const int columns = 1 + static_cast<int>(rng.below(40));
    const bool relu = rng.chance(0.5);
    const int x_stride = padded(depth), y_stride = padded(columns);
    Eigen::MatrixXd x(rows, depth), w(depth, columns);
    Eigen::VectorXd bias(columns);
    for (double& v : x.reshaped()) v = static_cast<float>(rng.uniform() - 0.5);
    for (double& v : w.reshaped()) v = static_cast<float>(rng.uniform() - 0.5);
    for (double& v : bias) v = static_cast<float>(rng.uniform() - 0.5);
    const Eigen::MatrixXd expected = (x * w).rowwise() + bias.transpose();

    const auto panel_stride = static_cast<std::int64_t>(depth) * kPanel;
    Buffer xs(static_cast<std::size_t>(rows * x_stride)),
        ys(static_cast<std::size_t>(rows * y_stride));
    Buffer ws(static_cast<std::size_t>(panels(columns) * panel_stride));
    Buffer bs(static_cast<std::size_t>(panels(columns) * kPanel));
    std::vector<std::int32_t> x_offset, y_offset;
    for (int r = 0; r < rows; ++r) {
      x_offset.push_back(r * x_stride);
      y_offset.push_back(r * y_stride);
      for (int d = 0; d < depth; ++d)
        xs[static_cast<std::size_t>(r * x_stride + d)] = static_cast<float>(x(r, d));
    }
    for (int c = 0; c < columns; ++c) {
      bs[static_cast<std::size_t>(c)] = static_cast<float>(bias(c));
      for (int d = 0; d < depth; ++d)
        ws[static_cast<std::size_t>(c / kPanel * panel_stride + d * kPanel + c % kPanel)] =
            static_cast<float>(w(d, c));
    }
    const std::int32_t tap = 0;
    Product product{};
    product.x = xs.data();
    product.x_offset = x_offset.data();
    product.y = ys.data();
    product.y_offset = y_offset.data();
    product.rows = rows;
    product.tap = &tap;
    product.taps = 1;
    product.depth = depth;
    product.w = ws.data();
    product.panel_stride = panel_stride;
    product.columns = columns;
    product.bias = bs.data();
    product.relu = relu;
    kernels.multiply(product);
    for (int r = 0; r < rows; ++r)
      for (int c = 0; c < columns; ++c) {
        const double wanted = relu ? std::max(0.0, expected(r, c)) : expected(r, c);
        // depth roundings of products below 1/4 each
        ASSERT_NEAR(ys[static_cast<std::size_t>(r * y_stride + c)], wanted, 1e-7 * (depth + 2))
            << rows << " x " << depth << " x " << columns;
      }
  }
}

// Rows of random entries, empty ones among them, times a matrix in groups of 16 columns.
TEST_P(EveryKernelSet, MultipliesFewEntriesAsEigenDoes) {
  const Kernels& kernels = kernels_of(GetParam());
  Rng rng(2, 0, Purpose::synthetic);
  for (int round = 0; round < 200; ++round) {
    const int rows = 1 + static_cast<int>(rng.below(kPanel));
    const int depth = 1 + static_cast<int>(rng.below(70));
    const int columns = 8 * (1 + static_cast<int>(rng.below(40)));
    const int group = kPanel * (1 + static_cast<int>(rng.below(3)));
    const int row = group * panels(columns);
    const double density = rng.uniform();
    Eigen::MatrixXd a = Eigen::MatrixXd::Zero(rows, depth), b(depth, columns);
    Buffer bs(static_cast<std::size_t>(depth * row)), y(static_cast<std::size_t>(rows * columns)),
        panel(static_cast<std::size_t>(columns * kPanel));
    for (int d = 0; d < depth; ++d)
      for (int c = 0; c < columns; ++c) {
        b(d, c) = static_cast<float>(rng.uniform() - 0.5);
        bs[static_cast<std::size_t>(d * row + c / kPanel * group + c % kPanel)] =
            static_cast<float>(b(d, c));
      }
    std::vector<SparseEntry> entries;
    std::vector<std::int32_t> begin(kPanel + 1, 0);
    for (int r = 0; r < rows; ++r) {
      for (int d = 0; d < depth; ++d) {
        if (!rng.chance(density)) continue;
        a(r, d) = static_cast<float>(rng.uniform() - 0.5);
        entries.push_back({static_cast<float>(a(r, d)), d * row});
      }
      std::fill(begin.begin() + r + 1, begin.end(), static_cast<std::int32_t>(entries.size()));
    }
    const Eigen::MatrixXd expected = a * b;
    SparseProduct product{.entries = entries.data(),
                          .begin = begin.data(),
                          .step = 1,
                          .rows = rows,
                          .b = bs.data(),
                          .group = group,
                          .y = y.data(),
                          .y_stride = columns,
                          .columns = columns,
                          .accumulate = false};
    kernels.sparse_multiply(product);
    product.accumulate = true;
    kernels.sparse_multiply(product);
    product.rows = kPanel;
    product.y = panel.data();
    kernels.sparse_multiply_panel(product);
    for (int r = 0; r < kPanel; ++r)
      for (int c = 0; c < columns; ++c) {
        const double wanted = r < rows ? expected(r, c) : 0.0, bound = 1e-7 * (depth + 2);
        ASSERT_NEAR(panel[static_cast<std::size_t>(c * kPanel + r)], wanted, bound);
        if (r < rows) {
          ASSERT_NEAR(y[static_cast<std::size_t>(r * columns + c)], 2 * wanted, 2 * bound);
        }
      }
  }
}

TEST(Kernels, DenormalNumbersAreZeroWhereATrialRunsAndNowhereElse) {
  volatile float denormal = 1e-39F, small = 1e-30F;
  {
    const FlushDenormals flush;
    EXPECT_EQ(denormal * 1e10F, 0.0F);  // an operand
    EXPECT_EQ(small * 1e-9F, 0.0F);     // a result
  }
  EXPECT_GT(denormal * 1e10F, 0.0F);
  EXPECT_GT(small * 1e-9F, 0.0F);
}

}  // namespace
}  // namespace brood::cnn
