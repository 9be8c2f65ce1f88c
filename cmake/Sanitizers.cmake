# Sanitizer, fuzzer and coverage flags: for the whole build, since half-instrumented programs report nonsense.

if(KMS_SANITIZE)
	add_compile_options($<$<COMPILE_LANGUAGE:C>:-fsanitize=${KMS_SANITIZE}>
		-fno-omit-frame-pointer)
	add_link_options(-fsanitize=${KMS_SANITIZE})
	if(KMS_SANITIZE MATCHES "undefined|address")
		add_compile_options($<$<COMPILE_LANGUAGE:C>:-fno-sanitize-recover=all>)
	endif()
endif()

# Fuzz targets add -fsanitize=fuzzer when they link (kms_fuzz); everything else only carries the counters.
if(KMS_FUZZ)
	if(NOT CMAKE_C_COMPILER_ID STREQUAL "Clang")
		message(FATAL_ERROR "KMS_FUZZ needs clang: use the preset fuzz")
	endif()
	add_compile_options($<$<COMPILE_LANGUAGE:C>:-fsanitize=fuzzer-no-link>)
endif()

# Counters are atomic: threads that lose updates leave impossible numbers, over which gcovr stops.
if(KMS_COVERAGE)
	add_compile_options($<$<COMPILE_LANGUAGE:C>:--coverage>
		$<$<COMPILE_LANGUAGE:C>:-fprofile-abs-path>
		$<$<COMPILE_LANGUAGE:C>:-fprofile-update=atomic>)
	add_link_options(--coverage)
endif()
