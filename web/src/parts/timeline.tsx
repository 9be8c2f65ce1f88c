// SPDX-License-Identifier: BSD-2-Clause
// Live bytes and rates over time: what the tracer remembers, then what the stream brings.
import {useEffect, useRef, useState} from 'preact/hooks';
import uPlot from 'uplot';
import {get} from '../api';
import {bytes, clock, count, num} from '../format';
import type {Stats, Timeline as Document} from '../types';

const keep = 1200; // points: ten minutes at two a second

type Columns = [number[], number[], number[], number[]];

function empty(): Columns {
	return [[], [], [], []];
}

function add(data: Columns, s: {time_ns: unknown; live_bytes: unknown; alloc_rate: unknown; free_rate: unknown}): void {
	const t = num(s.time_ns as number) / 1e9;
	const last = data[0][data[0].length - 1];

	if (last !== undefined && t <= last) return;
	data[0].push(t);
	data[1].push(num(s.live_bytes as number));
	data[2].push(num(s.alloc_rate as number));
	data[3].push(num(s.free_rate as number));
	if (data[0].length > keep) for (const column of data) column.shift();
}

function color(name: string): string {
	return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

/** Steps of an axis of bytes: powers of two, so that its marks are round in KiB and MiB. */
const byteSteps = Array.from({length: 45}, (_, i) => 2 ** i);

function options(width: number): uPlot.Options {
	const axis = {stroke: color('--quiet'), grid: {stroke: color('--line'), width: 1}, ticks: {show: false}};
	const points = {show: false};

	return {
		width,
		height: 180,
		scales: {x: {time: false}, rate: {range: (_u, _min, max) => [0, Math.max(max * 1.1, 1)]}, y: {range: (_u, _min, max) => [0, Math.max(max * 1.1, 1)]}},
		series: [
			{label: 'time', value: (_u, v) => (v === null ? '' : clock(v * 1e9))},
			{label: 'live', scale: 'y', points, stroke: color('--live'), width: 2, value: (_u, v) => (v === null ? '' : bytes(v))},
			{label: 'alloc/s', scale: 'rate', points, stroke: color('--alloc'), value: (_u, v) => (v === null ? '' : count(v))},
			{label: 'free/s', scale: 'rate', points, stroke: color('--free'), dash: [4, 3], value: (_u, v) => (v === null ? '' : count(v))},
		],
		axes: [
			{...axis, space: 80, incrs: [1, 2, 5, 10, 30, 60, 300, 600, 1800, 3600], values: (_u, ticks) => ticks.map((v) => clock(v * 1e9))},
			{...axis, scale: 'y', size: 70, incrs: byteSteps, values: (_u, ticks) => ticks.map((v) => bytes(v))},
			{...axis, scale: 'rate', side: 1, size: 60, grid: {show: false}, values: (_u, ticks) => ticks.map((v) => count(v))},
		],
	};
}

/** Figures of the past; without them the chart begins now. */
async function past(target: string): Promise<Columns> {
	const data = empty();

	if (target) return data; // the past is kept for the whole run
	try {
		const doc = await get<Document>('/timeline');
		for (const item of doc.items) add(data, item);
	} catch {
		return empty();
	}
	return data;
}

export function Timeline({stats, target}: {stats: Stats | undefined; target: string}) {
	const place = useRef<HTMLDivElement>(null);
	const plot = useRef<uPlot | null>(null);
	const [data, setData] = useState<Columns | null>(null);

	useEffect(() => {
		let current = true;
		setData(null);
		void past(target).then((columns) => current && setData(columns));
		return () => {
			current = false;
		};
	}, [target]);
	useEffect(() => {
		const element = place.current;
		if (!element || !data) return undefined;
		const made = new uPlot(options(element.clientWidth), data, element);
		const resize = new ResizeObserver(() => made.setSize({width: element.clientWidth, height: 180}));
		plot.current = made;
		resize.observe(element);
		return () => {
			resize.disconnect();
			made.destroy();
			plot.current = null;
		};
	}, [data]);
	useEffect(() => {
		if (!stats || !data) return;
		add(data, {...stats, time_ns: stats.snapshot.time_ns});
		plot.current?.setData(data);
	}, [stats, data]);
	return (
		<section id="timeline" aria-labelledby="timeline-title">
			<h2 id="timeline-title">Heap over time</h2>
			<div ref={place} class="chart" role="img" aria-label="Live bytes and rates over time; the table below has the figures" />
			<details>
				<summary>As a table</summary>
				<LastPoints data={data} />
			</details>
		</section>
	);
}

function LastPoints({data}: {data: Columns | null}) {
	const n = data?.[0].length ?? 0;
	const rows = Array.from({length: Math.min(n, 20)}, (_, i) => n - 1 - i);

	return (
		<table aria-label="Heap over time">
			<thead>
				<tr>
					<th scope="col">Time</th>
					<th scope="col">Live</th>
					<th scope="col">Alloc/s</th>
					<th scope="col">Free/s</th>
				</tr>
			</thead>
			<tbody>
				{data &&
					rows.map((i) => (
						<tr key={i}>
							<td>{clock((data[0][i] ?? 0) * 1e9)}</td>
							<td class="num">{bytes(data[1][i] ?? 0)}</td>
							<td class="num">{count(data[2][i] ?? 0)}</td>
							<td class="num">{count(data[3][i] ?? 0)}</td>
						</tr>
					))}
			</tbody>
		</table>
	);
}
