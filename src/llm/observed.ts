import { isObject } from '../json.ts'
import { targetOf } from '../target.ts'
import type { AskedRequest, AttemptStart, CallOptions, LLMClient, ProviderEvent, ServerAddress } from '../types.ts'
import { Attempt, type Facts } from './attempt.ts'
import { toChatUsage } from './chat-usage.ts'

/**
 * A provider's client that tells who listens of each time it is asked. It costs nothing when nobody does.
 *
 * @param baseURL Where the provider is, if that is known.
 */
export function observed(client: LLMClient, baseURL?: string): LLMClient {
  const { provider, model, embed, responses, unavailableMs } = client
  const server = serverOf(baseURL)

  function begin(
    operation: AttemptStart['operation'],
    request: AskedRequest,
    call: CallOptions | undefined,
    stream: boolean,
  ): Attempt | undefined {
    const target = targetOf(client, request)
    const observer = call?.onAttempt?.({ operation, target, ...server, stream, request: () => request })
    return call && observer && new Attempt(observer, call)
  }

  return {
    provider,
    model,
    agent: client.agent,
    ...(responses
      ? {
          responses: {
            create(request, call) {
              const attempt = begin('chat', request, call, false)
              return attempt
                ? attempt.whole(responses.create(request, attempt.call), factsOfResponse)
                : responses.create(request, call)
            },
            stream(request, call) {
              const attempt = begin('chat', request, call, true)
              return attempt
                ? attempt.streamed(responses.stream(request, attempt.call), factsOfEvent)
                : responses.stream(request, call)
            },
          },
        }
      : {}),
    complete(request, call) {
      const attempt = begin('chat', request, call, false)
      return attempt ? attempt.whole(client.complete(request, attempt.call), itself) : client.complete(request, call)
    },
    stream(request, call) {
      const attempt = begin('chat', request, call, true)
      return attempt ? attempt.streamed(client.stream(request, attempt.call), itself) : client.stream(request, call)
    },
    ...(embed
      ? {
          embed(request, call) {
            const attempt = begin('embeddings', request, call, false)
            return attempt
              ? attempt.whole(embed.call(client, request, attempt.call), itself)
              : embed.call(client, request, call)
          },
        }
      : {}),
    ...(unavailableMs ? { unavailableMs: () => unavailableMs.call(client) } : {}),
    close: async () => client.close?.(),
  }
}

/** The host and the port of an address. */
function serverOf(baseURL: string | undefined): { server: ServerAddress } | undefined {
  const url = baseURL === undefined ? null : URL.parse(baseURL)
  if (!url) return undefined
  const port = Number(url.port) || (url.protocol === 'https:' ? 443 : 80)
  return { server: { address: url.hostname, port } }
}

const itself = (answer: Facts): Facts => answer

/** Of an event of a response: its pieces are deltas, and what else is told comes with the response itself. */
function factsOfEvent({ type, response }: ProviderEvent): Facts | undefined {
  if (type.endsWith('.delta')) return {}
  return isObject(response) ? { ...factsOfResponse(response), isHead: true } : undefined
}

/** As a chat completion would tell it. */
function factsOfResponse({ id, model, usage, status, incomplete_details: details }: Record<string, unknown>): Facts {
  const cut = isObject(details) && details.reason === 'max_output_tokens' ? 'length' : 'content_filter'
  const reason = status === 'completed' ? 'stop' : status === 'incomplete' ? cut : undefined
  return {
    ...(typeof id === 'string' ? { id } : {}),
    ...(typeof model === 'string' ? { model } : {}),
    usage: toChatUsage(usage),
    ...(reason ? { choices: [{ finish_reason: reason }] } : {}),
  }
}
