import { Compile, type XStatic } from 'typebox/schema'
import { isObject } from '../json.ts'

/** A JSON schema: written as such, or made with TypeBox. */
export type JSONSchema = Readonly<Record<string, unknown>>

/** What a tool knows of the request that it runs for. */
export interface ToolContext {
  /** Aborts when the client has left or the tool's time is over. */
  signal: AbortSignal
  requestId: string | undefined
  userId: string | null
  conversationId: string | undefined
}

/** A function that a model may call and the gateway runs. */
export interface AgentTool {
  /** As the model knows it: 1 to 64 letters, digits, `_` and `-`. */
  name: string
  /** Tells the model what it does and when to use it. */
  description?: string
  /** JSON schema of its arguments, an object. Default: an object without properties. */
  parameters?: JSONSchema
  /** Asks providers that can to keep strictly to the schema. Default: left to the provider. */
  strict?: boolean
  /** Milliseconds that one call may take. Default 30 000. */
  timeoutMs?: number
  /** Bytes of a result that the model is given; a longer one is an error to it. Default 65 536. */
  maxResultBytes?: number
  /**
   * Runs with arguments that fit `parameters`. A string is the model's as it is, anything else as JSON. What it throws is told
   * to the model, never to the client.
   */
  execute(args: never, context: ToolContext): unknown
}

/** A tool whose arguments are typed by their schema, JSON schema or TypeBox. Throws as {@link assertTool}. */
export function defineTool<const Schema>(
  tool: Omit<AgentTool, 'parameters' | 'execute'> & {
    parameters?: Schema
    execute(args: XStatic<Schema>, context: ToolContext): unknown
  },
): AgentTool {
  assertTool(tool)
  return tool
}

const longestTimeoutMs = 2 ** 31 - 1

/** @throws TypeError naming the tool and what is wrong with it */
export function assertTool(value: unknown): asserts value is AgentTool {
  if (!isObject(value)) throw new TypeError('a tool must be an object')
  const { name, description, parameters, execute, timeoutMs, maxResultBytes } = value
  if (typeof name !== 'string' || !/^[\w-]{1,64}$/.test(name)) {
    throw new TypeError(`a tool's name must be 1 to 64 letters, digits, "_" and "-", not ${JSON.stringify(name)}`)
  }
  const fail = (problem: string): never => {
    throw new TypeError(`tool "${name}": ${problem}`)
  }
  if (typeof execute !== 'function') fail('execute must be a function')
  if (description !== undefined && typeof description !== 'string') fail('description must be a string')
  // A timer that is set for longer goes off at once.
  if (Number(timeoutMs) > longestTimeoutMs) fail(`timeoutMs must be at most ${longestTimeoutMs}`)
  for (const [field, limit] of Object.entries({ timeoutMs, maxResultBytes })) {
    if (limit !== undefined && !(Number.isSafeInteger(limit) && Number(limit) > 0)) {
      fail(`${field} must be a positive integer`)
    }
  }
  if (parameters === undefined) return
  if (!isObject(parameters) || (parameters.type !== undefined && parameters.type !== 'object')) {
    fail('parameters must be the JSON schema of an object')
  }
  try {
    Compile(parameters as JSONSchema)
  } catch (cause) {
    throw new TypeError(`tool "${name}": parameters are no JSON schema: ${String(cause)}`, { cause })
  }
}
