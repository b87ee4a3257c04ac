import t from 'tap'
import { codeOf, LabelValues, methodOf, statusClassOf } from '../../src/metrics/label-values.ts'

t.test('what clients and providers make up is _other', async (t) => {
  t.strictSame(['GET', 'POST', 'BREW', 'get'].map(methodOf), ['GET', 'POST', '_other', '_other'])
  t.strictSame(['upstream_error', 'invalid_request_error', 'a_code_of_the_provider'].map(codeOf), [
    'upstream_error',
    'invalid_request_error',
    '_other',
  ])
  t.strictSame([200, 204, 404, 499, 503].map(statusClassOf), ['2xx', '2xx', '4xx', '4xx', '5xx'])
})

t.test('values join until they are too many; those known before are always labels', async (t) => {
  const values = new LabelValues(2, ['known'])
  t.strictSame(
    ['a', 'b', 'c', 'a', 'known', 'd'].map((value) => values.of(value)),
    ['a', 'b', '_other', 'a', 'known', '_other'],
  )
})

t.test('a value that may not join is a label only if it has joined', async (t) => {
  const values = new LabelValues(1)
  t.strictSame([values.of('a', false), values.of('a'), values.of('a', false)], ['_other', 'a', 'a'])
})
