add_library(brood_simulation STATIC simulation.cpp simulated_run.cpp toy.cpp)
target_link_libraries(brood_simulation PUBLIC brood_engine brood_strategies brood_store)
brood_test(simulation_test LIBS brood_simulation LABELS engine)
