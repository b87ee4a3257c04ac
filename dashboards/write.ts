import { mkdirSync, writeFileSync } from 'node:fs'
import { jsonFiles } from './index.ts'

mkdirSync(new URL('json', import.meta.url), { recursive: true })
for (const [file, json] of jsonFiles) writeFileSync(new URL(file, import.meta.url), json)
