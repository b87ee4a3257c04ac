import type { AskedRequest, CallOptions, LLMClient } from '../types.ts'

/** What is put around every question to a client. `ask` asks it; it may be called again, or not at all. */
export interface Around {
  whole<Answer>(
    ask: (call?: CallOptions) => Promise<Answer>,
    request: AskedRequest,
    call: CallOptions | undefined,
  ): Promise<Answer>
  streamed<Piece>(
    ask: (call?: CallOptions) => AsyncIterable<Piece>,
    request: AskedRequest,
    call: CallOptions | undefined,
  ): AsyncIterable<Piece>
  /** Default: as the client. */
  unavailableMs?(): number | undefined
}

/** A client like the given one, in all that it can do, with something around each question. */
export function wrapped(client: LLMClient, around: Around): LLMClient {
  const { embed, responses, unavailableMs } = client
  const own = around.unavailableMs ?? unavailableMs
  return {
    provider: client.provider,
    model: client.model,
    agent: client.agent,
    complete: (request, call) => around.whole((options = call) => client.complete(request, options), request, call),
    stream: (request, call) => around.streamed((options = call) => client.stream(request, options), request, call),
    ...(embed
      ? {
          embed: (request, call) =>
            around.whole((options = call) => embed.call(client, request, options), request, call),
        }
      : {}),
    ...(responses
      ? {
          responses: {
            create: (request, call) =>
              around.whole((options = call) => responses.create(request, options), request, call),
            stream: (request, call) =>
              around.streamed((options = call) => responses.stream(request, options), request, call),
          },
        }
      : {}),
    ...(own ? { unavailableMs: () => own.call(client) } : {}),
    close: async () => client.close?.(),
  }
}
