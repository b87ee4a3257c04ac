import { setTimeout as sleep } from 'node:timers/promises'
import OpenAI from 'openai'
import t from 'tap'
import { startBalancer } from '../balancer.ts'
import { dataOf } from '../gateway.ts'
import { type GatewayProcess, runGateway } from '../process.ts'
import { completion, startUpstream } from '../upstream.ts'

const openStreams = 200
const restarts = 10
const words = Array.from({ length: 5 }, (_, n) => ` word${n}`)

const upstream = await startUpstream()
t.teardown(() => upstream.close())
upstream.behave(completion({ tokens: words, delayMs: 300, firstDelayMs: 20 }))

t.test(
  `${restarts} restarts under ${openStreams} open streams and steady whole answers: nothing fails, nothing is cut`,
  async (t) => {
    const cwd = t.testdir({
      'signalbox.yaml': `
      server: { drainDelay: 5s, drainTimeout: 40s, logLevel: info }
      providers: { up: { baseURL: '${upstream.baseURL}' } }
    `,
    })
    process.setMaxListeners(2 * restarts)
    const start = (): Promise<GatewayProcess> => runGateway(t, { cwd, lifeMs: 100_000 })
    const balancer = await startBalancer(t)
    const serving: GatewayProcess[] = await Promise.all([start(), start()])
    for (const { url } of serving) await balancer.add(url)

    let isOver = false
    let n = 0
    let open = 0
    const failures: string[] = []
    const whole = { streams: 0, answers: 0 }
    const ask = (stream: boolean): Promise<Response> =>
      fetch(`${balancer.url}/v1/chat/completions`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ model: 'up/m', messages: [{ role: 'user', content: 'hello' }], stream }),
      })

    /** One stream after another, over connections that are kept alive. */
    const streams = async (): Promise<void> => {
      while (!isOver) {
        const startedAt = performance.now()
        try {
          const answer = await ask(true)
          open += 1
          const data = dataOf(await answer.text().finally(() => (open -= 1)))
          const text = data.slice(0, -1).map((chunk) => JSON.parse(chunk).choices[0]?.delta.content ?? '')
          if (answer.status === 200 && data.at(-1) === '[DONE]' && text.join('') === words.join('')) whole.streams += 1
          else failures.push(`stream: ${answer.status} ${data.at(-1)}`)
        } catch (error) {
          failures.push(
            `stream ${n}: ${Math.round(performance.now() - startedAt)} ms: ${error} ${(error as Error).cause}`,
          )
        }
      }
    }
    // No retries: what fails has failed.
    const client = new OpenAI({ baseURL: `${balancer.url}/v1`, apiKey: 'none', maxRetries: 0 })
    /** One whole answer after another, over connections that lie idle in between: a POST that meets their end fails. */
    const answers = async (pauseMs: number): Promise<void> => {
      while (!isOver) {
        const startedAt = performance.now()
        try {
          const answer = await client.chat.completions.create({
            model: 'up/m',
            messages: [{ role: 'user', content: 'hello' }],
          })
          const { content } = answer.choices[0]?.message ?? {}
          if (content === words.join('')) whole.answers += 1
          else failures.push(`answer: ${JSON.stringify(answer)}`)
        } catch (error) {
          const tookMs = Math.round(performance.now() - startedAt)
          failures.push(`answer ${n}, after ${pauseMs} ms idle: ${tookMs} ms: ${error} ${(error as Error).cause}`)
        }
        await sleep(pauseMs)
      }
    }
    const pauses = [0, 0, 40, 40, 40, 40, 200, 200, 500, 500, 1000, 1000, 2000, 3000, 4000, 4500]
    const traffic = [...Array.from({ length: openStreams }, streams), ...pauses.map(answers)]
    while (open < openStreams * 0.8) await sleep(20)

    const exits: Promise<{ code: number | null; stdout: string }>[] = []
    const openThen: number[] = []
    for (; n < restarts; n++) {
      // As a rolling update does: the new one is ready before an old one has to go.
      const next = await start()
      await balancer.add(next.url)
      serving.push(next)
      const old = serving.shift() as GatewayProcess
      while (open < openStreams * 0.8) await sleep(20)
      openThen.push(open)
      old.process.kill('SIGTERM')
      exits.push(
        old.process.exited.then((exit) => {
          balancer.remove(old.url)
          return exit
        }),
      )
    }
    const exited = await Promise.all(exits)
    isOver = true
    await Promise.all(traffic)

    t.strictSame(failures, [])
    t.equal(balancer.refused, 0)
    t.strictSame(
      exited.map(({ code }) => code),
      Array(restarts).fill(0),
    )
    t.notOk(
      exited.some(({ stdout }) => stdout.includes('breaking off')),
      'each ended by itself',
    )
    t.ok(Math.min(...openThen) > openStreams / 2, `streams were open at each SIGTERM: ${openThen}`)
    t.ok(whole.streams >= openStreams && whole.answers > 100, `${whole.streams} streams, ${whole.answers} answers`)
    if (failures.length === 0) t.comment(`${whole.streams} streams and ${whole.answers} answers, none failed`)
  },
)
