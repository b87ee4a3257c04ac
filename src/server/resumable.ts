import type { Exchange } from './exchange.ts'

/** Tells a client where its stream can be resumed. */
export const resumeHeader = 'x-signalbox-resume'

/** Whether the client asks for a stream that it can resume: one that goes on when it leaves. */
export const isResumable = ({ request }: Exchange): boolean =>
  request.header('x-signalbox-resumable')?.toLowerCase() === 'true'
