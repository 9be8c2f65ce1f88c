# Third-party libraries, all by pkg-config, as imported targets kms::NAME. docs/dependencies.md says why each is there.
#
# A library is required only where a folder that uses it is built; else it is not even looked for, so that a part of
# the tree can be built with a part of the packages.
find_package(PkgConfig REQUIRED)

# kms_find(NAME MODULE PACKAGE): creates kms::NAME from the pkg-config module, or stops with the Debian package to install.
function(kms_find name module package)
	if(TARGET kms::${name})
		return()
	endif()
	pkg_check_modules(${name} QUIET IMPORTED_TARGET GLOBAL ${module})
	if(NOT ${name}_FOUND)
		message(FATAL_ERROR "library ${module} not found: install the Debian package ${package}, "
			"or run `make deps`, which installs all that are missing")
	endif()
	add_library(kms::${name} ALIAS PkgConfig::${name})
endfunction()

# One line a library: name, module, Debian package, folders that use it.
set(KMS_LIBRARIES
	"sqlite3|sqlite3|libsqlite3-dev|tracer"
	"zstd|libzstd|libzstd-dev|tracer"
	"dw|libdw|libdw-dev|tracer"
	"elf|libelf|libelf-dev|tracer"
	"microhttpd|libmicrohttpd|libmicrohttpd-dev|server"
	"zlib|zlib|zlib1g-dev|server"
	"cjson|libcjson|libcjson-dev|tracer server tui"
	"curl|libcurl|libcurl4-openssl-dev|tui")

foreach(line IN LISTS KMS_LIBRARIES)
	string(REPLACE "|" ";" fields "${line}")
	list(GET fields 0 name)
	list(GET fields 1 module)
	list(GET fields 2 package)
	list(GET fields 3 users)
	separate_arguments(users)
	foreach(user IN LISTS users)
		if(user IN_LIST KMS_COMPONENTS AND EXISTS ${CMAKE_SOURCE_DIR}/${user}/CMakeLists.txt)
			kms_find(${name} ${module} ${package})
		endif()
	endforeach()
endforeach()

# ncursesw draws the screen; the command line works without it. A folder that needs it tests for TARGET kms::ncursesw.
pkg_check_modules(ncursesw QUIET IMPORTED_TARGET GLOBAL ncursesw)
if(ncursesw_FOUND)
	add_library(kms::ncursesw ALIAS PkgConfig::ncursesw)
endif()

# cmocka is for tests only: `make run` builds without it, `make check` (KMS_TESTS=ON) insists on it.
if(KMS_TESTS)
	kms_find(cmocka cmocka libcmocka-dev)
else()
	pkg_check_modules(cmocka QUIET IMPORTED_TARGET GLOBAL cmocka)
	if(cmocka_FOUND)
		add_library(kms::cmocka ALIAS PkgConfig::cmocka)
	else()
		message(STATUS "cmocka not found: unit tests are not built (make check installs it)")
	endif()
endif()
