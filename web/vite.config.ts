// SPDX-License-Identifier: BSD-2-Clause
import {defineConfig} from 'vite';

// `npm run dev` shows the page of a live session: KMS_URL=http://127.0.0.1:PORT npm run dev
const session = process.env.KMS_URL ?? 'http://127.0.0.1:8080';

export default defineConfig({
	base: './',
	build: {
		assetsInlineLimit: 0, // our CSP allows no data: addresses
		cssCodeSplit: false,
		modulePreload: {polyfill: false},
		sourcemap: false,
		rollupOptions: {output: {manualChunks: undefined}},
	},
	server: {proxy: {'/api': {target: session, changeOrigin: true}, '/openapi.json': session}},
});
