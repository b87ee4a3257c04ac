import t from 'tap'
import { inputItems, toStoredItem } from '../../src/responses/input-items.ts'
import { itemId, newResponseId, responseIdOf } from '../../src/responses/item-ids.ts'
import { page } from '../../src/responses/page.ts'
import { asResponseRequest } from '../../src/responses/request-schema.ts'
import { assertSchema } from '../openapi.ts'

const id = newResponseId()
const stored = (input: unknown) => inputItems(asResponseRequest({ model: 'm', input }), id)

t.test('a text is a message of the user', async (t) => {
  t.strictSame(stored('hi'), [
    {
      type: 'message',
      id: itemId('message', id, 'input', 0),
      role: 'user',
      status: 'completed',
      content: [{ type: 'input_text', text: 'hi' }],
    },
  ])
})

t.test('items in every form are listed as the API lists them', async (t) => {
  const items = stored([
    { role: 'user', content: 'hi' },
    { role: 'developer', content: [{ type: 'input_text', text: 'x' }] },
    { type: 'message', role: 'user', content: [{ type: 'input_image', image_url: 'https://example.com/a.png' }] },
    { role: 'assistant', content: 'hello' },
    { role: 'assistant', content: [{ type: 'refusal', refusal: 'no' }] },
    { type: 'reasoning', encrypted_content: 'sealed' },
    { type: 'function_call', call_id: 'c1', name: 'f', arguments: '{}' },
    { type: 'function_call_output', call_id: 'c1', output: 'done' },
    { type: 'custom_tool_call', call_id: 'c2', name: 'g', input: 'i' },
    { type: 'custom_tool_call_output', call_id: 'c2', output: [{ type: 'input_image', file_id: 'file-1' }] },
  ])
  t.doesNotThrow(() => assertSchema('ResponseItemList', page(items)))
  t.equal(new Set(items.map((item) => item.id)).size, 10)
  t.match(items[3], { role: 'assistant', content: [{ type: 'output_text', text: 'hello', annotations: [] }] })
  t.match(items[2], { content: [{ detail: 'auto' }] })
})

t.test('what a client says of its items stays', async (t) => {
  const item = {
    type: 'function_call',
    id: 'fc_1',
    status: 'incomplete',
    call_id: 'c',
    name: 'f',
    arguments: '',
    more: 1,
  }
  t.strictSame(stored([item]), [item])
})

t.test('a reference stays one, until the owner of the store looks it up', async (t) => {
  t.strictSame(stored([{ id: 'msg_1' }]), [{ type: 'item_reference', id: 'msg_1' }])
})

t.test('the id of an item tells its response', async (t) => {
  t.equal(responseIdOf(itemId('message', id, 'input', 3)), id)
  t.equal(responseIdOf(itemId('function_call', id, 'output', 12)), id)
  for (const other of ['msg_1', '', id, toStoredItem({ role: 'user', content: '' }).id]) {
    t.equal(responseIdOf(String(other)), undefined, String(other))
  }
})
