# Unmodified Linux guests: adds its sources to kms_tracer, and its tests. Included by ../CMakeLists.txt.
target_sources(kms_tracer PRIVATE
	guest/btf.c
	guest/kallsyms.c
	guest/linux_damage.c
	guest/linux_depot.c
	guest/linux_encode.c
	guest/linux_front.c
	guest/linux_info.c
	guest/linux_kfence.c
	guest/linux_layout.c
	guest/linux_log.c
	guest/linux_modules.c
	guest/linux_names.c
	guest/linux_object.c
	guest/linux_learn.c
	guest/linux_open.c
	guest/linux_owner.c
	guest/linux_read.c
	guest/linux_record.c
	guest/linux_record_fault.c
	guest/linux_ring.c
	guest/linux_saved.c
	guest/linux_shot.c
	guest/linux_sites.c
	guest/linux_slab.c
	guest/linux_slabs.c
	guest/linux_view.c
	guest/linux_view_ask.c)

# BTF, kallsyms and a kernel's memory, made by the test.
kms_library(kms_fake_linux SOURCES guest/test/fake_btf.c guest/test/fake_linux.c guest/test/fake_types.c LIBS kms_guest_fixture)
kms_test(test_btf LABEL unit SOURCES guest/test/test_btf.c LIBS kms_fake_linux)
kms_test(test_kallsyms LABEL unit SOURCES guest/test/test_kallsyms.c LIBS kms_fake_linux)
kms_test(test_linux_guest LABEL unit SOURCES guest/test/test_linux_guest.c LIBS kms_fake_linux)
kms_test(test_linux_view LABEL unit SOURCES guest/test/test_linux_view.c LIBS kms_fake_linux)
kms_test(test_linux_record LABEL unit SOURCES guest/test/test_linux_record.c LIBS kms_fake_linux)

# Always the same seeds, so that a red run means a change; soak takes many more.
set(rounds 150)
if(KMS_SANITIZE)
	set(rounds 60)
endif()
kms_test(test_linux_damage LABEL unit SOURCES guest/test/test_linux_damage.c LIBS kms_fake_linux
	ENV KMS_SEED=1 KMS_ROUNDS=${rounds})
if(TARGET test_linux_damage AND TARGET kms::cmocka)
	kms_script_test(soak_linux_damage LABEL soak COMMAND test_linux_damage TIMEOUT 3600 ENV KMS_SEED=1001 KMS_ROUNDS=2500)
endif()

# Saved memory of real guests, damaged: started by tests/guest/images.py, which makes it.
kms_program(guest_images DIR test SOURCES guest/test/guest_images.c guest/test/images_linux.c guest/test/images_ours.c
	guest/test/damage.c guest/test/watched.c LIBS kms_guest_fixture)

# Their seeds are made by make_linux_corpus, by hand: build/dev/test/make_linux_corpus tests/fuzz/corpus
kms_fuzz(fuzz_btf SOURCES guest/test/fuzz_btf.c LIBS kms_tracer CORPUS ${CMAKE_SOURCE_DIR}/tests/fuzz/corpus/btf)
kms_fuzz(fuzz_kallsyms SOURCES guest/test/fuzz_kallsyms.c LIBS kms_tracer
	CORPUS ${CMAKE_SOURCE_DIR}/tests/fuzz/corpus/kallsyms)
kms_fuzz(fuzz_linux SOURCES guest/test/fuzz_linux.c LIBS kms_fake_linux
	CORPUS ${CMAKE_SOURCE_DIR}/tests/fuzz/corpus/linux)
kms_program(fake_linux_ram DIR test SOURCES guest/test/fake_linux_ram.c LIBS kms_fake_linux)
kms_program(make_linux_corpus DIR test SOURCES guest/test/make_linux_corpus.c LIBS kms_fake_linux)
