# The built web page, compressed, inside a library.
#
#   kms_embed_web(TARGET FOLDER)
#
# adds to TARGET every file of FOLDER (but source maps and hidden files): gzip -9n of it by .incbin, and the table
# `const struct kms_asset kms_assets[]` of server/asset.h. Without FOLDER, or with KMS_WEB=off, the table is empty.
# Run as a script (cmake -P) this file writes the two sources.

if(CMAKE_SCRIPT_MODE_FILE)
	cmake_minimum_required(VERSION 3.25)
endif()

set(KMS_WEB prebuilt CACHE STRING "Web page in the program: prebuilt (web/dist as it is) or off")
set_property(CACHE KMS_WEB PROPERTY STRINGS prebuilt off)

# Types that browsers insist on, by the last suffix.
set(media_html "text/html; charset=utf-8")
set(media_js "text/javascript; charset=utf-8")
set(media_css "text/css; charset=utf-8")
set(media_svg "image/svg+xml")
set(media_png "image/png")
set(media_ico "image/x-icon")
set(media_json "application/json")
set(media_txt "text/plain; charset=utf-8")
set(media_woff2 "font/woff2")

# One file: its bytes, and its row. Vite puts files whose names carry a hash of their content into assets/.
function(_kms_web_asset folder path packed symbol)
	file(SHA256 ${folder}/${path} digest)
	string(SUBSTRING ${digest} 0 16 digest)
	file(SIZE ${folder}/${path} bytes)
	file(SIZE ${packed} packed_bytes)
	cmake_path(GET path EXTENSION LAST_ONLY suffix)
	string(REGEX REPLACE "^\\." "" suffix "${suffix}")
	set(media ${media_${suffix}})
	if(NOT media)
		set(media "application/octet-stream")
	endif()
	set(immutable false)
	if(path MATCHES "^assets/.*-[A-Za-z0-9_-]+\\.[a-z0-9]+$")
		set(immutable true)
	endif()
	string(APPEND KMS_WEB_S "\t.balign 16\n\t.globl ${symbol}\n${symbol}:\n\t.incbin \"${packed}\"\n")
	string(APPEND KMS_WEB_EXTERN "extern const unsigned char ${symbol}[];\n")
	string(APPEND KMS_WEB_ROWS
		"\t{\"/${path}\", \"${media}\", \"${digest}\", ${symbol}, ${packed_bytes}, ${bytes}, ${immutable}},\n")
	return(PROPAGATE KMS_WEB_S KMS_WEB_EXTERN KMS_WEB_ROWS)
endfunction()

if(CMAKE_SCRIPT_MODE_FILE)
	set(KMS_WEB_S "/* Made by cmake/EmbedWeb.cmake. */\n\t.section .rodata\n")
	set(KMS_WEB_EXTERN "")
	set(KMS_WEB_ROWS "")
	set(i 0)
	string(REPLACE "|" ";" files "${KMS_WEB_FILES}")
	foreach(path IN LISTS files)
		_kms_web_asset(${KMS_WEB_FOLDER} ${path} ${KMS_WEB_OUT}/${i}.gz kms_asset_${i})
		math(EXPR i "${i} + 1")
	endforeach()
	# without the note the linker would make the program's stack executable
	string(APPEND KMS_WEB_S "\t.section .note.GNU-stack,\"\",@progbits\n")
	file(WRITE ${KMS_WEB_OUT}/assets.S "${KMS_WEB_S}")
	file(WRITE ${KMS_WEB_OUT}/assets_table.c "/* Made by cmake/EmbedWeb.cmake. */\n#include \"server/asset.h\"\n\n"
		"${KMS_WEB_EXTERN}\nconst struct kms_asset kms_assets[] = {\n${KMS_WEB_ROWS}\t{0},\n};\n")
	return()
endif()

function(kms_embed_web target folder)
	set(files "")
	set(packed "")
	set(out ${CMAKE_CURRENT_BINARY_DIR}/web)
	file(MAKE_DIRECTORY ${out})
	if(KMS_WEB STREQUAL "prebuilt")
		file(GLOB_RECURSE files RELATIVE ${folder} CONFIGURE_DEPENDS LIST_DIRECTORIES false ${folder}/*)
		list(FILTER files EXCLUDE REGEX "(^|/)\\.|\\.map$")
	endif()
	set(i 0)
	foreach(path IN LISTS files)
		add_custom_command(OUTPUT ${out}/${i}.gz
			COMMAND gzip -9nc ${folder}/${path} > ${out}/${i}.gz
			DEPENDS ${folder}/${path}
			COMMENT "Compressing web/${path}"
			VERBATIM)
		list(APPEND packed ${out}/${i}.gz)
		math(EXPR i "${i} + 1")
	endforeach()
	string(REPLACE ";" "|" list "${files}")
	# the list itself is an input: a file that was renamed has another hash in its name
	file(CONFIGURE OUTPUT ${out}/files.txt CONTENT "${list}")
	add_custom_command(OUTPUT ${out}/assets.S ${out}/assets_table.c
		COMMAND ${CMAKE_COMMAND} "-DKMS_WEB_FILES=${list}" -DKMS_WEB_FOLDER=${folder} -DKMS_WEB_OUT=${out}
			-P ${CMAKE_SOURCE_DIR}/cmake/EmbedWeb.cmake
		DEPENDS ${packed} ${out}/files.txt ${CMAKE_SOURCE_DIR}/cmake/EmbedWeb.cmake
		COMMENT "Embedding the web page"
		VERBATIM)
	set_source_files_properties(${out}/assets.S PROPERTIES OBJECT_DEPENDS "${packed}")
	target_sources(${target} PRIVATE ${out}/assets.S ${out}/assets_table.c)
endfunction()
