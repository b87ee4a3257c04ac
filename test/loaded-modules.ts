/**
 * Loaded before a program (`--import`), it tells on SIGWINCH which files were loaded since, one a line, on the standard output.
 */
import { registerHooks } from 'node:module'

const files: string[] = []
registerHooks({
  load(url, context, next) {
    files.push(url)
    return next(url, context)
  },
})
process.on('SIGWINCH', () => process.stdout.write(`${files.join('\n')}\nthat is all\n`))
