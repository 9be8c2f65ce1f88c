/* SPDX-License-Identifier: BSD-2-Clause */
/* The terminal by ncursesw, and how to get away from it whatever happens: see term.h. */
#include "tui/term.h"

#include <curses.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <term.h>
#include <termios.h>
#include <unistd.h>

enum {
	ESC_DELAY_MS = 25, /* the library's own default is a second */
	RESTORE_BYTES = 512,
	ALT_STACK_BYTES = 64 << 10,
	RUN_CELLS = 1024,
	WITH_256_COLORS = 256,
	PASTE_BEGIN = KEY_MAX + 1,
	PASTE_END = KEY_MAX + 2,
};

static const char paste_on[] = "\x1b[?2004h";
static const char paste_off[] = "\x1b[?2004l";
static const char mouse_off[] = "\x1b[?1006l\x1b[?1002l\x1b[?1000l";

/* Colours of the inks: of 256 (near Okabe and Ito's palette), of 8, and attributes beside or without. */
static const struct look {
	short of_256, of_8;
	attr_t attr, mono;
} looks[KMS_INKS] = {
	[KMS_INK_PLAIN] = {-1,  -1,           0,         0        },
	[KMS_INK_HEAD] = {-1,  -1,           A_BOLD,    A_BOLD   },
	[KMS_INK_DIM] = {245, -1,           0,         A_DIM    },
	[KMS_INK_GOOD] = {35,  COLOR_GREEN,  0,         0        },
	[KMS_INK_WARN] = {221, COLOR_YELLOW, 0,         A_BOLD   },
	[KMS_INK_BAD] = {166, COLOR_RED,    A_BOLD,    A_BOLD   },
	[KMS_INK_ACCENT] = {74,  COLOR_CYAN,   0,         0        },
	[KMS_INK_LOW] = {74,  COLOR_CYAN,   0,         0        },
	[KMS_INK_MID] = {179, COLOR_YELLOW, 0,         0        },
	[KMS_INK_HIGH] = {178, COLOR_YELLOW, A_BOLD,    A_BOLD   },
	[KMS_INK_BAR] = {74,  COLOR_CYAN,   A_REVERSE, A_REVERSE},
};

struct kms_term {
	SCREEN *terminal;
	struct kms_screen last; /* what the terminal shows */
	bool stale;             /* it shows something else */
	bool color;
	int old_stderr, kept_stderr;
};

/* What handlers of signals need; they get no argument. */
static struct {
	volatile sig_atomic_t asked; /* to end */
	volatile sig_atomic_t open;
	char restore[RESTORE_BYTES];
	size_t restore_bytes;
	struct termios termios;
	int old_stderr, kept_stderr;
} leave;

/* What ends a process unless it is caught: first its own faults, then what others send. */
static const int deadly[] = {
	SIGSEGV, SIGBUS,  SIGILL,  SIGFPE,  SIGABRT, SIGSYS,    SIGQUIT, SIGALRM,
	SIGUSR1, SIGUSR2, SIGXCPU, SIGXFSZ, SIGTRAP, SIGVTALRM, SIGPROF,
};
static const int requests[] = {SIGINT, SIGTERM, SIGHUP};

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static void on_request(int signal)
{
	leave.asked = signal;
}

/* Copies what was kept of standard error. Calls only what a handler may. */
static void replay(int from, int to)
{
	char bytes[512];
	off_t at = 0;
	ssize_t n;

	while ((n = pread(from, bytes, sizeof(bytes), at)) > 0) {
		if (write(to, bytes, (size_t)n) < 0)
			return;
		at += n;
	}
}

static void on_deadly(int signal)
{
	const struct sigaction normal = {.sa_handler = SIG_DFL};

	if (leave.open) {
		leave.open = 0;
		if (write(STDOUT_FILENO, leave.restore, leave.restore_bytes) >= 0)
			(void)tcsetattr(STDIN_FILENO, TCSANOW, &leave.termios);
		replay(leave.kept_stderr, leave.old_stderr);
	}
	(void)sigaction(signal, &normal, NULL);
	(void)raise(signal);
}

static void add_restore(const char *bytes)
{
	size_t n = bytes ? strlen(bytes) : 0;

	if (n == 0 || leave.restore_bytes + n > RESTORE_BYTES)
		return;
	memcpy(leave.restore + leave.restore_bytes, bytes, n);
	leave.restore_bytes += n;
}

static const char *capability(const char *name)
{
	const char *value = tigetstr(name);

	/* NOLINTNEXTLINE(performance-no-int-to-ptr): that is what the library returns */
	return value == (char *)-1 ? NULL : value;
}

static void catch_signals(void)
{
	static char alt_stack[ALT_STACK_BYTES];
	const stack_t stack = {.ss_sp = alt_stack, .ss_size = sizeof(alt_stack)};
	const struct sigaction dies = {.sa_handler = on_deadly, .sa_flags = SA_ONSTACK};
	const struct sigaction request = {.sa_handler = on_request};
	static const char *const undo[] = {"sgr0", "rmkx", "cnorm", "rmcup"};

	leave.restore_bytes = 0;
	add_restore(mouse_off);
	add_restore(paste_off);
	for (size_t i = 0; i < COUNT(undo); i++)
		add_restore(capability(undo[i]));
	leave.asked = 0;
	leave.open = 1;
	(void)sigaltstack(&stack, NULL); /* without it the handler runs on the normal one */
	for (size_t i = 0; i < COUNT(deadly); i++)
		sigaction(deadly[i], &dies, NULL);
	/* the library's own handlers call what a handler must not */
	for (size_t i = 0; i < COUNT(requests); i++)
		sigaction(requests[i], &request, NULL);
}

static void release_signals(void)
{
	const struct sigaction normal = {.sa_handler = SIG_DFL};

	leave.open = 0;
	for (size_t i = 0; i < COUNT(deadly); i++)
		sigaction(deadly[i], &normal, NULL);
	for (size_t i = 0; i < COUNT(requests); i++)
		sigaction(requests[i], &normal, NULL);
}

/* Standard error goes into memory. Without memory for that it stays. */
static void keep_stderr(struct kms_term *term)
{
	term->kept_stderr = memfd_create("kmemscope-stderr", MFD_CLOEXEC);
	term->old_stderr = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
	leave.kept_stderr = term->kept_stderr;
	leave.old_stderr = term->old_stderr;
	if (term->kept_stderr >= 0 && term->old_stderr >= 0)
		(void)dup2(term->kept_stderr, STDERR_FILENO);
}

static void give_stderr(struct kms_term *term)
{
	if (term->kept_stderr >= 0 && term->old_stderr >= 0) {
		(void)dup2(term->old_stderr, STDERR_FILENO);
		replay(term->kept_stderr, STDERR_FILENO);
	}
	if (term->kept_stderr >= 0)
		close(term->kept_stderr);
	if (term->old_stderr >= 0)
		close(term->old_stderr);
}

/* The pair of colours of an ink: 0 is the terminal's own. */
static short pair_of(uint8_t ink)
{
	return (short)((ink & KMS_INK_MASK) % KMS_INKS + 1);
}

static void init_colors(struct kms_term *term)
{
	if (!term->color || !has_colors() || start_color() == ERR) {
		term->color = false;
		return;
	}
	(void)use_default_colors();
	for (int i = 0; i < KMS_INKS; i++)
		(void)init_pair(
			pair_of((uint8_t)i),
			(short)(COLORS >= WITH_256_COLORS ? looks[i].of_256 : looks[i].of_8), -1);
}

static void init_input(const struct kms_term_options *options)
{
	if (!getenv("ESCDELAY")) /* NOLINT(concurrency-mt-unsafe): no other thread writes it */
		(void)set_escdelay(ESC_DELAY_MS);
	(void)cbreak();
	(void)noecho();
	(void)nonl();
	(void)intrflush(stdscr, FALSE);
	(void)keypad(stdscr, TRUE);
	(void)nodelay(stdscr, TRUE);
	(void)leaveok(stdscr, FALSE);
	(void)define_key("\x1b[200~", PASTE_BEGIN);
	(void)define_key("\x1b[201~", PASTE_END);
	if (options->mouse) {
		(void)mouseinterval(0);
		(void)mousemask(BUTTON1_PRESSED | BUTTON4_PRESSED | BUTTON5_PRESSED, NULL);
	}
	(void)putp(paste_on);
}

int kms_term_open(const struct kms_term_options *options, struct kms_term **out,
		  struct kms_err *err)
{
	struct kms_term *term;
	int ret = kms_term_check(err);

	if (ret < 0)
		return ret;
	term = calloc(1, sizeof(*term));
	if (!term)
		return kms_err_set(err, -ENOMEM, "out of memory");
	/* they would keep the size as it is for ever */
	(void)unsetenv("LINES");   /* NOLINT(concurrency-mt-unsafe) */
	(void)unsetenv("COLUMNS"); /* NOLINT(concurrency-mt-unsafe) */
	(void)tcgetattr(STDIN_FILENO, &leave.termios);
	term->terminal = newterm(NULL, stdout, stdin);
	if (!term->terminal) {
		free(term);
		return kms_err_set(err, -ENOTSUP,
				   "the terminal's name (TERM) is not known here; `kmemscope top "
				   "--once` prints one screen as text");
	}
	term->color = options->colors;
	term->stale = true;
	kms_screen_init(&term->last);
	init_input(options);
	init_colors(term);
	keep_stderr(term);
	catch_signals();
	*out = term;
	return 0;
}

void kms_term_close(struct kms_term *term)
{
	if (!term)
		return;
	(void)mousemask(0, NULL);
	(void)putp(paste_off);
	(void)endwin();
	if (!capability("rmcup")) /* the picture stays: the shell goes on below it */
		(void)fputs("\n", stdout);
	(void)fflush(stdout);
	release_signals();
	give_stderr(term);
	delscreen(term->terminal);
	kms_screen_deinit(&term->last);
	free(term);
}

int kms_term_fd(const struct kms_term *term)
{
	(void)term;
	return STDIN_FILENO;
}

void kms_term_size(const struct kms_term *term, int *width, int *height)
{
	(void)term;
	getmaxyx(stdscr, *height, *width);
}

static const struct {
	int code;
	uint32_t key;
} keys[] = {
	{KEY_UP,        KMS_KEY_UP         },
        {KEY_DOWN,      KMS_KEY_DOWN       },
	{KEY_LEFT,      KMS_KEY_LEFT       },
        {KEY_RIGHT,     KMS_KEY_RIGHT      },
	{KEY_PPAGE,     KMS_KEY_PAGE_UP    },
        {KEY_NPAGE,     KMS_KEY_PAGE_DOWN  },
	{KEY_HOME,      KMS_KEY_HOME       },
        {KEY_END,       KMS_KEY_END        },
	{KEY_DC,        KMS_KEY_DELETE     },
        {KEY_BACKSPACE, KMS_KEY_BACKSPACE  },
	{KEY_BTAB,      KMS_KEY_BACK_TAB   },
        {KEY_ENTER,     KMS_KEY_ENTER      },
	{KEY_RESIZE,    KMS_KEY_RESIZE     },
        {PASTE_BEGIN,   KMS_KEY_PASTE_BEGIN},
	{PASTE_END,     KMS_KEY_PASTE_END  },
};

static void read_mouse(struct kms_input *input)
{
	MEVENT event;

	input->key = KMS_KEY_NONE;
	if (getmouse(&event) != OK)
		return;
	input->x = event.x;
	input->y = event.y;
	if (event.bstate & BUTTON1_PRESSED)
		input->key = KMS_KEY_CLICK;
	else if (event.bstate & BUTTON4_PRESSED)
		input->key = KMS_KEY_WHEEL_UP;
	else if (event.bstate & BUTTON5_PRESSED)
		input->key = KMS_KEY_WHEEL_DOWN;
}

static void translate(wint_t code, struct kms_input *input)
{
	input->key = KMS_KEY_NONE;
	if (code == KEY_MOUSE)
		read_mouse(input);
	else if (code >= KEY_F(1) && code <= KEY_F(12))
		input->key = KMS_KEY_F1 + (uint32_t)code - KEY_F(1);
	for (size_t i = 0; i < COUNT(keys); i++)
		if ((wint_t)keys[i].code == code)
			input->key = keys[i].key;
}

bool kms_term_read(struct kms_term *term, struct kms_input *input)
{
	wint_t code;
	int kind = get_wch(&code);

	(void)term;
	*input = (struct kms_input){0};
	if (kind == ERR)
		return false;
	if (kind == KEY_CODE_YES) {
		translate(code, input);
		return true;
	}
	input->key = (uint32_t)code;
	if (code == '\n')
		input->key = KMS_KEY_ENTER;
	else if (code == 127 || code == '\b')
		input->key = KMS_KEY_BACKSPACE;
	else if (code == KMS_KEY_ESC && (kind = get_wch(&code)) != ERR) {
		if (kind == KEY_CODE_YES)
			translate(code, input);
		else
			input->key =
				KMS_KEY_ALT | (code == 127 ? KMS_KEY_BACKSPACE : (uint32_t)code);
	}
	return true;
}

static void set_ink(const struct kms_term *term, uint8_t ink)
{
	const struct look *look = &looks[(ink & KMS_INK_MASK) % KMS_INKS];
	attr_t attr = term->color ? look->attr : look->mono;

	if (ink & KMS_INK_REVERSE)
		attr ^= A_REVERSE;
	if (ink & KMS_INK_BOLD)
		attr |= A_BOLD;
	(void)attr_set(attr, term->color ? pair_of(ink) : 0, NULL);
}

static bool is_same(const struct kms_cell *a, const struct kms_cell *b)
{
	return a->c == b->c && a->ink == b->ink;
}

/* Cells from..to of a line, in runs of one ink. */
static void draw_cells(const struct kms_term *term, const struct kms_screen *screen, int y,
		       int from, int to)
{
	wchar_t run[RUN_CELLS];
	int n = 0;
	int begin = from;

	for (int x = from; x <= to; x++) {
		const struct kms_cell *cell = kms_screen_at(screen, x, y);
		bool last = x == to || n == RUN_CELLS ||
			    (cell->c && cell->ink != kms_screen_at(screen, begin, y)->ink);

		if (last && n) {
			set_ink(term, kms_screen_at(screen, begin, y)->ink);
			(void)mvaddnwstr(y, begin, run, n);
			n = 0;
			begin = x;
		}
		if (x < to && cell->c)
			run[n++] = (wchar_t)cell->c;
	}
}

static void draw_line(struct kms_term *term, const struct kms_screen *screen, int y)
{
	int from = 0;
	int to = screen->width;

	if (!term->stale) {
		while (from < to &&
		       is_same(kms_screen_at(screen, from, y), kms_screen_at(&term->last, from, y)))
			from++;
		while (to > from && is_same(kms_screen_at(screen, to - 1, y),
					    kms_screen_at(&term->last, to - 1, y)))
			to--;
	}
	if (from == to)
		return;
	while (from > 0 && (kms_screen_at(screen, from, y)->c == 0 ||
			    kms_screen_at(&term->last, from, y)->c == 0))
		from--;
	while (to < screen->width && kms_screen_at(screen, to, y)->c == 0)
		to++;
	draw_cells(term, screen, y, from, to);
}

void kms_term_draw(struct kms_term *term, const struct kms_screen *screen, int cursor_x,
		   int cursor_y)
{
	size_t bytes = (size_t)screen->width * (size_t)screen->height * sizeof(*screen->cell);

	if (term->last.width != screen->width || term->last.height != screen->height) {
		if (kms_screen_resize(&term->last, screen->width, screen->height) < 0)
			return;
		term->stale = true;
	}
	for (int y = 0; y < screen->height; y++)
		draw_line(term, screen, y);
	memcpy(term->last.cell, screen->cell, bytes);
	term->stale = false;
	(void)curs_set(cursor_x >= 0);
	if (cursor_x >= 0)
		(void)move(cursor_y, cursor_x);
	(void)wnoutrefresh(stdscr);
	(void)doupdate();
}

void kms_term_redraw(struct kms_term *term)
{
	term->stale = true;
	(void)redrawwin(stdscr);
}

int kms_term_signal(struct kms_term *term)
{
	int signal = leave.asked;

	(void)term;
	leave.asked = 0;
	return signal;
}
