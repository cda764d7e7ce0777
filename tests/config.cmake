brood_test(space_test LIBS brood_engine LABELS engine)
brood_test(resolve_test LIBS brood_engine LABELS engine)
brood_test(resolve_expression_test LIBS brood_engine LABELS engine)
brood_test(config_words_test LIBS brood_engine LABELS engine)
