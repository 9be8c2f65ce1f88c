# Tests of KMEM_GUARD, each for every back end of a process: 1 userfaultfd, 2 markers, 3 mprotect.
# A test gets the back end as its first argument and skips one that the system does not have.

# What all but the cmocka test are: programs with forks, signals and threads.
function(guard_test name label)
	kms_test(${name} LABEL ${label} PLAIN TIMEOUT 300
		SOURCES ${name}.c guard_cases.c $<TARGET_OBJECTS:kms_allocator>
		LIBS kms_kt Threads::Threads ${CMAKE_DL_LIBS}
		ARGS 1)
endfunction()

allocator_test(test_guard detect)
allocator_test(test_pool_guard detect)
allocator_test(test_umem_guard detect)
guard_test(test_guard_model model)
guard_test(test_guard_malloc detect)
guard_test(test_guard_process detect)
guard_test(test_guard_signals detect)

# The malloc family in the program itself.
target_sources(test_guard_malloc PRIVATE ${CMAKE_CURRENT_SOURCE_DIR}/../preload/early.c
	${CMAKE_CURRENT_SOURCE_DIR}/../preload/malloc.c)
target_compile_options(test_guard_malloc PRIVATE -std=gnu11 -fno-builtin)

foreach(test IN ITEMS test_guard test_guard_malloc test_guard_model test_guard_process test_guard_signals)
	if(NOT TEST ${test})
		continue() # without cmocka
	endif()
	get_test_property(${test} LABELS label)
	foreach(backend IN ITEMS 2 3)
		kms_script_test(${test}_${backend} LABEL ${label} TIMEOUT 300
			COMMAND $<TARGET_FILE:${test}> ${backend})
	endforeach()
endforeach()
