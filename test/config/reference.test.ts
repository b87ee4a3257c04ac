import { readFileSync, writeFileSync } from 'node:fs'
import t from 'tap'
import { configReference } from '../../src/config/reference.ts'
import { ConfigSchema } from '../../src/config/schema.ts'

const readme = new URL('../../README.md', import.meta.url)
const table = /(<!-- configuration -->\n)[\s\S]*?(\n<!-- \/configuration -->)/

t.test('every section of the configuration is documented', async (t) => {
  for (const section of Object.keys(ConfigSchema.properties)) t.match(configReference(), `\`${section}`)
})

t.test('the table of the README is the one that the schema makes (npm run docs writes it)', async (t) => {
  const text = readFileSync(readme, 'utf8')
  const current = text.replace(table, (_whole, begin: string, end: string) => `${begin}${configReference()}${end}`)
  if (process.env.WRITE_DOCS) writeFileSync(readme, current)
  t.match(text, table)
  t.equal(process.env.WRITE_DOCS ? current : text, current)
})
