// SPDX-License-Identifier: BSD-2-Clause
import {bytes, caller, clock, num} from '../format';
import {rowsMax} from '../live';
import type {Fault, Faults as Document} from '../types';
import {type Column, Table} from './table';

const columns: Column<Fault>[] = [
	{name: 'Nr', numeric: true, key: (f) => f.id, cell: (f) => f.id},
	{name: 'When', numeric: true, key: (f) => num(f.time_ns), cell: (f) => clock(f.time_ns)},
	{name: 'Kind', key: (f) => f.kind, cell: (f) => <strong>{f.kind}</strong>},
	{name: 'Block', numeric: true, key: (f) => num(f.size), cell: (f) => bytes(f.size)},
	{name: 'Cache', key: (f) => f.cache ?? '', cell: (f) => f.cache ?? ''},
	{name: 'In', key: (f) => caller(f.stack), cell: (f) => <span class="code">{caller(f.stack)}</span>},
	{name: 'Thread', key: (f) => f.thread_name ?? '', cell: (f) => `${f.thread_name ?? ''} ${f.thread}`},
];

export function Faults({doc, filter}: {doc: Document | undefined; filter: string}) {
	const wanted = filter.toLowerCase();
	const rows = (doc?.items ?? []).filter((f) => f.report.toLowerCase().includes(wanted));

	return (
		<section id="faults" aria-labelledby="faults-title">
			<h2 id="faults-title">
				Faults <span class="figure">{doc ? doc.items.length : ''}</span>
			</h2>
			<Table
				label="Faults"
				rows={rows}
				columns={columns}
				id={(f) => String(f.id)}
				detail={(f) => <pre class="report">{f.report}</pre>}
				sort={{column: 'Nr', up: false}}
				cut={(doc?.items.length ?? 0) >= rowsMax && 'kmemscope faults'}
				first={20}
				empty={doc ? 'No faults.' : 'Waiting for the first figures …'}
			/>
		</section>
	);
}
