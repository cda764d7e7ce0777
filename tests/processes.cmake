# Worker processes, transports and the trainers around the CNN.
brood_test(processes_framing_test LIBS brood_engine LABELS processes)
brood_test(processes_test LIBS brood_engine LABELS processes)
# What NVIDIA's driver brings, made up: found by its name where LD_LIBRARY_PATH says.
add_library(fake_driver MODULE fake_driver.cpp)
set_target_properties(fake_driver PROPERTIES PREFIX "" OUTPUT_NAME libnvidia-ml SUFFIX .so.1
  LIBRARY_OUTPUT_DIRECTORY ${CMAKE_CURRENT_BINARY_DIR}/fake_driver)
target_link_libraries(fake_driver PRIVATE brood_options)
brood_test(devices_test LIBS brood_engine brood_store LABELS processes PROGRAM)
add_dependencies(devices_test fake_driver)
target_compile_definitions(devices_test PRIVATE
  FAKE_DRIVER="$<TARGET_FILE:fake_driver>" FAKE_DRIVER_DIR="$<TARGET_FILE_DIR:fake_driver>")
brood_test(transports_contract_test LIBS brood_trainers SOURCES transports_contract.cpp LABELS processes)
brood_test(trainers_contract_test LIBS brood_trainers SOURCES trainers_drive.cpp LABELS processes)
brood_test(trainers_failures_test LIBS brood_trainers SOURCES trainers_drive.cpp LABELS processes)
brood_test(trainers_docs_test LIBS brood_cli SOURCES trainers_drive.cpp LABELS processes)
if(BROOD_MPI)
  add_executable(mpi_test ${CMAKE_CURRENT_LIST_DIR}/mpi_test.cpp
    ${CMAKE_CURRENT_LIST_DIR}/transports_contract.cpp)
  target_link_libraries(mpi_test PRIVATE brood_options brood_trainers GTest::gtest)
  # With recovery mpirun's status says nothing: the test's own words do.
  foreach(test TheRelayKeepsTheContractOfATransport RanksAreLostInEveryWayAndTheOthersGoOn)
    add_test(NAME mpi_test.${test} COMMAND ${CMAKE_CURRENT_LIST_DIR}/mpi_test.sh
      $<TARGET_FILE:mpi_test> --gtest_filter=Mpi.${test} --gtest_color=no)
    set_tests_properties(mpi_test.${test} PROPERTIES LABELS processes TIMEOUT 120
      PASS_REGULAR_EXPRESSION "  PASSED  . 1 test" FAIL_REGULAR_EXPRESSION "Failure")
  endforeach()
  set_property(TEST mpi_test.RanksAreLostInEveryWayAndTheOthersGoOn PROPERTY ENVIRONMENT RANKS=5)
  add_test(NAME mpi_test.RanksEndThemselvesWhenRank0IsGone
    COMMAND ${CMAKE_CURRENT_LIST_DIR}/mpi_test.sh
      $<TARGET_FILE:mpi_test> --gtest_filter=Mpi.RanksEndThemselvesWhenRank0IsGone)
  set_tests_properties(mpi_test.RanksEndThemselvesWhenRank0IsGone PROPERTIES LABELS processes
    TIMEOUT 120 PASS_REGULAR_EXPRESSION "rank [12] ends: rank 0 was silent")
endif()
