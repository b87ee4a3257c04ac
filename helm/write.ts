import { writeFileSync } from 'node:fs'
import { chartReadme } from './readme.ts'
import { redisSchema, valuesSchema } from './values-schema.ts'

/** What `npm run chart` writes, by its path in the chart. */
export const written: Readonly<Record<string, () => string>> = {
  'values.schema.json': () => `${JSON.stringify(valuesSchema, undefined, 2)}\n`,
  'charts/redis/values.schema.json': () => `${JSON.stringify(redisSchema, undefined, 2)}\n`,
  'README.md': chartReadme,
}

if (import.meta.main) {
  for (const [path, content] of Object.entries(written)) writeFileSync(new URL(path, import.meta.url), content())
}
