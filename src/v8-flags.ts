import { setFlagsFromString } from 'node:v8'

/**
 * To be imported before anything else of the process. After a burst of long streams V8 takes everything that a request allocates
 * for long-lived, and puts it where only a full garbage collection frees it: each request then costs a quarter more CPU, for the
 * rest of the process's life (measured with `npm run bench`: 100 streams left half-way).
 */
setFlagsFromString('--no-allocation-site-pretenuring')
