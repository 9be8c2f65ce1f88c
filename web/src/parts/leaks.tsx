// SPDX-License-Identifier: BSD-2-Clause
import {useState} from 'preact/hooks';
import {bytes, caller, count, exact, num, span} from '../format';
import {rowsMax} from '../live';
import type {Leak, LeakCache, Leaks as Document} from '../types';
import {Stack} from './stack';
import {type Column, Table} from './table';

function growth(rate: number): string {
	return Math.abs(rate) < 1 ? '0' : `${rate > 0 ? '▲ ' : '▼ '}${bytes(Math.abs(rate))}/s`;
}

function part(p: LeakCache): string {
	return `${p.cache ?? 'unknown'}: ${bytes(p.bytes)} in ${exact(p.count)} block${num(p.count) === 1 ? '' : 's'}`;
}

/** The largest cache, and how many others there are: opening the row shows them. */
function caches(leak: Leak) {
	const others = leak.caches.length - 1;

	return (
		<span title={leak.caches.map(part).join('\n')}>
			{leak.cache ?? 'unknown'}
			{others > 0 && ` +${others}`}
		</span>
	);
}

const columns: Column<Leak>[] = [
	{
		name: 'Score',
		title: '0 to 100, from the evidence in the row',
		numeric: true,
		key: (l) => l.score,
		cell: (l) => `${Math.round(l.score)}${l.suspect ? ' !' : ''}`,
	},
	{
		name: 'Bytes',
		numeric: true,
		key: (l) => num(l.bytes),
		cell: (l) => <span title={`${exact(l.bytes)} bytes`}>{bytes(l.bytes)}</span>,
	},
	{name: 'Blocks', numeric: true, key: (l) => num(l.count), cell: (l) => exact(l.count)},
	{name: 'Age p50', numeric: true, key: (l) => num(l.age_p50_us), cell: (l) => span(l.age_p50_us)},
	{name: 'Growth', numeric: true, key: (l) => l.growth_bytes_per_s, cell: (l) => growth(l.growth_bytes_per_s)},
	{name: 'Cache', key: (l) => l.cache ?? '', cell: caches},
	{name: 'Allocated in', key: (l) => caller(l.stack), cell: (l) => <span class="code">{caller(l.stack)}</span>},
];

function Detail({leak}: {leak: Leak}) {
	return (
		<div>
			<p>
				{leak.evidence.words}. Target {leak.target}, id <span class="code">{leak.id}</span>, state {leak.state};{' '}
				{count(leak.allocs)} allocations so far.
			</p>
			{leak.caches.length > 1 && (
				<ul class="parts" aria-label="By cache">
					{leak.caches.map((p) => (
						<li key={p.cache ?? ''}>{part(p)}</li>
					))}
				</ul>
			)}
			<Stack stack={leak.stack} />
		</div>
	);
}

function matches(leak: Leak, filter: string): boolean {
	const text = `${leak.caches.map((p) => p.cache ?? '').join(' ')} ${leak.id} ${leak.stack.map((f) => `${f.function ?? ''} ${f.file ?? ''} ${f.module ?? ''}`).join(' ')}`;

	return text.toLowerCase().includes(filter.toLowerCase());
}

export function Leaks({doc, filter}: {doc: Document | undefined; filter: string}) {
	const [sites, setSites] = useState(false);
	const all = doc?.items ?? [];
	const rows = all.filter((l) => (sites || l.suspect) && matches(l, filter));

	return (
		<section id="leaks" aria-labelledby="leaks-title">
			<h2 id="leaks-title">
				Leak suspects{' '}
				<span class="figure" aria-live="polite">
					{doc ? `${doc.suspects}, ${bytes(doc.suspect_bytes)} in ${exact(doc.suspect_count)} blocks` : ''}
				</span>
			</h2>
			{doc?.incomplete && (
				<p class="warn">! Events were lost or recording was off for a while: some of these may have been freed.</p>
			)}
			<label class="check">
				<input type="checkbox" checked={sites} onChange={(e) => setSites(e.currentTarget.checked)} /> all sites with live
				blocks
			</label>
			<Table
				label="Leak suspects"
				rows={rows}
				columns={columns}
				id={(l) => `${l.target} ${l.id}`}
				detail={(l) => <Detail leak={l} />}
				sort={{column: 'Score', up: false}}
				cut={(doc?.items.length ?? 0) >= rowsMax && 'kmemscope leaks'}
				first={20}
				empty={doc ? (filter ? 'Nothing matches the filter.' : 'No suspects.') : 'Waiting for the first figures …'}
			/>
		</section>
	);
}
