// SPDX-License-Identifier: BSD-2-Clause
// Writes dist/licenses.txt: the licences of all that is in the built page.
import {readFileSync, writeFileSync} from 'node:fs';

const {dependencies} = JSON.parse(readFileSync('package.json', 'utf8'));
const parts = Object.keys(dependencies).sort().map((name) => {
	const about = JSON.parse(readFileSync(`node_modules/${name}/package.json`, 'utf8'));
	return `${name} ${about.version} (${about.license})\n\n${readFileSync(`node_modules/${name}/LICENSE`, 'utf8').trim()}\n`;
});

writeFileSync('dist/licenses.txt', `This page contains:\n\n${parts.join('\n----\n\n')}`);
