# Flags that every target of the project gets, and the two ways to take hardening off again.

# Interface target: kms_library, kms_program and kms_test link it.
add_library(kms_flags INTERFACE)
target_compile_options(kms_flags INTERFACE
	$<$<COMPILE_LANGUAGE:C>:-Wall
	-Wextra
	-Wshadow
	-Wconversion
	-Wstrict-prototypes
	-Wmissing-prototypes
	-Wformat=2
	-Wundef
	-Wvla
	-Wpointer-arith
	-Wcast-align
	$<$<BOOL:${KMS_WERROR}>:-Werror>>)
target_compile_definitions(kms_flags INTERFACE $<$<COMPILE_LANGUAGE:C>:_GNU_SOURCE>)
target_include_directories(kms_flags INTERFACE ${CMAKE_SOURCE_DIR})

# Release is -O2 -g; asserts are for dev and the sanitizer builds.
set(CMAKE_C_FLAGS_RELEASE "-O2 -g -DNDEBUG")
set(CMAKE_C_FLAGS_DEBUG "-Og -g")
set(CMAKE_ASM_FLAGS_RELEASE "-g")

# Hardening belongs to targets, not to the whole build: code that runs before the C library is ready, or without one,
# must have neither stack protector nor fortify. A target with the property KMS_UNHARDENED set (kms_unhardened() below)
# gets them switched off explicitly, because a distribution's compiler may have them on by itself.
set(_hardened $<NOT:$<BOOL:$<TARGET_PROPERTY:KMS_UNHARDENED>>>)
target_compile_options(kms_flags INTERFACE
	$<$<AND:$<CONFIG:Release>,$<COMPILE_LANGUAGE:C>,${_hardened}>:-fstack-protector-strong
	-U_FORTIFY_SOURCE
	-D_FORTIFY_SOURCE=2>
	$<$<AND:$<COMPILE_LANGUAGE:C>,$<BOOL:$<TARGET_PROPERTY:KMS_UNHARDENED>>>:-fno-stack-protector
	-U_FORTIFY_SOURCE>)

# kms_unhardened(TARGET...): no stack protector and no fortify in these targets (allocator core, preload start-up path, guest).
function(kms_unhardened)
	set_target_properties(${ARGN} PROPERTIES KMS_UNHARDENED ON)
endfunction()
