/* SPDX-License-Identifier: BSD-2-Clause */
/* The moments behind the graph of live bytes. See top.h. */
#include <stdlib.h>
#include <string.h>

#include "tui/top.h"

void kms_graph_add(struct kms_graph *graph, uint64_t time_ns, double bytes)
{
	if (!graph->point)
		graph->point = calloc(KMS_GRAPH_POINTS, sizeof(*graph->point));
	if (!graph->point)
		return;
	/* The same moment again, or another run: time goes on, or all begins anew. */
	if (graph->n && time_ns < graph->point[graph->n - 1].time_ns)
		graph->n = 0;
	if (graph->n && time_ns == graph->point[graph->n - 1].time_ns)
		graph->n--;
	if (graph->n == KMS_GRAPH_POINTS) {
		memmove(graph->point, graph->point + 1,
			(KMS_GRAPH_POINTS - 1) * sizeof(*graph->point));
		graph->n--;
	}
	graph->point[graph->n++] = (struct kms_graph_point){time_ns, bytes};
}

void kms_graph_timeline(struct kms_graph *graph, const cJSON *document)
{
	const cJSON *series = kms_json_member(document, "series");
	const cJSON *time = kms_json_first(kms_json_member(document, "time_ns"));
	const cJSON *bytes =
		kms_json_first(kms_json_member(kms_json_member(series, "live_bytes"), "last"));
	struct kms_graph_point *later = NULL;
	size_t n_later = graph->n;

	if (!time || !bytes)
		return;
	/* What came since stays behind it. */
	if (n_later)
		later = malloc(n_later * sizeof(*later));
	if (later)
		memcpy(later, graph->point, n_later * sizeof(*later));
	graph->n = 0;
	for (; time && bytes; time = time->next, bytes = bytes->next)
		kms_graph_add(graph, (uint64_t)time->valuedouble, bytes->valuedouble);
	for (size_t i = 0; later && i < n_later; i++)
		if (graph->n == 0 || later[i].time_ns > graph->point[graph->n - 1].time_ns)
			kms_graph_add(graph, later[i].time_ns, later[i].bytes);
	free(later);
}
