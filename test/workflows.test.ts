import { existsSync, globSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { parse } from 'yaml'
import { startActionlint } from './actionlint.ts'
import { root } from './process.ts'

interface Step {
  uses?: string
  run?: string
  with?: Record<string, unknown>
}

interface Job {
  uses?: string
  steps?: Step[]
  permissions?: Record<string, string>
  'timeout-minutes'?: number
}

interface Workflow {
  name: string
  on: Record<string, unknown>
  permissions: Record<string, string>
  concurrency: { group: string }
  jobs: Record<string, Job>
}

const directory = '.github/workflows'
const workflows = readdirSync(join(root, directory)).map((name) => {
  const text = readFileSync(join(root, directory, name), 'utf8')
  return { name, path: `${directory}/${name}`, text, workflow: parse(text) as Workflow }
})
const { scripts } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { scripts: Record<string, string> }

const stepsOf = (workflow: Workflow): Step[] => Object.values(workflow.jobs).flatMap(({ steps = [] }) => steps)
const npmScripts = (command: string): string[] =>
  [...command.matchAll(/\bnpm (?:run ([\w:]+)|(test|start)\b)/g)].map(([, named, own]) => named ?? own ?? '')

t.test('there is a workflow for each part of the way', async (t) => {
  t.same(workflows.map(({ name }) => name).sort(), ['chart.yaml', 'ci.yaml', 'image.yaml', 'release.yaml'])
})

t.test('actionlint finds nothing in the workflows', async (t) => {
  const actionlint = await startActionlint()
  for (const { path, text } of workflows) t.same(actionlint(text, path), [], path)
  const unsafe = `on: push\njobs:\n  a:\n    runs-on: ubuntu-24.04\n    steps:\n      - run: echo \${{ github.head_ref }}\n`
  t.match(actionlint(unsafe, 'unsafe.yaml'), [{ message: /untrusted/ }], 'and it would, if there was something')
})

t.test('every action is pinned by its commit, with its version beside it', async (t) => {
  const commits = new Map<string, Set<string>>()
  for (const { text, path } of workflows) {
    for (const [line, reference = ''] of text.matchAll(/^.*\buses: (.*)$/gm)) {
      if (reference.startsWith('./')) {
        t.ok(existsSync(join(root, reference)), `${path} calls ${reference}`)
        continue
      }
      t.match(reference, /^[\w-]+\/[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$/, `${path}: ${line.trim()}`)
      const [action = '', pin = ''] = reference.split('@')
      commits.set(action, (commits.get(action) ?? new Set()).add(pin))
    }
  }
  t.ok(commits.size > 0)
  for (const [action, pins] of commits) t.equal(pins.size, 1, `${action} is the same one everywhere`)
})

for (const { path, text, workflow } of workflows) {
  t.test(path, async (t) => {
    t.same(workflow.permissions, { contents: 'read' }, 'may read the code, and nothing else')
    t.ok(workflow.concurrency.group, 'has a group, so that runs of one branch do not meet')
    t.notOk('pull_request_target' in workflow.on, 'gives no secret to the code of others')
    t.notOk('workflow_run' in workflow.on, 'nor by a detour')

    for (const [name, { uses, 'timeout-minutes': timeout, permissions }] of Object.entries(workflow.jobs)) {
      // GitHub takes no timeout beside the call of a workflow, whose jobs have theirs.
      if (uses === undefined) t.type(timeout, 'number', `the job ${name} ends`)
      t.not(permissions as unknown, 'write-all')
    }
    for (const { uses, run = '', with: inputs } of stepsOf(workflow)) {
      t.notMatch(run, /\$\{\{/, 'a command takes values from its environment, where they are no code')
      if (uses?.startsWith('actions/checkout@'))
        t.equal(inputs?.['persist-credentials'], false, 'leaves no token behind')
      for (const script of npmScripts(run)) t.ok(scripts[script], `npm has the script ${script}`)
      for (const [file] of run.matchAll(/\b(?:test|helm)\/[\w/*-]+\.(?:test\.ts|yaml)/g))
        t.not(globSync(file, { cwd: root }).length, 0, `there is ${file}`)
    }
    if (/docker build|build-push-action/.test(text)) t.ok(existsSync(join(root, 'Dockerfile')), 'there is a Dockerfile')
  })
}

t.test('the workflow ci does all that .ci/run does', async (t) => {
  const own = npmScripts(readFileSync(join(root, '.ci/run'), 'utf8'))
  const ci = workflows.find(({ name }) => name === 'ci.yaml')?.workflow
  t.ok(own.length > 2)
  const said = ci === undefined ? [] : stepsOf(ci).flatMap(({ run = '' }) => npmScripts(run))
  t.same([...new Set(said)].sort(), [...new Set(own)].sort())
})

t.test('dependabot keeps packages and actions', async (t) => {
  const { updates } = parse(readFileSync(join(root, '.github/dependabot.yml'), 'utf8')) as {
    updates: { 'package-ecosystem': string; directory: string }[]
  }
  t.same(
    updates.map((update) => update['package-ecosystem']),
    ['npm', 'github-actions'],
  )
})
