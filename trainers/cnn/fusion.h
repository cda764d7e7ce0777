// Which steps of a plan the CPU computes together, so that what lies between never reaches memory.
#pragma once

#include <cstddef>

#include "trainers/cnn/plan.h"

namespace brood::cnn {

// Whether step `step` is a batch norm that also computes the next one: a max pool of 2x2 windows
// side by side, which alone reads the normalised image. That image then has no memory.
bool takes_next_pool(const Plan& plan, std::size_t step);

// Whether the step before computes this one.
bool taken_by_norm(const Plan& plan, std::size_t step);

// Whether step `step` is a convolution whose output only the next step reads, a batch norm. The two
// then work image by image: the norm measures an image that the convolution has just written, and
// writes a few images of its gradient just before the convolution reads them. They stay in the
// cache, and the gradient of the convolution's output takes the memory of a few images.
bool has_norm_behind(const Plan& plan, std::size_t step);

// The convolution that alone reads what step `step` makes, a batch norm with the pool that it
// takes; -1: there is none. The norm then writes a few images just before the convolution reads
// them, forward and again on the way back, and looks at a few images of its gradient as soon as
// the convolution has written them. What the norm makes takes the memory of a few images.
int conv_behind(const Plan& plan, std::size_t step);

// The batch norm whose conv_behind is step `step`, or -1.
int norm_before(const Plan& plan, std::size_t step);

// Images that a convolution takes at a time.
int images_at_a_time(const Step& conv, const Shape& in, const Shape& out);

// Windows of 2x2 side by side that cover the image.
bool pools_pairs(const Step& pool, const Shape& in, const Shape& out);

}  // namespace brood::cnn
