# Unmodified Linux guests: adds its sources to kms_tracer, and its tests. Included by ../CMakeLists.txt.
target_sources(kms_tracer PRIVATE
	guest/btf.c
	guest/kallsyms.c
	guest/linux_depot.c
	guest/linux_info.c
	guest/linux_kfence.c
	guest/linux_layout.c
	guest/linux_modules.c
	guest/linux_open.c
	guest/linux_read.c
	guest/linux_ring.c
	guest/linux_saved.c
	guest/linux_sites.c
	guest/linux_slab.c)

# BTF, kallsyms and a kernel's memory, made by the test.
kms_library(kms_fake_linux SOURCES guest/test/fake_btf.c LIBS kms_tracer)
kms_test(test_btf LABEL unit SOURCES guest/test/test_btf.c LIBS kms_fake_linux)
kms_test(test_kallsyms LABEL unit SOURCES guest/test/test_kallsyms.c LIBS kms_fake_linux)
