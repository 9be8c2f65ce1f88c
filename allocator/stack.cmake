# Stack capture by itself, for its tests and bench: the same sources that kms_allocator has, without the rest of the core.
add_library(kms_stack OBJECT append.c stack.c stack_memo.c stack_step.c stack_walk.c trie.c
	port/cfi.c port/eh_frame.c port/modules_posix.c port/unwind_posix.c
	test/stack_support.c)
kms_allocator_flags(kms_stack)

if(TARGET kms::cmocka)
	kms_test(test_trie LABEL unit SOURCES test/test_trie.c append.c trie.c LIBS Threads::Threads)
	if(NOT KMS_SANITIZE) # the rows of libc are asked for by its qsort, which a sanitizer replaces
		kms_test(test_unwind LABEL unit SOURCES test/test_unwind.c $<TARGET_OBJECTS:kms_stack>)
	endif()
endif()

# It reads other functions' frames, which the sanitizers take for a mistake.
if(NOT KMS_SANITIZE)
	add_library(stack_module_a MODULE test/stack_module.c)
	add_library(stack_module_b MODULE test/stack_module.c)
	target_compile_definitions(stack_module_a PRIVATE FRAME_BYTES=4096)
	target_compile_definitions(stack_module_b PRIVATE FRAME_BYTES=8192)
	add_library(stack_graph OBJECT test/stack_graph.c)
	target_link_libraries(stack_graph PRIVATE kms_flags)
	target_compile_options(stack_graph PRIVATE -O2 -fomit-frame-pointer)
	kms_test(test_stack LABEL unit PLAIN SOURCES test/test_stack.c $<TARGET_OBJECTS:stack_graph>
		$<TARGET_OBJECTS:kms_stack> LIBS Threads::Threads ${CMAKE_DL_LIBS})
	target_compile_definitions(test_stack PRIVATE KMS_TEST_MODULE_A="$<TARGET_FILE:stack_module_a>"
		KMS_TEST_MODULE_B="$<TARGET_FILE:stack_module_b>")
	add_dependencies(test_stack stack_module_a stack_module_b)
endif()
