# Worker processes, transports and the trainers around the CNN.
brood_test(processes_framing_test LIBS brood_engine LABELS processes)
brood_test(processes_test LIBS brood_engine LABELS processes)
brood_test(transports_contract_test LIBS brood_trainers SOURCES transports_contract.cpp LABELS processes)
