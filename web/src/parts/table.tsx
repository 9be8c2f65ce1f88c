// SPDX-License-Identifier: BSD-2-Clause
// A sortable table whose rows may open. The same keys as in the terminal: j k move, Enter opens.
import type {ComponentChildren} from 'preact';
import {useState} from 'preact/hooks';

export interface Column<Row> {
	name: string;
	title?: string;
	numeric?: boolean;
	/** What is sorted by; a column without it is not sortable. */
	key?: (row: Row) => number | string;
	cell: (row: Row) => ComponentChildren;
}

interface TableProps<Row> {
	label: string;
	rows: Row[];
	columns: Column<Row>[];
	id: (row: Row) => string;
	detail?: (row: Row) => ComponentChildren;
	sort?: {column: string; up: boolean};
	/** Rows shown before `show all`. */
	first?: number;
	/** Where to find what did not come: the list may be longer. */
	cut?: string | false;
	empty: string;
}

function ordered<Row>(rows: Row[], column: Column<Row> | undefined, up: boolean): Row[] {
	const key = column?.key;

	if (!key) return rows;
	return [...rows].sort((a, b) => {
		const x = key(a);
		const y = key(b);
		const order = typeof x === 'string' || typeof y === 'string' ? String(x).localeCompare(String(y)) : x - y;
		return up ? order : -order;
	});
}

function move(event: KeyboardEvent, open: (() => void) | null): void {
	const row = event.currentTarget as HTMLElement;
	const step = (next: Element | null, again: (e: Element) => Element | null): void => {
		while (next && !next.classList.contains('row')) next = again(next);
		if (next) (next as HTMLElement).focus();
	};

	if (event.target !== row) return;
	if (event.key === 'j' || event.key === 'ArrowDown') step(row.nextElementSibling, (e) => e.nextElementSibling);
	else if (event.key === 'k' || event.key === 'ArrowUp') step(row.previousElementSibling, (e) => e.previousElementSibling);
	else if (event.key === 'Enter' && open) open();
	else return;
	event.preventDefault();
}

export function Table<Row>(props: TableProps<Row>) {
	const [sort, setSort] = useState(props.sort);
	const [open, setOpen] = useState<string | null>(null);
	const [all, setAll] = useState(false);
	const column = props.columns.find((c) => c.name === sort?.column);
	const rows = ordered(props.rows, column, sort?.up ?? false);
	const shown = all || !props.first ? rows : rows.slice(0, props.first);
	const span = props.columns.length;

	if (rows.length === 0) return <p class="quiet">{props.empty}</p>;
	const head = (c: Column<Row>) => {
		const is = sort?.column === c.name;
		const order = is ? (sort.up ? 'ascending' : 'descending') : undefined;
		return (
			<th scope="col" class={c.numeric ? 'num' : ''} aria-sort={order} title={c.title}>
				{c.key ? (
					<button type="button" class="sort" onClick={() => setSort({column: c.name, up: is ? !sort.up : !c.numeric})}>
						{c.name}
						<span aria-hidden="true">{is ? (sort.up ? ' ▲' : ' ▼') : ''}</span>
					</button>
				) : (
					c.name
				)}
			</th>
		);
	};
	const row = (r: Row) => {
		const id = props.id(r);
		const toggle = props.detail ? () => setOpen(open === id ? null : id) : null;
		const is = open === id;
		return [
			<tr
				key={id}
				class={`row${toggle ? ' opens' : ''}`}
				data-id={id}
				tabIndex={0}
				aria-expanded={toggle ? is : undefined}
				onClick={toggle ?? undefined}
				onKeyDown={(e) => move(e, toggle)}
			>
				{props.columns.map((c) => (
					<td class={c.numeric ? 'num' : ''}>
						{c.numeric && c.key ? <data value={String(c.key(r))}>{c.cell(r)}</data> : c.cell(r)}
					</td>
				))}
			</tr>,
			is && (
				<tr key={`${id} detail`} class="detail">
					<td colSpan={span}>{props.detail?.(r)}</td>
				</tr>
			),
		];
	};
	return (
		<div class="scroll">
			<table aria-label={props.label}>
				<thead>
					<tr>{props.columns.map(head)}</tr>
				</thead>
				<tbody>{shown.map(row)}</tbody>
			</table>
			{shown.length < rows.length && (
				<button type="button" onClick={() => setAll(true)}>
					Show all {rows.length}
				</button>
			)}
			{props.cut && <p class="quiet">There may be more: {props.cut} lists all.</p>}
		</div>
	);
}
