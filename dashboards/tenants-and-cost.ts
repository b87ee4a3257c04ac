import { board } from './board.ts'
import { bars, lines, stat, uids } from './panels.ts'
import { increase, max, mean, ofModel, quantile, rate, series, share, sum } from './promql.ts'

const cost = ofModel('signalbox_cost_usd_total')
const unknown = ofModel('signalbox_cost_unknown_total')
const completions = ofModel('signalbox_completions_total')
const tokens = ofModel('gen_ai_client_token_usage_sum')
const optIn =
  'Empty unless `metrics.users.enabled` is set. `_other` is everyone who is not one of the top, `_anonymous` who has no key.'

export const tenantsAndCost = board({
  uid: uids.cost,
  title: 'Tenants and cost',
  description: 'What is billed for which model, what has no known price, and who uses most.',
  rows: {
    'In this time': [
      stat({
        title: 'Cost',
        description: 'What providers bill for the time that is shown, without what has no known price.',
        unit: 'currencyUSD',
        limits: 'none',
        next: 'models',
        width: 6,
        queries: { cost: sum(increase(cost)) },
      }),
      stat({
        title: 'Cost per hour',
        description: 'At the rate of the moment.',
        unit: 'currencyUSD',
        limits: { above: [50, 200] },
        next: 'models',
        width: 6,
        queries: { cost: `${sum(rate(cost))} * 3600` },
      }),
      stat({
        title: 'Tokens',
        description: 'Tokens of prompts and answers in the time that is shown.',
        unit: 'short',
        limits: 'none',
        next: 'models',
        width: 6,
        queries: { tokens: sum(increase(tokens)) },
      }),
      stat({
        title: 'Answers of unknown cost',
        description:
          'Share of the answers in the time that is shown whose price is not known: they are in no sum here. `catalog` in the configuration can name it.',
        unit: 'percentunit',
        limits: { above: [0.01, 0.1] },
        next: 'models',
        width: 6,
        queries: { unknown: share(sum(increase(unknown)), sum(increase(completions))) },
      }),
    ],
    Cost: [
      lines({
        title: 'Cost per hour by model',
        description: 'By the name that clients ask for. An agent has the cost of all of its steps.',
        unit: 'currencyUSD',
        limits: 'none',
        next: 'models',
        stacked: true,
        queries: { '{{model}}': `${sum(rate(cost), 'model')} * 3600` },
      }),
      lines({
        title: 'Cost per hour by provider',
        description: 'Who will send the bill.',
        unit: 'currencyUSD',
        limits: 'none',
        next: 'models',
        stacked: true,
        queries: { '{{provider}}': `${sum(rate(cost), 'provider')} * 3600` },
      }),
      bars({
        title: 'Cost by model',
        description: 'What providers bill for the time that is shown.',
        unit: 'currencyUSD',
        limits: 'none',
        next: 'models',
        queries: { '{{model}}': `sort_desc(${sum(increase(cost), 'model')})` },
      }),
      lines({
        title: 'Answers of unknown cost',
        description: 'Answers per second whose price is not known, or whose tokens nobody counted.',
        unit: 'reqps',
        limits: 'none',
        next: 'models',
        stacked: true,
        queries: { '{{provider}} {{model}}': sum(rate(unknown), 'provider', 'model') },
      }),
      lines({
        title: 'Answers by what is known of their tokens',
        description:
          '`estimated` where the provider did not say, for example because the client left first; `cached` where none was asked.',
        unit: 'reqps',
        limits: 'none',
        next: 'models',
        stacked: true,
        queries: { '{{usage}}': sum(rate(completions), 'usage') },
      }),
      lines({
        title: 'Cost per answer',
        description: 'Mean of what an answer costs, by model, those of unknown cost left out.',
        unit: 'currencyUSD',
        limits: { above: [0.5, 2] },
        next: 'models',
        queries: {
          '{{model}}': `${sum(rate(cost), 'model')} / (${sum(rate(completions), 'model')} - (${sum(rate(unknown), 'model')} or 0 * ${sum(rate(completions), 'model')}))`,
        },
      }),
    ],
    Tokens: [
      lines({
        title: 'Tokens by model',
        description: 'Tokens of prompts (input) and answers (output) per second.',
        unit: 'cps',
        limits: 'none',
        next: 'models',
        stacked: true,
        queries: {
          '{{gen_ai_request_model}} {{gen_ai_token_type}}': sum(
            rate(tokens),
            'gen_ai_request_model',
            'gen_ai_token_type',
          ),
        },
      }),
      lines({
        title: 'Tokens of a request, p95',
        description:
          '95 % of requests have at most so many. A prompt that grows from turn to turn is paid again each time.',
        unit: 'short',
        limits: { above: [32_000, 128_000] },
        next: 'models',
        queries: {
          '{{gen_ai_token_type}}': quantile(0.95, ofModel('gen_ai_client_token_usage_bucket'), 'gen_ai_token_type'),
        },
      }),
      lines({
        title: 'Tokens of a request, mean',
        description: 'By model and kind.',
        unit: 'short',
        limits: { above: [32_000, 128_000] },
        next: 'models',
        queries: {
          '{{gen_ai_request_model}} {{gen_ai_token_type}}': mean(
            'gen_ai_client_token_usage',
            ofModel,
            'gen_ai_request_model',
            'gen_ai_token_type',
          ),
        },
      }),
    ],
    Limits: [
      lines({
        title: 'Refused by limits',
        description:
          'Requests per second that would have passed a limit, by what is limited and whose limit it is. The log and the hook name the user.',
        unit: 'reqps',
        limits: 'none',
        next: 'overview',
        width: 12,
        stacked: true,
        queries: { '{{scope}} {{limit}}': sum(rate(series('signalbox_rate_limited_total')), 'scope', 'limit') },
      }),
      lines({
        title: 'Limits in use',
        description:
          'Share of the limits of models and of the gateway that is used, by all replicas together. At 100 % requests are refused.',
        unit: 'percentunit',
        limits: { above: [0.8, 0.95] },
        next: 'models',
        width: 12,
        queries: {
          '{{scope}} {{model}} {{limit}}': max(ofModel('signalbox_limit_used_ratio'), 'scope', 'model', 'limit'),
        },
      }),
    ],
    Tenants: [
      lines({
        title: 'Cost per hour by user',
        description: `Of the users who use most, at the rate of the moment. ${optIn}`,
        unit: 'currencyUSD',
        limits: 'none',
        next: 'overview',
        stacked: true,
        queries: { '{{user}}': `topk(10, ${sum(rate(series('signalbox_user_cost_usd_total')), 'user')}) * 3600` },
      }),
      lines({
        title: 'Tokens by user',
        description: `Tokens of prompts and answers per second, of the users who use most. ${optIn}`,
        unit: 'cps',
        limits: 'none',
        next: 'overview',
        stacked: true,
        queries: { '{{user}}': `topk(10, ${sum(rate(series('signalbox_user_tokens_total')), 'user')})` },
      }),
      bars({
        title: 'Cost by user',
        description: `In the time that is shown. ${optIn}`,
        unit: 'currencyUSD',
        limits: 'none',
        next: 'overview',
        queries: { '{{user}}': `topk(10, ${sum(increase(series('signalbox_user_cost_usd_total')), 'user')})` },
      }),
    ],
  },
})
