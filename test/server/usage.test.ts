import t from 'tap'
import { estimateUsage } from '../../src/server/usage.ts'
import type { ChatRequest } from '../../src/types.ts'

const request = (messages: unknown): ChatRequest => ({ model: 'm', messages }) as ChatRequest

t.test('an estimate counts the text of the prompt and the chunks of the answer, and says that it is one', async (t) => {
  t.strictSame(estimateUsage(request([{ role: 'user', content: 'x'.repeat(40) }]), 3), {
    prompt_tokens: 10,
    completion_tokens: 3,
    total_tokens: 13,
    estimated: true,
  })
})

t.test('an image is no text, however long', async (t) => {
  const image = { type: 'image_url', image_url: { url: `data:image/png;base64,${'A'.repeat(100_000)}` } }
  const parts = [{ type: 'text', text: 'x'.repeat(8) }, image]
  t.equal(estimateUsage(request([{ role: 'user', content: parts }]), 0).prompt_tokens, 2)
  t.equal(estimateUsage(request([{ role: 'assistant', content: null }, { role: 'user' }]), 0).prompt_tokens, 0)
})
