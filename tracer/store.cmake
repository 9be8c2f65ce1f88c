# The trace file: chunks, the store that writes them, and their tests. Included by CMakeLists.txt.

target_sources(kms_tracer PRIVATE
	chunk_dir.c
	chunk_read.c
	chunk_write.c
	db.c
	db_schema.c
	file.c
	file_connect.c
	file_model.c
	file_names.c
	file_rebuild.c
	file_replay.c
	file_snapshot.c
	file_stack.c
	file_tables.c
	filter.c
	held.c
	owners.c
	scan.c
	scan_newest.c
	sql.c
	store.c
	store_blocks.c
	store_commit.c
	store_finish.c
	store_names.c
	store_open.c
	store_retention.c
	store_rows.c
	store_snapshot.c
	store_spans.c
	store_symbols.c
	store_tables.c
	store_targets.c
	table_page.c
	trace.c
	trace_blocks.c
	trace_lock.c
	trace_spans.c
	trace_tables.c
	u64map.c
	u64set.c
	vtab.c
	vtab_functions.c
	whatis_past.c)
kms_embed_text(kms_tracer ${CMAKE_SOURCE_DIR}/schema/sql/001_init.sql kms_sql_001_init)
kms_embed_text(kms_tracer ${CMAKE_SOURCE_DIR}/schema/sql/002_marks.sql kms_sql_002_marks)
kms_embed_text(kms_tracer ${CMAKE_SOURCE_DIR}/schema/sql/003_leak_caches.sql kms_sql_003_leak_caches)
kms_embed_text(kms_tracer ${CMAKE_SOURCE_DIR}/schema/sql/004_target_samples.sql kms_sql_004_target_samples)
target_link_libraries(kms_tracer PUBLIC kms::sqlite3 kms::zstd m)

# The table `events` for other programs: the reading half once more, calling SQLite through its host. Base is linked in.
kms_library(kmemscope_sqlite SHARED SOURCES
	block_decode.c
	block_parse.c
	block.c
	chunk_dir.c
	chunk_read.c
	db.c
	filter.c
	scan.c
	scan_newest.c
	store_names.c
	table_page.c
	trace.c
	trace_blocks.c
	trace_spans.c
	trace_tables.c
	u64map.c
	vtab.c
	vtab_extension.c
	vtab_functions.c
	LIBS kms_base kms::zstd m)
target_compile_definitions(kmemscope_sqlite PRIVATE KMS_SQLITE_EXTENSION)
set_target_properties(kmemscope_sqlite PROPERTIES PREFIX "")
target_link_options(kmemscope_sqlite PRIVATE -Wl,--exclude-libs,ALL)
if(NOT KMS_SANITIZE) # clang leaves the sanitizers' runtime to the program that loads it
	target_link_options(kmemscope_sqlite PRIVATE -Wl,-z,defs)
endif()
kms_product(kmemscope_sqlite)

# Event streams that look like programs, for these tests and for bench/.
kms_library(kms_tracer_workload SOURCES test/workload.c LIBS kms_tracer_synth)

kms_test(test_chunk LABEL unit SOURCES test/test_chunk.c LIBS kms_tracer kms_tracer_workload)
kms_library(kms_tracer_trace_build SOURCES test/trace_build.c LIBS kms_tracer kms_tracer_synth)
kms_test(test_store LABEL unit SOURCES test/test_store.c LIBS kms_tracer kms_tracer_trace_build)
kms_test(test_store_parts LABEL unit SOURCES test/test_store_parts.c LIBS kms_tracer kms_tracer_synth)
kms_test(test_vtab LABEL unit SOURCES test/test_vtab.c
	LIBS kms_tracer kms_tracer_trace_build kms_tracer_workload)
if(TARGET test_vtab)
	add_dependencies(test_vtab kmemscope_sqlite)
	if(NOT KMS_SANITIZE) # the system's sqlite3 cannot load what needs a sanitizer's runtime
		target_compile_definitions(test_vtab PRIVATE TEST_EXTENSION)
	endif()
endif()
kms_test(test_file LABEL unit SOURCES test/test_file.c LIBS kms_tracer kms_tracer_trace_build)
kms_test(test_file_leaks LABEL unit SOURCES test/test_file_leaks.c LIBS kms_tracer kms_tracer_trace_build)
kms_test(test_file_samples LABEL unit SOURCES test/test_file_samples.c LIBS kms_tracer kms_tracer_trace_build)
kms_test(test_file_damage LABEL unit SOURCES test/test_file_damage.c
	LIBS kms_tracer kms_tracer_trace_build)
kms_test(test_store_faults LABEL sweep SOURCES test/test_store_faults.c test/store_faulty_vfs.c
	LIBS kms_tracer kms_tracer_trace_build TIMEOUT 300)
kms_fuzz(fuzz_chunk SOURCES test/fuzz_chunk.c LIBS kms_tracer
	CORPUS ${CMAKE_SOURCE_DIR}/tests/fuzz/corpus/chunk)
kms_fuzz(fuzz_trace SOURCES test/fuzz_trace.c LIBS kms_tracer
	CORPUS ${CMAKE_SOURCE_DIR}/tests/fuzz/corpus/trace)
kms_test(stress_file LABEL stress SOURCES test/stress_file.c LIBS kms_tracer kms_tracer_trace_build
	PLAIN)
