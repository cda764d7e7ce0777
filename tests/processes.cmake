# Worker processes, transports and the trainers around the CNN.
brood_test(processes_framing_test LIBS brood_engine LABELS processes)
brood_test(processes_test LIBS brood_engine LABELS processes)
brood_test(transports_contract_test LIBS brood_trainers SOURCES transports_contract.cpp LABELS processes)
brood_test(trainers_contract_test LIBS brood_trainers SOURCES trainers_drive.cpp LABELS processes)
brood_test(trainers_failures_test LIBS brood_trainers SOURCES trainers_drive.cpp LABELS processes)
if(BROOD_MPI)
  add_executable(mpi_test ${CMAKE_CURRENT_LIST_DIR}/mpi_test.cpp
    ${CMAKE_CURRENT_LIST_DIR}/transports_contract.cpp)
  target_link_libraries(mpi_test PRIVATE brood_options brood_trainers GTest::gtest)
  add_test(NAME mpi_test COMMAND ${CMAKE_CURRENT_LIST_DIR}/mpi_test.sh $<TARGET_FILE:mpi_test>)
  set_tests_properties(mpi_test PROPERTIES LABELS processes TIMEOUT 300)
endif()
