/* SPDX-License-Identifier: BSD-2-Clause */
/* Built without ncursesw: there is no screen, but one frame as text. See term.h. */
#include <errno.h>

#include "tui/term.h"

int kms_term_open(const struct kms_term_options *options, struct kms_term **out,
		  struct kms_err *err)
{
	(void)options;
	(void)out;
	return kms_err_set(err, -ENOTSUP,
			   "built without ncursesw; `kmemscope top --once` prints one screen");
}

void kms_term_close(struct kms_term *term)
{
	(void)term;
}

int kms_term_fd(const struct kms_term *term)
{
	(void)term;
	return -1;
}

void kms_term_size(const struct kms_term *term, int *width, int *height)
{
	(void)term;
	*width = *height = 0;
}

bool kms_term_read(struct kms_term *term, struct kms_input *input)
{
	(void)term;
	(void)input;
	return false;
}

void kms_term_draw(struct kms_term *term, const struct kms_screen *screen, int cursor_x,
		   int cursor_y)
{
	(void)term;
	(void)screen;
	(void)cursor_x;
	(void)cursor_y;
}

void kms_term_redraw(struct kms_term *term)
{
	(void)term;
}

int kms_term_signal(struct kms_term *term)
{
	(void)term;
	return 0;
}
