# The symbol resolver: library kms_symbols, for both sides of its socket, and its tests. Included by CMakeLists.txt.

kms_library(kms_symbols SOURCES
	symbols.c
	symbols_batch.c
	symbols_cache.c
	symbols_debugfile.c
	symbols_debuginfod.c
	symbols_demangle.c
	symbols_dwarf.c
	symbols_elf.c
	symbols_helper.c
	symbols_image.c
	symbols_link.c
	symbols_lookup.c
	symbols_ranges.c
	symbols_sandbox.c
	symbols_spawn.c
	symbols_table.c
	symbols_types.c
	symbols_types_file.c
	symbols_wire.c
	LIBS kms_base kms::dw kms::elf Threads::Threads ${CMAKE_DL_LIBS})

# Run-time libraries of sanitizers and of gcov need what the helper's sandbox refuses.
if(KMS_SANITIZE OR KMS_COVERAGE OR KMS_FUZZ)
	target_compile_definitions(kms_symbols PUBLIC KMS_SYMBOLS_INSTRUMENTED)
endif()
target_link_libraries(kms_tracer PUBLIC kms_symbols)

# Tests. Their fixtures are built by the compiler alone, without the flags of this build.
set(symbols_fixtures ${CMAKE_BINARY_DIR}/test/symbols)
set(symbols_fixture_sources ${CMAKE_CURRENT_SOURCE_DIR}/test/fixtures/symbols)
add_custom_command(OUTPUT ${symbols_fixtures}/built
	COMMAND sh ${symbols_fixture_sources}/build.sh ${CMAKE_C_COMPILER} ${symbols_fixture_sources}
	${symbols_fixtures}
	DEPENDS ${symbols_fixture_sources}/build.sh ${symbols_fixture_sources}/inline.c
	${symbols_fixture_sources}/shared.c ${symbols_fixture_sources}/labels.S
	COMMENT "Building the fixtures of the symbol resolver's tests"
	VERBATIM)
add_custom_target(symbols_fixtures DEPENDS ${symbols_fixtures}/built)

kms_library(kms_symbols_fixture SOURCES test/symbols_fixture.c LIBS kms_symbols)

# symbols_test(NAME ...): a test that needs the fixtures; arguments as of kms_test.
function(symbols_test name)
	kms_test(${name} ${ARGN})
	if(TARGET ${name})
		add_dependencies(${name} symbols_fixtures)
		target_link_libraries(${name} PRIVATE kms_symbols_fixture)
	endif()
endfunction()

symbols_test(test_symbols LABEL unit SOURCES test/test_symbols.c)
kms_program(symbols_hostile_helper DIR test SOURCES test/symbols_hostile_helper.c LIBS kms_symbols)
symbols_test(test_symbols_hostile LABEL unit SOURCES test/test_symbols_hostile.c)
if(TARGET test_symbols_hostile)
	add_dependencies(test_symbols_hostile symbols_hostile_helper)
endif()
symbols_test(test_symbols_helper LABEL unit SOURCES test/test_symbols_helper.c)
symbols_test(test_symbols_files LABEL unit SOURCES test/test_symbols_files.c)
kms_test(test_symbols_parts LABEL unit SOURCES test/test_symbols_parts.c LIBS kms_symbols)
symbols_test(stress_symbols PLAIN LABEL stress SOURCES test/stress_symbols.c)
kms_fuzz(fuzz_symbols_wire SOURCES test/fuzz_symbols_wire.c LIBS kms_symbols
	CORPUS ${CMAKE_SOURCE_DIR}/tests/fuzz/corpus/symbols_wire)

# By hand: bench_symbols FILE [N [ADDRESS...]]
kms_program(bench_symbols DIR test SOURCES test/bench_symbols.c LIBS kms_symbols)
