import type { RequestListener } from 'node:http'
import type { Answer } from './answer.ts'
import { NodeRequest } from './node-request.ts'
import { sendAnswer } from './send-answer.ts'

/** Serves on Node what never rejects. */
export const nodeListener =
  (answer: (request: NodeRequest) => Promise<Answer>): RequestListener =>
  (incoming, outgoing) => {
    void answer(new NodeRequest(incoming, outgoing)).then((answer) => sendAnswer(answer, outgoing))
  }
