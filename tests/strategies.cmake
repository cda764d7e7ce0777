brood_test(exact_math_test LIBS brood_engine LABELS engine)
brood_test(rng_test LIBS brood_engine LABELS engine)
brood_test(prefix_rank_test LIBS brood_engine LABELS engine)
