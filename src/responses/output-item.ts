import type { EventBody, ItemStatus, OutputItem } from './response-types.ts'

/** Where an item stands in the stream. */
export interface OutputPlace {
  item_id: string
  output_index: number
}

/** An item of the output while it is being streamed. */
export interface OpenItem {
  /** The item as far as it has come: a copy, which does not grow. */
  readonly item: OutputItem
  /** Ends the item, and everything open in it. */
  close(status: ItemStatus): EventBody[]
}

export const added = (output_index: number, item: OutputItem): EventBody => ({
  type: 'response.output_item.added',
  output_index,
  item,
})

export const done = (output_index: number, item: OutputItem): EventBody => ({
  type: 'response.output_item.done',
  output_index,
  item,
})
