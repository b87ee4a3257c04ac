import t from 'tap'
import { Type } from 'typebox'
import { assertTool } from '../../src/agent/tool.ts'
import { defineTool } from '../../src/index.ts'

const execute = () => 'done'

t.test('defineTool gives back the very tool', async (t) => {
  const tool = { name: 'clock', execute }
  t.equal(defineTool(tool), tool)
})

t.test('arguments are typed by a TypeBox schema', async () => {
  defineTool({
    name: 'add',
    parameters: Type.Object({ a: Type.Number(), b: Type.Optional(Type.String()) }),
    execute(args) {
      const a: number = args.a
      const b: string | undefined = args.b
      // @ts-expect-error a number is no text
      const wrong: string = args.a
      // @ts-expect-error there is no such argument
      return [a, b, wrong, args.c]
    },
  })
})

t.test('arguments are typed by a JSON schema as it stands', async () => {
  defineTool({
    name: 'weather',
    parameters: {
      type: 'object',
      properties: { city: { type: 'string' }, unit: { enum: ['C', 'F'] }, days: { type: 'integer' } },
      required: ['city', 'unit'],
    },
    execute({ city, unit, days }, { signal, userId }) {
      const name: string = city
      const known: 'C' | 'F' = unit
      const some: number | undefined = days
      // @ts-expect-error it may be left out
      const all: number = days
      // @ts-expect-error K is none of them
      if (unit === 'K') return null
      const who: string | null = userId
      const gone: boolean = signal.aborted
      return [name, known, some, all, who, gone]
    },
  })
})

t.test('what is no tool is a compile error', async (t) => {
  // @ts-expect-error nothing to run
  t.throws(() => defineTool({ name: 'a' }))
  // @ts-expect-error a name is a text
  t.throws(() => defineTool({ name: 1, execute }))
})

t.test('and an error that names the tool and the problem, for those who do without types', async (t) => {
  const broken: [unknown, string | RegExp][] = [
    [undefined, 'a tool must be an object'],
    [{ execute }, /^a tool's name must be/],
    [{ name: 'two words', execute }, /not "two words"$/],
    [{ name: 'x'.repeat(65), execute }, /^a tool's name must be/],
    [{ name: 'a' }, 'tool "a": execute must be a function'],
    [{ name: 'a', execute, description: 1 }, 'tool "a": description must be a string'],
    [{ name: 'a', execute, timeoutMs: 0 }, 'tool "a": timeoutMs must be a positive integer'],
    [{ name: 'a', execute, timeoutMs: '5' }, 'tool "a": timeoutMs must be a positive integer'],
    [{ name: 'a', execute, timeoutMs: 2 ** 31 }, 'tool "a": timeoutMs must be at most 2147483647'],
    [{ name: 'a', execute, maxResultBytes: 1.5 }, 'tool "a": maxResultBytes must be a positive integer'],
    [{ name: 'a', execute, parameters: 'x' }, 'tool "a": parameters must be the JSON schema of an object'],
    [{ name: 'a', execute, parameters: [] }, 'tool "a": parameters must be the JSON schema of an object'],
    [
      { name: 'a', execute, parameters: { type: 'string' } },
      'tool "a": parameters must be the JSON schema of an object',
    ],
  ]
  for (const [tool, message] of broken) t.throws(() => assertTool(tool), { name: 'TypeError', message })
})

t.test('every name that OpenAI takes is one', async (t) => {
  for (const name of ['a', '_', 'get-weather_2', 'x'.repeat(64)]) {
    t.doesNotThrow(() => assertTool({ name, execute, timeoutMs: 1, maxResultBytes: 1, parameters: {} }))
  }
})
