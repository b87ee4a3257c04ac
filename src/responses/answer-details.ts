import { isObject } from '../json.ts'
import type { ChunkChoice } from '../types.ts'
import type { TextAnnotation, TextLogprob } from './message-output.ts'

type ChatLogprobs = NonNullable<ChunkChoice['logprobs']>['content'] | undefined

/** Bytes may be null in chat completions, and never in a Response. */
export const toLogprobs = (logprobs: ChatLogprobs): TextLogprob[] =>
  (Array.isArray(logprobs) ? logprobs : []).map(({ token, logprob, bytes, top_logprobs }) => ({
    token,
    logprob,
    bytes: bytes ?? [],
    top_logprobs: (top_logprobs ?? []).map((top) => ({ ...top, bytes: top.bytes ?? [] })),
  }))

/** The citations that a chat completion knows; what is none is left out. */
export const toAnnotations = (annotations: unknown): TextAnnotation[] =>
  (Array.isArray(annotations) ? annotations : []).flatMap((annotation: unknown) => {
    const citation = isObject(annotation) ? annotation.url_citation : undefined
    if (!isObject(citation) || typeof citation.url !== 'string') return []
    const { url, title, start_index, end_index } = citation
    return [
      {
        type: 'url_citation',
        url,
        title: typeof title === 'string' ? title : '',
        start_index: Number(start_index ?? 0),
        end_index: Number(end_index ?? 0),
      },
    ]
  })
