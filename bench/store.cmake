brood_bench(store_write LIBS brood_store)
