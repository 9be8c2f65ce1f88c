# Unmodified Linux guests: adds its sources to kms_tracer, and its tests. Included by ../CMakeLists.txt.
target_sources(kms_tracer PRIVATE
	guest/btf.c
	guest/kallsyms.c)
