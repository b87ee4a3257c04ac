import type { LLMClient } from '../types.ts'

/** One model of a client that serves them all (`model: '*'`): requests go there whatever model they name. */
export function pinned(client: LLMClient, model: string): LLMClient {
  const { embed, responses, unavailableMs } = client
  return {
    provider: client.provider,
    model,
    agent: client.agent,
    complete: (request, call) => client.complete({ ...request, model }, call),
    stream: (request, call) => client.stream({ ...request, model }, call),
    ...(embed ? { embed: (request, call) => embed.call(client, { ...request, model }, call) } : {}),
    ...(unavailableMs ? { unavailableMs: () => unavailableMs.call(client) } : {}),
    ...(responses
      ? {
          responses: {
            create: (request, call) => responses.create({ ...request, model }, call),
            stream: (request, call) => responses.stream({ ...request, model }, call),
          },
        }
      : {}),
    ...(unavailableMs ? { unavailableMs: () => unavailableMs.call(client) } : {}),
  }
}
