// The moves of evolutionary search as pure functions: selection, crossover and mutation of full
// points, inactive genes included. Tested by tests/operators_test.cpp.
#pragma once

#include <cstddef>
#include <vector>

#include "engine/rng.h"
#include "engine/space.h"

namespace brood {

// The smallest of `size` distinct draws below `population`: the winner's place among members that
// are ordered best first. 1 <= size <= population.
std::size_t tournament(std::size_t population, std::size_t size, Rng& rng);

// Each gene from one of the parents, with equal chance.
Point uniform_crossover(const Point& a, const Point& b, Rng& rng);

// Numbers (real, whole) are drawn evenly between the parents' places in the unit interval, extended
// by alpha times their distance on both sides and cut at 0 and 1; other genes as uniform crossover.
Point blend_crossover(const std::vector<Field>& fields, const Point& a, const Point& b,
                      double alpha, Rng& rng);

// Another value of the field, unless it has only one. Numbers move by a normal step with standard
// deviation sigma in the unit interval, reflected at its ends, and at least to the next value;
// ordered values to a neighbour; the others are drawn anew.
Value mutate_gene(const Field& field, const Value& value, double sigma, Rng& rng);

// Each gene mutates with this probability.
Point mutate(const std::vector<Field>& fields, const Point& point, double probability, double sigma,
             Rng& rng);

}  // namespace brood
