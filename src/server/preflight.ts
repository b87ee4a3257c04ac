import type { RouteMatch } from './route-table.ts'

/** On every answer of a server that speaks CORS itself. */
export const corsHeaders = { 'access-control-allow-origin': '*', 'access-control-expose-headers': '*' }
const preflightHeaders = {
  ...corsHeaders,
  'access-control-allow-methods': 'GET, HEAD, POST, DELETE, OPTIONS',
  'access-control-allow-headers': '*, authorization',
  'access-control-max-age': '86400',
}

/** OPTIONS, of any address. */
export const preflight: RouteMatch = {
  route: '_other',
  parameters: [],
  open: true,
  endpoint: (exchange) => exchange.empty(204, preflightHeaders),
}
