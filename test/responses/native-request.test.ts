import t from 'tap'
import { inputItems } from '../../src/responses/input-items.ts'
import { promptOf, toProviderRequest } from '../../src/responses/native-request.ts'
import { sealed } from '../../src/responses/provider-state.ts'
import type { ResponseRequest, StoredItem } from '../../src/responses/response-types.ts'
import type { Json } from '../upstream.ts'

/** What the provider is sent. */
function sent(request: Json, earlier: Json[] = []) {
  const body = { model: 'm', ...request } as unknown as ResponseRequest
  return toProviderRequest(body, earlier as unknown as StoredItem[], inputItems(body, 'resp_1'))
}

t.test('everything passes but what the gateway does itself', async (t) => {
  const passed = { instructions: 'x', include: ['a'], truncation: 'auto', temperature: null, brand_new: { a: [1] } }
  const own = { background: true, conversation: 'conv_1', previous_response_id: 'resp_0', stream: true, store: true }
  t.strictSame(sent({ ...passed, ...own, input: 'hi' }), { model: 'm', ...passed, input: 'hi', store: false })
  t.strictSame(sent({ prompt: { id: 'p' } }), { model: 'm', prompt: { id: 'p' }, store: false }, 'no input is none')
})

t.test('the request’s own items are sent as they are, but for the ids of what nobody has stored', async (t) => {
  const items = [
    { role: 'user', content: 'a text' },
    { type: 'message', role: 'assistant', id: 'msg_1', content: [{ type: 'output_text', text: 'x', brand_new: 1 }] },
    { type: 'mcp_approval_request', id: 'mcpr_1', server_label: 's', name: 'n', arguments: '{}' },
    { type: 'mcp_approval_response', id: 'mcpa_1', approval_request_id: 'mcpr_1', approve: true },
    { type: 'brand_new_item', id: 'bn_1', a: { b: 1 } },
  ]
  t.strictSame(sent({ input: items }).input, [
    items[0],
    { type: 'message', role: 'assistant', content: [{ type: 'output_text', text: 'x', brand_new: 1 }] },
    items[2],
    { type: 'mcp_approval_response', approval_request_id: 'mcpr_1', approve: true },
    { type: 'brand_new_item', a: { b: 1 } },
  ])
})

t.test('earlier items: what another provider sealed, or nobody, is not sent', async (t) => {
  const state = sealed({ signature: 's' })
  const earlier = [
    { type: 'reasoning', id: 'rs_1', summary: [], encrypted_content: state },
    { type: 'reasoning', id: 'rs_2', summary: [] },
    { type: 'reasoning', id: 'rs_3', summary: [], encrypted_content: 'gAAA', brand_new: 1 },
    {
      type: 'function_call',
      id: 'fc_1',
      call_id: 'c1',
      name: 'f',
      arguments: '{}',
      status: 'completed',
      encrypted_content: state,
    },
    { type: 'function_call_output', id: 'fco_1', call_id: 'c1', output: '' },
    { type: 'compaction', id: 'cmp_1', encrypted_content: 'gAAA' },
    { type: 'image_generation_call', id: 'item_1_i0', status: 'completed', result: 'x' },
  ]
  t.strictSame(sent({ input: [] }, earlier).input, [
    { type: 'reasoning', summary: [], brand_new: 1, encrypted_content: 'gAAA' },
    { type: 'function_call', call_id: 'c1', name: 'f', arguments: '{}', status: 'completed' },
    { type: 'function_call_output', call_id: 'c1', output: '' },
    { type: 'compaction', encrypted_content: 'gAAA' },
    { type: 'image_generation_call', status: 'completed', result: 'x' },
  ])
})

t.test('what was cut off is left out, unless it is a text or has been answered', async (t) => {
  const cut = (call_id: string) => ({ type: 'function_call', call_id, name: 'f', arguments: '{', status: 'incomplete' })
  const text = { type: 'message', role: 'assistant', status: 'incomplete', content: [] }
  const search = { type: 'code_interpreter_call', id: 'ci_1', status: 'incomplete', code: 'pri' }
  const output = { type: 'function_call_output', call_id: 'c2', output: 'x' }
  const { type: _type, ...bare } = text
  const input = [bare, output]
  t.strictSame(sent({ input }, [text, search, cut('c1'), cut('c2')]).input, [text, cut('c2'), bare, output])
})

t.test('for estimates, only what is text counts', async (t) => {
  const input = [{ role: 'user', content: [{ type: 'input_image', image_url: `data:${'A'.repeat(9000)}` }] }]
  const [message] = promptOf({ model: 'm', input, instructions: 'Be brief.' }).messages
  t.ok(String(message?.content).length < 200)
  t.match(message?.content, /Be brief\./)
})
