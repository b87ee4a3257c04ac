import type { GatewayError } from '../server/errors.ts'
import type { CallOptions, ProviderEvent, ProviderRequest, ProviderResponse, ResponsesAPI } from '../types.ts'
import { malformed } from './answer.ts'
import { postForEvents, postJSON } from './post.ts'
import { ResponseEventReader } from './response-event-reader.ts'
import type { Transport } from './transport.ts'
import { responseFailure } from './upstream-errors.ts'

const path = '/responses'

/** The Responses API of a provider that speaks it: nothing is translated, only `model` is rewritten. */
export class ProviderResponses implements ResponsesAPI {
  readonly #transport: Transport
  readonly #model: string

  /** @param model As that of the client; `*` takes the request's. */
  constructor(transport: Transport, model: string) {
    this.#transport = transport
    this.#model = model
  }

  create({ stream: _stream, ...request }: ProviderRequest, call?: CallOptions): Promise<ProviderResponse> {
    return postJSON(this.#transport, path, this.#body(request), faultIn, call) as Promise<ProviderResponse>
  }

  stream(request: ProviderRequest, call?: CallOptions): AsyncIterable<ProviderEvent> {
    const body = { ...this.#body(request), stream: true }
    return postForEvents(this.#transport, path, body, (...ends) => new ResponseEventReader(...ends), call)
  }

  #body(request: Readonly<Record<string, unknown>>): object {
    return this.#model === '*' ? request : { ...request, model: this.#model }
  }
}

function faultIn({ output, error }: Record<string, unknown>): GatewayError | undefined {
  if (Array.isArray(output)) return undefined
  return error ? responseFailure(error) : malformed('the upstream provider answered something that is not a response')
}
