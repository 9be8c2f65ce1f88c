/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Options of every command that can serve the API on a port: rows of its option table.
 */
#ifndef KMS_TUI_HTTP_OPTIONS_H
#define KMS_TUI_HTTP_OPTIONS_H

#include <stddef.h>

#include "tui/hooks.h"
#include "tui/options.h"

/** Rows for a struct of values with a member `struct kms_http_options http`. */
#define KMS_HTTP_OPTIONS(values)                                                                   \
	KMS_ROW_TEXT("http", 0, offsetof(values, http.where), "[ADDR:]PORT",                       \
		     "the page and the API on this port too, with a token; 0: any port"),          \
		KMS_ROW_FLAG("http-expose-unencrypted", 0, offsetof(values, http.expose),          \
			     "let --http take an address that other machines can reach"),          \
		KMS_ROW_TEXT("web-root", 0, offsetof(values, http.web_root), "FOLDER",             \
			     "serve the page from FOLDER, for working on it")

#endif
