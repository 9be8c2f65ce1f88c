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
	symbols_wire.c
	LIBS kms_base kms::dw kms::elf Threads::Threads ${CMAKE_DL_LIBS})

# Run-time libraries of sanitizers and of gcov need what the helper's sandbox refuses.
if(KMS_SANITIZE OR KMS_COVERAGE OR KMS_FUZZ)
	target_compile_definitions(kms_symbols PRIVATE KMS_SYMBOLS_INSTRUMENTED)
endif()
target_link_libraries(kms_tracer PUBLIC kms_symbols)
