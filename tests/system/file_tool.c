/* SPDX-License-Identifier: BSD-2-Clause */
/* file_tool FILE TARGET: answers one GET of the API from a trace; the body goes to stdout. */
#include <stdio.h>

#include "server/server.h"
#include "tracer/file.h"
#include "tracer/symbols.h"

int main(int argc, char **argv)
{
	struct kms_request_in in = {.method = "GET", .target = argc == 3 ? argv[2] : ""};
	struct kms_err err = KMS_ERR_INIT;
	struct kms_response out;
	struct kms_server *server;
	struct kms_file *file;
	struct kms_view view;
	int status;

	if (kms_symbols_is_helper(argc, argv))
		return kms_symbols_helper_main(argc, argv);
	if (argc != 3 || kms_file_open(argv[1], &file, &err) < 0) {
		fprintf(stderr, "file_tool: %s\n", err.text);
		return 2;
	}
	kms_file_name_stacks(file);
	view = kms_file_view(file);
	if (kms_server_create(&view, "test", &server, &err) < 0)
		return 2;
	kms_server_handle(server, &in, &out);
	fwrite(out.body, 1, out.body_bytes, stdout);
	status = out.status;
	kms_response_deinit(&out);
	kms_server_destroy(server);
	kms_file_close(file);
	return status == 200 ? 0 : 1;
}
