/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * ehci0, a USB controller: transfers with a timeout each. Planted here: a leak of transfers that
 * stalled, one of memory for the device, and an allocation that may sleep in a callout.
 */
#include <string.h>

#include "allocator/demo/kernel.h"
#include "allocator/kmem.h"

enum {
	ENDPOINTS = 16,
	TRANSFERS_MAX = 48,
	BUFFER_MIN = 8,
	BUFFER_MAX = 1024,
	TIMEOUT_TICKS = 40,
	LOST_ONE_IN = 64, /* transfers the device never answers */
	SENSE_BYTES = 18,
	FRAME_BYTES = 3000, /* of an isochronous frame list */
};

struct usb_transfer {
	struct usb_transfer *next;
	struct usb_transfer **previous; /* where the pointer to this one is */
	struct kms_callout timeout;
	void *buffer;
	size_t buffer_bytes;
	unsigned endpoint;
	bool lost;
};

struct usb_softc {
	struct usb_transfer *active;
	struct usb_transfer *done; /* completed or timed out, for the thread to free */
	unsigned n_active;
	uint64_t timeouts;
	uint32_t *toggle; /* ENDPOINTS of them */
	struct kms_callout status_callout;
	void *status; /* what the callout has asked for */
};

static void usb_attach(struct kms_driver *driver)
{
	struct usb_softc *sc = kmem_zalloc(sizeof(*sc), KM_SLEEP);

	sc->toggle = kmem_zalloc(ENDPOINTS * sizeof(*sc->toggle), KM_SLEEP);
	driver->softc = sc;
}

static void usb_finish(struct usb_softc *sc, struct usb_transfer *transfer)
{
	*transfer->previous = transfer->next;
	if (transfer->next)
		transfer->next->previous = transfer->previous;
	sc->n_active--;
	transfer->next = sc->done;
	sc->done = transfer;
}

static void usb_transfer_timeout(struct kms_kernel *kernel, void *argument)
{
	struct usb_transfer *transfer = argument;
	struct usb_softc *sc = NULL;

	for (int i = 0; i < KMS_DRIVERS; i++) {
		if (kernel->driver[i].class == &kms_usb_class)
			sc = kernel->driver[i].softc;
	}
	sc->timeouts++;
	usb_finish(sc, transfer);
}

static void usb_submit(struct kms_driver *driver)
{
	struct usb_softc *sc = driver->softc;
	struct usb_transfer *transfer = kmem_zalloc(sizeof(*transfer), KM_SLEEP);

	transfer->buffer_bytes = kms_rng_between(&driver->rng, BUFFER_MIN, BUFFER_MAX);
	transfer->buffer = kmem_alloc(transfer->buffer_bytes, KM_SLEEP);
	memset(transfer->buffer, 0, transfer->buffer_bytes);
	transfer->endpoint = (unsigned)kms_rng_below(&driver->rng, ENDPOINTS);
	transfer->lost = kms_rng_below(&driver->rng, LOST_ONE_IN) == 0;
	transfer->timeout.function = usb_transfer_timeout;
	transfer->timeout.argument = transfer;
	transfer->next = sc->active;
	transfer->previous = &sc->active;
	if (sc->active)
		sc->active->previous = &transfer->next;
	sc->active = transfer;
	sc->n_active++;
	kms_callout_schedule(driver->kernel, &transfer->timeout, TIMEOUT_TICKS);
}

/* The device answers all transfers but the lost ones, which the callout takes care of. */
static void usb_interrupt(struct kms_driver *driver)
{
	struct usb_softc *sc = driver->softc;
	struct usb_transfer *next;

	for (struct usb_transfer *transfer = sc->active; transfer; transfer = next) {
		next = transfer->next;
		if (transfer->lost)
			continue;
		kms_callout_stop(driver->kernel, &transfer->timeout);
		sc->toggle[transfer->endpoint] ^= 1;
		usb_finish(sc, transfer);
	}
}

static void usb_free_done(struct usb_softc *sc)
{
	while (sc->done) {
		struct usb_transfer *transfer = sc->done;

		sc->done = transfer->next;
		kmem_free(transfer->buffer, transfer->buffer_bytes);
		kmem_free(transfer, sizeof(*transfer));
	}
}

/* The error path returns without giving the transfer back. */
KMS_BUG_FUNCTION void usb_leak_stalled_transfer(struct kms_driver *driver)
{
	int line = __LINE__ + 1;
	struct usb_transfer *transfer = kmem_zalloc(sizeof(*transfer), KM_SLEEP);

	transfer->endpoint = 1;
	kms_bug_record(driver->kernel, KMS_BUG_LEAK,
		       KMS_BUG_PLACE(line, transfer, sizeof(*transfer)));
}

static void usb_free_stalled_transfer(void)
{
	struct usb_transfer *transfer = kmem_zalloc(sizeof(*transfer), KM_SLEEP);

	transfer->endpoint = 1;
	kmem_free(transfer, sizeof(*transfer));
}

static void usb_clear_stall(struct kms_driver *driver)
{
	if (!kms_bug_due(driver, KMS_BUG_LEAK))
		return;
	if (kms_bug_planted(driver->kernel, KMS_BUG_LEAK))
		usb_leak_stalled_transfer(driver);
	else
		usb_free_stalled_transfer();
}

/* The endpoint does not answer, and nobody remembers the frame list that it was given. */
KMS_BUG_FUNCTION void usb_leak_frame_list(struct kms_driver *driver)
{
	ddi_umem_cookie_t cookie;
	int line = __LINE__ + 1;
	char *frames = ddi_umem_alloc(FRAME_BYTES, DDI_UMEM_SLEEP, &cookie);

	frames[0] = 1;
	kms_bug_record(driver->kernel, KMS_BUG_UMEM_LEAK, KMS_BUG_PLACE(line, frames, FRAME_BYTES));
}

static void usb_free_frame_list(void)
{
	ddi_umem_cookie_t cookie;
	char *frames = ddi_umem_alloc(FRAME_BYTES, DDI_UMEM_SLEEP, &cookie);

	frames[0] = 1;
	ddi_umem_free(cookie);
}

static void usb_open_stream(struct kms_driver *driver)
{
	if (!kms_bug_due(driver, KMS_BUG_UMEM_LEAK))
		return;
	if (kms_bug_planted(driver->kernel, KMS_BUG_UMEM_LEAK))
		usb_leak_frame_list(driver);
	else
		usb_free_frame_list();
}

/* A callout must not sleep, and KM_SLEEP says that this call may. */
KMS_BUG_FUNCTION void usb_sleep_in_callout(struct kms_kernel *kernel, void *argument)
{
	struct usb_softc *sc = argument;
	int line = __LINE__ + 1;
	sc->status = kmem_alloc(SENSE_BYTES, KM_SLEEP);
	kms_bug_record(kernel, KMS_BUG_CONTEXT, KMS_BUG_PLACE(line, sc->status, SENSE_BYTES));
}

static void usb_ask_in_callout(struct kms_kernel *kernel, void *argument)
{
	struct usb_softc *sc = argument;

	(void)kernel;
	sc->status = kmem_intr_alloc(SENSE_BYTES, KM_NOSLEEP);
}

static void usb_ask_status(struct kms_driver *driver)
{
	struct usb_softc *sc = driver->softc;

	if (!kms_bug_due(driver, KMS_BUG_CONTEXT))
		return;
	sc->status_callout.argument = sc;
	sc->status_callout.function = kms_bug_planted(driver->kernel, KMS_BUG_CONTEXT)
					      ? usb_sleep_in_callout
					      : usb_ask_in_callout;
	kms_callout_schedule(driver->kernel, &sc->status_callout, 1);
}

static void usb_read_status(struct usb_softc *sc)
{
	if (!sc->status)
		return;
	kmem_free(sc->status, SENSE_BYTES);
	sc->status = NULL;
}

static void usb_work(struct kms_driver *driver)
{
	struct usb_softc *sc = driver->softc;

	usb_clear_stall(driver);
	usb_open_stream(driver);
	usb_ask_status(driver);
	usb_read_status(sc);
	usb_free_done(sc);
	if (sc->n_active < TRANSFERS_MAX)
		usb_submit(driver);
}

static void usb_detach(struct kms_driver *driver)
{
	struct usb_softc *sc = driver->softc;

	usb_read_status(sc);
	usb_free_done(sc);
	kmem_free(sc->toggle, ENDPOINTS * sizeof(*sc->toggle));
	kmem_free(sc, sizeof(*sc));
	driver->softc = NULL;
}

const struct kms_driver_class kms_usb_class = {
	.name = "ehci0",
	.attach = usb_attach,
	.work = usb_work,
	.interrupt = usb_interrupt,
	.detach = usb_detach,
};
