/* SPDX-License-Identifier: BSD-2-Clause */
/* A terminal's mode, given back: see tty_mode.h. */
#include "tui/tty_mode.h"

#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <unistd.h>

static const int signals[] = {SIGTERM, SIGHUP, SIGINT, SIGQUIT};

enum {
	N_SIGNALS = sizeof(signals) / sizeof(signals[0]),
};

static struct termios saved;
static struct sigaction old[N_SIGNALS];
static volatile sig_atomic_t is_set; /* saved is to be put back */

/* Only what a signal handler may call. Does not wait for output: nobody may be reading it any more. */
static void put_back(void)
{
	if (is_set)
		(void)tcsetattr(STDIN_FILENO, TCSANOW, &saved);
	is_set = 0;
}

/* The signal comes once more when this returns, to whom it would have come without us. */
static void on_signal(int number)
{
	int error = errno;

	put_back();
	for (int i = 0; i < N_SIGNALS; i++)
		if (signals[i] == number)
			(void)sigaction(number, &old[i], NULL);
	(void)raise(number);
	errno = error;
}

static void take_signals(void)
{
	struct sigaction ours = {.sa_handler = on_signal};

	(void)sigfillset(&ours.sa_mask); /* SIGTTOU too: in the background it would stop us there */
	for (int i = 0; i < N_SIGNALS; i++) {
		(void)sigaction(signals[i], NULL, &old[i]);
		if (old[i].sa_handler != SIG_IGN)
			(void)sigaction(signals[i], &ours, NULL);
	}
}

static void give_signals(void)
{
	for (int i = 0; i < N_SIGNALS; i++)
		(void)sigaction(signals[i], &old[i], NULL);
}

int kms_tty_mode_begin(const struct termios *before, const struct termios *mode)
{
	static bool at_exit;
	int ret = 0;

	if (!at_exit)
		at_exit = atexit(put_back) == 0;
	saved = *before;
	take_signals();
	is_set = 1;
	if (tcsetattr(STDIN_FILENO, TCSADRAIN, mode) < 0) {
		ret = -errno;
		is_set = 0;
		give_signals();
	}
	return ret;
}

void kms_tty_mode_end(void)
{
	if (!is_set)
		return;
	(void)tcsetattr(STDIN_FILENO, TCSADRAIN, &saved);
	is_set = 0;
	give_signals();
}
