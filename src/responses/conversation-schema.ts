import { Type } from 'typebox'
import { AnyObject, bodyOf, Nullable } from '../body-schema.ts'
import { isObject } from '../json.ts'
import type { ConversationRecord } from './conversation-records.ts'
import { asInputItems } from './item-schema.ts'
import { assertMetadata } from './metadata-limits.ts'
import { invalid } from './refusals.ts'
import type { InputItem, ResponseRequest } from './response-types.ts'

type Metadata = ConversationRecord['metadata']
type Given = Pick<ResponseRequest, 'metadata'> & { items?: unknown[] | null }

const mostItems = 20

const newConversation = bodyOf(Type.Object({ items: Nullable(Type.Array(AnyObject)), metadata: Nullable(AnyObject) }))
const newItems = bodyOf(Type.Object({ items: Type.Array(AnyObject) }))
const update = bodyOf(Type.Object({ metadata: Type.Union([AnyObject, Type.Null()]) }))

/** The body of `POST /v1/conversations`. @throws GatewayError `invalid_request` whose `param` names the field */
export function asNewConversation(value: unknown): { items: InputItem[]; metadata: Metadata } {
  if (!newConversation.fits(value)) throw newConversation.refusal(value)
  const given = value as Given
  return { items: itemsOf(given), metadata: metadataOf(given) }
}

/** The body of `POST /v1/conversations/{id}/items`. @throws as {@link asNewConversation} */
export function asNewItems(value: unknown): InputItem[] {
  if (!newItems.fits(value)) throw newItems.refusal(value)
  return itemsOf(value as Given)
}

/** The body of `POST /v1/conversations/{id}`. @throws as {@link asNewConversation} */
export function asConversationUpdate(value: unknown): Metadata {
  if (!update.fits(value)) throw update.refusal(value)
  return metadataOf(value as Given)
}

function itemsOf({ items }: Given): InputItem[] {
  if (items && items.length > mostItems) throw invalid('items', `'items' has more than ${mostItems} items`)
  return asInputItems(items ?? [], 'items')
}

function metadataOf({ metadata }: Given): Metadata {
  // A number that is kept as text is an object to the schema.
  if (metadata && !isObject(metadata)) {
    throw invalid('metadata', "invalid value for 'metadata': must be object or null")
  }
  assertMetadata({ metadata: metadata ?? null })
  return metadata ?? {}
}
