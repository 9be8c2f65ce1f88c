/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * All images of a run: see images.h.
 */
#include "tracer/images.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "base/list.h"
#include "tracer/batch_build.h"
#include "tracer/images_impl.h"
#include "tracer/process.h"
#include "tracer/session.h"

/* Keys in the epoll set that are no image's: ordinals begin at 1. */
enum {
	KEY_FOLDER = 0,
	KEY_WAKE = 1,
	EVENTS_AT_ONCE = 64,
};

/* The folder is read again so often, should an event be lost. */
static const uint64_t rescan_ns = 500000000;

/* A file that does not become a region for so long, and that nobody has open, never will. */
static const uint64_t unfinished_ns = 2000000000;

static void close_fd(int fd)
{
	if (fd >= 0)
		(void)close(fd); /* nothing was written that matters */
}

static int watch_fd(struct kms_images *images, int fd, uint64_t key)
{
	struct epoll_event event = {.events = EPOLLIN, .data.u64 = key};

	return epoll_ctl(images->env.epoll_fd, EPOLL_CTL_ADD, fd, &event) ? -errno : 0;
}

static int open_all(struct kms_images *images, const char *dir, struct kms_err *err)
{
	images->dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (images->dir_fd < 0)
		return kms_err_sys(err, -errno, "open", dir);
	images->env.epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	images->folder_fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	images->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (images->env.epoll_fd < 0 || images->folder_fd < 0 || images->wake_fd < 0)
		return kms_err_sys(err, -errno, "descriptors for the run's folder", dir);
	if (inotify_add_watch(images->folder_fd, dir, IN_CREATE | IN_MOVED_TO | IN_ONLYDIR) < 0)
		return kms_err_sys(err, -errno, "watch", dir);
	if (watch_fd(images, images->folder_fd, KEY_FOLDER) ||
	    watch_fd(images, images->wake_fd, KEY_WAKE))
		return kms_err_sys(err, -errno, "epoll", dir);
	return 0;
}

static uint64_t new_nonce(void)
{
	uint64_t nonce = 0;

	while (!nonce) {
		if (getrandom(&nonce, sizeof(nonce), 0) != sizeof(nonce))
			nonce = kms_mono_ns() ^ (uint64_t)getpid() << 40;
	}
	return nonce;
}

/* By the thread that holds: the reader is to see it at once. */
static void hold_changed(void *arg)
{
	struct kms_images *images = arg;

	atomic_store(&images->look_now, true);
	kms_images_wake(images);
}

struct kms_images *kms_images_create(const struct kms_images_config *config, struct kms_err *err)
{
	struct kms_images *images = calloc(1, sizeof(*images));

	if (!images) {
		(void)kms_err_set(err, -ENOMEM, "no memory"); /* the caller sees NULL */
		return NULL;
	}
	(void)pthread_mutex_init(&images->lock, NULL); /* default attributes cannot fail */
	kms_list_init(&images->list);
	kms_list_init(&images->pending);
	kms_list_init(&images->in_flight);
	kms_targets_init(&images->targets);
	images->dir_fd = images->folder_fd = images->wake_fd = images->env.epoll_fd = -1;
	images->env.targets = &images->targets;
	images->env.event = malloc(sizeof(*images->env.event) * KMS_SEQ_PER_BLOCK);
	images->env.nonce = new_nonce();
	images->env.hold =
		kms_hold_create(&(struct kms_hold_config){.changed = hold_changed, .arg = images});
	images->env.first_pid = (uint32_t)config->first_pid;
	images->env.only_pid = config->first_only ? (uint32_t)config->first_pid : 0;
	images->env.say = config->say;
	images->env.say_arg = config->say_arg;
	images->env.base = config->base;
	images->env.base_arg = config->base_arg;
	images->env.guest = config->guest;
	images->env.guest_memory = kms_images_guest_memory;
	images->env.guest_arg = images;
	images->rescan_now = true;
	/* then whoever began the run has said it */
	images->env.no_room_said = kms_session_room(config->dir) < KMS_SESSION_ROOM_BYTES;
	if (asprintf(&images->environment, KMS_RUN_VARIABLE "=%s", config->dir) < 0)
		images->environment = NULL;
	else
		images->env.dir = images->environment + strlen(KMS_RUN_VARIABLE "=");
	if (!images->env.event || !images->environment || !images->env.hold)
		(void)kms_err_set(err, -ENOMEM, "no memory"); /* as above */
	if (!images->env.event || !images->environment || !images->env.hold ||
	    open_all(images, config->dir, err)) {
		kms_images_destroy(images);
		return NULL;
	}
	return images;
}

void kms_images_destroy(struct kms_images *images)
{
	struct kms_list *link;
	struct kms_list *next;

	if (!images)
		return;
	while ((link = kms_list_first(&images->list)) != NULL) {
		struct kms_image *image = KMS_CONTAINER_OF(link, struct kms_image, link);

		if (image->leave_asked) /* stays if it cannot be removed */
			(void)unlinkat(images->dir_fd, image->name, 0);
		kms_image_close(image);
	}
	for (link = kms_list_first(&images->pending); link; link = next) {
		next = kms_list_next(&images->pending, link);
		free(KMS_CONTAINER_OF(link, struct pending, link));
	}
	for (link = kms_list_first(&images->in_flight); link; link = next) {
		next = kms_list_next(&images->in_flight, link);
		kms_images_drop_flight(KMS_CONTAINER_OF(link, struct in_flight, link));
	}
	kms_hold_destroy(images->env.hold); /* it wakes by wake_fd */
	close_fd(images->wake_fd);
	close_fd(images->folder_fd);
	close_fd(images->env.epoll_fd);
	close_fd(images->dir_fd);
	kms_targets_deinit(&images->targets);
	free(images->env.event);
	free(images->environment);
	(void)pthread_mutex_destroy(&images->lock); /* nobody holds it */
	free(images);
}

/* Whether a file is being read, or is waited for, or was given up. */
static bool is_known(const struct kms_images *images, const char *name)
{
	for (struct kms_list *it = kms_list_first(&images->list); it;
	     it = kms_list_next(&images->list, it)) {
		if (!strcmp(KMS_CONTAINER_OF(it, struct kms_image, link)->name, name))
			return true;
	}
	for (struct kms_list *it = kms_list_first(&images->pending); it;
	     it = kms_list_next(&images->pending, it)) {
		if (!strcmp(KMS_CONTAINER_OF(it, struct pending, link)->name, name))
			return true;
	}
	return false;
}

static struct pending *add_pending(struct kms_images *images, const char *name, uint64_t now_ns)
{
	struct pending *pending = calloc(1, sizeof(*pending));

	if (!pending) {
		images->rescan_now = true; /* finds it again */
		return NULL;
	}
	(void)snprintf(pending->name, sizeof(pending->name), "%s", name); /* was measured */
	pending->since_ns = now_ns;
	kms_list_push_back(&images->pending, &pending->link);
	return pending;
}

/* A file that is not to be opened (again). */
static void refuse_name(struct kms_images *images, const char *name, uint64_t now_ns)
{
	struct pending *pending = add_pending(images, name, now_ns);

	if (pending)
		pending->is_refused = true;
}

static void note_name(struct kms_images *images, const char *name, uint64_t now_ns)
{
	if (!strncmp(name, KMS_REGION_PREFIX, strlen(KMS_REGION_PREFIX)) &&
	    strlen(name) < KMS_IMAGE_NAME_BYTES && !is_known(images, name))
		(void)add_pending(images, name, now_ns); /* without memory: at the next rescan */
}

static void rescan(struct kms_images *images, uint64_t now_ns)
{
	int fd = openat(images->dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	const struct dirent *entry;

	images->rescan_ns = now_ns;
	images->rescan_now = false;
	if (!dir) {
		close_fd(fd);
		return;
	}
	/* NOLINTNEXTLINE(concurrency-mt-unsafe): a stream of our own */
	while ((entry = readdir(dir)) != NULL)
		note_name(images, entry->d_name, now_ns);
	(void)closedir(dir); /* only read from */
}

static void read_folder_events(struct kms_images *images, uint64_t now_ns)
{
	char buffer[4096] __attribute__((aligned(8)));
	ssize_t n;

	while ((n = read(images->folder_fd, buffer, sizeof(buffer))) > 0) {
		for (ssize_t at = 0; at < n;) {
			const struct inotify_event *event = (const void *)(buffer + at);

			if (event->mask & IN_Q_OVERFLOW)
				images->rescan_now = true;
			else if (event->len &&
				 !strncmp(event->name, KMS_STOP_PREFIX, strlen(KMS_STOP_PREFIX)))
				atomic_store(&images->look_now, true);
			else if (event->len)
				note_name(images, event->name, now_ns);
			at += (ssize_t)(sizeof(*event) + event->len);
		}
	}
}

static void say_refused(struct kms_images *images, const char *name, const struct kms_err *err)
{
	char line[512];

	if (!images->env.say)
		return;
	(void)snprintf(line, sizeof(line), "region %s is not read: %s", name, err->text);
	images->env.say(images->env.say_arg, line);
}

/* Whether a file that is no region yet can still become one: somebody has it open. */
static bool has_maker(struct kms_images *images, const struct pending *pending, uint64_t now_ns)
{
	struct kms_region probe = {.fd = -1};
	bool held;

	if (now_ns - pending->since_ns < unfinished_ns)
		return true;
	probe.fd = openat(images->dir_fd, pending->name,
			  O_RDWR | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (probe.fd < 0)
		return false;
	held = kms_region_is_held(&probe) != 0;
	close_fd(probe.fd);
	return held;
}

/* Puts an image where it belongs by the time its region was made: parents before children. */
static void insert_by_age(struct kms_list *list, struct kms_image *image)
{
	struct kms_list *at = list->prev;

	while (at != list &&
	       KMS_CONTAINER_OF(at, struct kms_image, link)->region.head.start_mono_ns >
		       image->region.head.start_mono_ns)
		at = at->prev;
	kms_list_insert_after(at, &image->link);
}

/* Tries to open a file as an image; true: it needs no further look. */
static bool try_open(struct kms_images *images, struct pending *pending, uint64_t now_ns,
		     struct kms_list *opened)
{
	struct kms_err err = KMS_ERR_INIT;
	struct kms_image *image;
	int result = kms_image_open(&images->env, images->dir_fd, pending->name, &image, &err);

	if (result == 0) {
		insert_by_age(opened, image);
		return true;
	}
	if (result == -ENOMEM || result == -EMFILE || result == -ENFILE) {
		/* may be better later: when images have ended, or its maker has */
		if (!kms_list_is_empty(&images->list) || has_maker(images, pending, now_ns))
			return false;
		say_refused(images, pending->name, &err);
		result = -EAGAIN;
	}
	if (result == -EAGAIN) {
		if (has_maker(images, pending, now_ns))
			return false;
		(void)unlinkat(images->dir_fd, pending->name,
			       0); /* stays if it cannot be removed */
		return true;
	}
	if (result == -ENOENT) {
		/* its maker took it away again, as it does where it gets no memory */
		if (kms_session_room(images->env.dir) < KMS_SESSION_ROOM_BYTES)
			kms_image_say_no_room(&images->env, pending->name);
		return true;
	}
	say_refused(images, pending->name, &err);
	pending->is_refused = true; /* stays in the list, so that it is said once */
	return false;
}

static void open_pending(struct kms_images *images, uint64_t now_ns)
{
	struct kms_list opened;
	struct kms_list *next;

	kms_list_init(&opened);
	images->state.unfinished = 0;
	for (struct kms_list *it = kms_list_first(&images->pending); it; it = next) {
		struct pending *pending = KMS_CONTAINER_OF(it, struct pending, link);

		next = kms_list_next(&images->pending, it);
		if (pending->is_refused)
			continue;
		if (try_open(images, pending, now_ns, &opened)) {
			kms_list_remove(it);
			free(pending);
		} else if (!pending->is_refused) {
			images->state.unfinished++;
		}
	}
	for (struct kms_list *it = kms_list_first(&opened); it; it = kms_list_next(&opened, it)) {
		images->state.changed_ns = now_ns;
		kms_image_set_ordinal(KMS_CONTAINER_OF(it, struct kms_image, link),
				      ++images->state.opened);
	}
	kms_list_append_all(&images->list, &opened);
}

/* A guest's next boot is an image of its own. */
static void open_guest(struct kms_images *images, uint64_t now_ns)
{
	struct kms_guest_mirror *mirror = kms_guest_link_turn(images->env.guest, now_ns);
	struct kms_err err = KMS_ERR_INIT;
	struct kms_image *image;

	if (!mirror)
		return;
	if (kms_image_open_guest(&images->env, mirror, &image, &err)) {
		if (images->env.say)
			images->env.say(images->env.say_arg, err.text);
		kms_guest_mirror_destroy(mirror);
		kms_guest_link_lost(images->env.guest, KMS_MIRROR_GONE);
		return;
	}
	images->state.changed_ns = now_ns;
	kms_image_set_ordinal(image, ++images->state.opened);
	kms_list_push_back(&images->list, &image->link);
}

static void remove_ended(struct kms_images *images, struct kms_image *image, uint64_t now_ns)
{
	if (image->mirror) {
		kms_guest_link_lost(images->env.guest, kms_guest_mirror_over(image->mirror));
		kms_image_close(image);
		images->state.changed_ns = now_ns;
		return;
	}
	kms_images_note_flights(images, image, now_ns);
	if (unlinkat(images->dir_fd, image->name, 0) && errno != ENOENT)
		refuse_name(images, image->name, now_ns); /* else it would be opened again */
	kms_image_close(image);
	images->state.changed_ns = now_ns;
}

/* Processes of an image. Where none is known and yet somebody has it mapped there is one: a child
 * before its first allocation. */
static uint32_t count_live(const struct kms_image *image)
{
	uint32_t n = kms_image_live(image);

	return n ? n : image->is_held;
}

static uint32_t count_standing(const struct kms_image *image)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < image->n_slots; i++)
		n += kms_image_slot_stands(&image->slot[i]);
	return n;
}

static int poll_all(struct kms_images *images, const struct kms_ring_ask *ask,
		    struct kms_batch *batch, struct kms_images_news *news)
{
	struct kms_list *next;
	uint32_t open = 0, live = 0, stand = 0;
	bool look_now = atomic_exchange(&images->look_now, false);

	for (struct kms_list *it = kms_list_first(&images->list); it; it = next) {
		struct kms_image *image = KMS_CONTAINER_OF(it, struct kms_image, link);
		struct kms_image_news one;
		int result;

		image->look_closer |= look_now;
		result = kms_image_poll(image, ask, batch, &one);
		next = kms_list_next(&images->list, it);
		if (result)
			return result;
		news->more |= one.more;
		if (image->fill > news->fill)
			news->fill = image->fill;
		if (image->state == KMS_IMAGE_ENDED) {
			remove_ended(images, image, ask->now_ns);
			continue;
		}
		open++;
		live += count_live(image);
		stand += count_standing(image);
	}
	images->state.open = open;
	images->state.stand = stand;
	images->state.live = live;
	return 0;
}

/* The image that filled the batch comes last the next time. */
static void rotate(struct kms_images *images)
{
	struct kms_list *first = kms_list_pop_front(&images->list);

	if (first)
		kms_list_push_back(&images->list, first);
}

int kms_images_poll(struct kms_images *images, const struct kms_images_ask *ask,
		    struct kms_batch *batch, struct kms_images_news *news)
{
	struct kms_ring_ask ring_ask = {.now_ns = ask->now_ns,
					.partial_ns = ask->partial_ns,
					.batch_bytes = ask->batch_bytes};
	int result;

	*news = (struct kms_images_news){0};
	(void)pthread_mutex_lock(&images->lock); /* a plain mutex, never locked twice */
	if (images->rescan_now || ask->now_ns - images->rescan_ns >= rescan_ns)
		rescan(images, ask->now_ns);
	open_pending(images, ask->now_ns);
	if (images->env.guest) {
		open_guest(images, ask->now_ns);
		images->state.guest_over = kms_guest_link_is_gone(images->env.guest);
		images->state.unfinished += !images->state.guest_over;
	}
	result = poll_all(images, &ring_ask, batch, news);
	kms_images_check_flights(images, ask->now_ns);
	if (!result)
		result = kms_targets_send(&images->targets, batch);
	if (news->more)
		rotate(images);
	images->state.first_seen = images->env.first_seen;
	images->state.first_allocates = images->env.allocs_first > 0;
	images->state.first_left = images->env.first_left;
	(void)pthread_mutex_unlock(&images->lock);
	news->any = !kms_batch_is_empty(batch);
	return result;
}

void kms_images_beat(struct kms_images *images)
{
	(void)pthread_mutex_lock(&images->lock);
	for (struct kms_list *it = kms_list_first(&images->list); it;
	     it = kms_list_next(&images->list, it)) {
		kms_image_beat(KMS_CONTAINER_OF(it, struct kms_image, link), kms_mono_ns(), false);
		kms_image_push(KMS_CONTAINER_OF(it, struct kms_image, link));
	}
	(void)pthread_mutex_unlock(&images->lock);
}

static struct kms_image *find_image(struct kms_images *images, uint32_t ordinal)
{
	for (struct kms_list *it = kms_list_first(&images->list); it;
	     it = kms_list_next(&images->list, it)) {
		struct kms_image *image = KMS_CONTAINER_OF(it, struct kms_image, link);

		if (image->ordinal == ordinal)
			return image;
	}
	return NULL;
}

static void handle_event(struct kms_images *images, uint64_t key)
{
	struct kms_image *image;
	uint64_t drained;

	if (key == KEY_FOLDER) {
		read_folder_events(images, kms_mono_ns());
	} else if (key == KEY_WAKE) {
		(void)!read(images->wake_fd, &drained, sizeof(drained)); /* only to empty it */
	} else {
		image = find_image(images, (uint32_t)(key >> 32));
		if (image)
			kms_image_process_ended(image, (uint32_t)key);
	}
}

void kms_images_wait(struct kms_images *images, uint64_t timeout_ns)
{
	struct epoll_event event[EVENTS_AT_ONCE];
	struct timespec timeout = {.tv_sec = (time_t)(timeout_ns / 1000000000u),
				   .tv_nsec = (long)(timeout_ns % 1000000000u)};
	int n = epoll_pwait2(images->env.epoll_fd, event, EVENTS_AT_ONCE, &timeout, NULL);

	if (n <= 0)
		return; /* the time is over, or a signal */
	(void)pthread_mutex_lock(&images->lock);
	for (int i = 0; i < n; i++)
		handle_event(images, event[i].data.u64);
	(void)pthread_mutex_unlock(&images->lock);
}

void kms_images_wake(struct kms_images *images)
{
	uint64_t one = 1;

	(void)!write(images->wake_fd, &one, sizeof(one)); /* full means it is awake anyway */
}

void kms_images_exited(struct kms_images *images, pid_t pid, int32_t wait_status)
{
	(void)pthread_mutex_lock(&images->lock);
	kms_targets_exited(&images->targets, pid, wait_status);
	(void)pthread_mutex_unlock(&images->lock);
	kms_images_wake(images);
}

void kms_images_state(struct kms_images *images, struct kms_images_state *out)
{
	(void)pthread_mutex_lock(&images->lock);
	*out = images->state;
	(void)pthread_mutex_unlock(&images->lock);
}
