import OpenAI from 'openai'
import type { Account } from './account.ts'
import { apiKey, type Cluster, linesOf } from './cluster.ts'
import type { Conversation } from './traffic.ts'
import { expositionOf, sumOf } from './vitals.ts'

/** Do the gateway's log, its counters and its histories agree with what the clients were told? */
export async function consistencyOf(
  cluster: Cluster,
  account: Account,
  conversations: readonly Conversation[],
): Promise<Record<string, boolean>> {
  const logged = new Map<string, number>()
  for (const { requestId } of cluster.requestLines()) logged.set(requestId, (logged.get(requestId) ?? 0) + 1)
  const { process } = cluster.veteran
  const own = linesOf(process.stdout).length
  const counted = sumOf(await expositionOf(cluster.veteran), 'signalbox_http_requests_total', 'route="/v1/')
  return {
    'every answer has one line in the log': account.ids.every((id) => logged.get(id) === 1),
    'no request has two lines': [...logged.values()].every((lines) => lines === 1),
    'the counters agree with the log': own === counted,
    'every acknowledged turn is in its history once, in order': await historiesHold(cluster, conversations),
  }
}

/** One more turn shows the provider what the gateway has kept. */
async function historiesHold(cluster: Cluster, conversations: readonly Conversation[]): Promise<boolean> {
  const openai = new OpenAI({ baseURL: `${cluster.balancer.url}/v1`, apiKey, maxRetries: 5 })
  for (const upstream of cluster.upstreams) upstream.reset()
  const holds = await Promise.all(conversations.map((conversation) => historyHolds(cluster, openai, conversation)))
  return holds.every(Boolean)
}

async function historyHolds(
  { upstreams }: Cluster,
  openai: OpenAI,
  { id, acknowledged }: Conversation,
): Promise<boolean> {
  const last = `the end of ${id}`
  const messages = [{ role: 'user' as const, content: last }]
  await openai.chat.completions.create({ model: 'chaos', messages }, { headers: { 'x-conversation-id': id } })
  const asked = upstreams.flatMap(({ requests }) => requests).find(({ rawBody }) => rawBody.includes(`"${last}"`))
  const body = asked?.body as { messages: { role: string; content: unknown }[] } | undefined
  const kept = body?.messages.filter(({ role }) => role === 'user').map(({ content }) => content) ?? []
  // A turn whose client was told nothing, or an error, may be there or not; one that was acknowledged must be.
  const told = kept.filter((content) => acknowledged.includes(String(content)))
  const holds = told.length === acknowledged.length && told.every((content, place) => content === acknowledged[place])
  if (!holds) process.stdout.write(`${id}: told of ${acknowledged.join(', ')}; kept ${kept.join(', ')}\n`)
  return holds
}
