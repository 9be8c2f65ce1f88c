/* SPDX-License-Identifier: BSD-2-Clause */
/* What an address is and who had it: whatis history */
#include "tui/cmd.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tui/view.h"

/* The request for an address that comes from the user. NULL: it is none, which was said. */
static char *address_request(struct kms_cli *cli, const struct kms_view_values *values,
			     const char *path, const char *address)
{
	char limit[24], target[24], full[128];
	const char *digits = strncmp(address, "0x", 2) == 0 ? address + 2 : address;
	size_t length = strspn(digits, "0123456789abcdefABCDEF");

	if (!length || length > 16 || digits[length] != '\0') {
		kms_cli_error(cli, "\"%s\" is no address; addresses are hexadecimal: 0x7f12345678",
			      address);
		return NULL;
	}
	snprintf(full, sizeof(full), "%s/0x%s", path, digits);
	return kms_view_target(
		full, (const char *[]){"target", kms_opt_text(&values->target, target), "limit",
				       kms_opt_text(&values->limit, limit), NULL});
}

static int show_address(struct kms_cli *cli, const struct kms_view_values *values, const char *path,
			char **args, int n_args, kms_show_fn *show)
{
	char *request = address_request(cli, values, path, args[0]);
	struct kms_client *client;
	int status = request ? kms_view_open(cli, args + 1, n_args - 1, &client) : KMS_EXIT_USAGE;

	if (!status) {
		status = kms_view_ask(cli, values, client,
				      &(struct kms_view_request){
					      .method = "GET", .target = request, .show = show});
		kms_client_close(client);
	}
	free(request);
	return status;
}

int kms_cmd_whatis(struct kms_cli *cli, void *values, char **args, int n_args)
{
	return show_address(cli, values, "/api/v1/whatis", args, n_args, kms_show_whatis);
}

int kms_cmd_history(struct kms_cli *cli, void *values, char **args, int n_args)
{
	return show_address(cli, values, "/api/v1/history", args, n_args, kms_show_history);
}
