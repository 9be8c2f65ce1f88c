# Tests of what stands between `kmemscope run` and the program: options, session folders, refusals.
kms_test(test_options LABEL unit SOURCES test_options.c LIBS kms_tracer)
kms_test(test_session LABEL unit SOURCES test_session.c LIBS kms_tracer)
kms_test(test_launch LABEL unit SOURCES test_launch.c LIBS kms_tracer)
kms_fuzz(fuzz_options SOURCES fuzz_options.c LIBS kms_tracer
	CORPUS ${CMAKE_SOURCE_DIR}/tests/fuzz/corpus/options
	DICT ${CMAKE_CURRENT_SOURCE_DIR}/fuzz_options.dict)
