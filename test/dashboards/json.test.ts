import { readFileSync } from 'node:fs'
import t from 'tap'
import { dashboards, jsonFiles } from '../../dashboards/index.ts'
import { root } from '../process.ts'
import { boards, panelsOf } from './shown.ts'

t.test('the JSON is what the sources make (npm run dashboards writes it)', async (t) => {
  t.strictSame([...boards.keys()], [...jsonFiles.keys()].map((file) => `dashboards/${file}`).sort())
  for (const [file, json] of jsonFiles) t.equal(readFileSync(`${root}/dashboards/${file}`, 'utf8'), json, file)
})

t.test('ids are those that bookmarks and links have', async (t) => {
  const uids = dashboards.map(({ uid }) => uid)
  t.strictSame(uids, ['signalbox-overview', 'signalbox-models', 'signalbox-cost', 'signalbox-runtime'])
  for (const [path, { uid }] of boards) t.equal(path, `dashboards/json/${uid}.json`)
})

t.test('the pictures of the README have every panel', async (t) => {
  const readme = readFileSync(`${root}/README.md`, 'utf8')
  for (const board of boards.values()) {
    const path = `dashboards/pictures/${board.uid}.svg`
    t.ok(readme.includes(`](${path})`), path)
    const texts = Array.from(readFileSync(`${root}/${path}`, 'utf8').matchAll(/>([^<]+)<\/text>/g), ([, text]) => text)
    for (const { title } of board.panels) t.ok(texts.includes(title), `${path}: ${title}`)
    t.notOk(texts.includes('no data'))
  }
})

for (const board of boards.values()) {
  t.test(board.title, async (t) => {
    t.test('has panels with ids of their own, that do not overlap', async (t) => {
      const ids = board.panels.map(({ id }) => id)
      t.strictSame(ids, [...new Set(ids)])
      t.notOk(ids.includes(0))
      const taken = new Map<string, number>()
      for (const { id, gridPos } of board.panels) {
        t.ok(gridPos.x + gridPos.w <= 24, `${id} is within the grid`)
        for (let x = gridPos.x; x < gridPos.x + gridPos.w; x++) {
          for (let y = gridPos.y; y < gridPos.y + gridPos.h; y++) {
            if (taken.has(`${x} ${y}`)) t.fail(`${id} lies on ${taken.get(`${x} ${y}`)}`)
            taken.set(`${x} ${y}`, id)
          }
        }
      }
    })

    t.test('chooses data source, namespace, environment and model, all at first', async (t) => {
      const { list } = board.templating
      t.strictSame(
        list.map(({ name }) => name),
        ['datasource', 'namespace', 'environment', 'model'],
      )
      for (const { name, includeAll, allValue } of list.slice(1))
        t.strictSame([includeAll, allValue], [true, '.*'], name)
      t.ok(board.tags.includes('signalbox'), 'the links to the others find it by its tag')
    })

    for (const panel of panelsOf(board)) {
      t.test(`${panel.title} has a description, units, thresholds and a link`, async (t) => {
        const { unit, thresholds } = panel.fieldConfig.defaults
        t.match(panel.description, /^.{15,}[.?]$/s)
        t.match(unit, /^\w+$/)
        if (panel.type === 'heatmap') t.match(panel.options.yAxis?.unit, /^\w+$/)
        const limits = thresholds?.steps.map(({ value }) => value) ?? []
        t.equal(limits[0], null)
        t.strictSame(
          limits.slice(1),
          limits.slice(1).toSorted((a, b) => Number(a) - Number(b)),
        )
        const [link] = panel.links ?? []
        const target = [...boards.values()].find(({ uid }) => link?.url.startsWith(`/d/${uid}?`))
        t.ok(target && target !== board, `${link?.url} is another dashboard`)
        t.ok(target?.title.endsWith(link?.title ?? '-'))
        t.match(link?.url, '?${' + '__url_time_range}&${' + '__all_variables}')
      })
    }
  })
}
