# The checks of .ci/check.sh as tests of label lint. A check whose tool is missing says so and is skipped (77).

set(KMS_LINT_CHECKS format layering headers size spell shell freestanding workplace product cppcheck
	tidy selftest)

if(KMS_LINT AND EXISTS ${CMAKE_SOURCE_DIR}/.ci/check.sh)
	foreach(check IN LISTS KMS_LINT_CHECKS)
		# clang-tidy over all files takes ten minutes of two cores that have nothing else to do
		kms_script_test(lint_${check} LABEL lint TIMEOUT 3600
			COMMAND ${CMAKE_SOURCE_DIR}/.ci/check.sh ${check})
	endforeach()
endif()
