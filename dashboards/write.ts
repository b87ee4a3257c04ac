import { mkdirSync, writeFileSync } from 'node:fs'
import { chartFiles } from './chart-files.ts'
import { jsonFiles } from './index.ts'

const write = (files: ReadonlyMap<string, string>, directory: URL): void => {
  for (const [file, text] of files) {
    const url = new URL(file, directory)
    mkdirSync(new URL('.', url), { recursive: true })
    writeFileSync(url, text)
  }
}

write(jsonFiles, new URL('./', import.meta.url))
write(chartFiles, new URL('../helm/files/', import.meta.url))
