/** A provider that costs next to nothing: fixed answers, and streams in which every chunk is a write of its own. */
import { createServer } from 'node:http'

const chunksPerStream = 200
/** So that the load keeps up: chunks that wait are read together, and how many is luck. No model is as fast. */
const pauseMs = 5

const completion = JSON.stringify({
  id: 'chatcmpl-bench',
  object: 'chat.completion',
  created: 1_700_000_000,
  model: 'bench',
  choices: [
    {
      index: 0,
      message: { role: 'assistant', content: 'A signal box sets the points. '.repeat(20), refusal: null },
      logprobs: null,
      finish_reason: 'stop',
    },
  ],
  usage: { prompt_tokens: 120, completion_tokens: 140, total_tokens: 260 },
  system_fingerprint: 'fp_bench',
})
const event = (choices: object[], usage: object | null = null): string =>
  `data: ${JSON.stringify({
    id: 'chatcmpl-bench',
    object: 'chat.completion.chunk',
    created: 1_700_000_000,
    model: 'bench',
    service_tier: 'default',
    system_fingerprint: 'fp_bench',
    choices,
    usage,
  })}\n\n`
const token = event([{ index: 0, delta: { content: ' points' }, logprobs: null, finish_reason: null }])
const end = `${event([{ index: 0, delta: {}, logprobs: null, finish_reason: 'stop' }])}${event([], {
  prompt_tokens: 120,
  completion_tokens: chunksPerStream,
  total_tokens: 120 + chunksPerStream,
})}data: [DONE]\n\n`

const server = createServer((request, response) => {
  let body = ''
  request.setEncoding('utf8')
  request.on('data', (text: string) => {
    body += text
  })
  request.on('end', () => {
    // It stands in for a collector of traces, too.
    if (request.url === '/v1/traces') {
      response.end()
      return
    }
    if (!body.includes('"stream":true')) {
      response.writeHead(200, { 'content-type': 'application/json', 'content-length': completion.length })
      response.end(completion)
      return
    }
    response.writeHead(200, { 'content-type': 'text/event-stream' })
    if (body.includes('"hold":true')) {
      response.write(token)
      return
    }
    let sent = 0
    const timer = setInterval(() => {
      if (sent++ < chunksPerStream) {
        response.write(token)
        return
      }
      clearInterval(timer)
      response.end(end)
    }, pauseMs)
    response.on('close', () => clearInterval(timer))
  })
})
process.on('disconnect', () => process.exit())
server.keepAliveTimeout = 60_000
server.listen(0, '127.0.0.1', () => {
  const address = server.address()
  process.send?.({ port: typeof address === 'object' ? address?.port : undefined })
})
