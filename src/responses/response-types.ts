import type {
  Response,
  ResponseCreateParamsBase,
  ResponseCustomToolCallItem,
  ResponseFunctionToolCallItem,
  ResponseInputItem,
  ResponseItem,
  ResponseOutputMessage,
  ResponseReasoningItem,
  ResponseStreamEvent,
} from 'openai/resources/responses/responses'

/** The body of `POST /v1/responses`. Fields that this version of the gateway does not know pass. */
export type ResponseRequest = Omit<ResponseCreateParamsBase, 'model'> & { model: string } & {
  readonly [field: string]: unknown
}

/** An item as a client sends it. */
export type InputItem = ResponseInputItem

/** An item as it is stored and listed: its `type` and `id` are always there, and a message's content is a list. */
export type StoredItem = ResponseItem | ItemReference

/** Stands for an item that the gateway has stored; whoever owns the store puts the item in its place. */
export type ItemReference = Omit<ResponseInputItem.ItemReference, 'type'> & { type: 'item_reference' }

/** What a provider wants to see again, on items that have no such field at OpenAI. */
interface ProviderState {
  encrypted_content?: string | null
}

export type MessageItem = ResponseOutputMessage & ProviderState
export type ReasoningItem = ResponseReasoningItem
export type FunctionCallItem = ResponseFunctionToolCallItem & ProviderState
export type CustomCallItem = ResponseCustomToolCallItem & ProviderState

/** The items that a model behind chat completions can answer with. */
export type OutputItem = MessageItem | ReasoningItem | FunctionCallItem | CustomCallItem

export type ItemStatus = MessageItem['status']

/** The Response object of the API. `output_text` and `parsed` are additions of the SDKs. */
export type ResponseObject = Omit<Response, 'output' | 'output_text' | 'access_programs'> & {
  output: OutputItem[]
  store?: boolean
}

type LifecycleType = Extract<ResponseStreamEvent, { response: Response }>['type']

/** An event that carries the whole response. */
export interface LifecycleEvent {
  type: LifecycleType
  response: ResponseObject
  sequence_number: number
}

/** An event of a response's stream; its `type` is also the name of the server-sent event. */
export type ResponseEvent = Exclude<ResponseStreamEvent, { response: Response }> | LifecycleEvent

type WithoutNumber<Event> = Event extends ResponseEvent ? Omit<Event, 'sequence_number'> : never

/** An event before it has its place in the stream. */
export type EventBody = WithoutNumber<ResponseEvent>
