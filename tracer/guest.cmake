# Guests: emulated kernels looked at from outside. Adds its sources to kms_tracer, and its tests. Included by CMakeLists.txt.

target_sources(kms_tracer PRIVATE
	guest/boot.c
	guest/boot_stub.c
	guest/connect.c
	guest/gdb.c
	guest/gdb_guard.c
	guest/gdb_packet.c
	guest/guest.c
	guest/json_end.c
	guest/kernel_elf.c
	guest/kernel_names.c
	guest/layout.c
	guest/life.c
	guest/memory.c
	guest/memory_file.c
	guest/memory_gdb.c
	guest/memory_map.c
	guest/memory_process.c
	guest/poke.c
	guest/qemu_args.c
	guest/qemu_process.c
	guest/qemu_ram.c
	guest/qmp.c
	guest/space.c
	guest/target.c
	guest/write_audit.c)
target_link_libraries(kms_tracer PUBLIC kms::cjson)

# RAM, and page tables in it, made by the test.
kms_library(kms_guest_fixture SOURCES guest/test/ram.c guest/test/page_tables.c LIBS kms_tracer)

kms_test(test_guest_memory LABEL unit SOURCES guest/test/test_guest_memory.c LIBS kms_guest_fixture)
kms_test(test_guest_layout LABEL unit SOURCES guest/test/test_guest_layout.c LIBS kms_tracer)
kms_test(test_kernel_elf LABEL unit SOURCES guest/test/test_kernel_elf.c LIBS kms_tracer)
kms_test(test_guest_names LABEL unit SOURCES guest/test/test_guest_names.c LIBS kms_tracer)
kms_test(test_qemu_words LABEL unit SOURCES guest/test/test_qemu_words.c LIBS kms_tracer)
kms_test(test_gdb_packet LABEL unit SOURCES guest/test/test_gdb_packet.c LIBS kms_tracer)
kms_test(test_qmp LABEL unit SOURCES guest/test/test_qmp.c guest/test/peer.c LIBS kms_tracer)
kms_test(test_gdb_peers LABEL unit SOURCES guest/test/test_gdb_peers.c guest/test/peer.c LIBS kms_tracer)
kms_test(test_guest_space LABEL unit SOURCES guest/test/test_guest_space.c LIBS kms_guest_fixture)

# With a real emulator, skipped where there is none.
kms_library(kms_guest_emulator SOURCES guest/test/emulator.c LIBS kms_tracer)
kms_test(test_guest_gdb LABEL guest SOURCES guest/test/test_guest_gdb.c LIBS kms_guest_emulator)
kms_test(test_guest_qemu LABEL guest SOURCES guest/test/test_guest_qemu.c LIBS kms_guest_emulator)

kms_fuzz(fuzz_guest_space SOURCES guest/test/fuzz_guest_space.c LIBS kms_guest_fixture
	CORPUS ${CMAKE_SOURCE_DIR}/tests/fuzz/corpus/guest_space)
kms_fuzz(fuzz_guest_words SOURCES guest/test/fuzz_guest_words.c LIBS kms_tracer
	CORPUS ${CMAKE_SOURCE_DIR}/tests/fuzz/corpus/guest_words)
