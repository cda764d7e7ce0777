brood_test(store_contract_test LIBS brood_store LABELS store)
