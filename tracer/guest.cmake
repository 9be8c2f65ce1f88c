# Guests: emulated kernels looked at from outside. Adds its sources to kms_tracer, and its tests. Included by CMakeLists.txt.

target_sources(kms_tracer PRIVATE
	guest/layout.c
	guest/memory.c
	guest/memory_file.c
	guest/memory_process.c
	guest/space.c)

# RAM, and page tables in it, made by the test.
kms_library(kms_guest_fixture SOURCES guest/test/ram.c guest/test/page_tables.c LIBS kms_tracer)

kms_test(test_guest_memory LABEL unit SOURCES guest/test/test_guest_memory.c LIBS kms_guest_fixture)
kms_test(test_guest_layout LABEL unit SOURCES guest/test/test_guest_layout.c LIBS kms_tracer)
kms_test(test_guest_space LABEL unit SOURCES guest/test/test_guest_space.c LIBS kms_guest_fixture)
