// SPDX-License-Identifier: BSD-2-Clause
// Documents of the API, as far as the page reads them: schema/openapi.json.

/** Above 2^53 the API writes a number as a string. */
export type Num = number | string;

export interface Snapshot {
	seq: Num;
	time_ns: Num;
	time: string;
	finished: boolean;
	lost: Num;
	tracer_lost: string | null;
	file: string;
}

export interface Frame {
	address: string;
	module: string | null;
	offset: Num;
	function: string | null;
	file: string | null;
	line: number;
	inlined: boolean;
}

export interface Target {
	id: number;
	name: string;
	kind: string;
	pid: number;
	state: string;
	started: string;
	command?: string;
	stop?: {reason: string; fault: number | null} | null;
}

export interface Targets {
	snapshot: Snapshot;
	items: Target[];
}

export interface GuardFigures {
	depth_requested: Num;
	depth: Num;
	pending: boolean;
	used: Num;
	bytes: Num;
	pages: Num;
	live: Num;
	oldest_age_us: Num;
	window_frees: Num;
	frees: Num;
	evictions: Num;
	unguarded: Num;
	limited_by: string;
	backend: string;
	maps_used: Num;
	maps_max: Num;
}

export interface Guard extends GuardFigures {
	snapshot: Snapshot;
	target: number | null;
	items: (GuardFigures & {target: number})[];
}

export interface Stats {
	snapshot: Snapshot;
	target: number | null;
	live_bytes: Num;
	live_objects: Num;
	peak_bytes: Num;
	allocs: Num;
	frees: Num;
	failed: Num;
	alloc_rate: Num;
	free_rate: Num;
	faults: Num;
	ring: {fill: number; produced: Num; stored: Num; lost: Num; waits: Num; waited_us: Num};
	guard: GuardFigures;
	tracer: {events_stored: Num; lag_us: Num; db_bytes: Num};
	targets: Record<string, number>;
}

export interface Cache {
	name: string;
	target: number;
	object_size: Num;
	objects_live: Num;
	objects_cached: Num;
	objects_guarded: Num;
	objects_total: Num;
	slabs: Num;
	pages: Num;
	utilization: number;
	waste_bytes: Num;
	live_bytes: Num;
	allocs: Num;
	frees: Num;
	failed: Num;
	alloc_rate: Num;
	free_rate: Num;
}

export interface Caches {
	snapshot: Snapshot;
	items: Cache[];
}

/** The part of a leak that lies in one cache. */
export interface LeakCache {
	cache: string | null;
	bytes: Num;
	count: Num;
}

export interface Leak {
	id: string;
	target: number;
	score: number;
	suspect: boolean;
	bytes: Num;
	count: Num;
	allocs: Num;
	age_p50_us: Num;
	growth_bytes_per_s: number;
	cache: string | null;
	/** The largest part first. */
	caches: LeakCache[];
	state: string;
	evidence: {words: string; never_freed: boolean; at_exit: boolean; freed: Num};
	stack_id: Num;
	stack: Frame[];
}

export interface Leaks {
	snapshot: Snapshot;
	incomplete: boolean;
	suspects: number;
	suspect_bytes: Num;
	suspect_count: Num;
	total_bytes: Num;
	total_count: Num;
	items: Leak[];
}

export interface Fault {
	id: number;
	target: number;
	kind: string;
	time_ns: Num;
	address: string;
	access: string;
	size: Num;
	cache: string | null;
	thread: number;
	thread_name: string | null;
	headline: string;
	report: string;
	hits: Num;
	stack: Frame[];
}

export interface Faults {
	snapshot: Snapshot;
	items: Fault[];
}

export interface Timeline {
	items: {time_ns: Num; live_bytes: Num; alloc_rate: Num; free_rate: Num}[];
}

/** What each topic of the stream carries: the body of the GET of the same name. */
export interface Documents {
	stats: Stats;
	caches: Caches;
	leaks: Leaks;
	guard: Guard;
	faults: Faults;
	targets: Targets;
}

export type Topic = keyof Documents;
export const topics: Topic[] = ['targets', 'stats', 'caches', 'leaks', 'guard', 'faults'];
