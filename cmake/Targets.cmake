# Helpers that make the project's targets. A folder's CMakeLists.txt should need nothing else for everyday work.
#
#   kms_library(NAME [OBJECT|SHARED|STATIC] SOURCES f.c... [LIBS t...])
#       A library with the project's flags; include root is the project root. Static and internal unless told otherwise:
#       archives go to <build>/obj, only a target that sets ARCHIVE_OUTPUT_DIRECTORY itself is found in <build>/lib.
#
#   kms_program(NAME SOURCES f.c... [LIBS t...] [DIR folder])
#       A program in <build>/bin (or <build>/folder). A program in bin is part of the product.
#
#   kms_product(TARGET...)
#       These targets are part of what `make run` builds (target "product"): shared libraries that bin/kmemscope loads.
#
#   kms_test(NAME LABEL l SOURCES f.c... [LIBS t...] [ARGS a...] [ENV "A=b"...] [TIMEOUT s] [PLAIN] [SERIAL])
#       A test program in <build>/test and its CTest entry. Linked with cmocka unless PLAIN. Exit 77 is "skipped".
#       assert() works in its own sources in every preset. SERIAL: no other test runs beside it.
#       The test runs in <build>/test, with KMS_SOURCE_DIR and KMS_BUILD_DIR in its environment.
#
#   kms_script_test(NAME LABEL l COMMAND c... [ENV "A=b"...] [TIMEOUT s] [SERIAL])
#       The same for a script or any other command.
#
#   kms_fuzz(NAME SOURCES f.c... [LIBS t...] CORPUS dir [DICT file])
#       A harness with LLVMFuzzerTestOneInput (declared in base/test/fuzz_entry.h). With KMS_FUZZ a libFuzzer program in
#       <build>/fuzz that its test runs for KMS_FUZZ_SECONDS; else a program that replays the corpus, as a test of label fuzz.

set(KMS_FUZZ_SECONDS 20 CACHE STRING "How long the test of each libFuzzer program runs")

# Everything that `make run` needs, and nothing else.
add_custom_target(product)

function(kms_product)
	add_dependencies(product ${ARGN})
endfunction()

function(kms_library name)
	cmake_parse_arguments(PARSE_ARGV 1 a "OBJECT;SHARED;STATIC" "" "SOURCES;LIBS")
	set(type STATIC)
	if(a_OBJECT)
		set(type OBJECT)
	elseif(a_SHARED)
		set(type SHARED)
	endif()
	add_library(${name} ${type} ${a_SOURCES})
	target_link_libraries(${name} PRIVATE kms_flags PUBLIC ${a_LIBS})
	target_include_directories(${name} PUBLIC ${CMAKE_SOURCE_DIR})
	set_target_properties(${name} PROPERTIES ARCHIVE_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/obj)
endfunction()

function(kms_program name)
	cmake_parse_arguments(PARSE_ARGV 1 a "" "DIR" "SOURCES;LIBS")
	add_executable(${name} ${a_SOURCES})
	target_link_libraries(${name} PRIVATE kms_flags ${a_LIBS})
	target_compile_definitions(${name} PRIVATE KMS_VERSION="${PROJECT_VERSION}")
	if(a_DIR)
		set_target_properties(${name} PROPERTIES
			RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/${a_DIR})
	else()
		kms_product(${name})
	endif()
endfunction()

# Properties that every test has, whatever starts it.
function(_kms_test_properties name label timeout serial env)
	if(NOT label)
		message(FATAL_ERROR "test ${name} has no LABEL")
	endif()
	if(NOT timeout)
		set(timeout 300) # ends what hangs; a busy machine may be many times slower than a quiet one
	endif()
	set_tests_properties(${name} PROPERTIES
		LABELS "${label}"
		TIMEOUT ${timeout}
		SKIP_RETURN_CODE 77
		RUN_SERIAL "${serial}"
		WORKING_DIRECTORY ${CMAKE_BINARY_DIR}/test
		ENVIRONMENT
		"KMS_SOURCE_DIR=${CMAKE_SOURCE_DIR};KMS_BUILD_DIR=${CMAKE_BINARY_DIR};${env}")
endfunction()

file(MAKE_DIRECTORY ${CMAKE_BINARY_DIR}/test)

function(kms_test name)
	cmake_parse_arguments(PARSE_ARGV 1 a "PLAIN;SERIAL" "LABEL;TIMEOUT" "SOURCES;LIBS;ARGS;ENV")
	add_executable(${name} ${a_SOURCES})
	target_link_libraries(${name} PRIVATE kms_flags ${a_LIBS})
	if(NOT a_PLAIN AND NOT TARGET kms::cmocka)
		# Only to be there for a caller that goes on with target_...(NAME).
		set_target_properties(${name} PROPERTIES EXCLUDE_FROM_ALL ON)
		return()
	elseif(NOT a_PLAIN)
		target_link_libraries(${name} PRIVATE kms::cmocka)
	endif()
	target_compile_options(${name} PRIVATE -UNDEBUG)
	set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/test)
	add_test(NAME ${name} COMMAND ${name} ${a_ARGS})
	_kms_test_properties(${name} "${a_LABEL}" "${a_TIMEOUT}" ${a_SERIAL} "${a_ENV}")
endfunction()

function(kms_script_test name)
	cmake_parse_arguments(PARSE_ARGV 1 a "SERIAL" "LABEL;TIMEOUT" "COMMAND;ENV")
	add_test(NAME ${name} COMMAND ${a_COMMAND})
	_kms_test_properties(${name} "${a_LABEL}" "${a_TIMEOUT}" ${a_SERIAL} "${a_ENV}")
endfunction()

function(kms_fuzz name)
	cmake_parse_arguments(PARSE_ARGV 1 a "" "CORPUS;DICT" "SOURCES;LIBS")
	cmake_path(ABSOLUTE_PATH a_CORPUS BASE_DIRECTORY ${CMAKE_CURRENT_SOURCE_DIR})
	add_executable(${name} ${a_SOURCES})
	target_link_libraries(${name} PRIVATE kms_flags ${a_LIBS})
	target_compile_options(${name} PRIVATE -UNDEBUG)
	set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/fuzz)
	if(KMS_FUZZ)
		# New inputs and crashes stay in the build folder; a crash worth keeping is copied to the corpus by hand.
		set(scratch ${CMAKE_BINARY_DIR}/fuzz/${name}.new)
		file(MAKE_DIRECTORY ${scratch})
		target_link_options(${name} PRIVATE -fsanitize=fuzzer)
		set(args -max_total_time=${KMS_FUZZ_SECONDS} -timeout=10 -artifact_prefix=${scratch}/
			${scratch} ${a_CORPUS})
		if(a_DICT)
			cmake_path(ABSOLUTE_PATH a_DICT BASE_DIRECTORY ${CMAKE_CURRENT_SOURCE_DIR})
			list(PREPEND args -dict=${a_DICT})
		endif()
		math(EXPR timeout "${KMS_FUZZ_SECONDS} + 120")
	else()
		target_sources(${name} PRIVATE ${CMAKE_SOURCE_DIR}/base/test/fuzz_replay_main.c)
		set(args ${a_CORPUS})
		set(timeout 300) # ends what hangs; a busy machine may be many times slower than a quiet one
	endif()
	add_test(NAME ${name} COMMAND ${name} ${args})
	_kms_test_properties(${name} fuzz ${timeout} OFF "")
endfunction()
