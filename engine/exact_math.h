// exp, log, powers and the normal quantile built from IEEE basic operations alone, so that a
// proposal has the same bits on every machine, compiler and C library. Compiled with
// -ffp-contract=off. Errors are a few units in the last place (tested against high precision).
#pragma once

namespace brood::exact {

double exp(double x);              // 0 below -745.2, infinity above 709.8; NaN for NaN
double log(double x);              // x > 0; -infinity for 0, NaN below
double pow(double x, double y);    // x >= 0: exp(y log x), exact for small whole y
double normal_quantile(double p);  // 0 < p < 1; relative error below 1e-13

}  // namespace brood::exact
