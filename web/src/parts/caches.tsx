// SPDX-License-Identifier: BSD-2-Clause
import {bytes, count, exact, num, percent} from '../format';
import {rowsMax} from '../live';
import type {Cache, Caches as Document} from '../types';
import {type Column, Table} from './table';

/** Places in slabs and how many of them are taken: guarded blocks are in none. */
function places(c: Cache): {total: number; live: number} {
	const guarded = num(c.objects_guarded);

	return {total: Math.max(num(c.objects_total) - guarded, 0), live: Math.max(num(c.objects_live) - guarded, 0)};
}

function inUse(c: Cache): number {
	const {total, live} = places(c);

	return total ? live / total : 0;
}

/** Live, cached and free objects of a cache's slabs as one bar. */
function Occupancy({cache}: {cache: Cache}) {
	const {live, ...slabs} = places(cache);
	const total = Math.max(slabs.total, 1);
	const cached = num(cache.objects_cached);
	const text = `${exact(live)} live, ${exact(cached)} cached, ${exact(Math.max(total - live - cached, 0))} free`;

	return (
		<svg class="bar" viewBox="0 0 100 8" preserveAspectRatio="none" role="img" aria-label={text}>
			<title>{text}</title>
			<rect class="bar-free" width="100" height="8" />
			<rect class="bar-cached" x={(100 * live) / total} width={Math.min((100 * cached) / total, 100)} height="8" />
			<rect class="bar-live" width={Math.min((100 * live) / total, 100)} height="8" />
		</svg>
	);
}

const columns: Column<Cache>[] = [
	{name: 'Cache', key: (c) => c.name, cell: (c) => <span class="code">{c.name}</span>},
	{name: 'Object', title: 'size of an object', numeric: true, key: (c) => num(c.object_size), cell: (c) => exact(c.object_size)},
	{name: 'In use', numeric: true, key: (c) => num(c.objects_live), cell: (c) => exact(c.objects_live)},
	{name: 'Total', numeric: true, key: (c) => num(c.objects_total), cell: (c) => exact(c.objects_total)},
	{name: 'Guarded', numeric: true, key: (c) => num(c.objects_guarded), cell: (c) => exact(c.objects_guarded)},
	{name: 'Use', numeric: true, key: inUse, cell: (c) => percent(inUse(c))},
	{name: 'Slabs', numeric: true, key: (c) => num(c.slabs), cell: (c) => exact(c.slabs)},
	{name: 'Waste', title: 'bytes of live objects that nobody asked for', numeric: true, key: (c) => num(c.waste_bytes), cell: (c) => bytes(c.waste_bytes)},
	{name: 'Alloc/s', numeric: true, key: (c) => num(c.alloc_rate), cell: (c) => count(c.alloc_rate)},
	{name: 'Free/s', numeric: true, key: (c) => num(c.free_rate), cell: (c) => count(c.free_rate)},
	{name: 'Occupancy', cell: (c) => <Occupancy cache={c} />},
];

export function Caches({doc, filter}: {doc: Document | undefined; filter: string}) {
	const rows = (doc?.items ?? []).filter((c) => c.name.toLowerCase().includes(filter.toLowerCase()));
	const several = new Set(rows.map((c) => c.target)).size > 1;
	const target: Column<Cache> = {name: 'Target', numeric: true, key: (c) => c.target, cell: (c) => c.target};

	return (
		<section id="caches" aria-labelledby="caches-title">
			<h2 id="caches-title">
				Slabs <span class="figure">{doc ? `${doc.items.length} caches` : ''}</span>
			</h2>
			<Table
				label="Caches"
				rows={rows}
				columns={several ? [target, ...columns] : columns}
				id={(c) => `${c.target} ${c.name}`}
				sort={{column: 'In use', up: false}}
				cut={(doc?.items.length ?? 0) >= rowsMax && 'kmemscope caches'}
				first={15}
				empty={doc ? 'No cache matches.' : 'Waiting for the first figures …'}
			/>
		</section>
	);
}
