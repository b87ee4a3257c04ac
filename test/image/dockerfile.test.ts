import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { ValidationCode, validate } from 'dockerfile-utils'
import t from 'tap'
import { root } from '../process.ts'

const complaints = (text: string): string[] =>
  validate(text).map(
    ({ code, message, range }) => `${range.start.line + 1}: ${ValidationCode[Number(code)]}: ${message}`,
  )

t.test('the linter has nothing to say of the Dockerfile', async (t) => {
  t.same(complaints(readFileSync(join(root, 'Dockerfile'), 'utf8')), [])
})

t.test('though it does speak up', async (t) => {
  t.match(complaints("FROM node\nWORKDIR app\nEXPOSE http\nENTRYPOINT ['node']\nUSERS 65532\n").sort(), [
    /^2: WORKDIR_IS_NOT_ABSOLUTE/,
    /^3: INVALID_PORT/,
    /^4: JSON_IN_SINGLE_QUOTES/,
    /^5: UNKNOWN_INSTRUCTION/,
  ])
})
