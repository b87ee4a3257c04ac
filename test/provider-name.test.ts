import t from 'tap'
import { providerName } from '../src/provider-name.ts'

t.test('a provider has the name that OpenTelemetry has for it', async (t) => {
  t.equal(providerName('openai', {}), 'openai')
  t.equal(providerName('azure', {}), 'azure.ai.openai')
  t.equal(providerName('google', {}), 'gcp.gemini')
  t.equal(providerName('mistral', {}), 'mistral_ai')
  t.equal(providerName('toString', {}), 'toString')
})

t.test('one with a name of its own goes by what it is, unless that says little', async (t) => {
  t.equal(providerName('eu', { eu: 'bedrock' }), 'aws.bedrock')
  t.equal(providerName('eu', { eu: 'openai' }), 'openai')
  t.equal(providerName('lab', { lab: 'openai-compatible' }), 'lab')
})
