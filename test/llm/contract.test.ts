import t from 'tap'
import { createLLM } from '../../src/index.ts'
import { anthropic, startAnthropic } from '../upstream/anthropic.ts'
import { google, startGoogle } from '../upstream/google.ts'
import { openai } from '../upstream/openai.ts'
import { startUpstream } from '../upstream.ts'
import { clientContract } from './client-contract.ts'

for (const { model, dialect, start } of [
  { model: 'openai/gpt-5', dialect: openai, start: startUpstream },
  { model: 'anthropic/claude-haiku-4-5', dialect: anthropic, start: startAnthropic },
  { model: 'google/gemini-2.5-flash', dialect: google, start: startGoogle },
]) {
  t.test(model, async (t) => {
    const upstream = await start()
    t.teardown(() => upstream.close())
    clientContract(t, {
      dialect,
      upstream,
      connect: (baseURL = upstream.baseURL) => createLLM({ model, baseURL, apiKey: 'k' }),
    })
  })
}
