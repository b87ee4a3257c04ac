import { Type } from 'typebox'
import { AnyObject, type BodySchema, bodyOf, Nullable } from '../body-schema.ts'
import { isObject } from '../json.ts'
import { GatewayError } from '../server/errors.ts'
import type { InputItem } from './response-types.ts'

const Text = Type.String()
const Parts = Type.Array(AnyObject)
const Id = Nullable(Text)
const Sealed = Nullable(Text)
const Output = Type.Union([Text, Parts])

/** By type. Items and parts of other types are for whoever translates them to refuse, or to pass on. */
const items: Readonly<Record<string, BodySchema>> = {
  message: bodyOf(Type.Object({ id: Id, role: Text, content: Type.Union([Text, Parts]), encrypted_content: Sealed })),
  reasoning: bodyOf(
    Type.Object({
      id: Id,
      summary: Nullable(Parts),
      content: Nullable(Parts),
      encrypted_content: Sealed,
    }),
  ),
  function_call: bodyOf(
    Type.Object({
      id: Id,
      call_id: Text,
      name: Text,
      arguments: Text,
      status: Nullable(Text),
      encrypted_content: Sealed,
    }),
  ),
  function_call_output: bodyOf(Type.Object({ id: Id, call_id: Text, output: Output })),
  custom_tool_call: bodyOf(
    Type.Object({ id: Id, call_id: Text, name: Text, input: Text, status: Nullable(Text), encrypted_content: Sealed }),
  ),
  custom_tool_call_output: bodyOf(Type.Object({ id: Id, call_id: Text, output: Output })),
  item_reference: bodyOf(Type.Object({ id: Type.String({ minLength: 1 }) })),
}
const unknownItem = bodyOf(Type.Object({ id: Id, type: Text }))

const textPart = bodyOf(Type.Object({ text: Text }))
const parts: Readonly<Record<string, BodySchema>> = {
  input_text: textPart,
  output_text: textPart,
  summary_text: textPart,
  reasoning_text: textPart,
  refusal: bodyOf(Type.Object({ refusal: Text })),
  input_image: bodyOf(Type.Object({ image_url: Nullable(Text), file_id: Nullable(Text), detail: Nullable(Text) })),
  input_file: bodyOf(
    Type.Object({
      file_id: Nullable(Text),
      file_url: Nullable(Text),
      file_data: Nullable(Text),
      filename: Nullable(Text),
    }),
  ),
  input_audio: bodyOf(Type.Object({ input_audio: Type.Object({ data: Text, format: Text }) })),
}
const unknownPart = bodyOf(Type.Object({ type: Text }))

/** A message needs no type; neither does a reference, which is nothing but an id. */
export function typeOf(item: Readonly<Record<string, unknown>>): unknown {
  return item.type ?? ('role' in item ? 'message' : 'id' in item ? 'item_reference' : item.type)
}

/** @throws GatewayError `invalid_request` whose `param` names the field: `input[3].call_id` */
export function asInputItems(values: readonly unknown[], path: string): InputItem[] {
  for (const [index, value] of values.entries()) assertItem(value, `${path}[${index}]`)
  return values as InputItem[]
}

function assertItem(value: unknown, path: string): void {
  const type = isObject(value) ? typeOf(value) : undefined
  if (type !== undefined && typeof type !== 'string') throw unknownItem.refusal({ type }, path)
  assertFits(schemaFor(items, type) ?? unknownItem, value, path)
  if (!isObject(value) || !schemaFor(items, type)) return
  for (const field of ['content', 'output', 'summary']) {
    const list = value[field]
    if (Array.isArray(list)) for (const [index, part] of list.entries()) assertPart(part, `${path}.${field}[${index}]`)
  }
}

function assertPart(value: unknown, path: string): void {
  assertFits(unknownPart, value, path)
  assertFits(schemaFor(parts, isObject(value) ? value.type : undefined) ?? unknownPart, value, path)
}

function assertFits(schema: BodySchema, value: unknown, path: string): void {
  // A number that is kept as text is an object to the schema.
  if (!isObject(value)) {
    throw new GatewayError('invalid_request', `invalid value for '${path}': must be object`, { param: path })
  }
  if (!schema.fits(value)) throw schema.refusal(value, path)
}

const schemaFor = (schemas: Readonly<Record<string, BodySchema>>, type: unknown): BodySchema | undefined =>
  typeof type === 'string' && Object.hasOwn(schemas, type) ? schemas[type] : undefined
