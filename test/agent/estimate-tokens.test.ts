import t from 'tap'
import { estimateTokens } from '../../src/agent/estimate-tokens.ts'
import type { ChatMessage } from '../../src/types.ts'

const tokensIn = (content: string): number => estimateTokens([{ role: 'user', content }])
const withParts = (...parts: object[]): ChatMessage => ({ role: 'user', content: parts }) as ChatMessage

t.test('no messages are no tokens', async (t) => t.equal(estimateTokens([]), 0))

t.test('English has about four letters a token', async (t) => {
  const text = 'The quick brown fox jumps over the lazy dog, and then it does so again. '.repeat(20)
  const real = 17 * 20
  t.ok(tokensIn(text) > real * 0.8 && tokensIn(text) < real * 1.3, String(tokensIn(text)))
})

t.test('a Chinese character is more than a quarter of one', async (t) => {
  const characters = 400
  t.ok(tokensIn('今天天气很好我们去'.repeat(50).slice(0, characters)) >= characters * 0.6)
})

t.test('a message costs a few tokens beside its text', async (t) => {
  t.ok(tokensIn('') >= 3 && tokensIn('') <= 10, String(tokensIn('')))
})

t.test('all that a model reads is counted', async (t) => {
  const long = 'x'.repeat(4000)
  const readings: ChatMessage[] = [
    { role: 'assistant', content: null, reasoning_content: long },
    { role: 'assistant', content: null, refusal: long },
    { role: 'assistant', tool_calls: [{ id: 'a', type: 'function', function: { name: 'f', arguments: long } }] },
    { role: 'tool', tool_call_id: 'a', content: [{ type: 'text', text: long }] },
    withParts({ type: 'text', text: long }),
  ]
  for (const message of readings) t.ok(estimateTokens([message]) >= 1000, JSON.stringify(message).slice(0, 60))
})

t.test('an attachment costs the same, however many bytes it has', async (t) => {
  const data = 'A'.repeat(1_000_000)
  const attachments = [
    { type: 'image_url', image_url: { url: `data:image/png;base64,${data}` } },
    { type: 'input_audio', input_audio: { data, format: 'wav' } },
    { type: 'file', file: { file_data: data, filename: 'a.pdf' } },
    { type: 'image_url', image_url: { url: 'https://example.com/a.png' } },
  ]
  for (const part of attachments) {
    const tokens = estimateTokens([withParts(part)])
    t.ok(tokens >= 1000 && tokens < 1050, `${part.type} ${tokens}`)
  }
  t.ok(estimateTokens([withParts(...attachments)]) >= 4000)
})

t.test('a message is no attachment, though it has a field like one', async (t) => {
  const message = { role: 'user', content: 'x'.repeat(4000), type: 'file' } as ChatMessage
  const tokens = estimateTokens([message])
  t.ok(tokens >= 1000 && tokens < 1050, String(tokens))
})
