import type { Json } from './exchange.ts'
import { messageItem, outputText, webSearch } from './responses.ts'

/** One of every kind of item whose making has events of its own. */
export const everyItem = (): Json[] => [
  {
    type: 'reasoning',
    id: 'rs_1',
    summary: [{ type: 'summary_text', text: 'First, look it up.' }],
    content: [{ type: 'reasoning_text', text: 'Look it up.' }],
    encrypted_content: 'gAAA1',
    status: 'completed',
  },
  webSearch('weather in Rome'),
  {
    type: 'file_search_call',
    id: 'fs_1',
    status: 'completed',
    queries: ['weather'],
    results: [{ file_id: 'file-1', filename: 'a.md', text: 'sunny', score: 0.5, attributes: {} }],
  },
  {
    type: 'code_interpreter_call',
    id: 'ci_1',
    status: 'completed',
    container_id: 'cntr_1',
    code: 'print(1 + 1)',
    outputs: [{ type: 'logs', logs: '2' }],
  },
  { type: 'image_generation_call', id: 'ig_1', status: 'completed', result: 'QUJDREVG' },
  { type: 'mcp_list_tools', id: 'mcpl_1', server_label: 'wiki', tools: [] },
  { type: 'mcp_list_tools', id: 'mcpl_2', server_label: 'gone', tools: [], error: 'unreachable' },
  {
    type: 'mcp_call',
    id: 'mcp_1',
    status: 'completed',
    server_label: 'wiki',
    name: 'read',
    arguments: '{"page":"Rome"}',
    output: 'A city.',
  },
  {
    type: 'mcp_call',
    id: 'mcp_2',
    status: 'failed',
    server_label: 'wiki',
    name: 'read',
    arguments: '{"page":"Mars"}',
    error: { type: 'mcp_tool_execution_error', content: [] },
  },
  {
    type: 'shell_call',
    id: 'sh_1',
    call_id: 'call_sh',
    status: 'completed',
    action: { commands: ['ls -l'], timeout_ms: null, max_output_length: null },
    environment: { type: 'local' },
  },
  {
    type: 'shell_call_output',
    id: 'sho_1',
    call_id: 'call_sh',
    status: 'completed',
    max_output_length: null,
    output: [{ stdout: 'a', stderr: '', outcome: { type: 'exit', exit_code: 0 } }],
  },
  {
    type: 'function_call',
    id: 'fc_1',
    call_id: 'call_1',
    name: 'weather',
    arguments: '{"city":"Rome"}',
    status: 'completed',
  },
  { type: 'custom_tool_call', id: 'ctc_1', call_id: 'call_2', name: 'sql', input: 'select 1', status: 'completed' },
  messageItem(
    outputText('It is sunny in Rome.', [
      { type: 'url_citation', url: 'https://example.com/', title: 'Weather', start_index: 0, end_index: 5 },
    ]),
    { type: 'refusal', refusal: 'I will not say more.' },
  ),
]

/** Events of an answer that is spoken: they belong to no item. */
export const audioEvents = (response_id: string): Json[] => [
  { type: 'response.audio.delta', response_id, delta: 'QUJD' },
  { type: 'response.audio.done', response_id },
  { type: 'response.audio.transcript.delta', response_id, delta: 'It is' },
  { type: 'response.audio.transcript.done', response_id },
]
