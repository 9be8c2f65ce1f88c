/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * wd0, a disk: requests with bounce buffers go to the device, come back by interrupt, and are given
 * back by the soft interrupt. Requests come from a pool, the ring that the device reads is locked
 * memory. Planted here: a free with the wrong size, and a write behind a ring.
 */
#include <string.h>

#include "allocator/demo/kernel.h"
#include "allocator/kmem.h"

enum {
	SECTOR_BYTES = 512,
	SECTORS_MAX = 8,
	QUEUE_MAX = 64,
	COMPLETIONS_MAX = 8, /* of one interrupt */
	ERROR_ONE_IN = 50,
	RESET_ONE_IN = 400, /* operations after which the ring is made anew */
	RING_BYTES = 8192,
	RING_ENTRIES = RING_BYTES / sizeof(uint64_t),
};

struct disk_request {
	struct disk_request *next;
	void *bounce; /* the device cannot reach the caller's memory */
	size_t bounce_bytes;
	uint64_t sector;
	bool write;
	bool failed;
};

/* What the device says about an error. */
struct disk_sense {
	uint8_t key;
	uint8_t code;
	uint8_t text[16];
};

struct disk_softc {
	pool_cache_t requests;
	ddi_umem_cookie_t ring_cookie;
	volatile uint64_t *ring; /* sectors on their way */
	struct disk_request *submitted;
	struct disk_request *completed;
	unsigned n_submitted;
	struct disk_sense *sense;
	uint64_t errors;
	char lock;
};

/* A request is given back without a buffer and not failed, as it was made. */
static int disk_request_construct(void *argument, void *object, int flags)
{
	(void)argument;
	(void)flags;
	*(struct disk_request *)object = (struct disk_request){0};
	return 0;
}

static void disk_attach(struct kms_driver *driver)
{
	struct disk_softc *sc = kmem_zalloc(sizeof(*sc), KM_SLEEP);

	sc->requests = pool_cache_init(sizeof(struct disk_request), 0, 0, 0, "wd0req", NULL, IPL_VM,
				       disk_request_construct, NULL, NULL);
	sc->ring = ddi_umem_alloc(RING_BYTES, DDI_UMEM_SLEEP, &sc->ring_cookie);
	driver->softc = sc;
}

static struct disk_request *disk_request_create(struct kms_driver *driver)
{
	struct disk_softc *sc = driver->softc;
	struct disk_request *request = pool_cache_get(sc->requests, PR_WAITOK);

	request->bounce_bytes = SECTOR_BYTES * kms_rng_between(&driver->rng, 1, SECTORS_MAX);
	request->bounce = kmem_alloc(request->bounce_bytes, KM_SLEEP);
	request->sector = kms_rng_below(&driver->rng, 1 << 20);
	request->write = kms_rng_below(&driver->rng, 3) == 0;
	if (request->write)
		memset(request->bounce, (int)(request->sector & 0xff), request->bounce_bytes);
	return request;
}

static void disk_submit(struct disk_softc *sc, struct disk_request *request)
{
	kms_spin_enter(&sc->lock);
	request->next = sc->submitted;
	sc->submitted = request;
	sc->ring[sc->n_submitted++ % RING_ENTRIES] = request->sector;
	kms_spin_exit(&sc->lock);
}

/* The device has done some requests. No memory is freed at this level. */
static void disk_interrupt(struct kms_driver *driver)
{
	struct disk_softc *sc = driver->softc;

	for (int i = 0; i < COMPLETIONS_MAX && sc->submitted; i++) {
		struct disk_request *request = sc->submitted;

		sc->submitted = request->next;
		sc->n_submitted--;
		request->failed = kms_rng_below(&driver->rng, ERROR_ONE_IN) == 0;
		if (request->failed && !sc->sense)
			sc->sense = kmem_intr_zalloc(sizeof(*sc->sense), KM_NOSLEEP);
		request->next = sc->completed;
		sc->completed = request;
	}
	if (sc->completed)
		kms_cpu_soft_interrupt(driver);
}

static void disk_request_destroy(struct disk_softc *sc, struct disk_request *request)
{
	kmem_intr_free(request->bounce, request->bounce_bytes);
	request->bounce = NULL;
	request->failed = false;
	pool_cache_put(sc->requests, request);
}

static void disk_soft_interrupt(struct kms_driver *driver)
{
	struct disk_softc *sc = driver->softc;

	while (sc->completed) {
		struct disk_request *request = sc->completed;

		sc->completed = request->next;
		sc->errors += request->failed;
		disk_request_destroy(sc, request);
	}
	if (sc->sense) {
		kmem_intr_free(sc->sense, sizeof(*sc->sense));
		sc->sense = NULL;
	}
}

/* Counts the buffer in sectors and forgets the one with the label. */
KMS_BUG_FUNCTION void disk_wrong_size_free(struct kms_driver *driver)
{
	size_t bytes = (size_t)3 * SECTOR_BYTES;
	void *label = kmem_alloc(bytes, KM_SLEEP);
	int line = __LINE__ + 1;
	kmem_free(label, bytes - SECTOR_BYTES);
	kms_bug_record(driver->kernel, KMS_BUG_WRONG_SIZE, KMS_BUG_PLACE(line, label, bytes));
}

static void disk_right_size_free(void)
{
	size_t bytes = (size_t)3 * SECTOR_BYTES;
	void *label = kmem_alloc(bytes, KM_SLEEP);

	kmem_free(label, bytes);
}

static void disk_write_label(struct kms_driver *driver)
{
	if (!kms_bug_due(driver, KMS_BUG_WRONG_SIZE))
		return;
	if (kms_bug_planted(driver->kernel, KMS_BUG_WRONG_SIZE))
		disk_wrong_size_free(driver);
	else
		disk_right_size_free();
}

/* The last entry tells the device to begin again; there is no place left for it. */
KMS_BUG_FUNCTION void disk_overflow_ring(struct kms_driver *driver)
{
	ddi_umem_cookie_t cookie;
	volatile uint64_t *ring = ddi_umem_alloc(RING_BYTES, DDI_UMEM_SLEEP, &cookie);
	int line;

	for (unsigned i = 0; i < RING_ENTRIES; i++)
		ring[i] = i;
	line = __LINE__ + 1;
	ring[RING_ENTRIES] = 0;
	ddi_umem_free(cookie);
	kms_bug_record(driver->kernel, KMS_BUG_UMEM_OVERFLOW,
		       KMS_BUG_PLACE(line, (const void *)ring, RING_BYTES));
}

static void disk_fill_ring(void)
{
	ddi_umem_cookie_t cookie;
	volatile uint64_t *ring = ddi_umem_alloc(RING_BYTES, DDI_UMEM_SLEEP, &cookie);

	for (unsigned i = 0; i + 1 < RING_ENTRIES; i++)
		ring[i] = i;
	ring[RING_ENTRIES - 1] = 0;
	ddi_umem_free(cookie);
}

static void disk_test_ring(struct kms_driver *driver)
{
	if (!kms_bug_due(driver, KMS_BUG_UMEM_OVERFLOW))
		return;
	if (kms_bug_planted(driver->kernel, KMS_BUG_UMEM_OVERFLOW))
		disk_overflow_ring(driver);
	else
		disk_fill_ring();
}

/* The controller wants another ring now and then. */
static void disk_reset(struct kms_driver *driver)
{
	struct disk_softc *sc = driver->softc;

	if (kms_rng_below(&driver->rng, RESET_ONE_IN) != 0)
		return;
	ddi_umem_free(sc->ring_cookie);
	sc->ring = ddi_umem_alloc(RING_BYTES, DDI_UMEM_SLEEP, &sc->ring_cookie);
}

static void disk_work(struct kms_driver *driver)
{
	struct disk_softc *sc = driver->softc;

	disk_write_label(driver);
	disk_test_ring(driver);
	disk_reset(driver);
	if (sc->n_submitted < QUEUE_MAX)
		disk_submit(sc, disk_request_create(driver));
}

static void disk_detach(struct kms_driver *driver)
{
	struct disk_softc *sc = driver->softc;

	ddi_umem_free(sc->ring_cookie);
	pool_cache_destroy(sc->requests);
	kmem_free(sc, sizeof(*sc));
	driver->softc = NULL;
}

const struct kms_driver_class kms_disk_class = {
	.name = "wd0",
	.attach = disk_attach,
	.work = disk_work,
	.interrupt = disk_interrupt,
	.soft_interrupt = disk_soft_interrupt,
	.detach = disk_detach,
};
