brood_test(store_contract_test LIBS brood_store LABELS store)
brood_test(store_database_test LIBS brood_store LABELS store)
brood_test(store_filter_test LIBS brood_store LABELS store)
brood_test(table_test LIBS brood_cli LABELS cli)
