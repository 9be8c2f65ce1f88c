/* SPDX-License-Identifier: BSD-2-Clause */
/* Worker threads of the HTTP front: see http.h. */
#include <errno.h>
#include <time.h>

#include "server/http.h"

/* The next request; NULL when there is none left and none will come. */
static struct kms_http_request *take(struct kms_work *work)
{
	struct kms_http_request *request;

	pthread_mutex_lock(&work->lock);
	while (!work->first && !work->stopping)
		pthread_cond_wait(&work->queued, &work->lock);
	request = work->first;
	if (request) {
		work->first = request->next;
		if (!work->first)
			work->last = NULL;
	}
	pthread_mutex_unlock(&work->lock);
	return request;
}

static void *worker_main(void *arg)
{
	struct kms_work *work = arg;
	struct kms_http_request *request;

	while ((request = take(work))) {
		kms_server_handle(request->http->server, &request->in, &request->response);
		request->stage = KMS_HTTP_DONE;
		MHD_resume_connection(request->connection); /* from here on it is not ours */
	}
	return NULL;
}

int kms_work_start(struct kms_work *work)
{
	pthread_condattr_t attr;
	int ret = 0;

	pthread_mutex_init(&work->lock, NULL);
	pthread_cond_init(&work->queued, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&work->completed, &attr);
	pthread_condattr_destroy(&attr);
	while (ret == 0 && work->n_threads < KMS_HTTP_WORKERS) {
		ret = pthread_create(&work->thread[work->n_threads], NULL, worker_main, work);
		work->n_threads += ret == 0;
	}
	if (ret)
		kms_work_stop(work);
	return -ret;
}

void kms_work_stop(struct kms_work *work)
{
	struct timespec deadline;
	int ret = 0;

	pthread_mutex_lock(&work->lock);
	work->stopping = true;
	pthread_cond_broadcast(&work->queued);
	pthread_mutex_unlock(&work->lock);
	for (unsigned int i = 0; i < work->n_threads; i++)
		pthread_join(work->thread[i], NULL);
	work->n_threads = 0;
	clock_gettime(CLOCK_MONOTONIC, &deadline);
	deadline.tv_sec += KMS_HTTP_DRAIN_MS / 1000;
	pthread_mutex_lock(&work->lock);
	while (work->under_way && ret != ETIMEDOUT)
		ret = pthread_cond_timedwait(&work->completed, &work->lock, &deadline);
	pthread_mutex_unlock(&work->lock);
}

bool kms_work_submit(struct kms_work *work, struct kms_http_request *request)
{
	bool taken;

	pthread_mutex_lock(&work->lock);
	taken = !work->stopping;
	if (taken) {
		/* Suspended before a worker can see it: resuming first would be undefined. */
		request->stage = KMS_HTTP_WORKING;
		request->counted = true;
		MHD_suspend_connection(request->connection);
		request->next = NULL;
		if (work->last)
			work->last->next = request;
		else
			work->first = request;
		work->last = request;
		work->under_way++;
		pthread_cond_signal(&work->queued);
	}
	pthread_mutex_unlock(&work->lock);
	return taken;
}

void kms_work_completed(struct kms_work *work)
{
	pthread_mutex_lock(&work->lock);
	work->under_way--;
	pthread_cond_signal(&work->completed);
	pthread_mutex_unlock(&work->lock);
}
