# A text file (SQL, JSON) as a C array, made at build time.
#
#   kms_embed_text(TARGET FILE SYMBOL)
#
# adds to TARGET a source that defines
#
#   const char SYMBOL[];           the bytes of FILE and a closing NUL
#   const unsigned long SYMBOL_len; bytes without the NUL
#
# The user declares both `extern` in a header of its own. Run as a script (cmake -P) this file writes that source.

if(CMAKE_SCRIPT_MODE_FILE)
	file(READ ${KMS_EMBED_IN} hex HEX)
	string(LENGTH "${hex}" digits)
	math(EXPR bytes "${digits} / 2")
	string(REGEX REPLACE "(..)" "0x\\1," array "${hex}")
	string(REPEAT "." 60 line) # twelve bytes of "0x..,"
	string(REGEX REPLACE "(${line})" "\\1\n\t" array "${array}")
	file(WRITE ${KMS_EMBED_OUT} "/* Made from ${KMS_EMBED_NAME} by cmake/EmbedText.cmake. */\n"
		"extern const char ${KMS_EMBED_SYMBOL}[];\n"
		"extern const unsigned long ${KMS_EMBED_SYMBOL}_len;\n\n"
		"const char ${KMS_EMBED_SYMBOL}[] = {\n\t${array}0\n};\n"
		"const unsigned long ${KMS_EMBED_SYMBOL}_len = ${bytes};\n")
	return()
endif()

function(kms_embed_text target file symbol)
	cmake_path(ABSOLUTE_PATH file BASE_DIRECTORY ${CMAKE_CURRENT_SOURCE_DIR} OUTPUT_VARIABLE in)
	cmake_path(RELATIVE_PATH in BASE_DIRECTORY ${CMAKE_SOURCE_DIR} OUTPUT_VARIABLE name)
	set(out ${CMAKE_CURRENT_BINARY_DIR}/embed_${symbol}.c)
	add_custom_command(OUTPUT ${out}
		COMMAND ${CMAKE_COMMAND} -DKMS_EMBED_IN=${in} -DKMS_EMBED_OUT=${out}
			-DKMS_EMBED_NAME=${name} -DKMS_EMBED_SYMBOL=${symbol}
			-P ${CMAKE_SOURCE_DIR}/cmake/EmbedText.cmake
		DEPENDS ${in} ${CMAKE_SOURCE_DIR}/cmake/EmbedText.cmake
		COMMENT "Embedding ${name}"
		VERBATIM)
	target_sources(${target} PRIVATE ${out})
endfunction()
